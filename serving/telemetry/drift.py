"""What drift is measured from: inputs and predictions of real requests, counted into the bins of the training data.

Counters, so that workers and replicas add up exactly; PSI and KS are recording rules in Prometheus. At most ELEMENTS
input values are watched from one flush to the next, which is a second: what comes after them is answered, counted as
unwatched, and left out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from bentos.certificate import Certificate, Histogram
from bentos.contract import Arrays, Field, Model
from serving.telemetry.buffers import CounterBuffer
from serving.telemetry.metrics import Metrics
from serving.telemetry.predictions import Predictions

ELEMENTS = 2**21  # less than a hundredth of a core
# Rows, or input values, that are held before they are counted: a third of a millisecond.
FULL_ROWS, FULL_ELEMENTS = 500, 2**16
MISSING = "missing"
Places = Callable[[np.ndarray], np.ndarray]


class Quantity:
    """One quantity's bins and their counters. A class is its own bin, and a category; a number falls between deciles.

    `places` tells the bins of values, where they are categories: (n,) → (n,) places, one behind the last for others.
    """

    def __init__(
        self,
        reference: Histogram,
        metrics: Metrics,
        labels: tuple[str, str, str],
        places: Places | None = None,
    ) -> None:
        self._places = decile_places(reference) if not reference.classes else places
        missing = reference.missing
        # Categories have no order, so that bins of other names keep them out of cumulative shares.
        prefix = "" if places is None else "c"
        shares = {f"{prefix}{i:02d}": share * (1 - missing) for i, share in enumerate(reference.shares)}
        shares |= {MISSING: missing}
        for name, share in shares.items():
            metrics.drift_reference.labels(*labels, name).set(share)
        self._bins = len(shares) - 1  # beside the one for what is missing
        self._counted = CounterBuffer([metrics.drift_observed.labels(*labels, name) for name in shares])

    def count(self, values: np.ndarray) -> None:
        """Add (n,) values to their bins."""
        if self._places is None:
            places = values
        else:
            places = self._places(values)
            if values.dtype != object:
                places[np.isnan(values)] = self._bins
        self._counted.add(np.bincount(places))

    def flush(self) -> None:
        """Write what was counted."""
        self._counted.flush()


def decile_places(reference: Histogram) -> Places:
    """What tells the bins of numbers."""
    edges = np.array(reference.edges, np.float64)
    return lambda values: np.searchsorted(edges, values)


def category_places(reference: Histogram, field: Field | None) -> Places:
    """What tells the bins of codes, those of a field with choices, or of texts."""
    n_known = len(reference.classes)
    if field is None:
        place_of = {text: place for place, text in enumerate(reference.classes)}
        return lambda texts: np.array([place_of.get(text, n_known) for text in texts.tolist()], np.intp)
    codes = np.array([field.codes[word] for word in reference.classes], np.float64)  # ascending, as they were counted

    def places(values: np.ndarray) -> np.ndarray:
        indices = np.searchsorted(codes, values)
        return np.where(codes.take(indices, mode="clip") == values, indices, n_known)

    return places


class Input:
    """One input's values: how many, their sum, and how many a caller of the native route could not have sent."""

    def __init__(self, bounds: tuple[float, float], metrics: Metrics, labels: tuple[str, str, str]) -> None:
        self._low, self._high = bounds
        self._bounded = bounds != (-np.inf, np.inf)
        self._summary = metrics.inputs.labels(*labels)
        self._out_of_range = metrics.out_of_range.labels(*labels)
        self._rows = self._outside = 0
        self._sum = 0.0

    def count(self, values: np.ndarray) -> None:
        """Add (n,) values; NaN is a value that is missing."""
        present = values[~np.isnan(values)]
        self._rows += len(present)
        self._sum += float(present.sum(dtype=np.float64))
        if self._bounded:
            self._outside += int(np.count_nonzero((present < self._low) | (present > self._high)))

    def flush(self) -> None:
        """Write what was counted."""
        self._summary._count.inc(self._rows)
        self._summary._sum.inc(self._sum)
        self._out_of_range.inc(self._outside)
        self._rows, self._sum, self._outside = 0, 0.0, 0


