"""Is all well, and if not, where: objectives, alerts, traffic, and the models that are served."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from grafana_foundation_sdk.builders.dashboard import Dashboard

from deploy.burn import FAILURES
from deploy.dashboards.page import page
from deploy.dashboards.panels import GREEN, ORANGE, RED, lines, rows_of, tile
from deploy.dashboards.promql import quantile, quantiles, total
from deploy.objectives import Objective, Slo

ANY = ((None, GREEN), (1.0, RED))
ALIVE = "count(increase(ekiben_worker_heartbeats_total[2m]) > 0) or vector(0)"
FORM = "model, form, version"


def dashboard(slo: Slo) -> Dashboard:
    """The dashboard of the whole service."""
    rows = {
        "Objectives": [tile_ for objective in slo.objectives for tile_ in objective_tiles(slo, objective)],
        "What is wrong": health(slo),
        "Error budgets": [burns(slo, objective) for objective in slo.objectives] + [left(slo)],
        "Traffic": traffic(slo),
        "Models": [models()],
    }
    answers = "Are the objectives kept, what is left of their budgets, does something need a person, which model is it?"
    return page("overview", "overview", answers, rows, (), slo.runbook)


def objective_tiles(slo: Slo, objective: Objective) -> Iterable[Any]:
    """Of one objective: its budget, its burn rate."""
    link = f"{slo.runbook}#{objective.sli}budgetburn"
    of = f'slo="{objective.name}"'
    promise = f"{objective.target * 100:g} % of requests " + (
        f"are answered within {objective.within:g} s" if objective.within else "end without a failure of ours"
    )
    yield tile(
        f"{objective.name.capitalize()}: budget left",
        f"Objective: {promise}, over {slo.window}. 100 % is untouched, 0 % used up, below 0 the objective is missed.",
        f"ekiben:slo_budget_remaining:ratio{{{of}}}",
        "percentunit",
        ((None, RED), (0.0, ORANGE), (0.25, GREEN)),
        6,
        link,
    )
    fastest = max((tier for tier in objective.tiers if tier.severity == "page"), key=lambda tier: tier.burn)
    yield tile(
        f"{objective.name.capitalize()}: burn rate, {fastest.long}",
        f"How many times faster than allowed the budget was spent over the last {fastest.long}; 1 lasts exactly "
        f"{slo.window}, {fastest.burn:g} wakes somebody.",
        f'ekiben:slo_error:ratio{{{of},window="{fastest.long}"}} / ignoring (window) ekiben:slo_budget:ratio{{{of}}}',
        "none",
        ((None, GREEN), (1.0, ORANGE), (fastest.burn, RED)),
        6,
        link,
    )


def health(slo: Slo) -> list[Any]:
    """What fires, what is up, what is lost."""
    return [
        tile(
            "Alerts firing",
            "Alerts that Prometheus sends to Alertmanager at this moment; their names and texts are at Prometheus, "
            "under Alerts.",
            'count(ALERTS{alertstate="firing",alertname!="Watchdog"}) or vector(0)',
            "none",
            ANY,
            6,
            slo.runbook,
        ),
        tile(
            "Replicas up",
            "Replicas that answered Prometheus's last scrape.",
            f'sum(up{{job="{slo.job}"}})',
            "none",
            ((None, RED), (1.0, GREEN)),
            6,
            f"{slo.runbook}#replicadown",
        ),
        tile(
            "Workers lost",
            "Workers that should run and whose event loop gave no sign of life for two minutes.",
            f"sum(ekiben_workers) - ({ALIVE})",
            "none",
            ANY,
            6,
            f"{slo.runbook}#workerlost",
        ),
        tile(
            "Forms refused",
            "Forms that are not served because their certificate is missing, failed or does not match the file.",
            "count(max by (model, form, version) (ekiben_form_refused) > 0) or vector(0)",
            "none",
            ANY,
            6,
            f"{slo.runbook}#formrefused",
        ),
    ]


def burns(slo: Slo, objective: Objective) -> Any:
    """The windows of the page's tiers: a burn is told when the long and the short one are both above."""
    windows = dict.fromkeys(w for t in objective.tiers if t.severity == "page" for w in (t.short, t.long))
    of = f'slo="{objective.name}",window=~"{"|".join(windows)}"'
    lowest = min(tier.burn for tier in objective.tiers if tier.severity == "page")
    return lines(
        f"{objective.name.capitalize()}: burn rate",
        f"Errors over what the budget allows, by window. A page needs a long and its short window above the line: the "
        f"long one says that it matters, the short one that it still goes on. The line is the lowest page, {lowest:g}.",
        [(f"ekiben:slo_error:ratio{{{of}}} / on (slo) group_left () ekiben:slo_budget:ratio", "{{window}}")],
        "none",
        8,
        limit=lowest,
    )


def left(slo: Slo) -> Any:
    """Every budget over time."""
    return lines(
        "Budget left",
        f"What is left of each objective's error budget of {slo.window}. A cliff is an outage, a slope a slow leak; it "
        f"rises again as old errors leave the window.",
        [("ekiben:slo_budget_remaining:ratio", "{{slo}}")],
        "percentunit",
        8,
        limit=0.0,
    )


def traffic(slo: Slo) -> list[Any]:
    """What all models answer together."""
    latency = slo.service_wide("latency")
    return [
        lines(
            "Requests answered",
            "Per second, by model, stacked: the top is what the whole service answers.",
            [(total("ekiben_request_seconds_count", by="model"), "{{model}}")],
            "reqps",
            8,
            stacked=True,
        ),
        lines(
            "Requests failed",
            "Per second, by reason. engine, timeout, shed and not_ready count against the objective; bad_input is the "
            "caller's doing, and of cancelled requests nobody reads the answer.",
            [(total("ekiben_failures_total", by="reason"), "{{reason}}")],
            "reqps",
            8,
            stacked=True,
        ),
        lines(
            "Latency of answered requests",
            f"From the first byte to the answer written, of all models. The line is the objective: p"
            f"{latency.target * 100:g} within {latency.within:g} s.",
            quantiles("ekiben_request_seconds", "", 0.5, 0.95, 0.99),
            "s",
            8,
            log=True,
            limit=latency.within,
        ),
    ]


def models() -> Any:
    """The forms that are served."""
    age = f"time() - max by ({FORM}) (ekiben_model_created_timestamp_seconds)"
    info = f"max by ({FORM}, framework, sha256) (ekiben_model_info)"
    failed = total("ekiben_failures_total", f'reason=~"{FAILURES}"', FORM)
    return rows_of(
        "Forms that are served",
        "Each form of each model: its version, the file's hash as its certificate has it, its age since it was "
        "certified, and what it does at this moment. An old model is not wrong; look at its drift.",
        [
            f"({age}) * on ({FORM}) group_left (framework, sha256) {info}",
            total("ekiben_request_seconds_count", by=FORM),
            quantile(0.95, "ekiben_request_seconds", by=FORM),
            failed,
        ],
        {
            "model": ("model", ""),
            "form": ("form", ""),
            "version": ("version", ""),
            "framework": ("trained with", ""),
            "sha256": ("sha256", ""),
            "Value #A": ("age", "s"),
            "Value #B": ("answered", "reqps"),
            "Value #C": ("p95", "s"),
            "Value #D": ("failed", "reqps"),
        },
    )
