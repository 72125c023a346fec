"""What a stage counts: its requests in seconds, its failures by reason, what it asked again."""

from __future__ import annotations

import asyncio

from prometheus_client import Counter, Histogram

from serving.http.endpoint import Endpoint
from serving.http.gateway import Routes
from serving.http.messages import Request, Response
from serving.telemetry.metrics import REASONS, REQUEST_SECONDS, Metrics

LABELS = ("stage", "model")


class StageMetrics:
    """The metrics of one stage, among the families of its process."""

    def __init__(self, families: Metrics, stage: str, model: str) -> None:
        registry = families.registry
        self.families = families
        self.seconds = Histogram(
            "ekiben_chain_seconds",
            "Answered requests of a stage, from the first byte to the answer written",
            LABELS,
            buckets=REQUEST_SECONDS,
            registry=registry,
        ).labels(stage, model)
        failures = ("ekiben_chain_failures_total", "Requests that a stage answered with an error", (*LABELS, "reason"))
        self._failures = Counter(*failures, registry=registry)
        self._who = (stage, model)
        for reason in (*REASONS, "stage_down"):  # from the start: a rate misses the first value of a series
            self._failures.labels(*self._who, reason)
        retries = ("ekiben_chain_retries_total", "Requests that this stage asked another replica once more", LABELS)
        self.retries = Counter(*retries, registry=registry).labels(stage, model)
        self.stage = stage

    def failed(self, reason: str) -> None:
        """Count a failure by its reason."""
        self._failures.labels(*self._who, reason).inc()

    def routes(self) -> Routes:
        """`/metrics` of the stage."""

        async def metrics(_: Request) -> Response:
            text = await asyncio.to_thread(self.families.text)
            return Response(text, b"text/plain; version=0.0.4; charset=utf-8")

        return {"/metrics": {"GET": Endpoint(metrics)}}
