"""A model's pipeline as three services: preprocess, model and postprocess, each in as many replicas as it takes."""

from __future__ import annotations

from typing import Any

from grafana_foundation_sdk.builders.dashboard import Dashboard

from deploy.dashboards.page import Choice, page
from deploy.dashboards.panels import GREEN, RED, lines, tile
from deploy.dashboards.promql import mean, quantile, total
from deploy.objectives import Slo

STAGE = Choice("stage", "ekiben_chain_seconds_count")
OF = 'stage=~"$stage"'
# Which stage a replica is: 1 for each, to be multiplied with what its processes take.
WHO = f"max by (instance, stage) (clamp(ekiben_chain_seconds_count{{{OF}}}, 1, 1))"


def dashboard(slo: Slo) -> Dashboard:
    """The dashboard of the three services."""
    rows = {"Now": now(), "Requests": requests(), "Replicas": replicas()}
    answers = "Do all stages answer, in how many replicas, which of them takes the time, do retries hide a bad replica?"
    return page("chain", "chain", answers, rows, (STAGE,), slo.runbook)


def now() -> list[Any]:
    """What they do at this moment."""
    return [
        tile(
            "Replicas up",
            "Replicas of all stages that answered the last scrape.",
            "count(count by (instance, stage) (ekiben_chain_seconds_count))",
            "none",
            ((None, RED), (1.0, GREEN)),
            8,
        ),
        tile(
            "Requests",
            "Answered per second where callers come in.",
            total("ekiben_chain_seconds_count", 'stage="postprocess"'),
            "reqps",
            width=8,
        ),
        tile(
            "p95",
            "Of the whole chain, as the first stage sees it.",
            quantile(0.95, "ekiben_chain_seconds", 'stage="postprocess"'),
            "s",
            width=8,
        ),
    ]


def requests() -> list[Any]:
    """What came through them, and how fast."""
    return [
        lines(
            "Requests by stage",
            "Per second. All stages are asked equally often; a stage that answers less than the one before it fails.",
            [(total("ekiben_chain_seconds_count", OF, "stage"), "{{stage}}")],
            "reqps",
            8,
        ),
        lines(
            "Failures by stage",
            "Per second, by reason: bad_input is the caller's, a stage's name says which one was asked in vain.",
            [(total("ekiben_chain_failures_total", OF, "stage, reason"), "{{stage}} {{reason}}")],
            "reqps",
            8,
        ),
        lines(
            "Retries",
            "Requests per second that a stage asked another replica once more. Callers do not see them; a steady rate "
            "is a replica that fails.",
            [(total("ekiben_chain_retries_total", OF, "stage"), "by {{stage}}")],
            "reqps",
            8,
        ),
        lines(
            "Mean time by stage",
            "Each stage waits for the next one: its own time is the distance to the line below.",
            [(mean("ekiben_chain_seconds", OF, "stage"), "{{stage}}")],
            "s",
        ),
        lines(
            "p95 by stage",
            "The stages that wait for one another share the slowest one's tail.",
            [(quantile(0.95, "ekiben_chain_seconds", OF, "stage"), "{{stage}}")],
            "s",
        ),
    ]


def replicas() -> list[Any]:
    """Which of them are there."""
    cpu = "sum by (instance) (rate(process_cpu_seconds_total[$__rate_interval]))"
    memory = "sum by (instance) (process_resident_memory_bytes)"
    return [
        lines(
            "Requests by replica",
            "Per second. Replicas of one stage should have like shares.",
            [(total("ekiben_chain_seconds_count", OF, "stage, instance"), "{{stage}} {{instance}}")],
            "reqps",
            8,
        ),
        lines(
            "Processor by stage",
            "Cores of all replicas of a stage: the one to add replicas to.",
            [(f"sum by (stage) ({cpu} * on (instance) group_right () {WHO})", "{{stage}}")],
            "none",
            8,
            stacked=True,
        ),
        lines(
            "Memory by stage",
            "In RAM, of all replicas of a stage.",
            [(f"sum by (stage) ({memory} * on (instance) group_right () {WHO})", "{{stage}}")],
            "bytes",
            8,
            stacked=True,
        ),
    ]
