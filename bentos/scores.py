"""Metrics that recipes share, the headline first. Higher is better for a headline."""

from __future__ import annotations

import numpy as np

from bentos.contract import Arrays, class_probabilities


def classification(targets: np.ndarray, outputs: Arrays) -> dict[str, float]:
    """Accuracy and log loss. (n,) whole numbers, outputs with `probabilities` or `logits`"""
    probabilities = class_probabilities(outputs)
    labels = outputs["label"] if "label" in outputs else probabilities.argmax(1)
    likelihood = probabilities[np.arange(len(targets)), targets].clip(1e-12)
    return {"accuracy": float((labels == targets).mean()), "log_loss": float(-np.log(likelihood).mean())}


def regression(targets: np.ndarray, outputs: Arrays) -> dict[str, float]:
    """R², mean absolute error in the target's unit, and mean absolute error as a share of the target."""
    values = next(iter(outputs.values())).reshape(-1).astype(np.float64)
    errors = values - targets
    return {
        "r2": float(1 - (errors**2).sum() / ((targets - targets.mean()) ** 2).sum()),
        "mae": float(np.abs(errors).mean()),
        "mape": float((np.abs(errors) / np.abs(targets)).mean()),
    }
