"""What the three services have in common: settings, a supervised worker, metrics, and both sides of the transport."""

from __future__ import annotations

import bentoml

from serving.chain.metrics import StageMetrics
from serving.chain.replicas import Replicas
from serving.chain.settings import ChainSettings, addresses
from serving.chain.stage import StageEndpoint, Work, health
from serving.chain.transport import Receiver, opened
from serving.http.gateway import Routes
from serving.inference.repository import Repository
from serving.lifecycle import Lifecycle
from serving.memory import WorkerMemory
from serving.process import metrics_dir
from serving.process.drain import Drain
from serving.process.vitals import Vitals
from serving.telemetry import logs
from serving.telemetry.metrics import Metrics

SETTINGS = ChainSettings.read_or_exit()
logs.configure(SETTINGS)  # BentoML's next line says that the stage was loaded


class StageService:
    """A stage's worker. Only the model stage loads something into its repository; here it sends heartbeats."""

    stage: str

    @bentoml.on_deployment
    @staticmethod
    def supervise() -> None:
        """Run our supervisor in place of BentoML's."""
        from serving.process.supervision import supervise

        logs.configure(SETTINGS)
        supervise(SETTINGS.hang_s, SETTINGS.drain_s)

    def __init__(self) -> None:
        logs.configure(SETTINGS)
        self.model = SETTINGS.chained()
        families = Metrics()
        self.repository = Repository(SETTINGS.of_the_model(), families)
        self.load()
        self.metrics = StageMetrics(families, self.stage, self.model.name)
        self.receiver: Receiver | None
        self.transport, self.receiver = opened(SETTINGS)
        self.repository.keep_flushing(bentoml.server_context.worker_index or 0)
        self.memory = self.repository.memory = WorkerMemory.of(SETTINGS.memory_mb, SETTINGS.workers)
        metrics_dir.preallocate()
        self.lifecycle = Lifecycle()
        self.vitals = Vitals(self.repository, self.lifecycle, SETTINGS.hang_s)
        Drain(self.lifecycle, SETTINGS.drain_s).on_sigterm()

    def load(self) -> None:
        """Before it is measured what is left of memory."""

    def route(self, work: Work) -> StageEndpoint:
        """The handler of what other stages ask."""
        seconds, most = SETTINGS.chain_timeout_ms / 1e3, SETTINGS.chain_max_requests
        return StageEndpoint(work, self.receiver, self.metrics, seconds, SETTINGS.max_body_bytes, most)

    @bentoml.on_shutdown
    def close(self) -> None:
        """Stop watching, and end the runners."""
        self.vitals.close()
        self.repository.close()


class AskingService(StageService):
    """A stage that asks the next one."""

    def ask_at(self, stage: str, at: str) -> None:
        """The next stage, and where its replicas are, as the settings have it."""
        self.next_stage = Replicas(stage, addresses(at), self.transport)

    def routes_of_all(self) -> Routes:
        """Health, which says how the next stage's replicas are, and metrics."""
        return {**health(self.stage, self.model.name, self.next_stage), **self.metrics.routes()}

    @bentoml.on_shutdown
    async def hang_up(self) -> None:
        """Close the connections to the next stage."""
        await self.next_stage.close()
