"""Metrics that recipes share, the headline first. Higher is better for a headline."""

from __future__ import annotations

import numpy as np

from bentos.certificate import Interval
from bentos.comparison import classes
from bentos.contract import Arrays, class_probabilities
from bentos.statistics import interval


def classification(targets: np.ndarray, outputs: Arrays) -> dict[str, float]:
    """Accuracy and log loss. (n,) whole numbers, outputs with `probabilities` or `logits`"""
    probabilities = class_probabilities(outputs)
    labels = outputs["label"] if "label" in outputs else probabilities.argmax(1)
    likelihood = probabilities[np.arange(len(targets)), targets].clip(1e-12)
    return {"accuracy": float((labels == targets).mean()), "log_loss": float(-np.log(likelihood).mean())}


def accuracy_interval(targets: np.ndarray, outputs: Arrays) -> Interval | None:
    """What the accuracy on these rows says of the accuracy on all, at 95 %; None for a regressor. (n,) whole numbers"""
    labels = classes(outputs)
    return None if labels is None else interval(int((labels == targets).sum()), len(targets))


def regression(targets: np.ndarray, outputs: Arrays) -> dict[str, float]:
    """R², mean absolute error in the target's unit, and mean absolute error as a share of the target."""
    values = next(iter(outputs.values())).reshape(-1).astype(np.float64)
    errors = values - targets
    return {
        "r2": float(1 - (errors**2).sum() / ((targets - targets.mean()) ** 2).sum()),
        "mae": float(np.abs(errors).mean()),
        "mape": float((np.abs(errors) / np.abs(targets)).mean()),
    }
