"""One call: its messages, its deadline, and its one end."""

from __future__ import annotations

import asyncio
import re
import zlib
from collections.abc import Callable
from struct import Struct
from time import perf_counter
from typing import Any, Protocol

from serving.errors import BadInput, ClientGone, DeadlineExceeded, Overloaded, ServingError, as_serving_error
from serving.grpc.status import OK_TRAILERS, MessageTooLarge, Unimplemented, trailers
from serving.http.trace import TRACE, TRACEPARENT, trace_of
from serving.http2.connection import Headers
from serving.http2.hpack import encode
from serving.http2.stream import Stream
from serving.memory import MemoryBudget
from serving.telemetry.logs import REQUESTS

PREFIX = Struct(">BL")  # whether it is compressed, and its length
TIMEOUT = re.compile(rb"(\d{1,8})([HMSmun])")
UNIT_SECONDS = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
MAX_TIMEOUT_SECONDS = 86400.0
CODINGS = (b"gzip", b"deflate")
ACCEPTS = (b"grpc-accept-encoding", b"identity,deflate,gzip")
# An answer is compressed as its request was, where that pays and does not hold others up.
COMPRESS_BYTES = range(1024, 256 * 1024)
# :status 200 and content-type application/grpc, by their places in the static table; then the trace id's name.
HEAD = b"\x88\x0f\x10\x10application/grpc\x00" + bytes((len(TRACE),)) + TRACE + b"\x20"
FREE_BODY_BYTES = 16 * 1024  # of a message: for more there must be room in the budget of bodies
MAX_UNREAD_BYTES = 2**20  # of answers on a stream whose client does not read them
PEEK_BYTES = 512  # of a message that is not read, for the model that it names
AS_ITS_HEAD_SAYS = 47  # zlib's window bits: gzip or zlib


class Method:
    """Answers the calls of one method."""

    path: str  # the REST path whose key opens it
    streams = False  # whether there may be any number of messages, each handled as it comes

    def handle(self, call: Call, message: bytes, compressed: bool) -> None:
        """Take a message; its answer may come later."""
        raise NotImplementedError

    def end(self, call: Call) -> None:
        """The client sends no more (only where it `streams`)."""

    def leave(self, call: Call) -> None:
        """The server ends: end a call that would go on for ever. Others are answered."""

    def count(self, error: ServingError, message: bytes) -> tuple[str, str, str, str] | None:
        """Count an error of a message that was not read, of which so much has come.

        Whose it is, for the log: model, form, version and interface; None where no model is known.
        """
        return None


class Connection(Protocol):
    """What a call knows of its connection."""

    http2: Any
    lost: bool
    read_at: float
    turn_ends: float
    max_message_bytes: int
    buffered: int
    max_buffered_bytes: int
    bodies: MemoryBudget

    def spend(self, call: Call) -> None:
        """One more request of a call's key. Unauthorized, Forbidden, Overloaded"""

    def go_on(self, call: Call) -> None:
        """Have the call's `read_rest` called in a later turn of the event loop."""


