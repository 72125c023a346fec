"""The router, and what else a worker's connections share: keys, limits, BentoML's own application for its few paths.

Every path is known when the service starts, so that a lookup is all the routing there is, and what a client invents is
answered here: it reaches neither BentoML's middleware nor a metric's label.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import uvicorn

from serving.errors import MethodNotAllowed, MisdirectedRequest, NotFound, ServingError
from serving.http.encoder import HeadEncoder
from serving.http.endpoint import Endpoint, reject, shorten
from serving.http.keys import SYNTHETIC, Keys, is_synthetic
from serving.http.messages import Handler, Header, Request, Response
from serving.lifecycle import LoopClock
from serving.memory import MemoryBudget, WorkerMemory

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Routes = dict[str, dict[str, Handler]]  # path → method → handler; HEAD is answered wherever GET is

CHECK_SECONDS = 1.0


@dataclass(frozen=True)
class Limits:
    """What one worker puts up with."""

    connections: int
    body_seconds: float = 30.0
    keep_alive_seconds: float = 75.0


class Lifecycle(Protocol):
    """How the process is."""

    draining: bool
    clock: LoopClock


class Service(Protocol):
    """What is served, once it has started."""

    lifecycle: Lifecycle
    memory: WorkerMemory

    def routes(self) -> Routes:
        """Path → method → handler, complete."""


@dataclass
class Gateway:
    """The application that uvicorn is given: ASGI for the lifespan, and what connections ask for everything else."""

    bentoml: App
    bentoml_paths: tuple[str, ...]
    service: Callable[[], Service]
    limits: Limits
    keys: Keys | None = None
    allowed_hosts: frozenset[str] = frozenset()
    synthetic: bool = False  # whether everybody may keep rows out of the drift watch
    routes: Routes = field(default_factory=dict)
    targets: dict[bytes, tuple[str, dict[str, Handler]]] = field(default_factory=dict)  # our paths as they are sent
    clock: LoopClock = field(default_factory=LoopClock)
    encoder: HeadEncoder = field(default_factory=HeadEncoder)
    bodies: MemoryBudget = field(default_factory=MemoryBudget)  # what arriving bodies may take
    lingering: dict[Any, asyncio.Transport] = field(default_factory=dict)  # by connection, the first that ended first
    _lifecycle: Lifecycle | None = None
    _watching: asyncio.TimerHandle | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The lifespan, which is BentoML's; our routes are asked for once it has started."""

        async def opening(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "lifespan.startup.complete":
                service = self.service()
                self.bodies = service.memory.bodies
                self.start(service.routes(), service.lifecycle)
                if (listen := getattr(service, "listen", None)) is not None:  # it speaks another protocol as well
                    listen(self)
            await send(message)

        await self.bentoml(scope, receive, opening)

    def start(self, routes: Routes, lifecycle: Lifecycle) -> None:
        """Serve these routes."""
        self.routes, self._lifecycle = routes, lifecycle
        self.clock = lifecycle.clock
        self.targets = {path.encode(): (path, methods) for path, methods in routes.items()}

    @property
    def draining(self) -> bool:
        """Whether the process ends once what it has accepted is answered."""
        return self._lifecycle is not None and self._lifecycle.draining

    def watch(self, connections: set[Any]) -> None:
        """Have all connections look at the time about once a second."""
        if self._watching is not None:
            return
        loop = asyncio.get_running_loop()

        def check() -> None:
            now = loop.time()
            for connection in tuple(connections):
                connection.check_time(now)
            self._watching = loop.call_later(CHECK_SECONDS, check) if connections else None

        self._watching = loop.call_later(CHECK_SECONDS, check)

    def resolve(self, request: Request, methods: dict[str, Handler] | None, host: bytes | None) -> Handler:
        """The handler of a request, which may pass. Any ServingError of 4xx

        `methods` are those of its path, if they are known already; `host` is what its target names.
        """
        if self.allowed_hosts:
            self.check_host(host or request.headers.get(b"host", b""))
        path, key = request.path, None
        if self.keys is not None:
            key = self.keys.of(path, request.headers.get(b"authorization"))
            if key is not None:
                key.spend()
        if SYNTHETIC in request.headers:
            request.synthetic = is_synthetic(request.headers, self.synthetic, key)
        if methods is None and (methods := self.routes.get(path)) is None:
            if path in self.bentoml_paths:
                return Endpoint(self._ask_bentoml)
            methods = self.routes.get(path.rstrip("/")) if path != "/" else None
            if methods is None:
                raise NotFound(self._nothing_at(path))
        handler = methods.get(request.method) or (methods.get("GET") if request.method == "HEAD" else None)
        if handler is None:
            allowed = sorted({*methods, "HEAD"} if "GET" in methods else methods)
            raise MethodNotAllowed(request.method, path, ", ".join(allowed))
        return handler

    def reject(self, request: Request, error: ServingError) -> None:
        """Answer a request that reached no handler: in the words of the handler that its path would have had."""
        methods = self.routes.get(request.path, {})
        request.error_body = next((b for h in methods.values() if (b := getattr(h, "error_body", None))), None)
        reject(request, error)

    def check_host(self, host: bytes) -> None:
        """Raises MisdirectedRequest where this Host is not among `allowed_hosts`, with its port or without."""
        name = host.decode("latin-1").lower()
        if not (name in self.allowed_hosts or name.rpartition(":")[0] in self.allowed_hosts):
            raise MisdirectedRequest("this host is not served here", "EKIBEN_ALLOWED_HOSTS")

    def _nothing_at(self, path: str) -> str:
        first, _, rest = path.lstrip("/").partition("/")
        if path.startswith("/v2/models/"):
            models = sorted({p.split("/")[3] for p in self.routes if p.startswith("/v2/models/")} - {"stats"})
            return f"nothing at {shorten(path)}: unknown model or version; models are {', '.join(models)}"
        if rest and (near := sorted(p for p in self.routes if p.startswith(f"/{first}/"))):
            return f"nothing at {shorten(path)}; there is {', '.join(near[:12])}"
        return f"nothing at {shorten(path)}; GET / lists every route"

    async def _ask_bentoml(self, request: Request) -> Response:
        """The response of BentoML's application, by ASGI."""
        messages: list[MutableMapping[str, Any]] = []

        received = False

        async def receive() -> MutableMapping[str, Any]:
            nonlocal received
            if received:  # who asks again waits to be told that the client has hung up
                await asyncio.get_running_loop().create_future()
            received = True
            return {"type": "http.request", "body": request.body, "more_body": False}

        async def send(message: MutableMapping[str, Any]) -> None:
            messages.append(message)

        await self.bentoml(_as_scope(request), receive, send)
        fields = [(name, value) for name, value in messages[0]["headers"] if name not in (b"content-length", b"date")]
        content_type = next((value for name, value in fields if name == b"content-type"), b"application/octet-stream")
        headers: tuple[Header, ...] = tuple(pair for pair in fields if pair[0] != b"content-type")
        body = b"".join(message.get("body", b"") for message in messages[1:])
        return Response(body, content_type, messages[0]["status"], headers)


def _as_scope(request: Request) -> Scope:
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": request.version,
        "method": "GET" if request.method == "HEAD" else request.method,
        "scheme": request.scheme,
        "path": request.path,
        "raw_path": request.path.encode(),
        "query_string": request.query_string,
        "root_path": "",
        "headers": list(request.headers.items()),
        "server": request.server,
        "client": None,
        "state": {},
    }


def install_http_protocol() -> None:
    """Have uvicorn make its connections of our class. BentoML starts uvicorn and gives no word for it."""
    uvicorn.config.HTTP_PROTOCOLS["auto"] = "serving.http.connection:Connection"
