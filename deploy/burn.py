"""Error budgets in PromQL: how fast they burn, what is left of them, and the alerts on it.

Errors and requests are recorded as rates over five minutes, and every longer window divides the sum of the one by the
sum of the other. So an hour without traffic weighs nothing, an idle service has an error ratio of 0, not NaN, and 30
days cost a few milliseconds to look at.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from deploy.alerts import PERCENT, Alert, group, recording
from deploy.boundaries import le
from deploy.objectives import Objective, Slo, Tier, seconds

# What we failed at. bad_input is the caller's doing, and of a cancelled request nobody reads the answer.
FAILURES = "engine|timeout|shed|not_ready"
# Below any rate there is: one request in 30 days is 4e-7 a second.
NO_TRAFFIC = "1e-9"
# How often the group is evaluated, said in the group itself: sums of what it records are counts only if it is known.
INTERVAL = "30s"


def rate(slo: Slo, series: str, objective: Objective | None = None, **labels: str) -> str:
    """`rate(series{labels}[5m])` of the service's job; of the objective's model, if it is one model's."""
    labels = {"job": slo.job} | ({"model": objective.model} if objective and objective.model else {}) | labels
    matchers = ",".join(f'{name}{"=~" if "|" in value else "="}"{value}"' for name, value in labels.items())
    return f"rate({series}{{{matchers}}}[{slo.span('5m')}])"


def answered(slo: Slo, objective: Objective | None = None) -> str:
    """Requests answered per second."""
    return rate(slo, "ekiben_request_seconds_count", objective)


def failed(slo: Slo, objective: Objective | None = None) -> str:
    """Requests per second that failed for a reason of ours."""
    return rate(slo, "ekiben_failures_total", objective, reason=FAILURES)


def rules(slo: Slo) -> dict[str, Any]:
    """The one group of SLO rules; they stand in one group because each is read by the next."""
    recorded = [rule for objective in slo.objectives for rule in sli(slo, objective)]
    derived = [*ratios(slo), *counts(slo), remaining(slo)]
    return group("slo", [*recorded, *derived, *(alert.rule(slo) for alert in alerts(slo))], slo.span(INTERVAL))


def sli(slo: Slo, objective: Objective) -> Iterable[dict[str, Any]]:
    """What the objective counts: its errors, its requests, its budget."""
    if objective.sli == "latency":
        within = rate(slo, "ekiben_request_seconds_bucket", objective, le=le(objective.within))
        # Not below 0: `rate` extrapolates the two series of a fresh service a little differently.
        errors = f"clamp_min(sum({answered(slo, objective)}) - sum({within}), 0)"
        requests = f"sum({answered(slo, objective)})"
    else:
        # `or` joins the series of both, which differ in their labels: neither must be there for the sum to be right.
        errors = f"sum({failed(slo, objective)} or 0 * {answered(slo, objective)})"
        requests = f"sum({answered(slo, objective)} or {failed(slo, objective)})"
    yield recording("ekiben:slo_errors:rate5m", errors, **objective.labels)
    yield recording("ekiben:slo_requests:rate5m", requests, **objective.labels)
    yield recording("ekiben:slo_budget:ratio", f"vector({objective.budget:g})", **objective.labels)


def ratios(slo: Slo) -> Iterable[dict[str, Any]]:
    """Errors of all requests, of every objective at once, over each window."""
    shortest = slo.windows[0]
    for window in slo.windows:
        errors, requests = "ekiben:slo_errors:rate5m", "ekiben:slo_requests:rate5m"
        if window != shortest:
            errors, requests = (f"sum_over_time({series}[{slo.span(window)}])" for series in (errors, requests))
        yield recording("ekiben:slo_error:ratio", f"{errors} / clamp_min({requests}, {NO_TRAFFIC})", window=window)


def counts(slo: Slo) -> Iterable[dict[str, Any]]:
    """How many requests were bad within each tier's long window; and within the shortest, which is up to date.

    A sum of rates over five minutes has all of a bad request only after five minutes.
    """
    latest, each = (seconds(span) / slo.scale for span in ("5m", INTERVAL))
    yield recording("ekiben:slo_errors:increase", f"round(ekiben:slo_errors:rate5m * {latest:g})", window="5m")
    for window in sorted({tier.long for objective in slo.objectives for tier in objective.tiers}, key=seconds):
        errors = f"sum_over_time(ekiben:slo_errors:rate5m[{slo.span(window)}])"
        yield recording("ekiben:slo_errors:increase", f"round({errors} * {each:g})", window=window)


def remaining(slo: Slo) -> dict[str, Any]:
    """The share of the budget that is left; below 0 it is overspent."""
    spent = f'ekiben:slo_error:ratio{{window="{slo.window}"}} / ignoring (window) ekiben:slo_budget:ratio'
    return recording("ekiben:slo_budget_remaining:ratio", f"1 - {spent}")


def alerts(slo: Slo) -> list[Alert]:
    """A page and a ticket for each objective."""
    return [alert(slo, o, severity) for o in slo.objectives for severity in dict.fromkeys(t.severity for t in o.tiers)]


def alert(slo: Slo, objective: Objective, severity: str) -> Alert:
    """All tiers of a severity are one alert, so that one burn tells once; its text has the window that saw it."""
    tiers = [tier for tier in objective.tiers if tier.severity == severity]
    subject = f"{slo.service} {objective.model}".strip()
    happens = f"take longer than {objective.within:g} s" if objective.sli == "latency" else "fail"
    lasts = seconds(slo.window) / 3600 / min(tier.burn for tier in tiers)
    return Alert(
        name=f"{objective.sli.capitalize()}BudgetBurn",
        severity=severity,
        expr="\nor on (slo)\n".join(condition(slo, objective, tier) for tier in tiers),
        summary=f"{subject}: too many requests {happens}",
        description=(
            f"Over the last {{{{ $labels.window }}}}, {PERCENT} of requests {happens}; the objective allows "
            f"{objective.budget * 100:g}%. At this rate "
            f"the error budget of {slo.window} lasts {duration(lasts)} or less."
        ),
        # The window tells which tier fired; as a label of the alert it would make another alert of each.
        labels={**objective.labels, "window": ""},
    )


def condition(slo: Slo, objective: Objective, tier: Tier) -> str:
    """Both windows burn faster than the tier allows, and by so many requests that it is no accident of a few."""

    of = f'slo="{objective.name}"'

    def above(window: str) -> str:
        return f'ekiben:slo_error:ratio{{{of},window="{window}"}} > {tier.burn:g} * {objective.budget:g}'

    long, short = above(tier.long), above(tier.short)
    enough = f'ekiben:slo_errors:increase{{{of},window=~"5m|{tier.long}"}} >= {slo.failures}'
    return f"({long}\n  and on (slo) {short}\n  and on (slo) {enough})"


def duration(hours: float) -> str:
    """Hours in words: `36 hours`, `5 days`."""
    return f"{hours:.0f} hours" if hours < 72 else f"{hours / 24:.0f} days"


def lowered(slo: Slo) -> list[str]:
    """A line for each burn rate that its objective could not have reached."""
    return [
        f"{objective.name}: burn rate {tier.lowered_from:g} over {tier.long} would need "
        f"{tier.lowered_from * objective.budget * 100:.0f} % errors; lowered to {tier.burn:g}, "
        f"which is {tier.burn * objective.budget * 100:.0f} %"
        for objective in slo.objectives
        for tier in objective.tiers
        if tier.lowered_from
    ]
