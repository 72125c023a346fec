"""One gRPC client's connection: the asyncio protocol around an Http2Connection."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from math import inf
from time import perf_counter
from typing import cast

from serving.errors import TooSlow
from serving.grpc.call import Call
from serving.grpc.service import GrpcService
from serving.http.keys import SYNTHETIC
from serving.http2 import frames
from serving.http2.connection import HELLO, Headers, Http2Connection
from serving.http2.frames import ProtocolError
from serving.http2.stream import Stream
from serving.lifecycle import TURN_SECONDS

log = logging.getLogger("bentoml.ekiben")
MAX_UNREAD_BYTES = 64 * 2**20  # of answers that a client has asked for and opens no window for
LINGER_SECONDS = 2.0  # after the last answer, for the client to close the connection itself


class GrpcConnection(asyncio.Protocol):
    """Reads and writes; each stream's `call` is a Call."""

    transport: asyncio.Transport
    write: Callable[[bytes], None]  # the transport's
    lost = False
    read_at = 0.0  # when what is parsed now came, on perf_counter's clock

    def __init__(self, service: GrpcService) -> None:
        self._service = service
        self.http2 = Http2Connection(self)
        self.max_message_bytes = service.max_message_bytes
        self.max_buffered_bytes = 2 * service.max_message_bytes + 2**20
        self.bodies = service.gateway.bodies
        self.buffered = 0  # bytes of messages that have come in part
        self._unread = 0  # bytes of answers that wait for a window, as far as the budget of bodies knows
        self._unfinished: deque[Call] = deque()  # have messages that the next turn of the event loop reads
        self.turn_ends = inf  # on perf_counter's clock
        self._behind = False  # what has come is not all read: later turns go on with it
        self._yielding = False  # and the next is due
        self._arrived = b""  # what has come since
        self._write_paused = False
        self._since = self._checked = asyncio.get_running_loop().time()
        self._stuck: dict[int, tuple[int, float]] = {}  # by stream: bytes that wait for its window, and since when

    # The transport's calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say our settings, or that too many connections are open."""
        self.transport = cast(asyncio.Transport, transport)
        self.write = self.transport.write
        self.write(HELLO)
        connections = self._service.connections
        connections.add(self)
        self._service.watch(connections)
        if len(connections) - len(self._service.gateway.lingering) > self._service.limits.connections:
            log.warning("a gRPC connection is turned away: as many are open as EKIBEN_MAX_CONNECTIONS allows")
            self.http2.fail(ProtocolError(frames.Code.ENHANCE_YOUR_CALM, "too many connections are open"))

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel its calls: nobody waits for their answers."""
        self.lost = True
        self.http2.closed = True
        self._service.connections.discard(self)
        self._cancel_all()
        self._unfinished.clear()
        self._count_unread(0)

    def data_received(self, data: bytes) -> None:
        """Feed the frames to HTTP/2, which calls back with what they are."""
        self.read_at = now = perf_counter()
        clock = self._service.gateway.clock
        if now > clock.punctual_until:
            self.read_at = clock.arrival(now, self.transport)
        if self._behind:  # TLS may still hand on what it had read
            self._arrived += data
        else:
            self._parse(data, now + TURN_SECONDS)
            if self.http2.behind:
                self._fall_behind()

    def _parse(self, data: bytes, turn_ends: float) -> None:
        self._since, self.turn_ends = 0.0, turn_ends
        self.http2.feed(data, turn_ends)
        if self._service.draining:
            self._go_away()

    def go_on(self, call: Call) -> None:
        """Have the call read what has come in the next turn of the event loop."""
        self._unfinished.append(call)
        self._fall_behind()

    def _fall_behind(self) -> None:
        if not (self._behind or self.transport.is_closing()):
            self._behind = True
            self.transport.pause_reading()
            self._yield()

    def _yield(self) -> None:
        """Let other clients have their turn, and go on in the next, once: whoever asks for it."""
        if not self._yielding:
            self._yielding = True
            asyncio.get_running_loop().call_soon(self._resume)

    def _resume(self) -> None:
        """Go on with what has come; then with what comes."""
        self._yielding = False
        if self._write_paused or self.transport.is_closing():
            return
        self.turn_ends = turn_ends = perf_counter() + TURN_SECONDS
        for _ in range(len(self._unfinished)):
            self._unfinished.popleft().read_rest()
            if perf_counter() >= turn_ends:
                break
        if not self._unfinished:
            data, self._arrived = self._arrived, b""
            self._parse(data, turn_ends)
        if self._unfinished or self.http2.behind:
            self._yield()
        else:
            self._behind = False
            if not (self._write_paused or self.transport.is_closing()):
                self.transport.resume_reading()

    def eof_received(self) -> bool:
        """Close: a client that sends no more reads no more."""
        return False

    def pause_writing(self) -> None:
        """Backpressure: read nothing while the client does not read."""
        self._write_paused = True
        self._since = asyncio.get_running_loop().time()
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        """The client has read enough: read again."""
        self._write_paused = False
        if self._behind:
            self._yield()
        elif not self.transport.is_closing():
            self.transport.resume_reading()

    # The state machine's calls

    def request_received(self, stream: Stream, headers: Headers) -> None:
        """Begin a call of the method that the headers name, or end it with its status."""
        call = stream.call = Call(self, stream, headers)
        try:
            call.begin(method := self._service.method_of(headers))
            if SYNTHETIC in headers:
                call.synthetic = self._service.is_synthetic(headers, method)
        except Exception as error:
            return call.reject(error)
        if stream.remote_closed:
            call.data_received(b"", True)

    def data_of_stream(self, stream: Stream, data: bytes, ended: bool) -> None:
        """Hand the bytes to the stream's call."""
        stream.call.data_received(data, ended)

    def spend(self, call: Call) -> None:
        """One more request of a call's key. Unauthorized, Forbidden, Overloaded"""
        assert call.method is not None
        self._service.spend(call.headers, call.method.path)

    def stream_reset(self, stream: Stream) -> None:
        """Cancel the stream's call."""
        if stream.call is not None:
            stream.call.cancelled()

    def connection_failed(self, error: ProtocolError) -> None:
        """Close, and cancel all calls."""
        log.debug("a gRPC connection ends: %s (%s)", error, error.code.name)
        self.transport.close()
        self._cancel_all()

    def _cancel_all(self) -> None:
        for stream in tuple(self.http2.streams.values()):
            self.http2.discard(stream)
            self.stream_reset(stream)
        self.http2.streams.clear()

    # Time

    def check_time(self, now: float) -> None:
        """Called about once a second: end what does not arrive, is not read, or is kept for nothing."""
        limits, http2 = self._service.limits, self.http2
        http2.refill(now - self._checked)
        self._checked = now
        if self._service.draining:
            self._go_away()
        self._since = self._since or now
        waited = now - self._since
        if self._write_paused or self.transport.is_closing():
            if waited > limits.body_seconds:
                self.transport.abort()
        elif not self._count_unread(http2.blocked_bytes):
            http2.fail(ProtocolError(frames.Code.ENHANCE_YOUR_CALM, "too many answers are not read"))
        elif http2.streams:
            self._check_streams(now, limits.body_seconds)
        elif http2.going_away:
            if waited > LINGER_SECONDS:
                self.transport.close()
        elif waited > (limits.keep_alive_seconds if http2.configured and not http2.receiving else limits.body_seconds):
            self._go_away()

    def _count_unread(self, n_bytes: int) -> bool:
        """Have the budget of bodies hold what is not read; whether that is no more than there is room for."""
        more = n_bytes - self._unread
        if n_bytes > MAX_UNREAD_BYTES or (more > 0 and not self.bodies.take(more)):
            return False
        if more < 0:
            self.bodies.give_back(-more)
        self._unread = n_bytes
        return True

    def _check_streams(self, now: float, seconds: float) -> None:
        stuck: dict[int, tuple[int, float]] = {}
        for stream in tuple(self.http2.streams.values()):
            call = stream.call
            if call.receiving and perf_counter() - call.since > seconds:
                call.reject(TooSlow(f"the request did not arrive within {seconds:g} s", "EKIBEN_BODY_TIMEOUT_S"))
            elif stream.blocked:
                n_bytes, since = self._stuck.get(stream.id, (0, now))
                since = since if n_bytes == len(stream.blocked) else now
                stuck[stream.id] = len(stream.blocked), since
                if now - since > seconds:
                    self.http2.reset(stream.id, frames.Code.CANCEL)
        self._stuck = stuck

    def _go_away(self) -> None:
        self.http2.go_away()
        self._since = self._since or asyncio.get_running_loop().time()

    def shutdown(self) -> None:
        """The server ends: what has begun is answered first."""
        self._go_away()
        for stream in tuple(self.http2.streams.values()):
            call = stream.call
            if call.method is not None and not call.done:
                call.method.leave(call)
        if not self.http2.streams:
            self.transport.close()
