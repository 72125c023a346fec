"""One client's connection: requests are handled one at a time, and responses go back in their order.

Requests that a client sends ahead (pipelining) wait for their turn, also where they are to be rejected; while many wait
nothing is read. What takes longer than a turn of the event loop may is gone on with in the next, behind other clients.
"""

from __future__ import annotations

import asyncio
from collections import deque
from time import perf_counter
from typing import Any, cast

from serving.errors import Overloaded, ServingError, TooLarge, TooManyConnections, TooSlow
from serving.http.endpoint import reject
from serving.http.gateway import Gateway
from serving.http.messages import Header, Request, Response, check_head, parse_target
from serving.http.parser import RequestParser
from serving.lifecycle import TURN_SECONDS

# So much is parsed at a time: what it holds of further requests is parsed ahead of their turn.
FEED_BYTES = 16 * 1024
# While so many requests wait for their turn nothing is read.
MAX_WAITING_REQUESTS = 16
# So much of a body arrives without a question; for more, in steps, there must be room in the budget of bodies.
FREE_BODY_BYTES = 16 * 1024
BODY_STEP_BYTES = 256 * 1024
# A rejected request's body is read into nothing up to this size, and the connection goes on. After a larger one it is
# closed: the response first, then the client has so much time and so many bytes to stop sending, for a socket that is
# closed over unread bytes takes the response with it (RFC 9112, 9.6).
DISCARD_BYTES = 256 * 1024
LINGER_SECONDS = 30.0
LINGER_IDLE_SECONDS = 5.0
LINGER_BYTES = 256 * 1024 * 1024
# They count among no limit of connections; beyond so many in a worker the one that was answered first is cut off.
MAX_LINGERING = 128
# A larger body is written after its head, rather than copied behind it.
COPY_BYTES = 64 * 1024

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
CLOSE: Header = (b"connection", b"close")
KEEP_ALIVE: Header = (b"connection", b"keep-alive")


