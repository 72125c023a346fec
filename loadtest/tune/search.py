"""The highest rate that meets the objective: bracketed by steps, then bisected on a logarithmic scale."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from loadtest.tune.verdict import Verdict

LOWEST = 1.0  # requests a second: what does not meet the objective at this rate does not meet it


@dataclass
class Bracket:
    """The highest rate that passed and the lowest above it that did not, in requests a second."""

    passed: float = 0.0
    failed: float = math.inf
    finished: bool = False


def highest(bracket: Bracket, ask: Callable[[float], Verdict], start: float, step: float, tolerance: float) -> Bracket:
    """Narrows the bracket until failed / passed ≤ tolerance; what interrupts `ask` leaves it as far as it came.

    A rate that could not be measured has not passed. If nothing has, the bracket stays unfinished: it says nothing.

    The first steps are `step` up or down, and each is the square of the one before, up to a doubling.
    """
    rate = rounded(start)
    while not (bracket.passed and bracket.failed < math.inf):
        verdict = ask(rate)
        if verdict is Verdict.UNMEASURED and not bracket.passed:
            return bracket
        _take(bracket, rate, verdict)
        if not bracket.passed and rate <= LOWEST:
            break
        rate = rounded(rate * step if bracket.passed else max(LOWEST, rate / step))
        step = min(2.0, step * step)
    while bracket.passed and bracket.failed / bracket.passed > tolerance:
        rate = rounded(math.sqrt(bracket.passed * bracket.failed))
        if rate in (bracket.passed, bracket.failed):
            break
        _take(bracket, rate, ask(rate))
    bracket.finished = True
    return bracket


def _take(bracket: Bracket, rate: float, verdict: Verdict) -> None:
    if verdict is Verdict.PASS:
        bracket.passed = rate
    else:
        bracket.failed = rate


def rounded(rate: float) -> float:
    """Three figures: a rate is known no better, and an interrupted search finds its rates again."""
    return float(f"{rate:.3g}")
