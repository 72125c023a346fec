"""A raw HTTP client: sends any bytes in any pieces, and reads responses with a strict parser of its own.

The parser accepts only what RFC 9112 lets a server send, so that an answer that another client would misread is
`garbled` here. It shares no code with the server's parser.
"""

from __future__ import annotations

import json
import re
import select
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Received:
    """As a piece: nothing is sent until so many messages have come, interim ones too."""

    count: int


# What is sent, seconds of silence, what is done in between, or what has to come before
Piece = bytes | float | Callable[[], None] | Received
HANG_SECONDS = 120.0  # of a conversation that does not end by itself; no test depends on how long one takes
SHUT_WR = float("inf")  # as a piece: the client sends no more, and says so (FIN)
MAX_LINE_BYTES = 64 * 1024
STATUS_LINE = re.compile(rb"HTTP/1\.1 ([1-5][0-9]{2}) ([\t\x20-\x7e\x80-\xff]*)")
_VISIBLE = rb"\x21-\x7e\x80-\xff"
FIELD_LINE = re.compile(
    rb"([!#$%%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([%b](?:[\t\x20%b]*[%b])?)?[ \t]*" % (_VISIBLE, _VISIBLE, _VISIBLE)
)
NO_BODY = {204, 304}


class GarbledError(Exception):
    """The bytes are no HTTP/1.1 response."""


@dataclass
class Response:
    status: int
    fields: list[tuple[str, str]]  # names in lower case, in the order of the wire
    body: bytes = b""
    at: float = 0.0  # when its last byte was read, in seconds of time.monotonic()

    @property
    def headers(self) -> dict[str, str]:
        return dict(self.fields)

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def id(self) -> str | None:
        """The id of a V2 answer; None where the body is none."""
        try:
            return self.json.get("id")
        except (ValueError, AttributeError):
            return None

    @property
    def closes(self) -> bool:
        return "close" in [token.strip().lower() for token in self.headers.get("connection", "").split(",")]


class ResponseParser:
    """Bytes → responses. `methods` are those of the requests in their order: HEAD has an answer without a body."""

    def __init__(self, methods: Iterable[str] = ()) -> None:
        self.messages: list[Response] = []  # interim ones (1xx) too
        self._methods = iter(methods)
        self._method = next(self._methods, "GET")
        self._buffer = b""
        self._response: Response | None = None  # whose body is read
        self._missing = 0  # bytes of the body, or of a chunk with its CRLF
        self._state = "head"

    def feed(self, data: bytes) -> None:
        """GarbledError where they are no response."""
        self._buffer += data
        while self._step():
            pass

    def end(self) -> None:
        """The connection has ended. GarbledError within a response that has a length."""
        if self._state == "until close":
            self._finish()
        elif self._state != "head" or self._buffer:
            raise GarbledError(f"the connection ends within a response ({self._state}): {self._buffer[:80]!r}")

    def _step(self) -> bool:
        return bool(getattr(self, "_" + self._state.replace(" ", "_"))())

    def _head(self) -> bool:
        head, end, rest = self._buffer.partition(b"\r\n\r\n")
        if not end:
            if self._buffer and not b"HTTP/1.1 ".startswith(self._buffer[:9]):
                raise GarbledError(f"not a status line: {self._buffer[:80]!r}")
            return False
        self._buffer = rest
        response = self._response = _head_of(head)
        if response.status < 200 or response.status in NO_BODY or self._method == "HEAD":
            self._finish()
            return True
        headers = response.headers
        if "transfer-encoding" in headers:
            if headers["transfer-encoding"].lower() != "chunked" or "content-length" in headers:
                raise GarbledError(f"framed twice or by an unknown coding: {response.fields}")
            self._state = "chunk size"
        elif "content-length" in headers:
            self._missing, self._state = int(headers["content-length"]), "body"
        else:
            self._state = "until close"
        return True

    def _body(self) -> bool:
        return self._read_missing() and self._finish()

    def _chunk_size(self) -> bool:
        line = self._line()
        if line is None:
            return False
        if not re.fullmatch(rb"[0-9A-Fa-f]{1,8}", line):
            raise GarbledError(f"not a chunk's size: {line[:80]!r}")
        size = int(line, 16)
        self._missing, self._state = size, "chunk" if size else "trailer"
        return True

    def _chunk(self) -> bool:
        if not self._read_missing():
            return False
        self._state = "chunk end"
        return True

    def _chunk_end(self) -> bool:
        line = self._line()
        if line:
            raise GarbledError(f"a chunk is longer than its size: {line[:80]!r}")
        self._state = "chunk end" if line is None else "chunk size"
        return line is not None

    def _trailer(self) -> bool:
        line = self._line()
        if line is None:
            return False
        return self._finish() if not line else _field_of(line) is not None

    def _until_close(self) -> bool:
        assert self._response is not None
        self._response.body += self._buffer
        self._buffer = b""
        return False

    def _read_missing(self) -> bool:
        assert self._response is not None
        part = self._buffer[: self._missing]
        self._response.body += part
        self._missing -= len(part)
        self._buffer = self._buffer[len(part) :]
        return not self._missing

    def _line(self) -> bytes | None:
        line, end, rest = self._buffer.partition(b"\r\n")
        if not end:
            if len(self._buffer) > MAX_LINE_BYTES:
                raise GarbledError("a line without end")
            return None
        self._buffer = rest
        return line

    def _finish(self) -> bool:
        assert self._response is not None
        self._response.at = time.monotonic()
        self.messages.append(self._response)
        if self._response.status >= 200:
            self._method = next(self._methods, "GET")
        self._response, self._state = None, "head"
        return True