class DriftMonitor:
    """What comes into one served form, and what it predicts."""

    def __init__(self, model: Model, certificate: Certificate, metrics: Metrics) -> None:
        self._model = model
        version, references = certificate.version, certificate.reference
        coded = {f"input:{name}": field for name, field in model.coded.items()}
        categories = {
            name: category_places(reference, coded.get(name))
            for name, reference in references.items()
            if name.startswith("input:") and reference.classes
        }
        self._quantities = {
            name: Quantity(reference, metrics, (model.name, version, name), categories.get(name))
            for name, reference in references.items()
        }
        for name in self._quantities:
            # On rows that it has learnt a model is too sure of itself: predictions are referred to those held out.
            data = certificate.dataset
            rows = data.held_out_rows if name.startswith("prediction:") else data.rows
            metrics.drift_rows.labels(model.name, version, name).set(rows)
        fields = [field for _, fields in model.columns_by_input for field in fields]
        bounds = {f"input:{field.name}": (field.low, field.high) for field in fields}
        self._inputs = {
            name: Input(bounds.get(name, (-np.inf, np.inf)), metrics, (model.name, version, name))
            for name in references
            if name.startswith("input:") and (name in coded or name not in categories)  # texts have no sum
        }
        self._predictions = Predictions(model, certificate, metrics) if references else None
        self._unwatched = metrics.unwatched.labels(model.name, certificate.form, version)
        metrics.describe(certificate)
        self._held: list[tuple[Sequence[np.ndarray], list[np.ndarray]]] = []
        self._rows = self._elements = 0
        self._left = ELEMENTS

    def add(self, inputs: Sequence[np.ndarray], outputs: list[np.ndarray]) -> None:
        """Hold one batch until it is binned."""
        n_rows = self._model.signature.n_rows(inputs)
        if self._quantities and self._left > 0:
            self._held.append((inputs, outputs))
            self._rows += n_rows
            n_elements = sum(array.size for array in inputs)
            self._elements += n_elements
            self._left -= n_elements
        else:
            self._unwatched.inc(n_rows)

    def leave_out(self, inputs: Sequence[np.ndarray]) -> None:
        """Count one batch as answered and not watched."""
        self._unwatched.inc(self._model.signature.n_rows(inputs))

    @property
    def full(self) -> bool:
        """Whether so much is held that counting it begins to hold requests up."""
        return self._rows >= FULL_ROWS or self._elements >= FULL_ELEMENTS

    def bin(self) -> None:
        """Count what is held, by bin."""
        pending, self._held, self._rows, self._elements = self._held, [], 0, 0
        if pending and self._predictions is not None:
            # Rows that differ in shape have no common array: they are counted batch by batch.
            for batches in [pending] if self._model.signature.rows_alike else [[batch] for batch in pending]:
                self._count(batches, self._predictions)

    def flush(self) -> None:
        """Bring the counters up to now."""
        self.bin()
        self._left = ELEMENTS
        for quantity in self._quantities.values():
            quantity.flush()
        for values in self._inputs.values():
            values.flush()
        if self._predictions is not None:
            self._predictions.flush()

    def _count(self, batches: list[tuple[Sequence[np.ndarray], list[np.ndarray]]], predictions: Predictions) -> None:
        signature = self._model.signature
        columns = [[np.concatenate(parts) for parts in zip(*side, strict=True)] for side in zip(*batches, strict=True)]
        inputs: Arrays = {t.name: a for t, a in zip(signature.inputs, columns[0], strict=True)}
        outputs: Arrays = {t.name: a for t, a in zip(signature.outputs, columns[1], strict=True)}
        predicted = self._model.predicted(outputs)
        quantities = {f"input:{name}": values for name, values in self._model.watched(inputs).items()}
        quantities |= {f"prediction:{name}": values for name, values in predicted.items()}
        for name, quantity in self._quantities.items():
            quantity.count(quantities[name])
        for name, values in self._inputs.items():
            values.count(quantities[name])
        predictions.count(outputs, predicted)
