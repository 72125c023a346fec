"""Runners: one session and its adaptive batch queue, on one event loop.

A batch forms because the engine is busy or because several requests came in the same turn of the loop; no timer runs
while the engine is idle, unless EKIBEN_QUEUE_DELAY_US asks for one. Short engine calls run inline, long ones in a
thread of the runner's own so that the loop parses the next requests meanwhile; which is which follows from measured
times.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections import deque
from collections.abc import Sequence
from math import ceil
from queue import SimpleQueue
from time import perf_counter
from typing import Any, Protocol

import numpy as np

from bentos.contract import Signature
from serving.errors import BadInput, ClientGone, DeadlineExceeded, EngineError, Overloaded, ServingError
from serving.inference.engine_time import EngineTime
from serving.inference.jobs import Client, Job, Run, Waiter, is_synthetic, settle
from serving.inference.sessions import Batch, Refused, Session, check_outputs
from serving.inference.shapes import RowAxes, ShapeQueue, cost_of
from serving.telemetry.metrics import Recorder


class Observe(Protocol):
    """Told of every engine call, in the thread that made it."""

    def __call__(self, inputs: Batch, outputs: list[np.ndarray], watched: bool = True) -> None:
        """`watched`: whether the rows are counted for drift."""


# A call longer than this goes to the thread. Measured with calls of 0.9 ms on two cores: made inline, they let a
# third more requests through, for the two threads wait for the interpreter's lock longer than they overlap; see
# docs/performance.md. Others on the loop wait so long at most.
INLINE_SECONDS = 3e-3
# Where loop and thread share one core there is no overlap: a worker that fell behind, so that its batches grew until
# they were handed over, became slower by that, and stayed behind. What is left is that the loop does not stand still.
INLINE_SECONDS_ON_ONE_CORE = 1e-2
# One in so many engine calls teaches EngineTime: enough to follow the machine, and a call of 5 µs is not held up by it.
LEARN_EVERY = 8
# Of rows that are not alike: a batch grows until its call would take this share of EKIBEN_MAX_LATENCY_MS, or hold so
# many elements. What cannot be split is tried even so, if it comes fresh: an estimate alone refuses nobody for ever.
BATCH_SHARE = 0.25
FRESH_SHARE = 0.1
MAX_BATCH_ELEMENTS = 2**27
QUEUE_ROWS, LATENCY_MS = "EKIBEN_MAX_QUEUE_ROWS", "EKIBEN_MAX_LATENCY_MS"  # which settings overload is told by


class BatchingRunner:
    """The runner of one form. `submit` gives a future of the outputs, in the rows and order of the inputs; `enqueue`
    gives them to a waiter, in the turn of the loop that computed them.

    Errors that the waiter is given: DeadlineExceeded, ClientGone, EngineError. Raised at once: Overloaded (queue full).
    """

    def __init__(
        self,
        session: Session,
        signature: Signature,
        recorder: Recorder,
        *,
        max_batch_size: int,
        max_latency: float,
        max_queue_rows: int,
        observe: Observe = lambda inputs, outputs, watched=True: None,
        timings: Sequence[tuple[int, float]] = (),
        queue_delay: float = 0.0,
        inline_seconds: float = INLINE_SECONDS,
        answered: Batch | None = None,
        tells_synthetic: bool = False,
    ) -> None:
        """`answered` are inputs that the session is known to compute with: whether it still does tells a client's fault
        from the engine's. `tells_synthetic`: whether clients may say that their rows are not to be watched.
        """
        self._session, self._signature, self._recorder, self._observe = session, signature, recorder, observe
        self._max_batch_size, self._max_latency, self._max_queue_rows = max_batch_size, max_latency, max_queue_rows
        self._queue_delay, self._inline_seconds = queue_delay, inline_seconds
        self._loop = asyncio.get_running_loop()
        # Callbacks run in a context of the runner's own: call_soon would copy the first request's.
        self._context = contextvars.Context()
        # Where all rows are alike there is one queue, and cost is rows.
        self._axes = None if signature.rows_alike else RowAxes(signature)
        self._queue: deque[Job] = deque()
        self._shapes = ShapeQueue()
        self._waiting: deque[Job] | ShapeQueue = self._queue if self._axes is None else self._shapes
        self._queued = self._queued_cost = 0
        self._answered, self._tells_synthetic = answered, tells_synthetic
        self._scheduled = self._busy = False
        self._calls = 0
        self._in_flight: list[Job] = []
        self._free_at = 0.0  # when the engine's thread will have computed them, as far as calls so far tell
        self._engine_time = EngineTime()
        for n_rows, seconds in timings:
            self._engine_time.learn(n_rows, seconds)
        self._handed: SimpleQueue[list[Job] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._sweeping: asyncio.TimerHandle | None = None
        self.delivering: Job | None = None
        self._no_room = Overloaded(f"{max_queue_rows} rows are waiting, as many as may", QUEUE_ROWS)
        self._too_late = Overloaded(f"what waits is over {max_latency * 1e3:.0f} ms of work", LATENCY_MS)

    def submit(self, inputs: Batch, n_rows: int, client: Client | None = None) -> asyncio.Future[Any]:
        """Queue one request of `n_rows` rows; `client` knows whether it has hung up."""
        future = self._loop.create_future()
        self.enqueue(inputs, n_rows, future, client)
        return future

    def enqueue(
        self, inputs: Batch, n_rows: int, waiter: Waiter, client: Client | None = None, now: float = 0.0
    ) -> None:
        """As `submit`, for a waiter of the caller's own."""
        self._admit(n_rows)
        if n_rows > self._max_batch_size:
            return settle(asyncio.ensure_future(self._submit_parts(self._parts(inputs, n_rows), client)), waiter)
        if self._axes is None:
            self._queue.append(Job(inputs, n_rows, waiter, client, n_rows, None, now))
        else:
            job = Job(inputs, n_rows, waiter, client, cost_of(inputs), self._axes.key(inputs), now)
            self._shapes.append(job)
            self._queued_cost += job.cost
        self._queued += n_rows
        if not (self._scheduled or self._busy):
            self._schedule()

    def enqueue_each(self, batches: Sequence[Batch], waiter: Waiter, client: Client | None = None) -> None:
        """Queue the rows of one request that may differ in shape; the outputs are joined."""
        settle(asyncio.ensure_future(self._submit_parts([(batch, 1) for batch in batches], client)), waiter)

    def _admit(self, n_rows: int) -> None:
        """Load shedding. Overloaded, where the queue has no room, or is so long that the deadline would pass in it."""
        if self._queued + n_rows > self._max_queue_rows:
            raise Overloaded(
                f"{self._queued} rows are waiting and {n_rows} came; {self._max_queue_rows} may wait", QUEUE_ROWS
            )
        if (wait := self._wait()) > self._max_latency:
            raise Overloaded(
                f"{self._queued} rows are waiting, {wait * 1e3:.0f} ms of work;"
                f" at most {self._max_latency * 1e3:.0f} ms",
                LATENCY_MS,
            )

    @property
    def overload_error(self) -> Overloaded | None:
        """Why not even one row more could be answered in time, or None."""
        if self._queued < self._max_batch_size and self._queued < self._max_queue_rows and self._axes is None:
            return None
        if self._queued >= self._max_queue_rows:
            return self._no_room
        return self._too_late if self._wait() > self._max_latency else None

    def _wait(self) -> float:
        """Seconds of work that wait, where it is more than the next batch."""
        batch = self._max_batch_size
        if self._axes is not None:
            calls = self._calls_of_shapes()
            return self._engine_time.estimate_calls(self._queued_cost, calls) if calls > 1 else 0.0
        return self._queued / batch * self._engine_time.estimate(batch) if self._queued >= batch else 0.0

    def _calls_of_shapes(self) -> int:
        """Engine calls that what waits takes, where rows are not alike."""
        by_cost = self._queued_cost / max(1.0, self._most_cost())
        return max(self._shapes.n_groups, ceil(self._queued / self._max_batch_size), ceil(by_cost))

    @property
    def wait(self) -> float:
        """Seconds of work that the engine has and that waits for it, by what calls took so far."""
        in_flight = max(0.0, self._free_at - perf_counter()) if self._busy else 0.0
        if self._axes is not None:
            cost, calls = self._queued_cost, self._calls_of_shapes()
        else:
            cost, calls = self._queued, ceil(self._queued / self._max_batch_size)
        return in_flight + (self._engine_time.estimate_calls(cost, calls) if calls else 0.0)

    @property
    def pending(self) -> int:
        """Rows that wait."""
        return self._queued

    @property
    def held(self) -> float:
        """Seconds since the oldest request came that the engine's thread holds; 0 while it is idle."""
        return perf_counter() - self._in_flight[0].arrived if self._in_flight else 0.0

    def _parts(self, inputs: Batch, n_rows: int) -> list[tuple[Batch, int]]:
        """A request larger than a batch: as many batches as it takes, and their rows."""
        step = self._max_batch_size
        axes = self._axes or RowAxes(self._signature)
        return [(axes.part(inputs, start, start + step), min(step, n_rows - start)) for start in range(0, n_rows, step)]

    async def _submit_parts(self, parts: Sequence[tuple[Batch, int]], client: Client | None) -> list[np.ndarray]:
        """The outputs of the parts of one request, joined."""
        axes = self._axes or RowAxes(self._signature)
        futures: list[asyncio.Future[Any]] = []
        try:
            for inputs, n_rows in parts:
                futures.append(self.submit(inputs, n_rows, client))
            outputs = await asyncio.gather(*futures)
        finally:
            for future in futures:  # one part failed, or was not admitted: the others' answers are of no use
                future.cancel()
        return axes.append(outputs)

    def _schedule(self) -> None:
        self._scheduled = True
        if self._queue_delay:
            self._fill(perf_counter() + self._queue_delay)
        else:
            self._loop.call_soon(self._flush, context=self._context)

    def _fill(self, until: float) -> None:
        """Let a batch fill. Less than a millisecond is polled: the loop's timers count in whole ones."""
        left = until - perf_counter()
        if left <= 0 or self._queued >= self._max_batch_size:
            self._flush()
        elif left >= 1e-3:
            self._loop.call_later(1e-3, self._fill, until, context=self._context)
        else:
            self._loop.call_soon(self._fill, until, context=self._context)

    def _flush(self) -> None:
        """Form one batch and see it to the engine."""
        self._scheduled = False
        self._recorder.depth.append(self._queued)
        jobs, cost = self._take() if self._axes is None else self._take_alike()
        if not jobs:
            return
        if self._engine_time.estimate(cost) <= self._inline_seconds:
            self._deliver(self._compute(jobs))
            if self._waiting:
                self._schedule()
        else:
            self._hand_over(jobs, cost)

    def _take(self) -> tuple[list[Job], int]:
        """The oldest jobs that fit one batch, without those that nobody waits for or that come too late; their rows."""
        jobs: list[Job] = []
        n_rows = 0
        queue, recorder = self._queue, self._recorder.queue
        now = perf_counter()
        # What is left of the time allowed must do for the engine call itself.
        latest = now - self._max_latency + self._engine_time.estimate(1)
        while queue and n_rows + queue[0].n_rows <= self._max_batch_size:
            job = queue.popleft()
            self._queued -= job.n_rows
            if self._awaited(job, now, latest):
                recorder.append(now - job.arrived)
                jobs.append(job)
                n_rows += job.n_rows
        return jobs, n_rows

    def _take_alike(self) -> tuple[list[Job], int]:
        """The same of jobs whose shapes are those of the oldest; their cost."""
        jobs: list[Job] = []
        n_rows = cost = 0
        now, most = perf_counter(), self._max_latency
        most_cost = self._most_cost()
        while self._shapes and not jobs:
            key, queue = self._shapes.next_group()
            while queue and n_rows + queue[0].n_rows <= self._max_batch_size:
                if jobs and cost + queue[0].cost > most_cost:
                    break
                job = queue.popleft()
                self._queued -= job.n_rows
                self._queued_cost -= job.cost
                needed = min(self._engine_time.estimate(job.cost), most * (1 - FRESH_SHARE))
                if self._awaited(job, now, now - most + needed):
                    self._recorder.queue.append(now - job.arrived)
                    jobs.append(job)
                    n_rows += job.n_rows
                    cost += job.cost
            self._shapes.put_back(key)
        return jobs, cost

    def _most_cost(self) -> float:
        """Elements to which a batch of rows that are not alike may grow."""
        return min(MAX_BATCH_ELEMENTS, self._engine_time.affordable(BATCH_SHARE * self._max_latency))

    def _awaited(self, job: Job, now: float, latest: float) -> bool:
        """Whether somebody waits for a job that came no earlier than `latest`; a waiter who waits in vain is told."""
        if job.waiter.done():  # cancelled
            return False
        if job.client is not None and job.client.disconnected:
            job.waiter.set_exception(ClientGone("the client hung up"))
            return False
        if job.arrived < latest:
            job.waiter.set_exception(self._late(job, now))
            return False
        return True

    def _late(self, job: Job, now: float) -> DeadlineExceeded:
        waited = (now - job.arrived) * 1e3
        return DeadlineExceeded(f"waited {waited:.0f} ms; the limit is {self._max_latency * 1e3:.0f} ms in all")

    def _compute(self, jobs: list[Job]) -> list[tuple[Job, Any]]:
        """(job, outputs or error) for each. If the batch fails, its halves are tried, so that bad rows fail alone."""
        try:
            run, outputs = self._call(*self._joined(jobs), jobs)
        except Exception as error:
            if len(jobs) > 1:
                half = len(jobs) // 2
                return self._compute(jobs[:half]) + self._compute(jobs[half:])
            return [(jobs[0], self._judged(error))]
        for job in jobs:
            job.run = run
        return list(zip(jobs, self._divided(outputs, jobs), strict=True))

    def _divided(self, outputs: list[np.ndarray], jobs: list[Job]) -> list[list[np.ndarray]]:
        """Each job's rows of the outputs of a batch."""
        if len(jobs) == 1:
            return [outputs]
        parts, start = [], 0
        for job in jobs:
            stop = start + job.n_rows
            if self._axes is None:
                parts.append([array[start:stop] for array in outputs])
            else:
                parts.append(self._axes.cut(outputs, start, stop))
            start = stop
        return parts

    def _joined(self, jobs: list[Job]) -> tuple[Batch, int]:
        if len(jobs) == 1:
            return jobs[0].inputs, jobs[0].n_rows
        if self._axes is not None:
            return self._axes.join(jobs), sum(job.n_rows for job in jobs)
        batch = [np.concatenate(arrays) for arrays in zip(*(job.inputs for job in jobs), strict=True)]
        return batch, len(batch[0])

    def _judged(self, error: Exception) -> ServingError:
        """Whose fault it is that a request on its own was not computed: the client's, if the engine answers others."""
        if isinstance(error, ServingError):
            return error
        if isinstance(error, Refused) and self._answered is not None:
            try:
                self._session.run(self._answered)
            except Exception as broken:
                return EngineError(_first_line(broken))
            return BadInput(f"the model does not compute with these values: {error}")
        return EngineError(_first_line(error))

    def _call(self, batch: Batch, n_rows: int, jobs: list[Job]) -> tuple[Run, list[np.ndarray]]:
        started = perf_counter()
        outputs = self._session.run(batch)
        seconds = perf_counter() - started
        check_outputs(outputs, self._signature, n_rows)
        self._calls += 1
        if self._calls % LEARN_EVERY == 0:
            self._engine_time.learn(n_rows if self._axes is None else cost_of(batch), seconds)
        self._recorder.infer.append(seconds)
        self._recorder.batch.append(n_rows)
        if self._tells_synthetic and any(is_synthetic(job.client) for job in jobs):
            for job, part in zip(jobs, self._divided(outputs, jobs), strict=True):
                self._observe(job.inputs, part, not is_synthetic(job.client))
        else:
            self._observe(batch, outputs)
        return Run(n_rows, started, seconds), outputs

    def _deliver(self, done: list[tuple[Job, Any]]) -> None:
        for job, result in done:
            if job.waiter.done():  # cancelled or given up meanwhile
                continue
            if isinstance(result, Exception):
                job.waiter.set_exception(result)
            else:
                self.delivering = job
                job.waiter.set_result(result)
        self.delivering = None  # what is joined of several jobs is delivered later, and is none of them

    # The engine's own thread

    def _hand_over(self, jobs: list[Job], cost: int) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="engine", daemon=True)
            self._thread.start()
        self._busy = True
        self._in_flight = jobs
        self._free_at = perf_counter() + self._engine_time.estimate(cost)
        if self._sweeping is None:
            self._sweeping = self._loop.call_later(self._max_latency, self._sweep, context=self._context)
        self._handed.put(jobs)

    def _work(self) -> None:
        while (jobs := self._handed.get()) is not None:
            done = self._compute(jobs)
            try:
                self._loop.call_soon_threadsafe(self._finished, done, context=self._context)
            except RuntimeError:  # the loop closed while the engine ran: nobody waits
                return

    def _finished(self, done: list[tuple[Job, Any]]) -> None:
        self._busy, self._in_flight = False, []
        self._deliver(done)
        if self._waiting:
            self._flush()

    def _sweep(self) -> None:
        """While the engine holds the queue up, fail what has waited too long, also in the engine itself."""
        self._sweeping = None
        if not self._busy:
            return
        now = perf_counter()
        waiting = [job for job in (*self._in_flight, *self._waiting) if not job.waiter.done()]
        for job in waiting:
            if now - job.arrived >= self._max_latency:
                job.waiter.set_exception(self._late(job, now))
        oldest = min((job.arrived for job in waiting if not job.waiter.done()), default=now)
        delay = max(0.001, oldest + self._max_latency - now)
        self._sweeping = self._loop.call_later(delay, self._sweep, context=self._context)

    def close(self) -> None:
        """End the engine's thread once it has done what it holds."""
        if self._thread is not None:
            self._handed.put(None)


def _first_line(error: Exception) -> str:
    return f"the engine failed: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
