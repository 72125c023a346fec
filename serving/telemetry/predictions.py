"""What a form predicts, row by row: classes, confidence and doubt of a classifier, the value of a regressor."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bentos.certificate import Certificate
from bentos.contract import Arrays, Model, class_probabilities
from serving.telemetry.buffers import CounterBuffer, HistogramBuffer, bounded
from serving.telemetry.metrics import Metrics

# Classes that are counted by name. A model with more would mint as many series: the rest is counted as OTHER.
CLASSES = 100
OTHER = "other"
STEPS = 8  # boundaries of a value, between the first and the last decile of training


class Predictions:
    """The predictions of one served form."""

    def __init__(self, model: Model, certificate: Certificate, metrics: Metrics) -> None:
        self._labels = model.labels
        served = (certificate.model, certificate.form, certificate.version)
        if model.labels:
            names = [*model.labels[:CLASSES], *[OTHER] * (len(model.labels) - CLASSES)]
            self._classes = CounterBuffer([metrics.predictions.labels(*served, name) for name in names])
            self._confidence = HistogramBuffer(metrics.confidence.labels(*served))
            self._entropy = HistogramBuffer(metrics.entropy.labels(*served))
            self._buffers: list[HistogramBuffer | CounterBuffer] = [self._classes, self._confidence, self._entropy]
        elif "prediction:value" not in certificate.reference:  # an answer that is no number
            self._buffers = []
        else:
            edges = certificate.reference["prediction:value"].edges
            self._value = HistogramBuffer(bounded(metrics.value, served, boundaries(edges)))
            self._buffers = [self._value]

    def count(self, outputs: Arrays, predicted: Arrays) -> None:
        """Add a batch of output tensors, and what the model's `predicted` makes of them. (n, …) and (n,) each"""
        if not self._buffers:
            return
        if not self._labels:
            return self._value.add(predicted["value"])
        self._classes.add(np.bincount(predicted["class"]))
        self._confidence.add(predicted["confidence"])
        self._entropy.add(entropy(class_probabilities(outputs, len(self._labels))))

    def flush(self) -> None:
        """Write what was counted."""
        for buffer in self._buffers:
            buffer.flush()


def entropy(probabilities: np.ndarray) -> np.ndarray:
    """Shannon's entropy −Σ p log p over that of classes that are all alike. (n, classes) → (n,) in [0, 1]"""
    surprise = -(probabilities * np.log(np.clip(probabilities, 1e-12, 1))).sum(1)
    doubt: np.ndarray = np.clip(surprise / np.log(max(probabilities.shape[1], 2)), 0, 1)
    return doubt


def boundaries(edges: Sequence[float]) -> list[float]:
    """Even steps over the deciles of training, half their span below and one and a half above: prices have a tail."""
    if not edges:
        return [0.0]
    low, high = edges[0], edges[-1]
    span = (high - low) or abs(high) or 1.0
    steps = np.arange(-STEPS // 2, STEPS + 3 * STEPS // 2 + 1) / STEPS
    rounded = {float(f"{low + span * step:.3g}") for step in steps}
    return sorted(value for value in rounded if value >= 0 or low < 0)
