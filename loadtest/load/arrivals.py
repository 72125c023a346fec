"""When requests are sent in an open loop: decided beforehand, so that a slow service is asked no less."""

from __future__ import annotations

import numpy as np

from loadtest.load.plan import Plan

GRID = 0.01  # seconds between the points at which the rate is summed


def schedule(plan: Plan, generator: int = 0, generators: int = 1) -> np.ndarray:
    """Seconds after the start at which one of several generators sends; together they make up the plan's rate. (n,)

    A process of rate 1, stretched by the inverse of the summed rate: evenly spaced, or Poisson with a rate that changes
    (Çinlar 1975, Introduction to Stochastic Processes, ch. 4.7).
    """
    seconds = np.linspace(0, plan.seconds, max(2, round(plan.seconds / GRID) + 1))
    rates = plan.level(seconds) * plan.rate / generators
    summed = np.concatenate([[0], np.cumsum((rates[1:] + rates[:-1]) / 2 * np.diff(seconds))])
    due: np.ndarray = np.interp(_of_rate_one(plan, float(summed[-1]), generator, generators), summed, seconds)
    return due


def _of_rate_one(plan: Plan, until: float, generator: int, generators: int) -> np.ndarray:
    if plan.arrival == "constant":
        return np.arange((generator + 0.5) / generators, until)
    random = np.random.default_rng([plan.seed, generator])
    # Ten deviations more than are expected: none is ever missing at the end.
    gaps = random.exponential(size=int(until + 10 * np.sqrt(until) + 20))
    arrivals = np.cumsum(gaps)
    return arrivals[arrivals < until]