class Connection(asyncio.Protocol):
    """The protocol that uvicorn makes for each client; `config.app` is the Gateway."""

    transport: asyncio.Transport
    lost = False  # the client is gone
    scheme = "http"
    server = ("", 0)
    _leaving = False  # the server ends: the last response that is due closes the connection
    _advancing = False
    _reading = True
    _write_paused = False
    _half_closed = False  # the client sends no more
    _lingering = False  # the last response is written, and what still comes is read into nothing
    _lingering_since = 0.0
    _linger_bytes = 0
    _unread = b""  # what came while too many requests wait, or is the next turn's
    _unread_since = 0.0
    _yielding = False  # other clients have their turn before what is unread
    _fed = _begun = 0.0  # when what is fed to the parser came, and the first byte of the request that is received

    def __init__(
        self, config: Any, server_state: Any, app_state: Any = None, _loop: asyncio.AbstractEventLoop | None = None
    ) -> None:
        self._gateway: Gateway = config.app
        self._clock = self._gateway.clock
        self._state = server_state
        self._loop = _loop or asyncio.get_running_loop()
        self._parser = RequestParser(self)
        self._current: Request | None = None  # the one that is being answered
        self._waiting: deque[Request] = deque()
        self._since = self._loop.time()  # of the last response, or of what is waited for

    # The transport's calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note scheme and address; answer 503 where too many connections are open."""
        self.transport = cast(asyncio.Transport, transport)
        self.scheme = "https" if transport.get_extra_info("sslcontext") else "http"
        address = transport.get_extra_info("sockname")
        if isinstance(address, tuple):
            self.server = (str(address[0]), int(address[1]))
        connections = self._state.connections
        connections.add(self)
        self._gateway.watch(connections)
        limit = self._gateway.limits.connections
        if len(connections) - len(self._gateway.lingering) > limit:
            error = TooManyConnections(
                f"{limit} connections are open, as many as there may be", "EKIBEN_MAX_CONNECTIONS"
            )
            self._parser.stop()
            self.parsing_failed(None, error)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget its requests: nobody reads a response."""
        self.lost = True
        self._forget_incoming()
        self._state.connections.discard(self)
        self._gateway.lingering.pop(self, None)
        self._forget_waiting()

    def eof_received(self) -> bool:
        """The client sends no more. What it has asked is answered; True keeps the connection open for that."""
        self._half_closed = True
        if self._current is None and not self._waiting and not self._unread:
            return False
        return self.scheme == "http"  # TLS knows no half-closed connection

    def pause_writing(self) -> None:
        """Backpressure: the client does not read, so nothing more of it is read."""
        self._write_paused = True
        self._since = self._loop.time()
        self._pause_reading()

    def resume_writing(self) -> None:
        """The client has read enough: go on with what waits, and read again."""
        self._write_paused = False
        self._advance()
        self._resume_reading()

    def data_received(self, data: bytes) -> None:
        """Feed bytes to the parser, unless they wait behind a request that is not answered."""
        came = perf_counter()
        if came > self._clock.punctual_until:
            came = self._clock.arrival(came, self.transport)
        if self._parser.deaf:
            self._discard(len(data))
        elif self._unread:
            self._unread += data
        else:
            self._feed(data, came)

    def _feed(self, data: bytes, came: float) -> None:
        """Parse, as far as not too many requests wait; the rest is kept until fewer do."""
        parser = self._parser
        receiving = parser.receiving
        self._fed, turn_over = came, False
        if not receiving:
            self._begun = came
        if len(data) <= FEED_BYTES:
            parser.feed(data)
        else:
            view, turn_ends = memoryview(data), perf_counter() + TURN_SECONDS
            for start in range(0, len(data), FEED_BYTES):
                turn_over = start > 0 and perf_counter() >= turn_ends
                if turn_over or len(self._waiting) >= MAX_WAITING_REQUESTS:
                    self._unread, self._unread_since = bytes(view[start:]), came
                    break
                parser.feed(view[start : start + FEED_BYTES])
                if parser.deaf:
                    return
        if parser.receiving and not receiving:
            self._since = self._loop.time()
        if self._unread or len(self._waiting) >= MAX_WAITING_REQUESTS:
            self._pause_reading()
        if turn_over:
            self._yielding = True
            self._loop.call_soon(self._next_turn)

    def _next_turn(self) -> None:
        self._yielding = False
        self._resume_reading()

    # The parser's calls

    def new_request(self, method: str, headers: dict[bytes, bytes]) -> Request:
        """A request that began when its first byte came."""
        return Request(self, method, headers, self._begun)

    def head_received(self, request: Request, target: bytes) -> None:
        """Find the handler, and let it say whether the body is wanted."""
        gateway, methods, host = self._gateway, None, None
        try:
            check_head(request)
            if (route := gateway.targets.get(target)) is not None:
                request.path, methods = route
            else:
                request.path, request.query_string, host = parse_target(target)
        except ServingError as error:  # whether what follows is read as was meant is not certain
            request.error = error
            return self._close_after(request)
        length = request.headers.get(b"content-length")
        try:
            request.handler = handler = gateway.resolve(request, methods, host)
            handler.check(request)
            if length is not None:
                self._check_length(int(length), handler.max_body_bytes)
            request.body_limit = min(FREE_BODY_BYTES, handler.max_body_bytes)
        except ServingError as error:
            request.error = error.with_traceback(None)  # it may be one that is raised again and again
            request.body_limit = DISCARD_BYTES
            if length is not None and int(length) > DISCARD_BYTES:
                return self._close_after(request)
        if b"expect" in request.headers:
            self._expect(request)

    def _check_length(self, n_bytes: int, limit: int) -> None:
        """TooLarge, Overloaded where such a body would be refused once it is here."""
        budget = self._gateway.bodies
        if n_bytes > min(limit, budget.limit + FREE_BODY_BYTES):
            raise too_large(limit, budget.limit, n_bytes)
        if n_bytes > FREE_BODY_BYTES and budget.taken + n_bytes > budget.limit:
            raise no_room()

    def _expect(self, request: Request) -> None:
        """`Expect: 100-continue`: a client that waits to be asked for its body."""
        if request.version == "1.1" and request.headers[b"expect"].lower() == b"100-continue":
            if request.error is not None:
                self._close_after(request)
            else:
                request.expects_continue = True
                self._invite()

    def _invite(self) -> None:
        """Ask for the body that is waited for, once the turn has come."""
        request = self._parser.incoming
        if request is not None and request.expects_continue and self._current is None and not self._waiting:
            request.expects_continue = False
            if not request.body_bytes:  # else it did not wait to be asked
                self.transport.write(CONTINUE)

    def body_over_limit(self, request: Request) -> bool:
        """Whether the budget of bodies has room for more of it; else it is answered with an error."""
        if request.error is None:
            request.error = self._extend(request)
            if request.error is None:
                return True
        self._release(request)
        self._close_after(request)
        return False

    def _extend(self, request: Request) -> ServingError | None:
        """Raise the limit to what has arrived and a step more, if there is room; else why not."""
        most, budget = request.handler.max_body_bytes, self._gateway.bodies  # type: ignore[union-attr]
        if request.body_bytes > most:
            return too_large(most, budget.limit)
        length = int(request.headers.get(b"content-length", most))
        limit = max(request.body_bytes, min(request.body_limit + BODY_STEP_BYTES, length))
        n_bytes = limit - request.body_limit
        if not budget.take(n_bytes):
            return no_room()
        request.body_limit = limit
        request.body_reserved += n_bytes
        return None

    def _release(self, request: Request) -> None:
        """Drop what has come of its body."""
        self._gateway.bodies.give_back(request.body_reserved)
        request.body_reserved = 0
        request.chunks.clear()

    def _forget_incoming(self) -> None:
        if self._parser.incoming is not None:
            self._release(self._parser.incoming)
        self._parser.stop()

    def _forget_waiting(self) -> None:
        for request in self._waiting:
            self._release(request)
        self._waiting.clear()
        self._unread = b""

    def request_received(self, request: Request) -> None:
        """Queue it behind those before it; answers go out in their order."""
        self._begun = self._fed  # of the next, if what was fed holds some of it
        self._waiting.append(request)
        self._advance()

    def parsing_failed(self, request: Request | None, error: ServingError) -> None:
        """Answer with the error, and close."""
        request = request or Request(self, "", {}, self._begun)
        self._release(request)
        request.error = error
        self._close_after(request)

    def _close_after(self, request: Request) -> None:
        """Answer in its turn a request that is not read to its end, and read no other."""
        self._parser.stop()
        request.keep_alive = False
        self._waiting.append(request)
        self._advance()

    # Responses

    def _advance(self) -> None:
        """Handle the next requests, as far as each is answered at once."""
        if self._advancing:
            return
        self._advancing = True
        waiting = self._waiting
        while self._current is None and waiting and not (self._write_paused or self.lost):
            request = self._current = waiting.popleft()
            handler = request.handler
            try:
                if request.error is None:
                    handler.handle(request)  # type: ignore[union-attr]
                elif handler is not None:
                    handler.reject(request, request.error)
                else:
                    self._gateway.reject(request, request.error)
            except Exception as error:
                reject(request, error)
        self._advancing = False
        if self._current is None and not (self._lingering or self.lost):
            self._await_next()

    def _await_next(self) -> None:
        """All that has come is answered."""
        if self._parser.incoming is not None:
            self._invite()
        if not self._reading:
            self._resume_reading()
        if self._half_closed and self._current is None and not (self._waiting or self._unread):
            self.transport.close()

    def send(self, request: Request, response: Response) -> None:
        """Write the response to the current request; one to any other comes too late and is dropped."""
        if request is not self._current:
            return
        self._current = None
        if request.body_reserved:
            self._release(request)
        transport = self.transport
        if self.lost or transport.is_closing():
            return
        keeps = request.keep_alive and not ((self._leaving or self._gateway.draining) and not self._waiting)
        headers = response.headers
        if not keeps:
            headers = (*headers, CLOSE)
        elif request.version == "1.0":
            headers = (*headers, KEEP_ALIVE)
        state = self._state
        head = self._gateway.encoder.encode_head(
            state.default_headers, response.status, response.content_type, request.trace_id, headers, response.body
        )
        if request.method == "HEAD":
            transport.write(head)
        elif len(response.body) <= COPY_BYTES:
            transport.write(head + response.body)
        else:
            transport.write(head)
            transport.write(response.body)
        self._since = self._loop.time()
        state.total_requests += 1
        if keeps:
            self._advance()
        else:
            self._end(request)

    def _end(self, request: Request) -> None:
        """Close after the last response: at once where the client has sent all, else once it has stopped."""
        nothing_unread = request.complete and not (self._parser.receiving or self._unread)
        self._forget_incoming()
        self._forget_waiting()
        if nothing_unread:
            return self.transport.close()
        self._lingering = True
        self._lingering_since = self._since
        lingering = self._gateway.lingering
        lingering[self] = self.transport
        if len(lingering) > MAX_LINGERING:
            lingering.pop(next(iter(lingering))).abort()
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
        ready = len(self._waiting) < MAX_WAITING_REQUESTS and not (self._write_paused or self._yielding)
        if self._unread and ready:
            data, self._unread = self._unread, b""
            self._feed(data, self._unread_since)
        if not (self._reading or self._unread or self._write_paused or self.lost or self.transport.is_closing()):
            self._reading = True
            self.transport.resume_reading()

    # Time

    def check_time(self, now: float) -> None:
        """Called about once a second: end what does not arrive, is not read, or is kept for nothing."""
        waited = now - self._since
        limits = self._gateway.limits
        if self._lingering:
            if waited > LINGER_IDLE_SECONDS or now - self._lingering_since > LINGER_SECONDS:
                self.transport.abort()
        elif self._write_paused or self.transport.is_closing():
            if waited > limits.body_seconds:  # the client does not read its responses
                self.transport.abort()
        elif self._current is not None or self._waiting:
            return
        elif self._parser.receiving:
            if waited > limits.body_seconds:
                error = TooSlow(f"the request did not arrive within {limits.body_seconds:g} s", "EKIBEN_BODY_TIMEOUT_S")
                self.parsing_failed(self._parser.incoming, error)
        elif waited > limits.keep_alive_seconds:
            self.transport.close()

    def shutdown(self) -> None:
        """uvicorn ends: what has begun is answered first."""
        if self._current is not None or self._waiting or self._unread or self._parser.receiving:
            self._leaving = True
        elif not self._lingering:
            self.transport.close()


def too_large(limit: int, budget: int, n_bytes: int = 0) -> TooLarge:
    """The error for a body over the limit, or over what the budget could ever hold; its size, if that is known."""
    setting = "EKIBEN_MAX_BODY_BYTES" if limit <= budget else "EKIBEN_MEMORY_MB"
    size, most = in_words(n_bytes), in_words(min(limit, budget))
    words = size if n_bytes and size != most else f"over {most}"
    return TooLarge(f"the body is too large: {words}; at most {most}", setting)


def no_room() -> Overloaded:
    """The error for a body that others, which are arriving or being answered, leave no room for."""
    return Overloaded("bodies that came before take all the memory that there is for them", "EKIBEN_MEMORY_MB")


def in_words(n_bytes: int) -> str:
    """`27 MB`, `900 KB`, `12 bytes`: megabytes of 2^20, as the limits are set."""
    for unit, size in (("MB", 2**20), ("KB", 2**10)):
        if n_bytes >= size:
            return f"{n_bytes / size:,.1f}".removesuffix(".0") + f" {unit}"
    return f"{n_bytes} bytes"
