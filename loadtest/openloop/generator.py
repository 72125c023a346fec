"""The generator: connections that ask and are answered, and a pump that takes each request up when it is due.

HTTP/1.1 as this service answers it: by content-length and kept alive.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable
from time import perf_counter
from typing import cast

import numpy as np

from loadtest.openloop.load import BROKEN, UNANSWERED, Load, LoadResult

END, LENGTH = b"\r\n\r\n", b"content-length:"
OnAnswer = Callable[["Connection", int, bytes], None]


class Connection(asyncio.Protocol):
    """Gives `on_answer` the status and the bytes, head and body, of each answer; BROKEN and the reason if none came."""

    def __init__(self, on_answer: OnAnswer) -> None:
        self._on_answer = on_answer
        self._transport: asyncio.Transport | None = None
        self._held = b""
        self.place = -1  # of the request that is under way; −1: none is

    @property
    def open(self) -> bool:
        return self._transport is not None

    def ask(self, place: int, request: bytes) -> None:
        """Sends a request on an open connection."""
        assert self._transport is not None
        self.place = place
        self._transport.write(request)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but name

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        self._on_answer(self, BROKEN, str(error or "the service closed the connection").encode())

    def data_received(self, data: bytes) -> None:
        data = self._held + data if self._held else data
        end = data.find(END)
        if end < 0 or len(data) < end + len(END) + _length(data[:end].lower()):
            self._held = data
            return
        self._held = b""
        self._on_answer(self, int(data[9:12]), data)


def _length(head: bytes) -> int:
    at = head.find(LENGTH)
    if at < 0:
        raise ValueError(f"an answer without content-length: {head[:80]!r}")
    return int(head[at + len(LENGTH) :].partition(b"\r\n")[0])


# libuv's timers tick in milliseconds: nearer than this the loop is turned instead, at the price of a core.
SPIN_SECONDS = 2e-3
SAMPLE_EVERY = 32  # the answers that are checked by content: each costs about as much as asking
RECONNECT_SECONDS = 0.02


class Generator:
    """A load under way; afterwards `samples` holds (place, bytes of the answer) of one in 32 answers.

    In an open loop a request that finds every connection busy waits here, and that counts in its latency.
    """

    def __init__(self, load: Load, requests: list[bytes]) -> None:
        self.load, self._requests = load, requests
        self.samples: list[tuple[int, bytes]] = []
        self._first_failure = ""
        self._due: list[float] = load.arrivals().tolist() if load.rate else []
        self._late, self._sent, self._done = ([np.inf] * len(self._due) for _ in range(3))
        self._status, self._retry = [UNANSWERED] * len(self._due), [False] * len(self._due)
        self._next = self._answers = 0
        self._waiting: deque[int] = deque()
        self._free: deque[Connection] = deque()
        self._loop = asyncio.get_running_loop()
        self._ended = self._loop.create_future()

    async def run(self) -> LoadResult:
        """Until all are answered, or the load's patience ends. OSError where nobody listens"""
        connections = await asyncio.gather(*(self._connect() for _ in range(self.load.connections)))
        self._free.extend(connections)
        self._started = perf_counter()
        self._end = self.load.warmup + self.load.measured_seconds
        if self.load.rate:
            self._pump()
        else:
            for _ in connections:
                self._release(self._free.popleft())
        try:
            await asyncio.wait_for(self._ended, self._end + self.load.patience)
        except TimeoutError:
            pass  # what was not answered by now stays without an answer
        finally:
            self._ended.cancel()
            for connection in connections:
                connection.close()
        return self._result()

    def _now(self) -> float:
        return perf_counter() - self._started

    async def _connect(self) -> Connection:
        address = self.load.host, self.load.port
        return (await self._loop.create_connection(lambda: Connection(self._answered), *address))[1]

    def _pump(self) -> None:
        if self._ended.done():
            return
        now, due, total = self._now(), self._due, len(self._due)
        while self._next < total and due[self._next] <= now:
            self._late[self._next] = now - due[self._next]
            self._waiting.append(self._next)
            self._next += 1
        while self._waiting and not self.load.connections:
            self._loop.create_task(self._ask_anew(self._waiting.popleft()))
        while self._waiting and self._free:
            self._ask(self._free.popleft(), self._waiting.popleft())
        if self._next < total:
            ahead = due[self._next] - now
            if ahead > SPIN_SECONDS:
                self._loop.call_later(ahead - SPIN_SECONDS / 2, self._pump)
            else:
                self._loop.call_soon(self._pump)
        elif not total:
            self._ended.set_result(None)

    async def _ask_anew(self, place: int) -> None:
        self._sent[place] = self._now()  # connecting is part of the time that it takes
        try:
            connection = await self._connect()
        except OSError as error:
            self._note(place, BROKEN, str(error).encode())
        else:
            self._ask(connection, place)

    def _ask(self, connection: Connection, place: int) -> None:
        self._sent[place] = min(self._sent[place], self._now())
        connection.ask(place, self._requests[place % len(self._requests)])

    def _answered(self, connection: Connection, status: int, answer: bytes) -> None:
        place, connection.place = connection.place, -1
        if place >= 0:  # else it broke while it was idle: nobody's request is lost
            self._note(place, status, answer)
        if not self.load.connections:
            connection.close()
        elif connection.open:
            self._release(connection)
        else:
            if connection in self._free:
                self._free.remove(connection)
            if not self._ended.done():
                self._loop.create_task(self._replace())

    def _note(self, place: int, status: int, answer: bytes) -> None:
        self._done[place], self._status[place] = self._now(), status
        if status == 200:
            if place % SAMPLE_EVERY == 0:
                self.samples.append((place, answer))
        else:
            self._retry[place] = b"\r\nretry-after:" in answer.lower()
            self._first_failure = self._first_failure or f"{status} {answer[-200:].decode(errors='replace')}"
        self._answers += 1
        if self.load.rate and self._answers == len(self._due) and not self._ended.done():
            self._ended.set_result(None)

    def _release(self, connection: Connection) -> None:
        """A connection that was answered, or that replaces a broken one, gets the next request."""
        if self._waiting:
            self._ask(connection, self._waiting.popleft())
            return
        now = self._now()
        if self.load.rate or now >= self._end:
            self._free.append(connection)
            if not self.load.rate and len(self._free) == self.load.connections and not self._ended.done():
                self._ended.set_result(None)
            return
        for column, value in ((self._due, now), (self._late, 0.0), (self._sent, now), (self._done, np.inf)):
            column.append(value)
        self._status.append(UNANSWERED)
        self._retry.append(False)
        self._ask(connection, len(self._due) - 1)

    async def _replace(self) -> None:
        while not self._ended.done():
            await asyncio.sleep(RECONNECT_SECONDS)
            try:
                return self._release(await self._connect())
            except OSError:
                continue

    def _result(self) -> LoadResult:
        due = np.array(self._due)
        measured, warmup = due >= self.load.warmup, self.load.warmup
        sent, done = np.array(self._sent)[measured] - warmup, np.array(self._done)[measured] - warmup
        return LoadResult(
            seconds=self.load.measured_seconds,
            elapsed=self._now(),
            due=due[measured] - warmup,
            late=np.array(self._late)[measured],
            sent=sent,
            done=done,
            status=np.array(self._status, np.int16)[measured],
            retry=np.array(self._retry, bool)[measured],
            statuses={str(status): count for status, count in Counter(self._status).items() if status != UNANSWERED},
            first_wrong=self._first_failure,
        )
