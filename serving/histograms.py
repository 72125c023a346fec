"""What prometheus_client's Histogram has no method for; both reach into it, which a test pins."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from prometheus_client import Histogram


def observe_many(histogram: Histogram, values: Iterable[float]) -> None:
    """`observe` for each value at the cost of a few; reaches into Histogram, which has no such method."""
    observed = values if isinstance(values, np.ndarray) else np.fromiter(values, np.float64)
    observed = observed[np.isfinite(observed)]  # a NaN is in no bucket, and would be the sum for ever
    bounds = histogram._upper_bounds
    counts = np.bincount(np.searchsorted(bounds, observed, side="left"), minlength=len(bounds))
    for bucket, count in zip(histogram._buckets, counts, strict=True):
        if count:
            bucket.inc(int(count))
    histogram._sum.inc(float(observed.sum()))


def bounded(histogram: Histogram, labels: tuple[str, ...], buckets: Sequence[float]) -> Histogram:
    """The child with these labels and boundaries of its own: what models predict differs by magnitudes."""
    child = Histogram(
        histogram._name, histogram._documentation, histogram._labelnames, buckets=buckets, _labelvalues=labels
    )
    histogram._metrics[labels] = child  # type: ignore[assignment]
    return child
