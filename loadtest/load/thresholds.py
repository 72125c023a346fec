"""The objectives of deploy/slo.yaml, as deploy/thresholds.json has them, held against what was measured."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from loadtest.load.records import Records

FILE = Path(__file__).parents[2] / "deploy" / "thresholds.json"


@dataclass(frozen=True)
class Verdict:
    """One threshold: of whom (service, or a model), what, the measured value and its limit, both in the same unit."""

    whose: str
    what: str
    value: float  # NaN: nothing was measured, which is no success
    limit: float
    unit: str

    @property
    def met(self) -> bool:
        return self.value <= self.limit

    def __str__(self) -> str:
        value = "nothing was answered" if np.isnan(self.value) else f"{self.value:.4g} {self.unit}"
        return (
            f"{'met   ' if self.met else 'MISSED'}  {self.whose} {self.what}: {value}, limit {self.limit:g} {self.unit}"
        )


def read(path: Path = FILE) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def verdicts(thresholds: dict[str, Any], records: Records) -> list[Verdict]:
    """Each threshold of the service over all requests, and of a model over its own."""
    kinds = [model for model, _ in records.kinds]
    model_of = np.array(kinds, object)[records.column("kind")] if kinds else np.array([], object)
    latency, failed = records.column("latency"), records.column("failed").astype(bool)
    found = list(_verdicts("service", thresholds["service"], latency, failed))
    for model, promised in thresholds["models"].items():
        if model in kinds:
            its = model_of == model
            found += _verdicts(model, promised, latency[its], failed[its])
    return found


def _verdicts(whose: str, promised: dict[str, Any], latency: np.ndarray, failed: np.ndarray) -> Iterator[Verdict]:
    """Latency is of what was answered, failures are of all, as the objectives count them."""
    if "availability" in promised:
        value = 100 * failed.mean() if len(failed) else np.nan
        yield Verdict(whose, "failed requests", value, 100 * promised["availability"]["failed_ratio"], "%")
    if "latency" in promised:
        percentile, limit = promised["latency"]["percentile"], promised["latency"]["seconds"]
        yield Verdict(whose, f"p{percentile:g} latency", percentiles(latency[~failed], percentile)[0], limit, "s")


def percentiles(latency: np.ndarray, *which: float) -> list[float]:
    """Latencies that this many percent did not exceed; a measured one, never one in between. NaN of nothing."""
    if not len(latency):
        return [float("nan")] * len(which)
    return [float(value) for value in np.percentile(latency, which, method="inverted_cdf")]
