"""The one ASGI path: a dictionary of exact paths in front of BentoML's application, bodies in, bytes out.

Every path is known when the service starts, so a lookup is all the routing there is, and what a client invents is
answered here: it reaches neither BentoML's middleware nor a metric's label.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

import orjson
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from serving.errors import ClientGone, MethodNotAllowed, NotFound, ServingError, TooLarge, foreseen
from serving.http.keys import Key, Keys
from serving.http.trace import TRACE, TRACEPARENT, trace_of
from serving.telemetry.logs import REQUESTS

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Routes = dict[str, dict[str, App]]  # path → method → application
Header = tuple[bytes, bytes]

JSON: Header = (b"content-type", b"application/json")


class Router:
    """Our routes first, then the paths that BentoML answers; all else is 404 or 405 in words."""

    def __init__(
        self, bento: App, theirs: tuple[str, ...], open_routes: Callable[[], Routes], keys: Keys | None = None
    ) -> None:
        """`theirs` are BentoML's paths (a trailing / means all below); `open_routes` is asked once it has started."""
        self.keys = keys
        self._bento = bento
        self._exact = {path for path in theirs if not path.endswith("/")}
        self._below = tuple(path for path in theirs if path.endswith("/"))
        self._open_routes = open_routes
        self.routes: Routes = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._bento(scope, receive, self._opening(send))
        scope["trace"] = trace = trace_of(header(scope, TRACEPARENT))
        methods = self.routes.get(scope["path"])
        try:
            self._admit(scope)
            if methods is None:
                await self._elsewhere(scope, receive, send)
            elif (app := methods.get(scope["method"])) is not None:
                await app(scope, receive, send)
            else:
                raise MethodNotAllowed(scope["method"], scope["path"], ", ".join(sorted(methods)))
        except Exception as error:
            told = foreseen(error, trace)
            REQUESTS.failed(trace, told, method=scope["method"], path=_shown(scope["path"]))
            await send_error(send, told, trace)

    def _admit(self, scope: Scope) -> None:
        key = self.key_of(scope)
        if key is not None:
            key.spend()

    def key_of(self, scope: Scope) -> Key | None:
        """The key that a request came with; None where none is needed. Unauthorized, Forbidden"""
        return None if self.keys is None else self.keys.of(scope["path"], header(scope, b"authorization"))

    def _opening(self, send: Send) -> Send:
        async def opened(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "lifespan.startup.complete":
                self.routes = self._open_routes()
            await send(message)

        return opened

    async def _elsewhere(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        if path in self._exact or path.startswith(self._below):
            return await self._bento(scope, receive, send)
        if path != "/" and (methods := self.routes.get(path.rstrip("/"))) and scope["method"] in methods:
            return await methods[scope["method"]](scope, receive, send)
        raise NotFound(self._nothing_at(path))

    def _nothing_at(self, path: str) -> str:
        first, _, rest = path.lstrip("/").partition("/")
        if path.startswith("/v2/models/"):
            models = sorted({p.split("/")[3] for p in self.routes if p.startswith("/v2/models/")} - {"stats"})
            return f"nothing at {_shown(path)}: unknown model or version; models are {', '.join(models)}"
        if rest and (near := sorted(p for p in self.routes if p.startswith(f"/{first}/"))):
            return f"nothing at {_shown(path)}; there is {', '.join(near[:12])}"
        return f"nothing at {_shown(path)}; GET / lists every route"


def _shown(path: str) -> str:
    return path if len(path) <= 100 else path[:100] + "…"


async def read_body(scope: Scope, receive: Receive, limit: int) -> bytes:
    """The whole body. TooLarge above `limit` bytes, before they are read where the client says how many; ClientGone."""
    message = await receive()
    body: bytes = message.get("body", b"")
    if not message.get("more_body"):
        if message["type"] == "http.disconnect":
            raise ClientGone("the client hung up")
        if len(body) > limit:
            raise _too_large(limit)
        return body
    if (said := header(scope, b"content-length")) is not None and said.isdigit() and int(said) > limit:
        raise _too_large(limit)
    chunks, size = [body], len(body)
    while message.get("more_body"):
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone("the client hung up")
        chunks.append(message.get("body", b""))
        size += len(chunks[-1])
        if size > limit:
            raise _too_large(limit)
    return b"".join(chunks)


def _too_large(limit: int) -> TooLarge:
    error = TooLarge(f"the body is over {limit} bytes, which EKIBEN_MAX_BODY_BYTES sets")
    error.headers = ((b"connection", b"close"),)  # the rest of the body is not waited for
    return error


def header(scope: Scope, name: bytes) -> bytes | None:
    """A request header by its lower-case name."""
    for key, value in scope["headers"]:
        if key == name:
            return bytes(value)
    return None


def client_of(receive: Receive) -> RequestResponseCycle | None:
    """Who asks, with an attribute `disconnected`; None where the server is not uvicorn over httptools.

    uvicorn's `receive` is a method of the request's cycle, which knows; asking through `receive()` would take a task
    for every request.
    """
    cycle = getattr(receive, "__self__", None)
    return cycle if type(cycle) is RequestResponseCycle else None


async def send_bytes(send: Send, body: bytes, kind: Header = JSON, status: int = 200, *further: Header) -> None:
    """One whole answer."""
    headers = [kind, (b"content-length", b"%d" % len(body)), *further]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def send_json(send: Send, value: Any, status: int = 200, *further: Header) -> None:
    await send_bytes(send, orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY), JSON, status, *further)


async def send_error(send: Send, error: ServingError, trace: bytes) -> None:
    """`{"error": "…"}` with the error's status; a client that has gone is told nothing."""
    if not isinstance(error, ClientGone):
        await send_bytes(send, error.body, JSON, error.status, (TRACE, trace), *error.headers)


def get(value: Callable[[Mapping[str, str]], Any]) -> dict[str, App]:
    """A GET route that answers JSON: `value` is given the query and returns what is to be written."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send_json(send, value(query(scope)))

    return {"GET": app, "HEAD": app}


def query(scope: Scope) -> dict[str, str]:
    """The query string's first value of each name."""
    from urllib.parse import parse_qsl

    pairs = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True) if scope["query_string"] else []
    return dict(reversed(pairs))
