"""What repeats say together: rates vary by factors, so that they are averaged and compared on a logarithmic scale."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from scipy.stats import t as student

CONFIDENCE = 0.95
ENOUGH = 3  # rounds for an interval: two give one degree of freedom, and an interval that says nothing


@dataclass(frozen=True)
class Estimate:
    """A geometric mean over rounds with its confidence interval; without one where there are too few rounds."""

    mean: float
    low: float = 0.0
    high: float = math.inf
    rounds: int = 0

    @property
    def known(self) -> bool:
        return self.rounds >= ENOUGH

    def __str__(self) -> str:
        if not self.rounds:
            return "none"
        if not self.known:
            return f"{self.mean:,.0f} ({self.rounds} round{'s' if self.rounds > 1 else ''}, no interval)"
        return f"{self.mean:,.0f} ({self.low:,.0f}–{self.high:,.0f})"


def estimate(values: Sequence[float]) -> Estimate:
    """Student's interval of the mean logarithm. A rate of 0 (nothing passed) makes the mean 0."""
    if not values or min(values) <= 0:
        return Estimate(0.0, 0.0, math.inf, len(values))
    logs = [math.log(value) for value in values]
    mean = fmean(logs)
    if len(logs) < ENOUGH:
        return Estimate(math.exp(mean), rounds=len(logs))
    half = float(student.ppf((1 + CONFIDENCE) / 2, len(logs) - 1)) * stdev(logs) / math.sqrt(len(logs))
    return Estimate(math.exp(mean), math.exp(mean - half), math.exp(mean + half), len(logs))