class Call:
    """A call from its headers to its trailers."""

    __slots__ = (
        "_buffer",
        "_compressed",
        "_connection",
        "_headers_sent",
        "_message",
        "_paid",
        "_reserved",
        "_timer",
        "begun",
        "coding",
        "deadline",
        "done",
        "headers",
        "method",
        "on_end",
        "path",
        "paused",
        "since",
        "state",
        "stream",
        "synthetic",
        "trace_id",
    )

    def __init__(self, connection: Connection, stream: Stream, headers: Headers) -> None:
        self._connection, self.stream, self.headers = connection, stream, headers
        self.path = headers[b":path"]
        self.trace_id = trace_of(headers.get(TRACEPARENT))
        self.method: Method | None = None
        self.done = self._headers_sent = self.paused = False
        self.synthetic = False  # its rows are kept out of the drift watch
        self.on_end: Callable[[ServingError], None] | None = None  # told when the client or the deadline ends the call
        self.state: Any = None  # the method's own
        self.coding: bytes | None = None  # of compressed messages
        self.begun = self.since = connection.read_at  # when it, or a stream's last message, began; when something came
        self._message: bytes | None = None  # a unary call's, until the client has ended
        self._compressed = False
        self._paid = False  # whether the request that its key was asked for has come
        self._reserved = 0  # bytes of messages that the budget of bodies was asked for
        self._buffer: bytearray | None = None  # of a message that has come in part
        self.deadline: float | None = None  # on perf_counter's clock
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, method: Method) -> None:
        """Read what the headers say of time and compression. BadInput, Unimplemented, DeadlineExceeded"""
        self.method = method
        coding = self.headers.get(b"grpc-encoding", b"identity")
        if coding != b"identity":
            if coding not in CODINGS:
                raise Unimplemented(f"grpc-encoding {coding[:40].decode('latin-1')!r}: gzip and deflate are taken")
            self.coding = coding
        if (timeout := self.headers.get(b"grpc-timeout")) is not None:
            match = TIMEOUT.fullmatch(timeout)
            if match is None:
                raise BadInput(f"grpc-timeout {timeout[:40].decode('latin-1')!r} is not a number and its unit")
            seconds = min(int(match[1]) * UNIT_SECONDS[match[2]], MAX_TIMEOUT_SECONDS)
            self.deadline = self.since + seconds
            self._timer = asyncio.get_running_loop().call_later(seconds, self.expire)

    @property
    def disconnected(self) -> bool:
        """Whether nobody waits any more."""
        if self.deadline is not None and not self.done and perf_counter() >= self.deadline:
            self.expire()  # the loop has not come to it yet
        return self.done or self._connection.lost

    @property
    def receiving(self) -> bool:
        """Whether the rest of a message is waited for."""
        if self.done or self.paused or self.stream.remote_closed:
            return False
        return bool(self._buffer) or (self.method is not None and not self.method.streams)

    # What comes

    def data_received(self, data: bytes, ended: bool) -> None:
        """The next bytes of the client's messages."""
        if self.done:
            return
        try:
            if self._buffer is None and self.method is not None and self.method.streams:
                self.begun = self._connection.read_at
            whole = False
            if self._buffer is None and not self.paused and len(data) >= 5:
                flag, length = PREFIX.unpack_from(data)
                whole = len(data) == length + 5  # the usual frame: one message
            if whole:
                if flag or length > self._connection.max_message_bytes:
                    self._check(flag, length)
                self._message_received(data[5:], bool(flag))
            elif (data or self._buffer) and not self._read(data):
                return
            if ended:
                self._ended()
            elif not self.paused:
                self.since = perf_counter()
                self._connection.http2.consume(self.stream)
        except Exception as error:
            self.reject(error)

    def pause(self) -> None:
        """Backpressure: read no messages of a stream whose client is ahead, so that HTTP/2's window stops it."""
        self.paused = True

    def resume(self) -> None:
        """Read on, in a later turn of the event loop."""
        self.paused = False
        self.since = perf_counter()
        self._connection.go_on(self)

    def read_rest(self) -> None:
        """Read on in what has come."""
        if self._buffer or not self.stream.remote_closed:  # else its end was read
            self.data_received(b"", self.stream.remote_closed)

    def _read(self, data: bytes) -> bool:
        """Bytes that are not one whole message; False where some are left to be read later."""
        connection = self._connection
        buffer = self._buffer = bytearray() if self._buffer is None else self._buffer
        buffer += data
        connection.buffered += len(data)
        self._reserve(len(data))
        at = reserved = 0
        later = self.paused
        while len(buffer) - at >= 5 and not (self.done or later):
            flag, length = PREFIX.unpack_from(buffer, at)
            self._check(flag, length)
            if len(buffer) - at < 5 + length:
                break
            message = bytes(memoryview(buffer)[at + 5 : at + 5 + length])
            at += 5 + length
            reserved += reserved_bytes(message)
            self._message_received(message, bool(flag))
            if self.method is not None and self.method.streams:
                self.begun = connection.read_at  # of the next, if what came holds some of it
                if perf_counter() >= connection.turn_ends and not self.paused:
                    connection.go_on(self)
                    later = True
                later = later or self.paused
        if self._buffer is None:  # the call has ended meanwhile
            return True
        if at:
            del buffer[:at]
            connection.buffered -= at
            self.give_back(at - reserved)
        if connection.buffered > connection.max_buffered_bytes:
            raise MessageTooLarge("this connection has too many messages under way that have come in part")
        if not buffer:
            self._buffer = None
        return not (later and buffer)

    def _reserve(self, n_bytes: int) -> None:
        if not self._connection.bodies.take(n_bytes):
            raise Overloaded("bodies that came before take all the memory that there is for them", "EKIBEN_MEMORY_MB")
        self._reserved += n_bytes

    def give_back(self, n_bytes: int) -> None:
        """Of what was reserved, where it still is: the end of the call gives back the rest."""
        if n_bytes := min(n_bytes, self._reserved):
            self._reserved -= n_bytes
            self._connection.bodies.give_back(n_bytes)

    def _check(self, flag: int, length: int) -> None:
        limit = self._connection.max_message_bytes
        if length > limit:
            raise MessageTooLarge(f"the message is over {limit} bytes", "EKIBEN_MAX_BODY_BYTES")
        if length > (room := self._connection.bodies.limit):
            raise MessageTooLarge(f"the message is over {room} bytes", "EKIBEN_MEMORY_MB")
        if flag > 1 or (flag and self.coding is None):
            raise BadInput("a message says that it is compressed, and grpc-encoding does not say how")

    def _message_received(self, message: bytes, compressed: bool) -> None:
        assert self.method is not None
        if self.method.streams:
            return self.method.handle(self, message, compressed)
        if self._message is not None:
            raise BadInput("a second message, where the method takes one")
        self._message, self._compressed = message, compressed

    def _ended(self) -> None:
        assert self.method is not None
        if self._buffer:
            raise BadInput("the client has ended within a message")
        if self.method.streams:
            return self.method.end(self)
        message, self._message = self._message, None
        if message is None:
            raise BadInput("there is no message, where the method takes one")
        self.method.handle(self, message, self._compressed)

    def spend(self) -> None:
        """A request of a stream has come: each but the first, which the headers were, is one more of its key.

        Overloaded over the key's rate; Unauthorized, Forbidden where the key is gone.
        """
        if self._paid:
            self._connection.spend(self)
        self._paid = True

    # What goes

    def respond(self, message: bytes) -> None:
        """The one answer of a unary call, and its end."""
        if self.done:
            return
        self._close()
        self._connection.http2.respond(self.stream, self._head(), self._framed(message), OK_TRAILERS)

    def send(self, message: bytes) -> None:
        """One answer of several."""
        if self.done:
            return
        http2 = self._connection.http2
        self._send_head()
        http2.send_data(self.stream, self._framed(message))
        if self.stream.blocked is not None and len(self.stream.blocked) > MAX_UNREAD_BYTES:
            http2.discard(self.stream)
            self.reject(Overloaded(f"over {MAX_UNREAD_BYTES} bytes of answers wait for the client to read them"))

    def finish(self) -> None:
        """The end of a call whose answers are sent."""
        if not self.done:
            self._close()
            self._send_head()
            self._connection.http2.end(self.stream, OK_TRAILERS)

    def fail(self, error: ServingError) -> None:
        """The end of a call that failed."""
        if self.done:
            return
        self._close()
        fields = trailers(error)
        if isinstance(error, Unimplemented):
            fields.append(ACCEPTS)
        head = b"" if self._headers_sent else self._head_without_coding()
        self._connection.http2.end(self.stream, head + encode(fields))

    def reject(self, error: Exception, message: bytes | None = None, compressed: bool = False) -> None:
        """Count and log an error of a message that was not read, and end the call with it.

        The message is what has come of one, unless the caller has it.
        """
        if self.done:
            return
        if message is None:
            message, compressed = self._message or b"", self._compressed
            if self._buffer:
                message, compressed = bytes(self._buffer[5 : 5 + PEEK_BYTES]), bool(self._buffer[0])
        self.fail(self.log(error, message, compressed))

    def log(self, error: Exception, message: bytes, compressed: bool) -> ServingError:
        """The error as its client is told it, counted where the message names a model, and logged."""
        known = as_serving_error(error, self.trace_id)
        who = None
        if self.method is not None and message:
            who = self.method.count(known, inflated_start(message) if compressed else message)
        if who is not None:
            REQUESTS.failed(self.trace_id, known, who)
        else:
            REQUESTS.failed(self.trace_id, known, method="POST", path=self.path[:100].decode("latin-1"))
        return known

    def expire(self) -> None:
        """The deadline has passed: nothing is computed for this call any more."""
        self._end_by(DeadlineExceeded("the deadline that grpc-timeout set has passed"))

    def cancelled(self) -> None:
        """The client has reset the stream, or is gone."""
        if self.done:
            return
        on_end, self.on_end = self.on_end, None
        self._close()
        if on_end is not None:
            on_end(ClientGone("the client cancelled the call"))

    def _end_by(self, error: ServingError) -> None:
        if self.done:
            return
        on_end, self.on_end = self.on_end, None
        if on_end is not None:
            on_end(error)
        self.reject(error)

    def _close(self) -> None:
        self.done = True
        self.on_end = None
        if self._timer is not None:
            self._timer.cancel()
        if self._buffer is not None:
            self._connection.buffered -= len(self._buffer)
            self._buffer = None
        self.give_back(self._reserved)

    def _send_head(self) -> None:
        if not self._headers_sent:
            self._headers_sent = True
            self._connection.http2.send_headers(self.stream, self._head())

    def _head(self) -> bytes:
        head = HEAD + self.trace_id
        return head if self.coding is None else head + encode([(b"grpc-encoding", self.coding)])

    def _head_without_coding(self) -> bytes:
        return HEAD + self.trace_id

    def _framed(self, message: bytes) -> bytes:
        length = len(message)
        if self.coding is not None and length in COMPRESS_BYTES:
            compressor = zlib.compressobj(1, zlib.DEFLATED, 31 if self.coding == b"gzip" else 15)
            small = compressor.compress(message) + compressor.flush()
            return PREFIX.pack(1, len(small)) + small
        return PREFIX.pack(0, length) + message


def inflated_start(message: bytes) -> bytes:
    """The first bytes of a compressed message, of which perhaps only some has come; nothing where it is none."""
    try:
        return zlib.decompressobj(AS_ITS_HEAD_SAYS).decompress(message[:PEEK_BYTES], PEEK_BYTES)
    except zlib.error:
        return b""


def reserved_bytes(message: bytes) -> int:
    """Bytes that the budget of bodies holds for a message, from when it begins to come until it is answered."""
    return len(message) if len(message) > FREE_BODY_BYTES else 0
