"""What inputs and predictions looked like at training, in bins: what drift is later measured against."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from bentos.certificate import Histogram
from bentos.contract import Arrays, Field, Model

DECILES = np.arange(1, 10) / 10
MOST_CATEGORIES = 20  # of one input, each with a bin; all others share one


def reference(model: Model, inputs: Arrays, outputs: Arrays) -> dict[str, Histogram]:
    """`input:<quantity>` and `prediction:<quantity>` → its histogram."""
    histograms = {f"input:{name}": _of_input(model, name, values) for name, values in model.watched(inputs).items()}
    for name, values in model.predicted(outputs).items():
        counted = count_classes(values, model.labels) if name == "class" else histogram(values)
        histograms[f"prediction:{name}"] = counted
    return histograms


def _of_input(model: Model, name: str, values: np.ndarray) -> Histogram:
    if name in model.coded:
        return count_codes(values, model.coded[name])
    return count_texts(values) if values.dtype == object else histogram(values)


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


def count_codes(values: np.ndarray, field: Field) -> Histogram:
    """Shares of a field's choices, the most frequent 20 of them, by word in the order of their codes; and of others."""
    present = values[~np.isnan(values)]
    found, counts = np.unique(present, return_counts=True)
    number = dict(zip(found.tolist(), counts.tolist(), strict=True))
    codes = sorted(sorted(field.choices, key=lambda code: (-number.get(code, 0), code))[:MOST_CATEGORIES])
    return _categories(
        [field.choices[code] for code in codes],
        [number.get(code, 0) for code in codes],
        len(present),
        1 - len(present) / max(len(values), 1),
    )


def count_texts(values: np.ndarray) -> Histogram:
    """Shares of the most frequent 20 texts, in their order; and of all others."""
    most = Counter(values.tolist()).most_common(MOST_CATEGORIES)
    texts, counts = zip(*sorted(most), strict=True)
    return _categories(texts, counts, len(values), 0.0)


def _categories(names: Sequence[str], counts: Sequence[int], total: int, missing: float) -> Histogram:
    shares = [count / max(total, 1) for count in (*counts, total - sum(counts))]
    return Histogram(shares=tuple(shares), classes=tuple(names), missing=missing)


def count_classes(classes: np.ndarray, labels: tuple[str, ...]) -> Histogram:
    """Shares of the classes, by label."""
    bins = np.bincount(classes, minlength=len(labels))
    return Histogram(shares=tuple((bins / len(classes)).tolist()), classes=labels)
