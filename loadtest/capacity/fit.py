"""A queue whose server sleeps when nobody is there, and its costs from measured loads: what a worker here is.

Requests arrive by Poisson, λ a second, at one server. Waking costs c, each request a more. This is M/G/1 with set-up
times: M. Harchol-Balter, Performance Modeling and Design of Computer Systems, Cambridge 2013, §27.3, after P. D. Welch,
"On a generalized M/G/1 queuing process in which the first customer of each busy period receives exceptional service",
Operations Research 12, 1964. Without c it is M/G/1, and its mean wait that of Pollaczek and Khinchine.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import median

import numpy as np
from scipy.optimize import least_squares

from loadtest.measurement import KEPT_UP, Run

NOISE = 0.1  # relative errors above this count less and less: a neighbour on the machine, a stall
Pair = tuple[float, float]


@dataclass(frozen=True)
class SetupQueue:
    """a: seconds of a request; c: of a waking, always the same.

    variation: squared coefficient of variation of a request's seconds, by which stalls enter.
    """

    a: float
    c: float
    variation: float = 0.0

    @property
    def saturation(self) -> float:
        """Requests a second that keep it busy all the time."""
        return 1 / self.a

    def utilisation(self, rate: float) -> float:
        """Share of the time in which it is busy; Poisson arrivals wake it λ(1 − utilisation) times a second."""
        return min(1.0, rate * (self.a + self.c) / (1 + rate * self.c))

    def rate_at(self, utilisation: float) -> float:
        """Requests a second at which it is busy for this share of the time."""
        return utilisation / (self.a + self.c * (1 - utilisation))

    def latency(self, rate: float) -> float:
        """Mean seconds in the system; inf where the queue grows for ever."""
        load = rate * self.a
        if load >= 1:
            return float("inf")
        waiting = load * self.a * (1 + self.variation) / (2 * (1 - load))
        waking = self.c * (2 + rate * self.c) / (2 * (1 + rate * self.c))
        return self.a + waiting + waking


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
        """The medians of the runs at one rate."""
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
        """Cores in use at a rate, idle ones included."""
        return self.idle + self.queue.utilisation(rate)

    def latency(self, rate: float) -> float:
        """Seconds of a typical request, as its client sees it; inf at and above saturation."""
        return self.around + self.queue.latency(rate)

    def rate_at(self, cores: float) -> float:
        """Requests a second that take so many cores."""
        return self.queue.rate_at(cores - self.idle)


def fit(points: Sequence[Point], saturation: float, idle: float) -> Cost:
    """`fit_queue`; then, from the latencies, what stands in the place of the variation and what lies around.

    The curve of `latency` is that of means, and the latencies are medians: those two are constants that bend it, and no
    figures of the worker's.
    """
    queue = fit_queue(points, saturation, idle)

    def cost(x: np.ndarray) -> Cost:
        return Cost(idle, replace(queue, variation=float(x[0])), 1e-6 * float(x[1]))

    def errors(x: np.ndarray) -> list[float]:
        return [cost(x).latency(point.rate) / point.latency - 1 for point in points]

    return cost(_least(errors, start=(1, 0), bounds=((0, -np.inf), (np.inf, np.inf))))


def fit_queue(points: Sequence[Point], saturation: float, idle: float) -> SetupQueue:
    """a and c from the cores used and the saturation.

    Least relative errors, of which large ones count less than their squares.
    """
    # In microseconds. A worker that answered them all was not saturated.
    most = 0.99e6 / max(point.rate for point in points)

    def queue(x: np.ndarray) -> SetupQueue:
        return SetupQueue(1e-6 * float(x[0]), 1e-6 * float(x[1]))

    def errors(x: np.ndarray) -> list[float]:
        used = [queue(x).utilisation(point.rate) / (point.cores - idle) - 1 for point in points]
        return [*used, queue(x).saturation / saturation - 1]

    return queue(_least(errors, start=(most / 2, most / 2), bounds=((1e-3, 0), (most, np.inf))))


def _least(errors: Callable[[np.ndarray], list[float]], start: Pair, bounds: tuple[Pair, Pair]) -> np.ndarray:
    solution = least_squares(errors, start, bounds=bounds, loss="soft_l1", f_scale=NOISE, x_scale="jac")
    return np.asarray(solution.x)
