"""Promtool tests of windows and thresholds: shares 2 % either side of what each tier allows, over its whole windows.

Each tier has a test file of its own that evaluates the rules 60 times in its long window: of three days, every 72
minutes. What must come out is computed here from the traffic alone, by plain sums.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from deploy.burn import INTERVAL
from deploy.burn_cases import Phase, firing, left, traffic
from deploy.objectives import Objective, Slo, Tier, seconds
from deploy.promtests import Case

STEPS = 60  # evaluations in a long window
RATE = 5  # minutes that a recorded rate looks back over
BELOW, ABOVE = 0.98, 1.02  # of a threshold
BUSY = 3_000_000  # healthy requests per minute before a burn, so that slower tiers do not see it


def minutes(duration: str) -> int:
    """`6h` → 360"""
    return round(seconds(duration) / 60)


class Traffic:
    """Phases of traffic, and what the rules must make of them when evaluated every so many minutes."""

    def __init__(self, every: int, shortest: str, *phases: Phase) -> None:
        self.every, self.shortest, self.phases = every, shortest, list(phases)

    @property
    def end(self) -> int:
        """Minutes until the last phase is over."""
        return sum(phase.minutes for phase in self.phases)

    @property
    def last(self) -> int:
        """The minute of the last evaluation."""
        return self.end - self.end % self.every

    def until(self, minute: int) -> tuple[float, float]:
        """Bad and all requests from the start to this minute."""
        bad = requests = 0.0
        for phase in self.phases:
            part = max(0, min(phase.minutes, minute))
            bad, requests = bad + part * phase.requests * phase.bad, requests + part * phase.requests
            minute -= phase.minutes
        return bad, requests

    def within(self, window: str, at: int) -> tuple[float, float]:
        """Bad and all requests per second, summed over the evaluations in the window that ends at this minute."""
        evaluations = range(at, max(at - minutes(window), 0) - 1, -self.every) if window != self.shortest else (at,)
        pairs = [(self.until(minute), self.until(minute - RATE)) for minute in evaluations]
        bad, requests = (sum(now[i] - before[i] for now, before in pairs) / RATE / 60 for i in (0, 1))
        return bad, requests

    def ratio(self, window: str, at: int) -> float:
        """The share of bad requests."""
        bad, requests = self.within(window, at)
        return bad / requests if requests else 0.0

    def count(self, window: str, at: int) -> float:
        """Bad requests as the rules count them, who believe that they are evaluated every INTERVAL."""
        return self.within(window, at)[0] * (300 if window == self.shortest else seconds(INTERVAL))

    def burns(self, slo: Slo, objective: Objective, severity: str, at: int) -> bool:
        """Whether any tier of the severity must fire."""
        return any(
            min(self.ratio(tier.long, at), self.ratio(tier.short, at)) > tier.burn * objective.budget
            and max(round(self.count(window, at)) for window in (self.shortest, tier.long)) >= slo.failures
            for tier in objective.tiers
            if tier.severity == severity
        )

    def add(self, length: int, bad: float, requests: float) -> None:
        """One more phase."""
        self.phases.append(Phase(length, bad, requests))

    def lift(self, length: int, window: str, share: float, count: float) -> None:
        """A phase of which a share is bad, with so many requests that the window has counted `count` in the end."""
        self.add(length, share, 1)
        with_one = self.count(window, self.last)
        self.phases[-1] = Phase(length, share, 0)
        without = self.count(window, self.last)
        self.phases[-1] = Phase(length, share, round((count - without) / (with_one - without), 6))


def every(window: str) -> int:
    """Minutes between evaluations."""
    return max(1, minutes(window) // STEPS)


def files(slo: Slo) -> Iterable[tuple[str, str, list[Case]]]:
    """(name of the file, interval of evaluation, cases) for every long window, and for the budget's."""
    for window in dict.fromkeys(tier.long for objective in slo.objectives for tier in objective.tiers):
        of_window = [(o, tier) for o in slo.objectives for tier in o.tiers if tier.long == window]
        cases = [case for o, tier in of_window for case in (threshold(slo, o, tier), few(slo, o, tier))]
        yield f"slo_{window}.yml", f"{every(window)}m", cases
    yield f"slo_{slo.window}.yml", f"{every(slo.window)}m", [spent(slo, objective) for objective in slo.objectives]


