"""What the service counted between two scrapes of its /metrics: time by stage, batches, failures."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from loadtest.service import ServiceProcess

STAGES = ("request", "queue", "preprocess", "infer", "postprocess")
SETTLE_SECONDS = 2.5  # the workers that are not scraped themselves write what they counted once a second

Totals = dict[str, float]


@dataclass(frozen=True)
class Stages:
    """Sums over the requests and batches of one form."""

    totals: Totals

    def mean(self, name: str) -> float:
        """Seconds of a stage per request (`infer`: per batch)."""
        return self._ratio(f"ekiben_{name}_seconds")

    @property
    def requests(self) -> float:
        return self.totals["ekiben_request_seconds_count"]

    @property
    def batches(self) -> float:
        return self.totals["ekiben_batch_rows_count"]

    @property
    def rows(self) -> float:
        """Mean rows of a batch."""
        return self._ratio("ekiben_batch_rows")

    @property
    def infer_seconds(self) -> float:
        return self.totals["ekiben_infer_seconds_sum"]

    def _ratio(self, name: str) -> float:
        count = self.totals[f"{name}_count"]
        return self.totals[f"{name}_sum"] / count if count else 0.0


def samples(text: str) -> Iterator[Sample]:
    """Every sample of a text exposition."""
    for family in text_string_to_metric_families(text):
        yield from family.samples


def scrape(service: ServiceProcess, model: str, form: str) -> Totals:
    """Totals of one form by sample name, all interfaces, versions and reasons together. ServiceError"""
    families = [*(f"ekiben_{stage}_seconds" for stage in STAGES), "ekiben_batch_rows"]
    names = {f"{family}_{part}" for family in families for part in ("sum", "count")} | {"ekiben_failures_total"}
    totals = dict.fromkeys(sorted(names), 0.0)
    for sample in samples(service.request("/metrics")[1].decode()):
        if sample.name in names and (sample.labels["model"], sample.labels["form"]) == (model, form):
            totals[sample.name] += sample.value
    return totals


def since(before: Totals, service: ServiceProcess, model: str, form: str, answered: int) -> Stages:
    """What was counted since, once the count has reached the answers that the generator saw."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while True:
        now = scrape(service, model, form)
        stages = Stages({name: value - before[name] for name, value in now.items()})
        if stages.requests >= answered or time.monotonic() > deadline:
            return stages
        time.sleep(0.1)
