"""The rounds: every setting once, then the best of them again and again, beside the defaults.

In rounds rather than one setting after the other, because a machine's speed drifts: what is compared was measured
within one round. The first round only selects. Its best setting is the one finalist, and the gain is judged by the
later rounds of that one: the luckiest of many would look good, were the choice still open then.

Within a round, the highest rate that meets the objective is bracketed by steps and bisected on a logarithmic scale.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from loadtest.tune.space import Setting, combine
from loadtest.tune.verdict import Estimate, Verdict, estimate

LOWEST = 1.0  # requests a second: what does not meet the objective at this rate does not meet it
MOST_ROUNDS = 6
FIRST_SHARE = 0.5  # of the budget for the first round
BETTER = 1.05  # a setting that gains less in the first round is not worth combining


@dataclass
class Bracket:
    """The highest rate that passed and the lowest above it that did not, in requests a second."""

    passed: float = 0.0
    failed: float = math.inf
    finished: bool = False

    def take(self, rate: float, verdict: Verdict) -> None:
        """The verdict at a rate."""
        if verdict is Verdict.PASS:
            self.passed = rate
        else:
            self.failed = rate


# Narrows the bracket of a setting in a round, from the rate that is known of it (0: none); OutOfBudget
Measure = Callable[[Setting, int, float, Bracket], None]


class OutOfBudget(Exception):
    """The time that was allowed is spent."""


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
        bracket.take(rate, verdict)
        if not bracket.passed and rate <= LOWEST:
            break
        rate = rounded(rate * step if bracket.passed else max(LOWEST, rate / step))
        step = min(2.0, step * step)
    while bracket.passed and bracket.failed / bracket.passed > tolerance:
        rate = rounded(math.sqrt(bracket.passed * bracket.failed))
        if rate in (bracket.passed, bracket.failed):
            break
        bracket.take(rate, ask(rate))
    bracket.finished = True
    return bracket


def rounded(rate: float) -> float:
    """Three figures: a rate is known no better, and an interrupted search finds its rates again."""
    return float(f"{rate:.3g}")


@dataclass
class Results:
    """Brackets by setting and round; `default` is the first setting."""

    default: Setting
    brackets: dict[Setting, dict[int, Bracket]] = field(default_factory=dict)

    def rates(self, setting: Setting, since: int = 1) -> dict[int, float]:
        """Round → highest rate that passed, of the rounds that were finished."""
        rounds = self.brackets.get(setting, {})
        return {number: b.passed for number, b in rounds.items() if b.finished and number >= since}

    def rate(self, setting: Setting, since: int = 1) -> Estimate:
        """Over all its rounds from one on."""
        return estimate(list(self.rates(setting, since).values()))

    def last(self, setting: Setting) -> Bracket:
        """The bracket of the last finished round, or as far as the first came."""
        rounds = self.brackets.get(setting, {})
        finished = [b for b in rounds.values() if b.finished]
        return (finished or [*rounds.values()] or [Bracket()])[-1]

    def gain(self, setting: Setting) -> Estimate:
        """How many times the defaults' rate, by the rounds after the first in which both were measured."""
        ours, theirs = self.rates(setting, 2), self.rates(self.default, 2)
        return estimate([ours[n] / theirs[n] if theirs[n] else 0.0 for n in ours.keys() & theirs.keys()])

    def ranked(self) -> list[Setting]:
        """Best first, by the mean over the rounds; the defaults win a tie."""
        measured = [setting for setting in self.brackets if self.rates(setting)]
        return sorted(measured, key=lambda setting: -self.rate(setting).mean)

    def together(self) -> Setting | None:
        """The settings that were better than the defaults, combined; the best value of each counts. None: too few"""
        base = self.rate(self.default).mean
        others = [setting for setting in reversed(self.ranked()) if setting != self.default]
        better = [setting for setting in others if self.rate(setting).mean > BETTER * base]
        combined = combine(self.default, better)
        return combined if len(better) > 1 and combined not in self.brackets else None

    @property
    def finalist(self) -> Setting | None:
        """The best other setting of the first round, whatever came later. None where no other was measured in it"""
        first = {setting: self.rates(setting).get(1) for setting in self.brackets if setting != self.default}
        rates = {setting: rate for setting, rate in first.items() if rate is not None}
        return max(rates, key=lambda setting: rates[setting], default=None)

    @property
    def winner(self) -> Setting:
        """The finalist, if a gain over the defaults may be claimed of it; else the defaults."""
        finalist = self.finalist
        if finalist is None:
            return self.default
        gain = self.gain(finalist)
        return finalist if gain.known and gain.low > 1 else self.default


def play_rounds(
    settings: Sequence[Setting], results: Results, measure: Measure, spent: Callable[[], float], budget: float
) -> None:
    """Until the seconds of the budget are spent or the finalist is known well.

    The first round has as many settings as its share of the budget holds, and what was good of them, combined.
    """

    def one(setting: Setting, number: int) -> None:
        bracket = results.brackets.setdefault(setting, {})[number] = Bracket()
        measure(setting, number, results.rate(setting).mean, bracket)

    with suppress(OutOfBudget):
        for setting in settings:
            if setting != results.default and spent() > FIRST_SHARE * budget:
                break
            one(setting, 1)
        if (together := results.together()) is not None:
            one(together, 1)
        for number in range(2, MOST_ROUNDS + 1):
            for setting in filter(None, (results.default, results.finalist)):
                one(setting, number)
