"""One request and its response, and what a request's head may hold."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, Protocol
from urllib.parse import parse_qsl, unquote

import httptools
import orjson

from serving.errors import BadInput, NotImplementedMethod, ServingError, UnsupportedVersion
from serving.http.trace import TRACEPARENT, trace_of

Header = tuple[bytes, bytes]
JSON = b"application/json"
HTML = b"text/html; charset=utf-8"

# What RFC 9110, 9.1 defines, and PATCH; all else is nobody's here.
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"})
# RFC 3986, 3.2.2: a name (without a comma, which two names joined have), an IPv4 address, or an IPv6 address in
# brackets; RFC 9110, 7.2: and perhaps a port.
HOST = re.compile(rb"(?:[A-Za-z0-9._~!$&'()*+;=%-]*|\[[0-9A-Fa-f:.]+\])(?::[0-9]{0,5})?")


class Response(NamedTuple):
    """A whole response; `headers` come after date, content type, trace id and length."""

    body: bytes
    content_type: bytes = JSON
    status: int = 200
    headers: tuple[Header, ...] = ()


def json_response(value: Any, status: int = 200, headers: tuple[Header, ...] = ()) -> Response:
    """A response whose body is the value as JSON; NumPy arrays are lists."""
    return Response(orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY), JSON, status, headers)


class Sender(Protocol):
    """What a request knows of its connection."""

    lost: bool
    scheme: str
    server: tuple[str, int]

    def send(self, request: Request, response: Response) -> None:
        """Send the response in its request's turn; ignored where it was answered, or the client is gone."""


class Request:
    """A request and its responder: exactly one of `respond` and `fail` ends it.

    Header names are in lower case; fields that came several times are joined with a comma (RFC 9110, 5.3), so that one
    of which there may be one only is malformed then.
    """

    path = ""
    query_string = b""
    version = "1.1"
    keep_alive = True
    expects_continue = False
    handler: Handler | None = None
    error: ServingError | None = None  # why it is rejected before its handler is called
    body = b""
    body_bytes = 0
    body_limit = 0  # bytes of its body that may arrive before its connection is asked for more
    body_reserved = 0  # bytes of it that the budget of bodies was asked for
    complete = False  # its body has arrived
    error_body: Callable[[ServingError], bytes] | None = None  # of a route whose clients expect errors otherwise
    synthetic = False  # its rows are kept out of the drift watch

    def __init__(self, connection: Sender, method: str, headers: dict[bytes, bytes], begun: float) -> None:
        """`begun`: when its first byte came, on perf_counter's clock."""
        self._connection = connection
        self.begun = begun
        self.method = method
        self.headers = headers
        self.trace_id = trace_of(headers.get(TRACEPARENT))
        self.chunks: list[bytes] = []

    @property
    def disconnected(self) -> bool:
        """Whether nobody is there to read a response."""
        return self._connection.lost

    @property
    def scheme(self) -> str:
        """`http`; `https` where the connection has TLS."""
        return self._connection.scheme

    @property
    def server(self) -> tuple[str, int]:
        """The address that the client connected to."""
        return self._connection.server

    @property
    def query(self) -> dict[str, str]:
        """The query string's first value of each name."""
        if not self.query_string:
            return {}
        return dict(reversed(parse_qsl(self.query_string.decode("latin-1"), keep_blank_values=True)))

    def respond(self, response: Response) -> None:
        """Send the response; ignored once one was sent, or where nobody is left to read it."""
        self._connection.send(self, response)

    def fail(self, error: ServingError) -> None:
        """Send an error as `{"error": "…"}`, or as its route's clients expect it."""
        body = error.body if self.error_body is None else self.error_body(error)
        self._connection.send(self, Response(body, JSON, error.status, error.headers))


class Handler(Protocol):
    """Answers the requests of one route."""

    max_body_bytes: int

    def check(self, request: Request) -> None:
        """Raises the ServingError that can be told from the head alone, before the body is read."""

    def handle(self, request: Request) -> None:
        """Take a whole request and see to it that it is answered, now or later."""

    def reject(self, request: Request, error: ServingError) -> None:
        """Answer a request that never reached `handle`, and count it."""


Respond = Callable[[Request], Response | Awaitable[Response]]


def parse_target(target: bytes) -> tuple[str, bytes, bytes | None]:
    """(path, query string, host that the target itself names or None) of a request target. BadInput"""
    host = None
    if not target.startswith(b"/") and target != b"*":
        try:
            url = httptools.parse_url(target)
        except httptools.HttpParserInvalidURLError:
            raise BadInput("the request's target is neither a path nor a URL") from None
        if not url.schema or not url.host:
            raise BadInput("the request's target is neither a path nor a URL")
        host = b"[%b]" % url.host if b":" in url.host else url.host
        host = host if url.port is None else b"%b:%d" % (host, url.port)
        target = (url.path or b"/") + (b"?" + url.query if url.query else b"")
    if b"#" in target:
        raise BadInput("the request's target has a fragment (#), which clients keep to themselves")
    path, _, query = target.partition(b"?")
    if b"%" in path:
        return unquote(path.decode("latin-1")), query, host
    return path.decode("latin-1"), query, host


def check_head(request: Request) -> None:
    """Raises for what RFC 9112 has a server refuse whatever the route: version, method, host, framing."""
    headers = request.headers
    if request.version not in ("1.1", "1.0"):
        raise UnsupportedVersion(f"HTTP/{request.version} is not spoken here: send HTTP/1.1")
    if request.method not in METHODS:
        raise NotImplementedMethod(f"method {request.method} is not known here")
    host = headers.get(b"host")
    if host is None:
        if request.version == "1.1":
            raise BadInput("a Host header is missing, which HTTP/1.1 requires")
    elif HOST.fullmatch(host) is None:
        raise BadInput("the Host header is malformed, or there are several")
    coding = headers.get(b"transfer-encoding")
    if coding is not None:
        _check_coding(coding.strip().lower(), request.version)


def _check_coding(coding: bytes, version: str) -> None:
    if version == "1.0":
        raise BadInput("HTTP/1.0 knows no Transfer-Encoding, so that the body's length can be read in two ways")
    if coding != b"chunked":
        if coding.endswith(b"chunked"):
            raise NotImplementedMethod("of transfer codings only chunked is known here")
        raise BadInput("a Transfer-Encoding must end in chunked")
