"""Which of the workers that share a port takes who waits there: the one that holds the fewest connections.

Each worker writes how many it holds into memory that all of them see, and takes somebody only while none of the others
holds fewer. One that holds as many as it may, at all its ports, counts as if it held the most: else it would turn away
whom another had room for, and hold fewest for that. None of them is relied on: whoever would be next and takes nobody
for a moment is passed over. And looking again is paid from a budget: where most clients connect anew for each request,
it does not matter who takes them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from time import perf_counter

from serving.token_bucket import TokenBucket

# Where each holds many, one may have so much of the fewest more.
SLACK = 1 / 8
# While somebody waits and nobody is taken, those who hold fewer are waited for so long.
PATIENCE_SECONDS = 0.02
# How often a worker may look again at who is left to others: so many times a second, and as many at once as it takes
# to share out what comes in a burst.
LOOKS_PER_SECOND, MAX_LOOKS = 50, 200
MAX_PORTS = 2
FULL_FLAG = 2**40  # more than anybody holds


class Balance:
    """What one worker holds of one port's connections, beside the others.

    `memory` is seen by all workers, and zero where none has been: for each port a column of how many connections each
    worker holds, one more than that, for 0 is a worker that takes none; and a column of how many it has ever taken.
    """

    def __init__(self, memory: memoryview, port: int, worker: int, is_full: Callable[[], bool] = lambda: False) -> None:
        """`is_full` tells whether this worker holds as many connections as it may."""
        numbers = memory.cast("q")
        n_workers = len(numbers) // (2 * MAX_PORTS)
        start = 2 * port * n_workers
        self._held, self._taken = numbers[start:][:n_workers], numbers[start + n_workers :][:n_workers]
        self._worker, self._is_full = worker, is_full
        self._leaving = False
        self.n_held = 0
        self._asleep: dict[int, int] = {}  # workers that are passed over, and what they had taken then
        self._seen: list[int] = []  # what each had taken when somebody began to wait
        self._since = 0.0
        self.looks = 0  # at this one
        self._budget = TokenBucket(LOOKS_PER_SECOND, MAX_LOOKS)
        self._taken[worker] += 1  # who passes over the one that had this number before counts this one
        self._publish()

    def opened(self) -> None:
        """This worker has taken somebody."""
        self.n_held += 1
        self._taken[self._worker] += 1
        self._publish()

    def closed(self) -> None:
        """A connection of this worker has ended: the others may see."""
        self.n_held -= 1
        self._publish()

    def leave(self) -> None:
        """This worker takes nobody as long as there are others."""
        self._leaving = True
        self._publish()

    def _publish(self) -> None:
        full = FULL_FLAG if self._is_full() else 0
        self._held[self._worker] = 0 if self._leaving else self.n_held + 1 + full

    def is_next(self) -> bool:
        """Whether who waits is for this worker to take."""
        self._publish()  # it may have become full, or have room again, by its other port
        held = self._held.tolist()
        for worker, taken in tuple(self._asleep.items()):
            if self._taken[worker] == taken:
                held[worker] = 0
            else:
                del self._asleep[worker]
        fewest = min(filter(None, held), default=0)
        return fewest == 0 if self._leaving else held[self._worker] <= fewest + int((fewest - 1) * SLACK)

    def leaves(self) -> bool:
        """Whether to leave who waits to others for now, and look again."""
        if self.is_next():
            return False
        now, taken = perf_counter(), self._taken.tolist()
        if taken != self._seen:
            self._seen, self._since, self.looks = taken, now, 0
        self.looks += 1
        if now - self._since > PATIENCE_SECONDS:
            self.pass_over()
            return not self.is_next()
        return self._leaving or self._held[self._worker] > FULL_FLAG or self._budget.take(now)

    def pass_over(self) -> None:
        """Count those who hold fewer, and did not take who waits, no more until they take somebody."""
        mine = sys.maxsize if self._leaving else self._held[self._worker]
        self._asleep |= {worker: self._taken[worker] for worker, held in enumerate(self._held) if held < mine}
