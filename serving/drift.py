"""What drift is measured from: inputs and predictions of real requests, counted into the bins of the training data.

Counters, so that workers and replicas add up exactly; PSI and KS are recording rules in Prometheus. At most ELEMENTS
input values are held from one flush to the next: what comes after them is answered and not watched.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from prometheus_client import Counter

from bentos.contract import Arrays, Model
from serving.metrics import Families
from serving.sessions import Batch

ELEMENTS = 2**19
MISSING = "missing"


class Quantity:
    """One quantity's bins and their counters. A class is its own bin; a number falls between deciles."""

    def __init__(self, reference: Mapping[str, Any], families: Families, labels: tuple[str, str, str]) -> None:
        self._edges = None if "classes" in reference else np.array(reference["edges"], np.float64)
        missing = reference.get("missing", 0.0)
        shares = {f"{i:02d}": share * (1 - missing) for i, share in enumerate(reference["shares"])} | {MISSING: missing}
        for name, share in shares.items():
            families.drift_reference.labels(*labels, name).set(share)
        self._counters: list[Counter] = [families.drift_observed.labels(*labels, name) for name in shares]

    def count(self, values: np.ndarray) -> None:
        """Add (n,) values to their bins."""
        bins = len(self._counters) - 1
        if self._edges is None:
            found = np.bincount(values, minlength=bins)
        else:
            present = values[~np.isnan(values)]
            self._add(bins, len(values) - len(present))
            found = np.bincount(np.searchsorted(self._edges, present, side="left"), minlength=bins)
        for place, rows in enumerate(found):
            self._add(place, int(rows))

    def _add(self, place: int, rows: int) -> None:
        if rows:
            self._counters[place].inc(rows)


class Watch:
    """The quantities of one served form."""

    def __init__(self, model: Model, certificate: Mapping[str, Any], families: Families) -> None:
        self._model = model
        version = certificate["version"]
        self._quantities = {
            name: Quantity(reference, families, (model.name, version, name))
            for name, reference in certificate["reference"].items()
        }
        for name in self._quantities:
            families.drift_rows.labels(model.name, version, name).set(certificate["dataset"]["rows"])
        self._held: list[tuple[Batch, list[np.ndarray]]] = []
        self._elements = 0

    def add(self, inputs: Batch, outputs: list[np.ndarray]) -> None:
        """Hold one batch until the next flush."""
        if self._quantities and self._elements < ELEMENTS:
            self._held.append((inputs, outputs))
            self._elements += inputs[0].size

    def flush(self) -> None:
        """Count what is held."""
        held, self._held, self._elements = self._held, [], 0
        if not held:
            return
        signature = self._model.signature
        columns = [[np.concatenate(parts) for parts in zip(*side, strict=True)] for side in zip(*held, strict=True)]
        inputs: Arrays = {t.name: a for t, a in zip(signature.inputs, columns[0], strict=True)}
        outputs: Arrays = {t.name: a for t, a in zip(signature.outputs, columns[1], strict=True)}
        found = {f"input:{name}": values for name, values in self._model.watched(inputs).items()}
        found |= {f"prediction:{name}": values for name, values in self._model.predicted(outputs).items()}
        for name, quantity in self._quantities.items():
            quantity.count(found[name])
