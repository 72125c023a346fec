"""The queue's two costs from measured loads, and what the fit is worth on loads that it has not seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
from scipy.optimize import least_squares, nnls

from loadtest.capacity.queue import BatchQueue
from loadtest.service.run import Run


@dataclass(frozen=True)
class Point:
    """Medians over the rounds at one rate: requests and batches a second, cores, mean latency in s."""

    rate: float
    batches: float
    cores: float
    latency: float

    @classmethod
    def of(cls, runs: Sequence[Run]) -> Point:
        rate, batches, cores, latency = (
            median(getattr(run, name) for run in runs) for name in ("achieved", "batches", "cpu_cores", "mean")
        )
        return cls(rate, batches, cores, latency / 1e3)


@dataclass(frozen=True)
class Cost:
    """idle: cores that do not depend on the load; around: seconds of a request outside the worker."""

    idle: float
    queue: BatchQueue
    around: float

    def cores(self, rate: float) -> float:
        return self.idle + self.queue.utilisation(rate)

    def latency(self, rate: float) -> float:
        """Mean seconds of a request, as its client sees it."""
        return self.around + self.queue.latency(rate)

    def rate_at(self, cores: float) -> float:
        return self.queue.rate_at(cores - self.idle)


def fit(points: Sequence[Point]) -> Cost:
    """idle, a and b by least squares of the relative errors of the cores used; the rest of the latency is `around`.

    Starts from cores = idle + a·requests/s + b·batches/s with the batches that were measured; the fit predicts them.
    """
    measured = np.array([[1.0, point.rate, point.batches] for point in points])
    cores = np.array([point.cores for point in points])
    scale = measured.max(axis=0)
    first, _ = nnls(measured / scale, cores)

    def errors(scaled: np.ndarray) -> list[float]:
        cost = _cost(scaled / scale)
        return [cost.cores(point.rate) / point.cores - 1 for point in points]

    # Not quite 0: a queue without any cost has no stationary batch.
    found = least_squares(errors, np.maximum(first, 1e-3), bounds=(1e-6, np.inf), x_scale=cores.max())
    cost = _cost(found.x / scale)
    around = float(np.median([point.latency - cost.queue.latency(point.rate) for point in points]))
    return Cost(cost.idle, cost.queue, max(0.0, around))


def _cost(parameters: np.ndarray) -> Cost:
    idle, a, b = map(float, parameters)
    return Cost(idle, BatchQueue(a, b), 0.0)
