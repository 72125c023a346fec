"""Promtool tests of the error budgets: what burns fires its tier and no faster one; nothing else fires."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any

from deploy.boundaries import le
from deploy.burn import alert
from deploy.objectives import Objective, Slo, seconds
from deploy.promtests import Case, series

TOTAL = 1_000_000  # requests per minute, so that a share of them is a whole number


@dataclass(frozen=True)
class Phase:
    """Minutes of traffic of which a share is bad, and good in every other respect."""

    minutes: int
    bad: float
    requests: float = TOTAL  # per minute


def cases(slo: Slo) -> Iterable[Case]:
    """All cases of all objectives, but for their windows and thresholds."""
    for objective in slo.objectives:
        yield from tiers(slo, objective)
        yield recovered(slo, objective)
        yield quiet(slo, objective)
        yield quiet_hour(slo, objective)
        yield gone(slo, objective)
        yield counted(slo, objective)
        yield others(slo, objective)
        yield from night(slo, objective)
        yield from restarts(slo, objective)


def traffic(
    slo: Slo, objective: Objective, *phases: Phase, restart: bool = False, level: int = 0, job: str = ""
) -> dict[str, str]:
    """Counters at `level` that grow phase by phase; with `restart`, each phase begins at 0 again."""
    served = {"job": job or slo.job, "model": objective.model or "any", "form": "onnx", "version": "v1"}
    count = series("ekiben_request_seconds_count", **served)
    failures = series("ekiben_failures_total", **served, reason="engine")
    bucket = series("ekiben_request_seconds_bucket", **served, le=le(objective.within))
    bad_input = series("ekiben_failures_total", **served, reason="bad_input")  # the caller's, so it counts for nothing
    all_ = [phase.requests for phase in phases]
    bad = [round(phase.requests * phase.bad, 6) for phase in phases]
    good = [round(total - failed, 6) for total, failed in zip(all_, bad, strict=True)]
    steps = {count: all_, bucket: good} if objective.sli == "latency" else {count: good, failures: bad, bad_input: all_}
    return {name: counter(phases, step, restart, level) for name, step in steps.items()}


def counter(phases: Sequence[Phase], steps: Sequence[float], restart: bool, level: float) -> str:
    """Values a minute apart, in promtool's notation."""
    parts = []
    for phase, step in zip(phases, steps, strict=True):
        if not phase.minutes:
            continue
        parts.append(f"{level:.16g}+{step:.16g}x{phase.minutes - 1}")
        level = 0 if restart else round(level + step * phase.minutes, 6)
    return " ".join(parts)


def expected(slo: Slo, objective: Objective, share: float) -> list[dict[str, Any]]:
    """The alerts that a steady share of bad requests fires: of each severity the first tier that it is above."""
    fired = []
    for other in slo.objectives:
        sees = other.model in ("", objective.model) and other.sli == objective.sli and other.within == objective.within
        for severity in dict.fromkeys(tier.severity for tier in other.tiers):
            above = [t for t in other.tiers if t.severity == severity and share > t.burn * other.budget]
            if sees and above:
                labels = other.labels | {"window": above[0].long}
                fired.append(alert(slo, other, severity).fired(slo, labels, f"{share * 100:.4g}%"))
    return fired


def tiers(slo: Slo, objective: Objective) -> Iterable[Case]:
    """A share between each tier's threshold and the next faster one's; and half of what the budget allows."""
    name, faster = alert(slo, objective, "page").name, 1.0
    for tier in objective.tiers:
        threshold = tier.burn * objective.budget
        share, faster = round(sqrt(threshold * faster), 5), threshold
        case = Case(
            f"{objective.name}: {share:.2%} bad burns above {tier.burn:g}", traffic(slo, objective, Phase(8, share))
        )
        yield case.fires(7, name, *expected(slo, objective, share))
    within = Case(
        f"{objective.name}: half of the budget is no alert", traffic(slo, objective, Phase(8, objective.budget / 2))
    )
    yield within.fires(7, name, *expected(slo, objective, objective.budget / 2))


def recovered(slo: Slo, objective: Objective) -> Case:
    """The short windows end a page soon after its cause, though the long ones remember."""
    short = max(seconds(t.short) for t in objective.tiers if t.severity == "page")
    well = 10 + 5 + int(short / 60) + 5
    case = Case(f"{objective.name}: a page ends with its cause", traffic(slo, objective, Phase(10, 1), Phase(well, 0)))
    return case.gives(9, firing(objective, "page"), ("{}", 1)).gives(well, firing(objective, "page"))


def quiet(slo: Slo, objective: Objective) -> Case:
    """No traffic is an error ratio of 0 in every window and a full budget: no NaN, no gap, no alert."""
    case = Case(f"{objective.name}: no traffic", traffic(slo, objective, Phase(10, 0, 0), level=1000))
    case.gives(8, f'count(ekiben:slo_error:ratio{{slo="{objective.name}"}} == 0)', ("{}", len(slo.windows)))
    case.gives(8, left(objective), (labels(objective), 1))
    return case.silent(8, alert(slo, objective, "page"))