def threshold(slo: Slo, objective: Objective, tier: Tier) -> Case:
    """The long window rises through the threshold; then the short one falls through it; then all is well."""
    step, long, short = every(tier.long), minutes(tier.long), minutes(tier.short)
    limit = tier.burn * objective.budget
    healthy = Phase(_round(long, step), 0, BUSY), Phase(_round(0.2 * long, step), 0)
    requests = Traffic(step, slo.windows[0], *healthy, Phase(_round(0.9 * long, step), 1))
    risen = requests.end
    burning = replace(requests.phases[-1], bad=ABOVE * limit / requests.ratio(tier.long, risen))
    requests.phases[-1] = burning
    rising = next(t for t in range(risen, 0, -step) if requests.ratio(tier.long, t) <= BELOW * limit)
    settles = short + 1 if tier.short == slo.windows[0] else short + RATE
    requests.add(_round(settles, step), BELOW * limit, burning.requests)
    fallen = requests.end
    falling = next(t for t in range(fallen, 0, -step) if requests.ratio(tier.short, t) >= ABOVE * limit)
    requests.add(_round(long / 2, step), 0, burning.requests)
    case = Case(
        _name(objective, tier, f"{BELOW:g} and {ABOVE:g} of the threshold"), traffic(slo, objective, *requests.phases)
    )
    for minute in (rising, risen, falling, fallen):
        _told(case, slo, objective, tier, requests, minute)
    counted = f'ekiben:slo_errors:increase{{slo="{objective.name}",window="{tier.long}"}}'
    return case.near(requests.end, counted, requests.count(tier.long, requests.end))


def few(slo: Slo, objective: Objective, tier: Tier) -> Case:
    """Few bad requests: told once there are enough in the long window, or at once if they are in the shortest.

    They are a share that this tier alone tells of: too little for a faster one; a slower one sees the busy time before.
    """
    step, long, enough = every(tier.long), minutes(tier.long), slo.failures
    share = 1.15 * tier.burn * objective.budget
    requests = Traffic(step, slo.windows[0], Phase(_round(0.5 * long, step), 0, BUSY))
    # Five minutes before an evaluation ends what comes slowly, so that the next five are of that evaluation alone.
    at_once = (enough + 1) * seconds(INTERVAL) / 60 / step  # what the next five minutes are in the long window
    # For half as long again, so that a longer window would have counted more, and a shorter one less.
    length = _round(1.5 * long + RATE, step) + -RATE % step
    requests.lift(length, tier.long, share, max(0.1 * enough, 0.8 * enough - at_once))
    checked = [requests.last]
    requests.add(RATE, share, (enough + 1) / RATE / share)
    checked.append(requests.last)
    for count in (enough - 0.7, enough + 0.4):
        requests.lift(10 * max(step, 2), tier.long, share, count)
        checked.append(requests.last)
    name = _name(objective, tier, f"fewer than {enough} bad requests, and as many")
    case = Case(name, traffic(slo, objective, *requests.phases))
    for minute in checked:
        _told(case, slo, objective, tier, requests, minute)
    return case


def spent(slo: Slo, objective: Objective) -> Case:
    """Twice the budget for a third of its window, and nothing since: what is older than the window is forgiven."""
    step, window = every(slo.window), minutes(slo.window)
    phases = Phase(_round(window / 3, step), 2 * objective.budget), Phase(_round(window * 5 / 6, step), 0)
    requests = Traffic(step, slo.windows[0], *phases)
    case = Case(f"{objective.name}: the budget of {slo.window}", traffic(slo, objective, *phases))
    return case.near(requests.end, left(objective), 1 - requests.ratio(slo.window, requests.end) / objective.budget)


def _told(case: Case, slo: Slo, objective: Objective, tier: Tier, requests: Traffic, minute: int) -> None:
    burns = requests.burns(slo, objective, tier.severity, minute)
    case.gives(minute, f"{firing(objective, tier.severity)} > bool 0", *([("{}", 1)] if burns else []))


def _name(objective: Objective, tier: Tier, what: str) -> str:
    return f"{objective.name}: {tier.severity} over {tier.long} and {tier.short}, {what}"


def _round(length: float, step: int) -> int:
    """Minutes, up to a whole number of steps."""
    return -int(-length // step) * step
