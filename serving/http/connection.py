"""uvicorn's connection, with a path below ASGI for the requests that a direct route takes.

Clients send the same head again and again. The first request with a head goes through uvicorn's parser, a scope, a task
and ASGI's messages. If a direct route can take it, the head is remembered with what takes its bodies, and the next
requests with that head need none of these. What is not exactly such a request is uvicorn's, as before.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from serving.errors import BadInput, ClientGone, HeadTooLarge, ServingError, TooManyConnections, TooSlow
from serving.http.exchange import Take
from serving.http.heads import LONGEST, AnswerHeads, Head, Known, RequestHeads, lines, split
from serving.http.keys import Keys
from serving.http.router import JSON, App, Header, Router, Routes, Scope
from serving.http.trace import WELL_FORMED, new_trace
from serving.telemetry.logs import REQUESTS

# uvicorn's parser would take what follows such a head for another protocol, and lose the body.
UPGRADE = re.compile(rb"\r\nupgrade:", re.IGNORECASE)
MOST_HEAD_BYTES = 64 * 1024
LOOK_SECONDS = 1.0
CLOSE = b"connection: close\r\n"


@dataclass(frozen=True)
class Limits:
    """What one worker puts up with."""

    connections: int
    body_seconds: float


class Front(Router):
    """The router, and what the connections in front of it share."""

    def __init__(
        self,
        bento: App,
        theirs: tuple[str, ...],
        open_routes: Callable[[], Routes],
        limits: Limits,
        keys: Keys | None = None,
    ) -> None:
        super().__init__(bento, theirs, open_routes, keys)
        self.limits = limits
        self.known = RequestHeads()
        self.answer_heads = AnswerHeads()


def accept_directly() -> None:
    """Have uvicorn make its connections of this class. BentoML starts uvicorn and gives no word for it."""
    uvicorn.config.HTTP_PROTOCOLS["auto"] = f"{__name__}:{Connection.__qualname__}"


class Connection(HttpToolsProtocol):
    """One client's connection, and the peer of at most one exchange at a time."""

    trace = b""
    disconnected = False
    _spoiled = False  # what came last is no HTTP
    _asked = False  # an exchange is under way
    leaving = False  # the process ends: an answer is its connection's last; of the class, so of all at once
    _parsing = _in_head = False  # uvicorn's parser is inside a message, inside its head
    _head_bytes = 0
    _first: Head | None = None  # the head that uvicorn's parser reads, if it may be worth remembering
    _take: Take | None = None  # what takes the body that is arriving
    _missing = 0
    _keeps = True  # whether the body is wanted
    _held = b""

    def __init__(self, config: Any, *state: Any, **more: Any) -> None:
        super().__init__(config, *state, **more)
        self._front: Front = config.app
        self._parts: list[bytes] = []

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._since = self.loop.time()
        self._watch = self.loop.call_later(LOOK_SECONDS, self._look)
        most = self._front.limits.connections
        if len(self.connections) > most:
            self._hang_up(TooManyConnections(f"{most} connections are open, which EKIBEN_MAX_CONNECTIONS allows"))

    def connection_lost(self, exc: Exception | None) -> None:
        self.disconnected = True
        self._watch.cancel()
        super().connection_lost(exc)

    # From the client

    def data_received(self, data: bytes) -> None:
        if self._asked:  # one at a time: what follows waits for the answer
            self._held += data
            self.flow.pause_reading()
        elif self._take is not None:
            self._more(data)
        elif self._parsing or not self._idle():
            self._parse(data)
        else:
            self._begin(data)

    def _begin(self, data: bytes) -> None:
        """The first bytes of a request."""
        self._since = self.loop.time()
        end = data.find(b"\r\n\r\n") + 4
        self._first = head = split(data, end) if 4 < end <= LONGEST else None
        known = None if head is None else self._front.known.get(head.alike)
        if head is None or known is None or head.length > known.most_bytes:
            return self._parse(data)
        if not head.traceparent:
            self.trace = new_trace()
        elif (traced := WELL_FORMED.fullmatch(head.traceparent)) is not None:
            self.trace = traced[1]
        else:  # what stands there need not even be one header
            return self._parse(data)
        refusing = self._refusing(known)
        take, self._keeps = refusing or known.taker.take, refusing is None
        if len(data) == end + head.length:
            self._ask(take, data[end:] if self._keeps else b"")
        else:
            self._take, self._missing = take, head.length
            self._more(data[end:])

    def _refusing(self, known: Known) -> Take | None:
        """What refuses a request once its body has come, of which nothing is kept; None if it is taken."""
        if known.key is not None:
            assert self._front.keys is not None
            try:
                self._front.keys.look()
                known.key.spend()
            except ServingError as error:
                return partial(self._turn_away, error)
        if (full := known.taker.full) is not None:
            return lambda body, peer: known.taker.refuse(full, peer)
        return None

    def _turn_away(self, error: ServingError, *_: Any) -> None:
        REQUESTS.failed(self.trace, error)
        self.refuse(error)

    def _more(self, data: bytes) -> None:
        """A body's further bytes, and perhaps those of the next request."""
        part = data[: self._missing]
        if self._keeps:
            self._parts.append(part)
        self._missing -= len(part)
        if self._take is not None and not self._missing:
            take, body = self._take, b"".join(self._parts)
            self._held, self._take = data[len(part) :], None
            self._parts.clear()
            self._ask(take, body)

    def _ask(self, take: Take, body: bytes) -> None:
        self._asked = True
        self._unset_keepalive_if_required()
        take(body, self)

    # To the client

    def answer(self, body: bytes, kind: Header, further: tuple[Header, ...] = ()) -> None:
        self._write(self._head(200, kind, further, len(body)), body)

    def refuse(self, error: ServingError) -> None:
        if not isinstance(error, ClientGone):
            self._write(*self._refusal(error))

    def _refusal(self, error: ServingError) -> tuple[bytes, bytes]:
        return self._head(error.status, JSON, error.headers, len(error.body)), error.body

    def _head(self, status: int, kind: Header, further: tuple[Header, ...], size: int) -> bytes:
        known = self._front.answer_heads.of(self.server_state.default_headers, status, kind)
        more = lines(further) if further else b""
        return b"%b%b\r\n%bcontent-length: %d\r\n" % (known, self.trace, more, size)

    def _write(self, head: bytes, body: bytes) -> None:
        if self.transport.is_closing():
            return
        self.transport.write(b"%b%b\r\n%b" % (head, CLOSE if self.leaving else b"", body))
        self._asked = False
        self._since = self.loop.time()
        self.server_state.total_requests += 1
        if self.leaving:
            self.transport.close()
        elif self.flow.write_paused:  # a client that does not read its answers is not read from
            self.flow.pause_reading()
        elif self._held:
            self.loop.call_soon(self._resume)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._resume()

    def _resume(self) -> None:
        """Go on with what came while a request was being answered."""
        if not (self._asked or self.transport.is_closing()):
            self.flow.resume_reading()
            held, self._held = self._held, b""
            if held:
                self.data_received(held)

    # uvicorn's own way

    def _should_upgrade(self) -> bool:
        return False  # a server may ignore it, and this one speaks nothing else

    def send_400_response(self, msg: str) -> None:
        """What is no HTTP ends the connection, once what came whole before it is answered."""
        self._spoiled = True
        if self._idle() or self.cycle.more_body:
            self._end_spoiled()
        else:
            self.flow.pause_reading()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._spoiled and self._idle():
            self._end_spoiled()

    def _end_spoiled(self) -> None:
        self._hang_up(BadInput("what was sent is no HTTP/1.1 request, or one whose length can be read in two ways"))

    def _parse(self, data: bytes) -> None:
        if not self._parsing or self._in_head:
            end = data.find(b"\r\n\r\n")
            data = UPGRADE.sub(b"\r\nx-upgrade:", data[:end]) + data[end:] if end >= 0 else data
        super().data_received(data)
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > MOST_HEAD_BYTES:
                self._hang_up(HeadTooLarge(f"the request's head is over {MOST_HEAD_BYTES} bytes"))

    def on_message_begin(self) -> None:
        self._parsing = self._in_head = True
        self._head_bytes = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._in_head = False
        super().on_headers_complete()
        if self.leaving and self.cycle is not None:
            self.cycle.keep_alive = False
        if self._first is not None:
            self._front.known.learn(self._first, cast(Scope, self.scope), self._front)
            self._first = None

    def on_message_complete(self) -> None:
        self._parsing = False
        super().on_message_complete()

    def shutdown(self) -> None:
        if self._asked or self._take is not None:
            self.leaving = True
        else:
            super().shutdown()

    # Time

    def _look(self) -> None:
        """Once a second: end a request that does not arrive, and a connection that is kept for nothing."""
        self._watch = self.loop.call_later(LOOK_SECONDS, self._look)
        waited = self.loop.time() - self._since
        limit = self._front.limits.body_seconds
        if self._asked or self.transport.is_closing():
            return
        if self._parsing or self._take is not None:
            if waited > limit:
                self._hang_up(TooSlow(f"the request did not arrive within {limit:g} s (EKIBEN_BODY_TIMEOUT_S)"))
        elif self._idle() and waited > max(self.timeout_keep_alive, LOOK_SECONDS):
            self.transport.close()

    def _idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _hang_up(self, error: ServingError) -> None:
        """Tell and close, whatever else is under way."""
        self.trace = new_trace()
        REQUESTS.failed(self.trace, error)
        head, body = self._refusal(error)
        self.transport.write(b"%b%b\r\n%b" % (head, CLOSE, body))
        self.transport.close()
