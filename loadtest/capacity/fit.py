"""The costs of a queue from measured loads: of the cores first, of the latencies then."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import median

import numpy as np
from scipy.optimize import least_squares

from loadtest.capacity.queue import SetupQueue
from loadtest.service.run import Run

NOISE = 0.1  # relative errors above this count less and less: a neighbour on the machine, a stall
KEPT_UP = 0.97  # of a Poisson process the number of arrivals differs too
Pair = tuple[float, float]


@dataclass(frozen=True)
class Point:
    """Medians over the rounds at one rate: requests a second, cores, seconds of the median and of the mean latency."""

    offered: float
    rate: float
    cores: float
    latency: float
    mean: float

    @classmethod
    def of(cls, runs: Sequence[Run]) -> Point:
        offered, rate, cores, latency, mean = (
            median(getattr(run, name) for run in runs) for name in ("rate", "achieved", "cpu_cores", "p50", "mean")
        )
        return cls(offered, rate, cores, latency / 1e3, mean / 1e3)

    @property
    def kept_up(self) -> bool:
        """Whether as much was answered as was offered: worker and generator were not saturated."""
        return self.rate > KEPT_UP * self.offered


@dataclass(frozen=True)
class Cost:
    """idle: cores of a worker that nobody asks. around: seconds of a latency that the queue does not tell.

    `around` is the way to the worker and back, less what of a waking's CPU comes after the answer; it may be negative.
    """

    idle: float
    queue: SetupQueue
    around: float

    def cores(self, rate: float) -> float:
        return self.idle + self.queue.utilisation(rate)

    def latency(self, rate: float) -> float:
        """Seconds of a typical request, as its client sees it; inf at and above saturation."""
        return self.around + self.queue.latency(rate)

    def rate_at(self, cores: float) -> float:
        """Requests a second that take so many cores."""
        return self.queue.rate_at(cores - self.idle)


def fit(points: Sequence[Point], saturation: float, idle: float) -> Cost:
    """a and c from the cores used and the saturation; then, from the latencies, the variation and what lies around.

    Least relative errors, of which large ones count less than their squares.
    """
    # In microseconds. A worker that answered them all was not saturated.
    most = 0.99e6 / max(point.rate for point in points)

    def queue(x: np.ndarray) -> SetupQueue:
        return SetupQueue(1e-6 * float(x[0]), 1e-6 * float(x[1]))

    costs = _least(
        lambda x: [
            *(queue(x).utilisation(point.rate) / (point.cores - idle) - 1 for point in points),
            queue(x).saturation / saturation - 1,
        ],
        start=(most / 2, most / 2),
        bounds=((1e-3, 0), (most, np.inf)),
    )

    def cost(x: np.ndarray) -> Cost:
        return Cost(idle, replace(queue(costs), variation=float(x[0])), 1e-6 * float(x[1]))

    return cost(
        _least(
            lambda x: [cost(x).latency(point.rate) / point.latency - 1 for point in points],
            start=(1, 0),
            bounds=((0, -np.inf), (np.inf, np.inf)),
        )
    )


def _least(errors: Callable[[np.ndarray], list[float]], start: Pair, bounds: tuple[Pair, Pair]) -> np.ndarray:
    found: np.ndarray = least_squares(errors, start, bounds=bounds, loss="soft_l1", f_scale=NOISE, x_scale="jac").x
    return found
