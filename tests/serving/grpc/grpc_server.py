"""V2 over gRPC in a thread of this process, over one form of the tests' store."""

import asyncio
import contextlib
import threading
from dataclasses import dataclass, field
from typing import Any

import uvloop

from serving.api.grpc.methods import listen
from serving.http.gateway import Gateway, Limits
from serving.inference.repository import Repository
from serving.lifecycle import Lifecycle
from serving.process.inherited import listening_socket
from serving.settings import Settings
from serving.telemetry.metrics import Metrics


@dataclass
class GrpcServer:
    """A server that runs, and its parts."""

    port: int
    loop: asyncio.AbstractEventLoop
    repository: Repository
    lifecycle: Lifecycle
    gateway: Gateway
    service: Any
    _ended: threading.Event = field(default_factory=threading.Event)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def call(self, function, *arguments):
        """What a function gives in the server's thread."""

        async def run():
            return function(*arguments)

        return asyncio.run_coroutine_threadsafe(run(), self.loop).result(30)

    def totals(self):
        """(sample, (model, form, version, …)) → value, as scraped now."""
        self.call(self.repository.flush)
        return self.repository.families.totals()


@contextlib.contextmanager
def grpc_server(limits=None, keys=None, allowed_hosts=(), **settings):
    """Serves iris-onnx of BentoML's store, unless the settings say otherwise."""
    settings = Settings(**{"models": "iris", "forms": "onnx", **settings})
    started, end, made = threading.Event(), threading.Event(), []

    async def run():
        repository = Repository(settings, Metrics())
        repository.load()
        lifecycle = Lifecycle()
        gateway = Gateway(None, (), None, limits or Limits(100), keys, frozenset(allowed_hosts))
        gateway.start({}, lifecycle)
        sock = listening_socket("127.0.0.1", 0)
        listener = listen(sock, gateway, repository, lifecycle)
        port = sock.getsockname()[1]
        made.append(GrpcServer(port, asyncio.get_running_loop(), repository, lifecycle, gateway, listener.service))
        started.set()
        await asyncio.to_thread(end.wait)
        for connection in tuple(listener.service.connections):
            connection.transport.abort()
        listener.close()
        repository.close()

    thread = threading.Thread(target=lambda: uvloop.run(run()), daemon=True)
    thread.start()
    try:
        assert started.wait(300)
        yield made[0]
    finally:
        end.set()
        thread.join(120)
