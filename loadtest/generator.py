"""The open loop's generator: connections that ask and are answered, and a pump that sends each request when it is due.

HTTP/1.1 as this service answers it: by content-length and kept alive. Started by `loadtest.openloop.run_load`, in a
process of its own that measures how late itself was; nothing that a person runs.
"""

from __future__ import annotations

import asyncio
import gc
import os
import pickle
import sys
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from time import perf_counter
from typing import cast

import numpy as np
import uvloop

from loadtest import v2
from loadtest.openloop import BROKEN, UNANSWERED, Load, LoadResult
from loadtest.service import HOST

END, LENGTH = b"\r\n\r\n", b"content-length:"
SPIN_SECONDS = 2e-3  # libuv's timers tick in milliseconds: nearer than this the loop is turned instead, on a core
SAMPLE_EVERY = 32  # the answers that are checked by content: each costs about as much as asking
RECONNECT_SECONDS = 0.02
TOLERANCE = 1e-3  # sums differ by the size of the batch; an answer to another request is far from this


@dataclass(slots=True)
class Exchange:
    """A request and what came of it; its fields are LoadResult's, in seconds since the start."""

    number: int
    due: float
    late: float = inf
    sent: float = inf
    done: float = inf
    status: int = UNANSWERED
    retry: bool = False


