"""The one service that `bentoml serve` starts: composition only."""

from __future__ import annotations

import gc
from collections.abc import Iterable
from typing import Any

import bentoml

from serving.api import bentoml_clients, interface
from serving.http.gateway import Gateway, Routes
from serving.inference.repository import Repository
from serving.lifecycle import Lifecycle
from serving.memory import WorkerMemory
from serving.process import metrics_dir
from serving.process.drain import Drain
from serving.process.inherited import inherited_socket, listening_socket
from serving.process.vitals import Vitals
from serving.service_class import LeanService
from serving.settings import Settings
from serving.telemetry import logs
from serving.telemetry.metrics import Metrics

SETTINGS = Settings.read_or_exit()
logs.configure(SETTINGS)  # BentoML's next line says that this was loaded


@bentoml.service(name="ekiben", service_class=LeanService, workers=SETTINGS.workers)
class Ekiben:
    """Every model in the box, over HTTP."""

    @bentoml.on_deployment
    @staticmethod
    def supervise() -> None:
        """Run our supervisor in place of BentoML's."""
        from serving.process.supervision import supervise

        logs.configure(SETTINGS)
        supervise(SETTINGS.hang_s, SETTINGS.drain_s, SETTINGS.grpc_port)

    def __init__(self) -> None:
        logs.configure(SETTINGS)
        gc.disable()  # a sixth of the time that it takes to import the engines
        self.repository = Repository(SETTINGS, Metrics())
        self.repository.load(Ekiben.own_models())  # type: ignore[attr-defined]
        self.repository.keep_flushing(bentoml.server_context.worker_index or 0)
        self.memory = self.repository.memory = WorkerMemory.of(SETTINGS.memory_mb, SETTINGS.workers)
        metrics_dir.preallocate()
        self.lifecycle = Lifecycle()
        self.vitals = Vitals(self.repository, self.lifecycle, SETTINGS.hang_s)
        self.drain = Drain(self.lifecycle, SETTINGS.drain_s)
        self.drain.on_sigterm()
        # What is loaded stays: the collector need not walk it while requests wait.
        gc.collect()
        gc.freeze()
        gc.enable()
        gc.set_threshold(20_000, 20, 50)

    @staticmethod
    def describe(models: Iterable[str]) -> list[dict[str, Any]]:
        """The native routes of these models, in BentoML's words."""
        return bentoml_clients.of_folders(models, SETTINGS)

    def routes(self) -> Routes:
        """Every route there is, which the gateway asks for once."""
        return interface.routes(self.repository, self.lifecycle)

    def listen(self, gateway: Gateway) -> None:
        """Serve gRPC too, where it has a port."""
        if SETTINGS.grpc_port:
            from serving.api.grpc.methods import listen  # and protobuf with it

            sock = inherited_socket() or listening_socket("127.0.0.1", SETTINGS.grpc_port)
            self.grpc = listen(sock, gateway, self.repository, self.lifecycle, self.drain.server)

    def __is_ready__(self) -> bool:
        return self.repository.ready

    @bentoml.on_shutdown
    def close(self) -> None:
        """Stop watching, and end the runners."""
        self.vitals.close()
        self.repository.close()
