"""What so many rows can tell: exact intervals of shares, and exact tests of pairs."""

from __future__ import annotations

from math import comb

from bentos.certificate import CONFIDENCE, Interval


def interval(successes: int, rows: int) -> Interval:
    """The two-sided Clopper–Pearson interval of a share that was seen in `successes` of `rows`."""
    tail = (1 - CONFIDENCE) / 2
    return Interval(rows, low=_lower(successes, rows, tail), high=1 - _lower(rows - successes, rows, tail))


def upper_bound(successes: int, rows: int) -> float:
    """The one-sided Clopper–Pearson bound above a share: 0 of 360 → 0.0083."""
    return 1 - _lower(rows - successes, rows, 1 - CONFIDENCE)


def mcnemar(worse: int, better: int) -> float:
    """The exact two-sided p-value that pairs turn for the worse as often as for the better."""
    turned = worse + better
    tail: float = sum(comb(turned, k) for k in range(min(worse, better) + 1)) / 2**turned
    return min(1.0, 2 * tail)


def _lower(successes: int, rows: int, tail: float) -> float:
    from scipy.special import betaincinv  # when one is needed: serving has no SciPy

    return float(betaincinv(successes, rows - successes + 1, tail)) if successes else 0.0
