"""What inputs and predictions looked like at training, in bins: what drift is later measured against."""

from __future__ import annotations

import numpy as np

from bentos.certificate import Histogram
from bentos.contract import Arrays, Model

DECILES = np.arange(1, 10) / 10


def reference(model: Model, inputs: Arrays, outputs: Arrays) -> dict[str, Histogram]:
    """`input:<quantity>` and `prediction:<quantity>` → its histogram."""
    histograms = {f"input:{name}": histogram(values) for name, values in model.watched(inputs).items()}
    for name, values in model.predicted(outputs).items():
        counted = count_classes(values, model.labels) if name == "class" else histogram(values)
        histograms[f"prediction:{name}"] = counted
    return histograms


def histogram(values: np.ndarray) -> Histogram:
    """Shares between the deciles. An edge at the maximum is dropped: nothing lies above it, and no bin is empty."""
    values = np.asarray(values, np.float64).reshape(-1)
    present = values[~np.isnan(values)]
    missing = 1 - len(present) / max(len(values), 1)
    if not len(present):
        return Histogram(shares=(1.0,), missing=missing)
    edges = np.unique(np.quantile(present, DECILES, method="inverted_cdf"))
    edges = edges[edges < present.max()]
    bins = np.bincount(np.searchsorted(edges, present, side="left"), minlength=len(edges) + 1)
    return Histogram(shares=tuple((bins / len(present)).tolist()), edges=tuple(edges.tolist()), missing=missing)


def count_classes(classes: np.ndarray, labels: tuple[str, ...]) -> Histogram:
    """Shares of the classes, by label."""
    bins = np.bincount(classes, minlength=len(labels))
    return Histogram(shares=tuple((bins / len(classes)).tolist()), classes=labels)
