"""Every request that was made, kept, so that percentiles are exact; and the objectives of deploy/slo.yaml held against
them, as deploy/thresholds.json has them."""

from __future__ import annotations

import json
from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from loadtest.documents import CHECKOUT

THRESHOLDS = CHECKOUT / "deploy" / "thresholds.json"
REASONS = 100  # different ones are kept
COLUMNS = {"due": "d", "latency": "d", "lag": "d", "kind": "H", "failed": "B"}


class Records:
    """A column each of when a request was due (s after the start), its latency from then on and the generator's own
    lag in it (s), its kind (model, interface), and whether it failed; 27 bytes a request."""

    def __init__(self) -> None:
        self.kinds: list[tuple[str, str]] = []
        self.reasons: Counter[str] = Counter()  # of failures
        self.merged = 0  # messages of other processes
        self._columns: dict[str, array[Any]] = {name: array(code) for name, code in COLUMNS.items()}

    def __len__(self) -> int:
        return len(self._columns["due"])

    def add(self, kind: tuple[str, str], due: float, latency: float, lag: float, reason: str = "") -> None:
        """One request; a reason says why it failed."""
        values = (due, latency, lag, self._place(kind), bool(reason))
        for column, value in zip(self._columns.values(), values, strict=True):
            column.append(value)
        if reason and (reason in self.reasons or len(self.reasons) < REASONS):
            self.reasons[reason] += 1

    def _place(self, kind: tuple[str, str]) -> int:
        if kind not in self.kinds:
            self.kinds.append(kind)
        return self.kinds.index(kind)

    @property
    def seconds(self) -> float:
        """From the start to the last answer."""
        return float((self.column("due") + self.column("latency")).max(initial=0))

    def column(self, name: str) -> np.ndarray:
        """(requests,)"""
        return np.array(self._columns[name])

    def message(self) -> dict[str, Any]:
        """What another process sends here."""
        columns = {name: column.tobytes() for name, column in self._columns.items()}
        return {"kinds": self.kinds, "reasons": dict(self.reasons), **columns}

    def merge(self, message: dict[str, Any]) -> None:
        """Add what another process recorded."""
        places = np.array([self._place((model, interface)) for model, interface in message["kinds"]], "u2")
        message["kind"] = places[np.frombuffer(message["kind"], "u2")].tobytes()
        self.merged += 1
        self.reasons.update(message["reasons"])
        for name, column in self._columns.items():
            column.frombytes(message[name])


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
        word = "met   " if self.met else "MISSED"
        return f"{word}  {self.whose} {self.what}: {value}, limit {self.limit:g} {self.unit}"


def read_thresholds(path: Path = THRESHOLDS) -> dict[str, Any]:
    """Of the service, and of each model."""
    return dict(json.loads(path.read_text()))


def verdicts(thresholds: dict[str, Any], records: Records) -> list[Verdict]:
    """Each threshold of the service over all requests, and of a model over its own."""
    kinds = [model for model, _ in records.kinds]
    model_of = np.array(kinds, object)[records.column("kind")] if kinds else np.array([], object)
    latency, failed = records.column("latency"), records.column("failed").astype(bool)
    held = list(_verdicts("service", thresholds["service"], latency, failed))
    for model, promised in thresholds["models"].items():
        if model in kinds:
            its = model_of == model
            held += _verdicts(model, promised, latency[its], failed[its])
    return held


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
