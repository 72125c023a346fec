"""The driving: a pump that takes up each request when it is due, and connections that carry them."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import Counter, deque
from time import perf_counter

import numpy as np

from loadtest.openloop.connection import BROKEN, Connection
from loadtest.openloop.loads import Load, Shot

# libuv's timers tick in milliseconds: nearer than this the loop is turned instead, at the price of a core.
SPIN_SECONDS = 2e-3
SAMPLE_EVERY = 32  # the answers that are checked by content: each costs about as much as asking
RECONNECT_SECONDS = 0.02


class Drive(ABC):
    """A load under way. `run` gives the Shot; `kept` holds (place, bytes of the answer) of a sample of answers."""

    def __init__(self, load: Load, requests: list[bytes]) -> None:
        self.load, self.requests = load, requests
        self.statuses: Counter[str] = Counter()
        self.kept: list[tuple[int, bytes]] = []
        self.first_failure = ""
        self.due: list[float] = []  # since the start
        self.late: list[float] = []
        self.done: dict[int, float] = {}
        self._loop = asyncio.get_running_loop()
        self._ended = self._loop.create_future()
        self._free: deque[Connection] = deque()

    async def run(self) -> Shot:
        connections = await asyncio.gather(*(self._connect() for _ in range(self.load.connections)))
        self._free.extend(connections)
        self._started = perf_counter()
        self.begin()
        try:
            await asyncio.wait_for(self._ended, self.load.warmup + self.load.seconds + self.load.patience)
        except TimeoutError:
            pass  # what was not answered by now stays without an answer
        finally:
            self._ended.cancel()
            for connection in connections:
                connection.close()
        return self._shot()

    async def _connect(self) -> Connection:
        _, connection = await self._loop.create_connection(
            lambda: Connection(self._answered), self.load.host, self.load.port
        )
        return connection

    @abstractmethod
    def begin(self) -> None: ...

    @abstractmethod
    def freed(self, connection: Connection) -> None:
        """A connection has been answered, or replaces one that broke."""

    def now(self) -> float:
        return perf_counter() - self._started

    def _ask(self, connection: Connection, place: int) -> None:
        connection.ask(place, self.requests[place % len(self.requests)])

    def _answered(self, connection: Connection, status: int, answer: bytes) -> None:
        place, connection.place = connection.place, -1
        if place < 0:  # broken while it was idle: nobody's request is lost
            if not self._ended.done():
                self._free.remove(connection)
                self._loop.create_task(self._replace())
            return
        if status == 200:
            self.done[place] = self.now()
            if place % SAMPLE_EVERY == 0:
                self.kept.append((place, answer))
        else:
            self.first_failure = self.first_failure or f"{status} {answer[-200:].decode(errors='replace')}"
        self.statuses[str(status)] += 1
        if self._ended.done():
            return
        if status == BROKEN:
            self._loop.create_task(self._replace())
        else:
            self.freed(connection)

    async def _replace(self) -> None:
        while not self._ended.done():
            await asyncio.sleep(RECONNECT_SECONDS)
            try:
                return self.freed(await self._connect())
            except OSError:
                continue

    def _shot(self) -> Shot:
        due = np.array(self.due)
        latency = np.full(len(due), np.inf)
        for place, done in self.done.items():
            latency[place] = done - due[place]
        measured = due >= self.load.warmup
        return Shot(
            seconds=self.load.seconds,
            elapsed=self.now(),
            due=due[measured] - self.load.warmup,
            latency=latency[measured],
            late=np.array(self.late)[measured],
            statuses=dict(self.statuses),
            first_wrong=self.first_failure,
        )


class OpenLoop(Drive):
    """Requests at their times. Those that find every connection busy wait here, and their latency counts."""

    def begin(self) -> None:
        self.due = poisson(self.load)
        self._next = 0
        self._waiting: deque[int] = deque()
        self._pump()

    def _pump(self) -> None:
        if self._ended.done():
            return
        now, due, total = self.now(), self.due, len(self.due)
        while self._next < total and due[self._next] <= now:
            self.late.append(now - due[self._next])
            self._waiting.append(self._next)
            self._next += 1
        while self._waiting and self._free:
            self._ask(self._free.popleft(), self._waiting.popleft())
        if self._next == total:
            self._end_if_done()
        elif (ahead := due[self._next] - now) > SPIN_SECONDS:
            self._loop.call_later(ahead - SPIN_SECONDS / 2, self._pump)
        else:
            self._loop.call_soon(self._pump)

    def freed(self, connection: Connection) -> None:
        if self._waiting:
            self._ask(connection, self._waiting.popleft())
        else:
            self._free.append(connection)
            self._end_if_done()

    def _end_if_done(self) -> None:
        if self._next == len(self.due) and sum(self.statuses.values()) >= len(self.due) and not self._ended.done():
            self._ended.set_result(None)

    def _shot(self) -> Shot:
        # Not taken up by the time allowed: as late as anything can be.
        self.late += [np.inf] * (len(self.due) - len(self.late))
        return super()._shot()


class ClosedLoop(Drive):
    """Every connection asks again once it is answered; a latency counts from the asking."""

    def begin(self) -> None:
        while self._free:
            self.freed(self._free.popleft())

    def freed(self, connection: Connection) -> None:
        now = self.now()
        if now >= self.load.warmup + self.load.seconds:
            self._free.append(connection)
            if len(self._free) == self.load.connections and not self._ended.done():
                self._ended.set_result(None)
            return
        self.due.append(now)
        self.late.append(0.0)
        self._ask(connection, len(self.due) - 1)


def poisson(load: Load) -> list[float]:
    """Times of a Poisson process over warm-up and measured time, in seconds from the start."""
    seconds = load.warmup + load.seconds
    random = np.random.default_rng(load.seed)
    number = int(random.poisson(load.rate * seconds))
    times: list[float] = np.sort(random.uniform(0, seconds, number)).tolist()
    return times


async def drive(load: Load, requests: list[bytes]) -> tuple[Shot, list[tuple[int, bytes]]]:
    """The shot, and the sampled answers by the place of their request."""
    under_way = (OpenLoop if load.rate else ClosedLoop)(load, requests)
    return await under_way.run(), under_way.kept
