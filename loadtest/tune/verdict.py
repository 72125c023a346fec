"""May it be claimed that a percentile of all requests meets the limit? Early stopping, and blocks of time.

With n requests of which h were slow, MLPerf makes the claim when so few slow ones would be rare, 1 in 100, if more than
the allowed share of all requests were slow: P(Binomial(n, 1 − percentile) ≤ h) ≤ 1 − confidence (MLCommons, MLPerf
Inference Rules, appendix "Early Stopping Criterion", with tolerance 0).

Requests that wait in one queue are not independent, as the rule takes them to be: a stall of the machine makes hundreds
slow at once. So the shares of slow requests in blocks of time decide too, by Student's bound of their mean. And a rate
is not passed that was not kept up with, or at which latencies grow: it would have failed, had it gone on.

What did not come within a load has no variance between its blocks: of stalls that are further apart than a load is long
a pass says nothing. `unseen` is what may be said of them.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import fmean, stdev

from scipy.special import betainc
from scipy.stats import t as student

from loadtest.measurement import Limit, Run

CONFIDENCE = 0.99
INTERVAL = 0.95  # of rates over rounds
GROWING = 0.01  # p-value of a trend
GROWTH = 0.2  # of the limit, within one load: it would be reached within five
ENOUGH_ROUNDS = 3  # two give one degree of freedom, and an interval that says nothing


class Verdict(StrEnum):
    """Of a rate; only a pass counts as one."""

    PASS = "pass"  # noqa: S105
    FAIL = "fail"
    UNDECIDED = "undecided"
    UNMEASURED = "thrown away"


def passes(count: int, slow: int, percentile: float, confidence: float = CONFIDENCE) -> bool:
    """Whether at most a share 1 − percentile of all requests may be claimed to be slow, were they independent."""
    return slow < count and bool(betainc(count - slow, slow + 1, percentile) <= 1 - confidence)


def least(slow: int, percentile: float, confidence: float = CONFIDENCE) -> int:
    """The fewest requests of which so many may be slow for the claim to be made."""
    return bisect_left(range(10**12), True, key=lambda count: passes(count, slow, percentile, confidence))


def block_bounds(shares: Sequence[float], confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Student's one-sided bounds, each at this confidence, of the mean share of slow requests. 0, 1 of fewer than 2"""
    if len(shares) < 2:
        return 0.0, 1.0
    half = float(student.ppf(confidence, len(shares) - 1)) * stdev(shares) / math.sqrt(len(shares))
    return fmean(shares) - half, fmean(shares) + half


def unseen(seconds: float, confidence: float = INTERVAL) -> float:
    """Seconds by which stalls are apart at the least, on the average and at this confidence, if so many had none.

    They come by Poisson: one in g seconds leaves T seconds without any with a chance of exp(−T / g).
    """
    return seconds / -math.log(1 - confidence)


def of_runs(runs: Sequence[Run], limit: Limit) -> Verdict:
    """Of all runs at one rate together; those thrown away do not count."""
    counted = [run for run in runs if not run.rejected]
    if not counted:
        return Verdict.UNMEASURED
    growing = [run for run in counted if run.trend <= GROWING]
    low, high = block_bounds([share for run in counted for share in run.slow_shares])
    allowed = 1 - limit.percentile
    falls_behind = any(run.growth >= 1e3 * GROWTH * limit.seconds for run in growing)
    if falls_behind or low > allowed or not all(run.kept_up for run in counted):
        return Verdict.FAIL
    count, slow = sum(run.count for run in counted), sum(run.slow for run in counted)
    if not growing and high <= allowed and passes(count, slow, limit.percentile):
        return Verdict.PASS
    return Verdict.UNDECIDED


@dataclass(frozen=True)
class Estimate:
    """Repeats of a rate, or of a ratio of rates: their geometric mean with its 95 % interval, and the bound above which
    the next one lies with 95 % confidence. Without them where there are too few rounds."""

    mean: float
    low: float = 0.0
    high: float = math.inf
    bound: float = 0.0
    rounds: int = 0

    @property
    def known(self) -> bool:
        """Whether there were enough rounds for an interval."""
        return self.rounds >= ENOUGH_ROUNDS

    def __str__(self) -> str:
        if not self.rounds:
            return "none"
        if not self.known:
            return f"{self.mean:,.0f} ({self.rounds} round{'s' if self.rounds > 1 else ''}, no bound)"
        return f"{self.bound:,.0f} (mean {self.mean:,.0f})"


def estimate(values: Sequence[float]) -> Estimate:
    """Student's interval and prediction bound of logarithms. A rate of 0 (nothing passed) makes all 0."""
    if not values or min(values) <= 0:
        return Estimate(0.0, rounds=len(values))
    logs, count = [math.log(value) for value in values], len(values)
    mean = fmean(logs)
    if count < ENOUGH_ROUNDS:
        return Estimate(math.exp(mean), rounds=count)
    spread = stdev(logs)
    half = float(student.ppf((1 + INTERVAL) / 2, count - 1)) * spread / math.sqrt(count)
    below = float(student.ppf(INTERVAL, count - 1)) * spread * math.sqrt(1 + 1 / count)
    return Estimate(math.exp(mean), math.exp(mean - half), math.exp(mean + half), math.exp(mean - below), count)
