"""One client's connection: llhttp parses every request, and responses go back in their order.

Requests are handled one at a time. Those that a client sends ahead (pipelining) wait for their turn, also where they
are to be rejected; while too many wait nothing is read. How bytes are cut into packets makes no difference: all state
is the parser's, and what it called back.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from typing import TYPE_CHECKING, Any, cast

import httptools

from serving.errors import (
    BadInput,
    HeadTooLarge,
    NotImplementedMethod,
    ServingError,
    TooLarge,
    TooManyConnections,
    TooSlow,
    UnsupportedVersion,
)
from serving.http.messages import METHODS, Header, Request, Response, check_head, parse_target

if TYPE_CHECKING:
    from serving.http.gateway import Gateway

# The target, and of each header line its name, its value and 4 bytes more; of trailers as much again.
MAX_HEAD_BYTES = 64 * 1024
MAX_HEADER_LINES = 256
# So much is parsed at a time: what it holds of further requests is parsed ahead of their turn.
FEED_BYTES = 64 * 1024
# While so many requests wait for their turn nothing is read.
MAX_WAITING_REQUESTS = 16
# A rejected request's body is read into nothing up to this size, and the connection goes on. After a larger one, or
# one of unknown size, it is closed: the response first, then the client has so much time and so many bytes to stop
# sending, for a socket that is closed over unread bytes takes the response with it (RFC 9112, 9.6).
DISCARD_BYTES = 256 * 1024
LINGER_SECONDS = 30.0
LINGER_IDLE_SECONDS = 5.0
LINGER_BYTES = 256 * 1024 * 1024

REQUEST_LINE = re.compile(rb"^([A-Za-z0-9!#$%&'*+.^_`|~-]{1,40}) [^ ]+ HTTP/1[.][01]", re.MULTILINE)
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
CLOSE: Header = (b"connection", b"close")
KEEP_ALIVE: Header = (b"connection", b"keep-alive")


class Connection(asyncio.Protocol):
    """The protocol that uvicorn makes for each client; `config.app` is the Gateway."""

    transport: asyncio.Transport
    lost = False  # the client is gone
    scheme = "http"
    server = ("", 0)
    _leaving = False  # the server ends: the next response is the last

    def __init__(
        self, config: Any, server_state: Any, app_state: Any = None, _loop: asyncio.AbstractEventLoop | None = None
    ) -> None:
        self._gateway: Gateway = config.app
        self._state = server_state
        self._loop = _loop or asyncio.get_running_loop()
        self._parser = self._new_parser()

        self._current: Request | None = None  # the one that is being answered
        self._waiting: deque[Request] = deque()
        self._incoming: Request | None = None  # the one whose body is arriving
        self._advancing = False

        self._target = b""
        self._headers: dict[bytes, bytes] = {}
        self._head_bytes = self._header_lines = 0
        self._receiving = False  # the parser is inside a request
        self._replaying = False  # the parser reads a head that we wrote
        self._reframe: Request | None = None
        self._idle_bytes = 0  # bytes that the parser took without calling anything
        self._called = False

        self._unread = b""  # what came while too many requests wait
        self._reading = True
        self._write_paused = False
        self._deaf = False  # what else comes is read into nothing
        self._half_closed = False
        self._lingering = False
        self._linger_bytes = 0
        self._lingering_since = 0.0
        self._since = self._loop.time()  # of the last response's end, or of the first byte of a request

    def _new_parser(self) -> httptools.HttpRequestParser:
        parser = httptools.HttpRequestParser(self)
        # What follows a request with `Connection: close` is nobody's, and no error.
        parser.set_dangerous_leniencies(lenient_data_after_close=True)
        return parser

    # The transport's calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.scheme = "https" if transport.get_extra_info("sslcontext") else "http"
        address = transport.get_extra_info("sockname")
        if isinstance(address, tuple):
            self.server = (str(address[0]), int(address[1]))
        self._state.connections.add(self)
        self._gateway.watch(self._state.connections)
        limit = self._gateway.limits.connections
        if len(self._state.connections) > limit:
            error = TooManyConnections(f"{limit} connections are open, as many as there may be")
            self._reject_and_close(Request(self, "", {}), error)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        self._state.connections.discard(self)
        self._waiting.clear()
        self._unread = b""
        self._incoming = None

    def eof_received(self) -> bool:
        """The client sends no more. What it has asked is answered; True keeps the connection open for that."""
        self._half_closed = True
        if self._current is None and not self._waiting and not self._unread:
            return False
        return self.scheme == "http"  # TLS knows no half-closed connection

    def pause_writing(self) -> None:
        self._write_paused = True
        self._since = self._loop.time()
        self._pause_reading()

    def resume_writing(self) -> None:
        self._write_paused = False
        self._advance()
        self._resume_reading()

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            self._discard(len(data))
        elif self._unread:
            self._unread += data
        else:
            self._feed(data)

    # Parsing

    def _feed(self, data: bytes) -> None:
        """Parse, as far as not too many requests wait; the rest is kept until fewer do."""
        if len(data) <= FEED_BYTES:
            self._parse(data)
        else:
            view = memoryview(data)
            for start in range(0, len(data), FEED_BYTES):
                if len(self._waiting) >= MAX_WAITING_REQUESTS:
                    self._unread = bytes(view[start:])
                    break
                self._parse(view[start : start + FEED_BYTES])
                if self._deaf:
                    return
        if self._unread or len(self._waiting) >= MAX_WAITING_REQUESTS:
            self._pause_reading()

    def _parse(self, data: bytes | memoryview) -> None:
        self._called = False
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._called = True
            self._after_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserInvalidMethodError:
            self._break_off(_as_method_error(bytes(data)))
        except httptools.HttpParserError as error:
            self._break_off(_as_syntax_error(error))
        if self._called or self._deaf:
            self._idle_bytes = 0
        else:
            self._idle_bytes += len(data)
            if self._idle_bytes > MAX_HEAD_BYTES:
                self._break_off(HeadTooLarge(f"a line of the request is over {MAX_HEAD_BYTES} bytes"))

    def _after_upgrade(self, rest: bytes | memoryview) -> None:
        """Have the body of a request with an Upgrade header parsed as any other's.

        A server may ignore Upgrade (RFC 9110, 7.8), and this one speaks nothing else; but the parser would take what
        follows for another protocol. A new one is told by a head of our own how the body is framed.
        """
        request, self._reframe = self._reframe, None
        if request is None:  # CONNECT, of which nobody can say where it ends
            return
        lines = [b"POST / HTTP/1.1\r\n"]
        for name in (b"content-length", b"transfer-encoding"):
            if name in request.headers:
                lines.append(b"%b: %b\r\n" % (name, request.headers[name]))
        self._parser = self._new_parser()
        self._incoming = request
        self._replaying = True
        self._parser.feed_data(b"".join([*lines, b"\r\n"]))
        self._replaying = False
        if rest and not self._deaf:
            self._parse(rest)

    def on_message_begin(self) -> None:
        self._called = True
        if self._replaying or self._deaf:
            return
        self._target = b""
        self._headers = {}
        self._head_bytes = self._header_lines = 0
        if not self._receiving:
            self._receiving = True
            if self._current is None:
                self._since = self._loop.time()

    def on_url(self, target: bytes) -> None:
        self._called = True
        if self._replaying:
            return
        self._target += target
        self._count_head(len(target))

    def on_header(self, name: bytes, value: bytes) -> None:
        self._called = True
        if self._replaying or self._deaf:
            return
        self._header_lines += 1
        self._count_head(len(name) + len(value) + 4)
        if self._incoming is not None:  # a trailer: counted and dropped
            return
        name = name.lower()
        headers = self._headers
        headers[name] = value if name not in headers else b"%b, %b" % (headers[name], value)

    def _count_head(self, n_bytes: int) -> None:
        self._head_bytes += n_bytes
        if self._head_bytes > MAX_HEAD_BYTES or self._header_lines > MAX_HEADER_LINES:
            self._break_off(
                HeadTooLarge(f"the request's head is over {MAX_HEAD_BYTES} bytes, or has over {MAX_HEADER_LINES} lines")
            )

    def on_headers_complete(self) -> None:
        self._called = True
        if self._replaying or self._deaf:
            return
        parser = self._parser
        headers = self._headers
        request = Request(self, parser.get_method().decode(), headers)
        request.version = parser.get_http_version()
        request.keep_alive = parser.should_keep_alive()
        self._head_bytes = self._header_lines = 0  # trailers are counted anew
        self._incoming = request
        try:
            check_head(request)
            request.path, request.query_string, host = parse_target(self._target)
            request.handler = handler = self._gateway.resolve(request, host)
            handler.check(request)
            length = headers.get(b"content-length")
            if length is not None and int(length) > handler.max_body_bytes:
                raise too_large(handler.max_body_bytes)
        except ServingError as error:
            self._reject(request, error)
        if parser.should_upgrade() and not self._deaf:
            if request.method == "CONNECT":
                self._close_after(request)
            else:
                self._reframe = request
        if b"expect" in headers and not self._deaf:
            self._expect(request)

    def _expect(self, request: Request) -> None:
        if request.version == "1.1" and request.headers[b"expect"].lower() == b"100-continue":
            if request.error is not None:
                return self._close_after(request)
            request.expects_continue = True
            self._invite()

    def _invite(self) -> None:
        """Ask for the body of a request that waits to be asked, once its turn has come."""
        request = self._incoming
        if request is not None and request.expects_continue and self._current is None and not self._waiting:
            request.expects_continue = False
            self.transport.write(CONTINUE)

    def _reject(self, request: Request, error: ServingError) -> None:
        """Remember why a request is not taken. If it is large, its body is not waited for."""
        request.error = error
        length = request.headers.get(b"content-length")
        if length is not None and int(length) > DISCARD_BYTES:
            self._close_after(request)

    def on_body(self, body: bytes) -> None:
        self._called = True
        request = self._incoming
        if request is None or self._deaf:
            return
        request.expects_continue = False  # it did not wait to be asked
        request.body_bytes += len(body)
        if request.error is not None:
            if request.body_bytes > DISCARD_BYTES:
                self._close_after(request)
        elif request.handler is not None and request.body_bytes > request.handler.max_body_bytes:
            request.chunks.clear()
            request.error = too_large(request.handler.max_body_bytes)
            self._close_after(request)
        else:
            request.chunks.append(body)

    def on_chunk_header(self) -> None:
        self._called = True

    def on_message_complete(self) -> None:
        self._called = True
        request = self._incoming
        if request is None or request is self._reframe or self._deaf:
            return
        self._incoming = None
        self._receiving = False
        chunks = request.chunks
        request.body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        request.chunks = []
        request.complete = True
        if not request.keep_alive:
            self._deaf = True
        self._waiting.append(request)
        self._advance()

    def _close_after(self, request: Request) -> None:
        """Answer in its turn a request that is not read to its end, and read no other."""
        if self._deaf:
            return
        self._deaf = True
        request.keep_alive = False
        self._incoming = self._reframe = None
        self._receiving = False
        self._waiting.append(request)
        self._advance()

    def _break_off(self, error: ServingError) -> None:
        """What comes cannot be read as requests, or not at this size: tell, after what is to be answered, and close."""
        if self._deaf:
            return
        request = self._incoming or Request(self, "", {})
        request.chunks.clear()
        request.error = error
        self._close_after(request)

    def _reject_and_close(self, request: Request, error: ServingError) -> None:
        request.error = error
        self._close_after(request)

    # Answering

    def _advance(self) -> None:
        """Handle the next requests, as far as each is answered at once."""
        if self._advancing:
            return
        self._advancing = True
        while self._current is None and self._waiting and not (self._write_paused or self.lost):
            request = self._current = self._waiting.popleft()
            try:
                if request.error is None:
                    assert request.handler is not None
                    request.handler.handle(request)
                elif request.handler is not None:
                    request.handler.reject(request, request.error)
                else:
                    self._gateway.reject(request, request.error)
            except Exception as error:
                self._gateway.reject(request, error)
        self._advancing = False
        if self._current is None and not self._lingering:
            if self._incoming is not None:
                self._invite()
            if not self._reading:
                self._resume_reading()
            if self._half_closed and self._current is None and not (self._waiting or self.lost):
                self.transport.close()

    def send(self, request: Request, response: Response) -> None:
        """Write the response to the current request; one to any other comes too late and is dropped."""
        if request is not self._current or request.answered:
            return
        request.answered = True
        self._current = None
        if self.lost or self.transport.is_closing():
            return
        ends = (self._leaving or self._gateway.draining) and not self._waiting
        keeps = request.keep_alive and not ends
        headers = response.headers
        if not keeps:
            headers = (*headers, CLOSE)
        elif request.version == "1.0":
            headers = (*headers, KEEP_ALIVE)
        head = self._gateway.encoder.encode_head(
            self._state.default_headers,
            response.status,
            response.content_type,
            request.trace_id,
            headers,
            response.body,
        )
        self.transport.write(head if request.method == "HEAD" else head + response.body)
        self._since = self._loop.time()
        self._state.total_requests += 1
        if keeps:
            self._advance()
        else:
            self._end(request)

    def _end(self, request: Request) -> None:
        """Close after the last response: at once where the client asked for it and has sent all, else in good time."""
        self._deaf = True
        self._waiting.clear()
        if request.complete and not self._receiving and not self._unread:
            self.transport.close()
            return
        self._lingering = True
        self._lingering_since = self._loop.time()
        self._unread = b""
        if self.transport.can_write_eof() and not self._half_closed:
            self.transport.write_eof()
        self._resume_reading()

    def _discard(self, n_bytes: int) -> None:
        if self._lingering:
            self._since = self._loop.time()
            self._linger_bytes += n_bytes
            if self._linger_bytes > LINGER_BYTES:
                self.transport.abort()

    def _pause_reading(self) -> None:
        if self._reading and not self.transport.is_closing():
            self._reading = False
            self.transport.pause_reading()

    def _resume_reading(self) -> None:
        """Go on with what was kept, then with what comes."""
        while self._unread and not self._deaf and len(self._waiting) < MAX_WAITING_REQUESTS and not self._write_paused:
            data, self._unread = self._unread, b""
            self._feed(data)
        if not (self._reading or self._unread or self._write_paused or self.lost or self.transport.is_closing()):
            self._reading = True
            self.transport.resume_reading()

    # Time

    def check_time(self, now: float) -> None:
        """Called about once a second: end what does not arrive, is not read, or is kept for nothing."""
        waited = now - self._since
        limits = self._gateway.limits
        if self.transport.is_closing():
            if waited > limits.body_seconds:  # its last response is not read
                self.transport.abort()
        elif self._lingering:
            if waited > LINGER_IDLE_SECONDS or now - self._lingering_since > LINGER_SECONDS:
                self.transport.close()
        elif self._write_paused:
            if waited > limits.body_seconds:
                self.transport.abort()
        elif self._current is not None or self._waiting:
            return
        elif self._receiving:
            if waited > limits.body_seconds:
                self._break_off(TooSlow(f"the request did not arrive within {limits.body_seconds:g} s"))
        elif waited > limits.keep_alive_seconds:
            self.transport.close()

    def shutdown(self) -> None:
        """uvicorn ends: what has begun is answered first."""
        if self._current is not None or self._waiting or self._receiving:
            self._leaving = True
        elif not self._lingering:
            self.transport.close()


def too_large(limit: int) -> TooLarge:
    """The error for a body of more bytes than that."""
    return TooLarge(f"the body is over {limit} bytes, which EKIBEN_MAX_BODY_BYTES sets")


def _as_method_error(data: bytes) -> ServingError:
    """501 for a request whose method nobody knows, 400 for what is no request; the connection ends either way."""
    if any(line[1].decode() not in METHODS for line in REQUEST_LINE.finditer(data)):
        return NotImplementedMethod("the request's method is not known here")
    return BadInput("what was sent is no HTTP/1.1 request, or one whose length can be read in two ways")


def _as_syntax_error(error: httptools.HttpParserError) -> ServingError:
    words = str(error)
    if "HTTP version" in words or "PRI" in words:
        return UnsupportedVersion("this version of HTTP is not spoken here: send HTTP/1.1")
    return BadInput("what was sent is no HTTP/1.1 request, or one whose length can be read in two ways")