class Connection(asyncio.Protocol):
    """Gives `on_answer` the status and the bytes, head and body, of each answer; BROKEN and the reason if none came."""

    def __init__(self, on_answer: Callable[[Connection, int, bytes], None]) -> None:
        self._on_answer = on_answer
        self._partial = b""
        self.transport: asyncio.Transport  # from when it is made
        self.exchange: Exchange | None = None  # that is under way

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport to write requests to."""
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but name

    def connection_lost(self, error: Exception | None) -> None:
        """Report its request as broken."""
        self._on_answer(self, BROKEN, str(error or "the service closed the connection").encode())

    def data_received(self, data: bytes) -> None:
        """Report the answer once it is whole."""
        data = self._partial + data if self._partial else data
        end = data.find(END)
        if end < 0 or len(data) < end + len(END) + content_length(data[:end].lower()):
            self._partial = data
            return
        self._partial = b""
        self._on_answer(self, int(data[9:12]), data)


def content_length(head: bytes) -> int:
    """Of a head in lower case. ValueError where it says none"""
    _, separator, rest = head.partition(LENGTH)
    if not separator:
        raise ValueError(f"an answer without content-length: {head[:80]!r}")
    return int(rest.partition(b"\r\n")[0])


class Generator:
    """A load under way; afterwards `samples` holds (number, bytes of the answer) of one in 32 answers.

    In an open loop a request that finds every connection busy waits here, and that counts in its latency.
    """

    def __init__(self, port: int, load: Load, requests: list[bytes]) -> None:
        self._port, self.load, self._requests = port, load, requests
        self.samples: list[tuple[int, bytes]] = []
        self._first_failure = ""
        due = load.arrivals().tolist() if load.rate else []
        self._exchanges = [Exchange(number, second) for number, second in enumerate(due)]
        self._next = self._answers = 0
        self._waiting: deque[Exchange] = deque()
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
                connection.transport.abort()
        return self._result()

    def _now(self) -> float:
        return perf_counter() - self._started

    async def _connect(self) -> Connection:
        return (await self._loop.create_connection(lambda: Connection(self._answered), HOST, self._port))[1]

    def _pump(self) -> None:
        if self._ended.done():
            return
        now, exchanges = self._now(), self._exchanges
        while self._next < len(exchanges) and exchanges[self._next].due <= now:
            exchange = exchanges[self._next]
            exchange.late = now - exchange.due
            self._waiting.append(exchange)
            self._next += 1
        while self._waiting and not self.load.connections:
            self._loop.create_task(self._ask_anew(self._waiting.popleft()))
        while self._waiting and self._free:
            self._ask(self._free.popleft(), self._waiting.popleft())
        if self._next < len(exchanges):
            ahead = exchanges[self._next].due - now
            if ahead > SPIN_SECONDS:
                self._loop.call_later(ahead - SPIN_SECONDS / 2, self._pump)
            else:
                self._loop.call_soon(self._pump)
        elif not exchanges:
            self._ended.set_result(None)

    async def _ask_anew(self, exchange: Exchange) -> None:
        exchange.sent = self._now()  # connecting is part of the time that it takes
        try:
            connection = await self._connect()
        except OSError as error:
            self._note(exchange, BROKEN, str(error).encode())
        else:
            self._ask(connection, exchange)

    def _ask(self, connection: Connection, exchange: Exchange) -> None:
        exchange.sent = min(exchange.sent, self._now())
        connection.exchange = exchange
        connection.transport.write(self._requests[exchange.number % len(self._requests)])

    def _answered(self, connection: Connection, status: int, answer: bytes) -> None:
        exchange, connection.exchange = connection.exchange, None
        if exchange:  # else it broke while it was idle: nobody's request is lost
            self._note(exchange, status, answer)
        if not self.load.connections:
            connection.transport.abort()
        elif status != BROKEN:
            self._release(connection)
        else:
            if connection in self._free:
                self._free.remove(connection)
            if not self._ended.done():
                self._loop.create_task(self._replace())

    def _note(self, exchange: Exchange, status: int, answer: bytes) -> None:
        exchange.done, exchange.status = self._now(), status
        if status == 200:
            if exchange.number % SAMPLE_EVERY == 0:
                self.samples.append((exchange.number, answer))
        else:
            exchange.retry = b"\r\nretry-after:" in answer.lower()
            self._first_failure = self._first_failure or f"{status} {answer[-200:].decode(errors='replace')}"
        self._answers += 1
        if self.load.rate and self._answers == len(self._exchanges) and not self._ended.done():
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
        self._exchanges.append(Exchange(len(self._exchanges), now, late=0.0))
        self._ask(connection, self._exchanges[-1])

    async def _replace(self) -> None:
        while not self._ended.done():
            await asyncio.sleep(RECONNECT_SECONDS)
            try:
                return self._release(await self._connect())
            except OSError:
                continue

    def _result(self) -> LoadResult:
        warmup = self.load.warmup
        measured = [each for each in self._exchanges if each.due >= warmup]
        due, sent, done = (np.array([getattr(each, name) for each in measured]) for name in ("due", "sent", "done"))
        return LoadResult(
            seconds=self.load.measured_seconds,
            elapsed=self._now(),
            due=due - warmup,
            late=np.array([each.late for each in measured]),
            sent=sent - warmup,
            done=done - warmup,
            status=np.array([each.status for each in measured], np.int16),
            retry=np.array([each.retry for each in measured], bool),
            statuses=Counter(each.status for each in self._exchanges if each.status != UNANSWERED),
            first_wrong=self._first_failure,
        )


def fault(answer: bytes, expected: bytes) -> str:
    """What is wrong with a V2 answer, head and body, or nothing."""
    try:
        return v2.difference(_tensors(answer), _tensors(expected), TOLERANCE)
    except (ValueError, KeyError, TypeError) as error:
        return f"unreadable ({error!r}): {answer[-120:].decode(errors='replace')}"


def _tensors(answer: bytes) -> v2.Tensors:
    head, _, body = answer.partition(END)
    lines = (line.partition(":") for line in head.decode("latin-1").lower().split("\r\n")[1:])
    return v2.decode(body, {name: value.strip() for name, _, value in lines})[1]


async def drive(port: int, load: Load, requests: list[bytes], expected: list[bytes]) -> LoadResult:
    """The result of a load, with the sampled answers held against the expected ones, where there are any."""
    generator = Generator(port, load, requests)
    result = await generator.run()
    if expected:
        faults = [fault(answer, expected[number % len(expected)]) for number, answer in generator.samples]
        wrong = [text for text in faults if text]
        result.checked, result.wrong = len(faults), len(wrong)
        result.first_wrong = wrong[0] if wrong else result.first_wrong
    return result


def main() -> None:
    """Reads a load from standard input and writes its result to standard output, both pickled."""
    port, load, requests, expected, cores = pickle.load(sys.stdin.buffer)  # noqa: S301 - written by run_load
    if cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)
    gc.disable()  # a collection in the middle would be late by milliseconds, and a load is short
    result = uvloop.run(drive(port, load, requests, expected))
    # Not sys.stdout.buffer: with PYTHONUNBUFFERED that is the bare descriptor, whose write may stop halfway.
    with open(sys.stdout.fileno(), "wb", closefd=False) as out:
        pickle.dump(result, out)


if __name__ == "__main__":
    main()