def _head_of(head: bytes) -> Response:
    first, *lines = head.split(b"\r\n")
    match = STATUS_LINE.fullmatch(first)
    if match is None:
        raise GarbledError(f"not a status line: {first[:80]!r}")
    fields = [_field_of(line) for line in lines]
    lengths = [value for name, value in fields if name == "content-length"]
    if len(lengths) > 1 or not all(re.fullmatch("[0-9]{1,12}", value) for value in lengths):
        raise GarbledError(f"content-length is {lengths}")
    return Response(int(match[1]), fields)


def _field_of(line: bytes) -> tuple[str, str]:
    match = FIELD_LINE.fullmatch(line)
    if match is None:
        raise GarbledError(f"not a header line: {line[:80]!r}")
    return match[1].decode().lower(), (match[2] or b"").decode("latin-1")


@dataclass
class Conversation:
    """What came back on one connection.

    `end` is "answered" (so many answers as were awaited, the connection still open), "closed" (FIN at the end of a
    response), "reset", "timeout" (still open after the given seconds) or "garbled".
    """

    messages: list[Response] = field(default_factory=list)
    end: str = ""
    sent: int = 0  # bytes that the kernel took
    seconds: float = 0.0  # how long the whole took
    ended_at: float = 0.0  # in seconds of time.monotonic()
    garbled: str = ""

    @property
    def responses(self) -> list[Response]:
        """The final ones."""
        return [message for message in self.messages if message.status >= 200]

    @property
    def statuses(self) -> list[int]:
        return [response.status for response in self.responses]

    @property
    def ids(self) -> list[str | None]:
        return [response.id for response in self.responses]

    @property
    def last(self) -> Response:
        assert self.responses, f"no answer: {self}"
        return self.responses[-1]

    def __str__(self) -> str:
        return f"{[m.status for m in self.messages][:40]}, {self.end} after {self.sent} bytes {self.garbled}"


def converse(
    port: int,
    *pieces: Piece,
    answers: int | None = None,
    seconds: float = HANG_SECONDS,
    methods: Sequence[str] = (),
    read_while_sending: bool = True,
    pace: float = 0.0,
) -> Conversation:
    """Send the pieces to 127.0.0.1 and read until so many final answers have come, or the server closes.

    Without `answers` until it closes or `seconds` are over. `pace` is a pause after each piece, in seconds.
    """
    talk = _Talk(port, pieces, pace, ResponseParser(methods))
    with talk.connection:
        started = time.monotonic()
        talk.run(answers, started + seconds, read_while_sending)
    talk.result.ended_at = time.monotonic()
    talk.result.seconds = talk.result.ended_at - started
    return talk.result


class _Talk:
    """One connection's state: what is still to be sent, and until when it is silent."""

    def __init__(self, port: int, pieces: Iterable[Piece], pace: float, parser: ResponseParser) -> None:
        self.connection = socket.create_connection(("127.0.0.1", port), HANG_SECONDS)
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.connection.setblocking(False)
        self.result = Conversation(parser.messages)
        self._parser, self._pieces, self._pace = parser, iter(pieces), pace
        self._data = memoryview(b"")
        self._sending = True
        self._quiet_until = 0.0
        self._awaited = 0

    def run(self, answers: int | None, deadline: float, read_while_sending: bool) -> None:
        while not self.result.end:
            now = time.monotonic()
            self._next_piece(now)
            if now >= deadline:
                self.result.end = "timeout"
            elif not self._sending and answers is not None and len(self.result.responses) >= answers:
                self.result.end = "answered"
            else:
                self._turn(now, deadline, read_while_sending)

    def _turn(self, now: float, deadline: float, read_while_sending: bool) -> None:
        writes = [self.connection] if self._sending and len(self._data) else []
        reads = [self.connection] if read_while_sending or not self._sending else []
        quiet = self._sending and not writes and self._has_awaited
        wait = min(deadline, self._quiet_until if quiet else deadline) - now
        readable, writable, _ = select.select(reads, writes, [], max(0.0, wait))
        if readable:
            self._receive()
        if writable and not self.result.end:
            self._send()

    def _next_piece(self, now: float) -> None:
        while self._sending and not len(self._data) and now >= self._quiet_until and self._has_awaited:
            piece = next(self._pieces, None)
            if piece is None:
                self._sending = False
            elif piece == SHUT_WR:
                self._sending = False
                self.connection.shutdown(socket.SHUT_WR)
            elif isinstance(piece, bytes):
                self._data = memoryview(piece)
            elif isinstance(piece, Received):
                self._awaited = piece.count
            elif callable(piece):
                piece()
            else:
                self._quiet_until = now + piece

    @property
    def _has_awaited(self) -> bool:
        return len(self.result.messages) >= self._awaited

    def _send(self) -> None:
        try:
            count = self.connection.send(self._data[: 2**18])
        except BlockingIOError:
            return
        except OSError:  # the other side is gone; what it said before may still be read
            self._sending, self._data = False, memoryview(b"")
            return
        self.result.sent += count
        self._data = self._data[count:]
        if not len(self._data) and self._pace:
            self._quiet_until = time.monotonic() + self._pace

    def _receive(self) -> None:
        try:
            data = self.connection.recv(2**18)
        except BlockingIOError:
            return
        except OSError:
            self.result.end = "reset"
            return
        try:
            if data:
                self._parser.feed(data)
            else:
                self._parser.end()
                self.result.end = "closed"
        except GarbledError as error:
            self.result.end, self.result.garbled = "garbled", str(error)


def cut(data: bytes, size: int) -> list[bytes]:
    """In pieces of so many bytes; the last may be shorter."""
    return [data[start : start + size] for start in range(0, len(data), size)]