def quiet_hour(slo: Slo, objective: Objective) -> Case:
    """Half of the budget spent in some minutes of traffic is still half after an hour without."""
    counters = traffic(slo, objective, Phase(10, objective.budget / 2), Phase(61, 0, 0))
    remains = (labels(objective), round(1 - round(objective.budget / 2 * TOTAL) / TOTAL / objective.budget, 4))
    case = Case(f"{objective.name}: an hour without traffic takes nothing from the budget", counters)
    return case.gives(9, left(objective), remains).gives(70, left(objective), remains)


def gone(slo: Slo, objective: Objective) -> Case:
    """A service that is no longer scraped counts nothing: no error, no request, once five minutes have passed."""
    end = 10
    steps = {name: f"{values} _x10" for name, values in traffic(slo, objective, Phase(end, 0)).items()}
    answered = {name: values for name, values in steps.items() if "failures" not in name}
    case = Case(f"{objective.name}: a service that is gone", answered)
    for recorded in ("ekiben:slo_errors:rate5m", "ekiben:slo_requests:rate5m"):
        here = f'count({recorded}{{slo="{objective.name}"}})'
        case.gives(end + 2, here, ("{}", 1)).gives(end + 6, here)
    return case


def counted(slo: Slo, objective: Objective) -> Case:
    """Bad requests within some minutes are as many in every window that knows them."""
    counters = traffic(slo, objective, Phase(8, 0), Phase(2, 0.5, 200), Phase(9, 0))
    case = Case(f"{objective.name}: bad requests are counted", counters)
    bad = f'ekiben:slo_errors:increase{{slo="{objective.name}",window=%s}}'
    case.near(11, bad % '"5m"', 200, 0.05)
    longest = dict.fromkeys(tier.long for tier in objective.tiers)
    for window in longest:
        case.near(17, bad % f'"{window}"', 200, 0.05)
    return case


def others(slo: Slo, objective: Objective) -> Case:
    """Another job's requests, as the chain's, are not the service's."""
    own = traffic(slo, objective, Phase(10, objective.budget / 2))
    case = Case(
        f"{objective.name}: another job counts for nothing", own | traffic(slo, objective, Phase(10, 1), job="chain")
    )
    return case.near(8, f'ekiben:slo_error:ratio{{slo="{objective.name}",window="5m"}}', objective.budget / 2)


def night(slo: Slo, objective: Objective) -> Iterable[Case]:
    """Requests that come alone, and are bad: a burn out of all measure, told once there are enough of them."""
    burns = f'count(ekiben:slo_error:ratio{{slo="{objective.name}"}} == 1)'
    firing_now = f'count(ALERTS{{slo="{objective.name}",alertstate="firing"}}) > bool 0'
    for apart, after in ((1, 0), (5, 5)):  # minutes; those that come close together are told at once
        alone = (Phase(1, 1, 1), Phase(apart - 1, 0, 0)) * slo.failures
        name = f"{objective.name}: each request is bad, {apart} min apart"
        case = Case(name, traffic(slo, objective, Phase(6, 0, 0), *alone, Phase(10, 0, 0)))
        for bad in (1, slo.failures - 1, slo.failures):
            minute = 7 + (bad - 1) * apart + after
            case.gives(minute - after, burns, ("{}", len(slo.windows)))
            case.gives(minute, firing_now, *([("{}", 1)] if bad == slo.failures else []))
        yield case


def restarts(slo: Slo, objective: Objective) -> Iterable[Case]:
    """A restart sets every counter to 0: that is neither an error nor the end of one."""
    name, half = alert(slo, objective, "page").name, Phase(10, objective.budget / 2)
    well = Case(f"{objective.name}: a restart is no error", traffic(slo, objective, half, half, restart=True))
    others = expected(slo, objective, objective.budget / 2)  # of stricter objectives, if there are any
    yield well.fires(11, name, *others).fires(15, name, *others)
    counters = traffic(slo, objective, Phase(10, 1), Phase(10, 1), restart=True)
    burning = Case(f"{objective.name}: a restart does not end a burn", counters)
    for minute in (9, 11, 15):
        burning.gives(minute, firing(objective, "page"), ("{}", 1))
    yield burning


def firing(objective: Objective, severity: str) -> str:
    """PromQL: how many alerts of the objective and severity fire."""
    return f'count(ALERTS{{slo="{objective.name}",severity="{severity}",alertstate="firing"}})'


def left(objective: Objective) -> str:
    """PromQL: what is left of the budget, to four places."""
    return f'round(ekiben:slo_budget_remaining:ratio{{slo="{objective.name}"}}, 0.0001)'


def labels(objective: Objective) -> str:
    """The labels of what is recorded of the objective, as promtool writes them."""
    return series("", **objective.labels)
