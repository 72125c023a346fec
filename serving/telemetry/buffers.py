"""Sums on their way into prometheus_client's metrics, whose values are files that all workers share: written seldom.

Reaches into Histogram, which has no method for either; a test pins what it finds there.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite

import numpy as np
from prometheus_client import Counter, Histogram


class HistogramBuffer:
    """Values by the bucket of a histogram."""

    def __init__(self, histogram: Histogram) -> None:
        self._histogram = histogram
        self._bounds = np.array(histogram._upper_bounds)
        self._counts = np.zeros(len(self._bounds), np.int64)
        self._sum = 0.0

    def add(self, values: np.ndarray) -> None:
        """`observe` for each of (n,) values."""
        total = float(values.sum(dtype=np.float64))
        if not isfinite(total):  # a NaN is in no bucket, and would be the sum for ever
            values = values[np.isfinite(values)]
            total = float(values.sum(dtype=np.float64))
        places = np.searchsorted(self._bounds, values, side="left")
        self._counts += np.bincount(places, minlength=len(self._counts))
        self._sum += total

    def flush(self) -> None:
        """Write what was added."""
        places = self._counts.nonzero()[0].tolist()
        if not places:
            return
        for place in places:
            self._histogram._buckets[place].inc(int(self._counts[place]))
        self._histogram._sum.inc(self._sum)
        self._counts[:], self._sum = 0, 0.0


class CounterBuffer:
    """Rows by place, each with a counter of its own."""

    def __init__(self, counters: Sequence[Counter]) -> None:
        self._counters = counters
        self._counts = np.zeros(len(counters), np.int64)

    def add(self, counts: np.ndarray) -> None:
        """Rows by place, of the first so many places. (k,) integers"""
        self._counts[: len(counts)] += counts

    def flush(self) -> None:
        """Write what was added."""
        for place, count in enumerate(self._counts.tolist()):
            if count:
                self._counters[place].inc(count)
        self._counts[:] = 0


def bounded(histogram: Histogram, labels: tuple[str, ...], buckets: Sequence[float]) -> Histogram:
    """The child with these labels and boundaries of its own: what models predict differs by magnitudes."""
    child = Histogram(
        histogram._name, histogram._documentation, histogram._labelnames, buckets=buckets, _labelvalues=labels
    )
    histogram._metrics[labels] = child  # type: ignore[assignment]
    return child
