"""How much memory requests may take at a time, so that no upload has the kernel end the worker that reads it."""

from __future__ import annotations

import asyncio
import heapq
import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count

import psutil

from serving.cgroup import memory_limit
from serving.errors import DeadlineExceeded, Overloaded, TooLarge

log = logging.getLogger("bentoml.ekiben")
MB = 10**6
MIN_BYTES = 16 * MB  # a smaller budget could not take one body of the default limit
# Of what the container leaves: the rest is for sockets, the page cache and what the allocator does not give back.
USABLE_SHARE = 0.8
BODY_SHARE = 0.25
MAX_WAITING = 128
UNLIMITED = 2**62


class MemoryBudget:
    """Bytes that may be taken at a time. All of it happens on one event loop."""

    def __init__(self, limit: int = UNLIMITED) -> None:
        self.limit = limit
        self.taken = 0
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._places = count()

    def take(self, n_bytes: int) -> bool:
        """Whether there is room; if so it is the caller's until it is given back."""
        if self.taken + n_bytes > self.limit:
            return False
        self.taken += n_bytes
        return True

    def give_back(self, n_bytes: int) -> None:
        """Give to those who wait, the smallest first: it is done soonest."""
        self.taken -= n_bytes
        waiting = self._waiting
        while waiting and (waiting[0][2].done() or self.take(waiting[0][0])):
            _, _, future = heapq.heappop(waiting)
            if not future.done():
                future.set_result(None)

    @asynccontextmanager
    async def reserved(self, n_bytes: int, seconds: float) -> AsyncIterator[None]:
        """Hold so many bytes, after a wait of so many seconds at most. TooLarge, Overloaded, DeadlineExceeded"""
        await self._reserve(n_bytes, seconds)
        try:
            yield
        finally:
            self.give_back(n_bytes)

    async def _reserve(self, n_bytes: int, seconds: float) -> None:
        if n_bytes > self.limit:
            raise TooLarge(
                f"to read this request takes {n_bytes / MB:,.0f} MB of memory; there are {self.limit / MB:,.0f} MB",
                setting="EKIBEN_MEMORY_MB",
            )
        if self.take(n_bytes):
            return
        if len(self._waiting) >= MAX_WAITING:  # some may have given up
            self._waiting = [each for each in self._waiting if not each[2].done()]
            heapq.heapify(self._waiting)
        if len(self._waiting) >= MAX_WAITING:
            raise Overloaded(f"{MAX_WAITING} requests wait for memory", setting="EKIBEN_MEMORY_MB")
        future = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (n_bytes, next(self._places), future))
        timer = asyncio.get_running_loop().call_later(seconds, _expire, future)
        try:
            await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():
                self.give_back(n_bytes)
            raise
        finally:
            timer.cancel()


def _expire(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_exception(DeadlineExceeded("waited too long for memory", setting="EKIBEN_MEMORY_MB"))


class WorkerMemory:
    """The budgets of one worker: of bodies while they arrive and are answered, and of what is made of them.

    Apart, so that bodies that fill theirs cannot keep each other from being decoded.
    """

    def __init__(self, n_bytes: int = UNLIMITED) -> None:
        bodies = int(n_bytes * BODY_SHARE)
        self.bodies, self.work = MemoryBudget(bodies), MemoryBudget(n_bytes - bodies)

    @classmethod
    def of(cls, memory_mb: int, workers: int) -> WorkerMemory:
        """As EKIBEN_MEMORY_MB says, or what the container leaves to this worker now that it has loaded its models."""
        return cls(memory_mb * MB or _left_bytes(workers))


def _left_bytes(workers: int) -> int:
    limit = memory_limit() or psutil.virtual_memory().total
    own, supervisor = psutil.Process().memory_info().rss, _resident(os.getppid())
    left = int(((limit - supervisor) / workers - own) * USABLE_SHARE)
    if left < MIN_BYTES:
        log.warning(
            "of %d MB each of %d workers takes %d MB to start, which leaves nearly nothing for requests: large bodies"
            " and pictures will be refused, or the kernel ends a worker (EKIBEN_MEMORY_MB, EKIBEN_WORKERS)",
            limit // MB,
            workers,
            own // MB,
        )
    return max(MIN_BYTES, left)


def _resident(pid: int) -> int:
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0
