"""May it be claimed that a percentile of all requests meets the limit? MLPerf Inference's early stopping.

With n requests of which h were slow, the claim is made when so few slow ones would be rare, 1 in 100, if more than the
allowed share of all requests were slow: P(Binomial(n, 1 − percentile) ≤ h) ≤ 1 − confidence, which is the regularized
incomplete beta function I_percentile(n − h, h + 1). MLCommons, MLPerf Inference Rules, appendix "Early Stopping
Criterion" (with tolerance 0); the same test the other way round claims a failure.

Requests that wait in one queue are not independent, as the rule takes them to be. Both counts are divided by the
design effect of their run first, so that a stall of the machine which makes 200 of 10,000 requests slow at once is
one piece of evidence and not 200.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from scipy.special import betainc

from loadtest.service.run import Run

CONFIDENCE = 0.99


class Verdict(StrEnum):
    PASS = "pass"  # noqa: S105
    FAIL = "fail"
    UNDECIDED = "undecided"
    UNMEASURED = "thrown away"


def passes(count: float, slow: float, percentile: float, confidence: float = CONFIDENCE) -> bool:
    """Whether at most a share 1 − percentile of all requests may be claimed to be slow."""
    return slow < count and bool(betainc(count - slow, slow + 1, percentile) <= 1 - confidence)


def fails(count: float, slow: float, percentile: float, confidence: float = CONFIDENCE) -> bool:
    """Whether more than that may be claimed to be slow: P(Binomial(n, 1 − percentile) ≥ h) ≤ 1 − confidence."""
    return slow > 0 and bool(betainc(slow, count - slow + 1, 1 - percentile) <= 1 - confidence)


def verdict(count: float, slow: float, percentile: float) -> Verdict:
    if passes(count, slow, percentile):
        return Verdict.PASS
    return Verdict.FAIL if fails(count, slow, percentile) else Verdict.UNDECIDED


def least(slow: int, percentile: float, confidence: float = CONFIDENCE) -> int:
    """The fewest requests of which so many may be slow for the claim to be made."""
    low, high = slow, slow + 1
    while not passes(high, slow, percentile, confidence):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if passes(middle, slow, percentile, confidence) else (middle, high)
    return high


def of_runs(runs: Sequence[Run], percentile: float) -> Verdict:
    """Of all runs at one rate together; those thrown away do not count."""
    counted = [run for run in runs if not run.rejected]
    count = sum(run.count / run.effect for run in counted)
    slow = sum(run.slow / run.effect for run in counted)
    return verdict(count, slow, percentile) if count else Verdict.UNMEASURED
