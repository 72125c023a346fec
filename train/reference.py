"""What inputs and predictions looked like at training, in bins: what drift is later measured against.

A quantity is `{"edges": deciles, "shares": of the values that are there, "missing": share of all}`, in the bins
(−∞, e0], (e0, e1], …, (e_last, ∞), so `np.searchsorted(edges, x, side="left")`; a class is `{"classes", "shares"}`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from bentos.contract import Arrays, Model

DECILES = np.arange(1, 10) / 10


def reference(model: Model, inputs: Arrays, outputs: Arrays) -> dict[str, Any]:
    """`input:<quantity>` and `prediction:<quantity>` → its histogram."""
    found: dict[str, Any] = {f"input:{name}": histogram(values) for name, values in model.watched(inputs).items()}
    for name, values in model.predicted(outputs).items():
        found[f"prediction:{name}"] = counts(values, model.labels) if name == "class" else histogram(values)
    return found


def histogram(values: np.ndarray) -> dict[str, Any]:
    """Shares between the deciles. An edge at the maximum is dropped: nothing lies above it, and no bin is empty."""
    values = np.asarray(values, np.float64).reshape(-1)
    present = values[~np.isnan(values)]
    missing = 1 - len(present) / max(len(values), 1)
    if not len(present):
        return {"edges": [], "shares": [1.0], "missing": missing}
    edges = np.unique(np.quantile(present, DECILES, method="inverted_cdf"))
    edges = edges[edges < present.max()]
    bins = np.bincount(np.searchsorted(edges, present, side="left"), minlength=len(edges) + 1)
    return {"edges": edges.tolist(), "shares": (bins / len(present)).tolist(), "missing": missing}


def counts(classes: np.ndarray, labels: tuple[str, ...]) -> dict[str, Any]:
    bins = np.bincount(classes, minlength=len(labels))
    return {"classes": list(labels), "shares": (bins / len(classes)).tolist()}
