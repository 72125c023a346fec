"""A load whose rate changes at given times, with every answer kept: when it was due, sent and told, and what it was."""

from __future__ import annotations

import asyncio
import contextlib
import io
from collections import deque
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from loadtest.openloop.connection import BROKEN, Connection

SPIN_SECONDS = 2e-3  # libuv's timers tick in milliseconds: nearer than this the loop is turned instead
PATIENCE = 5.0
UNTOLD = -1  # the status of a request that nobody answered


@dataclass(frozen=True)
class Phase:
    """Poisson arrivals at `rate` a second, for so many seconds."""

    rate: float
    seconds: float


@dataclass
class Told:
    """One entry per request, in the order of `due`; times in seconds since the start, inf where it never came to it.

    status: 200, 429, 503, …; 0 for a connection that broke, UNTOLD. retry: whether Retry-After was there.
    """

    due: np.ndarray
    sent: np.ndarray
    done: np.ndarray
    status: np.ndarray
    retry: np.ndarray

    @property
    def seconds(self) -> np.ndarray:
        """From the sending to the answer; inf where none came."""
        return np.where(np.isfinite(self.done), self.done - np.minimum(self.sent, self.done), np.inf)

    def packed(self) -> bytes:
        stream = io.BytesIO()
        np.savez(stream, **vars(self))
        return stream.getvalue()

    @classmethod
    def unpacked(cls, data: bytes) -> Told:
        with np.load(io.BytesIO(data)) as held:
            return cls(**{name: held[name] for name in held.files})


class Storm:
    """Sends requests in turn when they are due, over so many connections; who finds none free waits for one.

    With 0 connections each has one of its own, and connecting is part of the time that it takes.
    """

    def __init__(self, address: tuple[str, int], connections: int, phases: list[Phase], requests: list[bytes]) -> None:
        self._address, self._connections, self._requests = address, connections, requests
        due = arrivals(phases)
        nothing = np.full(len(due), np.inf)
        status = np.full(len(due), UNTOLD, np.int16)
        self.told = Told(due, nothing, nothing.copy(), status, np.zeros(len(due), bool))
        self._due = due.tolist()
        self._next = self._answers = 0
        self._free: deque[Connection] = deque()
        self._waiting: deque[int] = deque()
        self._loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()

    async def run(self) -> Told:
        self._free.extend(await asyncio.gather(*(self._connect() for _ in range(self._connections))))
        self._started = perf_counter()
        self._pump()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._ended.wait(), self._due[-1] + PATIENCE)
        self._ended.set()
        return self.told

    def _now(self) -> float:
        return perf_counter() - self._started

    async def _connect(self) -> Connection:
        return (await self._loop.create_connection(lambda: Connection(self._answered), *self._address))[1]

    def _pump(self) -> None:
        now, due, total = self._now(), self._due, len(self._due)
        while self._next < total and due[self._next] <= now:
            self._waiting.append(self._next)
            self._next += 1
        while self._waiting and not self._connections:
            self._loop.create_task(self._ask_anew(self._waiting.popleft()))
        while self._waiting and self._free:
            self._ask(self._free.popleft(), self._waiting.popleft())
        if self._next < total and not self._ended.is_set():
            ahead = due[self._next] - now
            if ahead > SPIN_SECONDS:
                self._loop.call_later(ahead - SPIN_SECONDS / 2, self._pump)
            else:
                self._loop.call_soon(self._pump)

    async def _ask_anew(self, place: int) -> None:
        self.told.sent[place] = self._now()
        try:
            connection = await self._connect()
        except OSError:
            self._note(place, BROKEN, b"")
        else:
            self._ask(connection, place)

    def _ask(self, connection: Connection, place: int) -> None:
        self.told.sent[place] = min(self.told.sent[place], self._now())
        connection.ask(place, self._requests[place % len(self._requests)])

    def _answered(self, connection: Connection, status: int, answer: bytes) -> None:
        place, connection.place = connection.place, -1
        if place >= 0:
            self._note(place, status, answer)
        if not self._connections:
            connection.close()
        elif not connection.open:
            if connection in self._free:
                self._free.remove(connection)
            if not self._ended.is_set():
                self._loop.create_task(self._replace())
        elif self._waiting:
            self._ask(connection, self._waiting.popleft())
        else:
            self._free.append(connection)

    def _note(self, place: int, status: int, answer: bytes) -> None:
        self.told.done[place], self.told.status[place] = self._now(), status
        self.told.retry[place] = status != 200 and b"\r\nretry-after:" in answer
        self._answers += 1
        if self._answers == len(self._due):
            self._ended.set()

    async def _replace(self) -> None:
        while not self._ended.is_set():
            try:
                return self._free.append(await self._connect())
            except OSError:
                await asyncio.sleep(0.02)


def arrivals(phases: list[Phase], seed: int = 0) -> np.ndarray:
    """Times of a Poisson process whose rate changes from phase to phase, in seconds from the start."""
    random, start, times = np.random.default_rng(seed), 0.0, []
    for phase in phases:
        number = int(random.poisson(phase.rate * phase.seconds))
        times.append(np.sort(random.uniform(start, start + phase.seconds, number)))
        start += phase.seconds
    return np.concatenate(times)
