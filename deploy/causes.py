"""Alerts on causes: what is wrong before the objectives say so. Only a service that is gone wakes somebody."""

from __future__ import annotations

from typing import Any

from deploy.alerts import PERCENT, Alert, alert_group
from deploy.boundaries import LAG, QUEUE, le, of_file
from deploy.burn import answered, failed, rate
from deploy.objectives import Slo, SloError

FORM = "model, form"
NEAR = 0.8  # of the capacity
SHED = 0.01  # of a form's requests
STALLS = 4  # of a replica's event loops within 5 minutes


def rules(slo: Slo) -> dict[str, Any]:
    """The one group of alerts on causes."""
    return alert_group("causes", alerts(slo), slo)


def alerts(slo: Slo) -> list[Alert]:
    """All alerts on causes; CapacityNear where a capacity is known."""
    every = [service_down(slo), replica_down(slo), worker_lost(slo), form_refused(slo)]
    every += [stalls(slo), shedding(slo), queue(slo)]
    return [*every, capacity(slo)] if slo.capacity else every


def service_down(slo: Slo) -> Alert:
    """Nobody answers Prometheus, or it knows nobody."""
    return Alert(
        name="ServiceDown",
        severity="page",
        expr=f'absent(up{{job="{slo.job}"}} == 1)',
        summary=f"{slo.service} is down",
        description="No replica has answered for a minute, or none is known.",
        pending="1m",
    )


def replica_down(slo: Slo) -> Alert:
    """One does not answer."""
    return Alert(
        name="ReplicaDown",
        severity="ticket",
        expr=f'up{{job="{slo.job}"}} == 0',
        summary=f"{slo.service}: replica {{{{ $labels.instance }}}} is down",
        description="It has not answered for 5 minutes; others do.",
        pending="5m",
    )


def worker_lost(slo: Slo) -> Alert:
    """Fewer workers give signs of life than there should be."""
    alive = f"count by (job, instance) (increase(ekiben_worker_heartbeats_total[{slo.span('5m')}]) > 0)"
    return Alert(
        name="WorkerLost",
        severity="ticket",
        # Where no worker is left to count, `or` gives the 0 that count does not.
        expr=f"ekiben_workers\n  - on (job, instance) ({alive} or on (job, instance) 0 * ekiben_workers)\n> 0",
        summary=f"{slo.service}: {{{{ $labels.instance }}}} has lost a worker",
        description="Workers without a sign of life for 5 minutes: {{ $value }}.",
        pending="1m",
    )


def form_refused(slo: Slo) -> Alert:
    """A form is in the store and not served."""
    return Alert(
        name="FormRefused",
        severity="ticket",
        expr="max by (model, form, version) (ekiben_form_refused) > 0",
        summary=f"{slo.service} {{{{ $labels.model }}}}: form {{{{ $labels.form }}}} is refused",
        description="The certificate of version {{ $labels.version }} is missing, failed or does not match its file.",
    )


def stalls(slo: Slo) -> Alert:
    """Event loops stand still for a quarter of the latency objective, again and again."""
    lag = part_of_objective(slo, LAG)
    window = slo.span("5m")
    count, within = (
        f"sum by (job, instance) (increase({LAG}_{what}[{window}]))"
        for what in (f'count{{job="{slo.job}"}}', f'bucket{{job="{slo.job}",le="{le(lag)}"}}')
    )
    return Alert(
        name="EventLoopStalls",
        severity="ticket",
        expr=f"{count}\n  - {within}\n> {STALLS}",
        summary=f"{slo.service}: event loops of {{{{ $labels.instance }}}} stand still",
        description=f'For longer than {lag:g} s, {{{{ $value | printf "%.0f" }}}} times within 5 minutes.',
        pending="5m",
    )


def part_of_objective(slo: Slo, histogram: str) -> float:
    """The histogram's largest boundary within a quarter of the latency objective. SloError"""
    latency = slo.service_wide("latency")
    part = max((b for b in of_file(histogram) if b <= latency.within / 4), default=0.0)
    if not part:
        raise SloError(f"latency: within = {latency.within:g} s is four times less than any boundary of {histogram}")
    return part


def shedding(slo: Slo) -> Alert:
    """A form's queue is full so often that it matters."""
    shed = rate(slo, "ekiben_failures_total", reason="shed")
    return Alert(
        name="Shedding",
        severity="ticket",
        expr=f"sum by ({FORM}) ({shed})\n  / sum by ({FORM}) ({answered(slo)} or {failed(slo)})\n> {SHED:g}",
        summary=f"{slo.service} {{{{ $labels.model }}}}: {{{{ $labels.form }}}} sheds load",
        description=f"{PERCENT} of its requests find the queue full and are turned away.",
        pending="5m",
    )


def queue(slo: Slo) -> Alert:
    """Waiting is to take a quarter of the latency objective at most, for as many requests as the objective covers."""
    latency, wait = slo.service_wide("latency"), part_of_objective(slo, QUEUE)
    soon, all_ = rate(slo, f"{QUEUE}_bucket", le=le(wait)), rate(slo, f"{QUEUE}_count")
    return Alert(
        name="QueueSaturated",
        severity="ticket",
        expr=f"1 - sum by ({FORM}) ({soon})\n  / (sum by ({FORM}) ({all_}) > 0)\n> {latency.budget:g}",
        summary=f"{slo.service} {{{{ $labels.model }}}}: requests queue for {{{{ $labels.form }}}}",
        description=f"{PERCENT} of its requests wait longer than {wait:g} s before their batch starts.",
        pending="5m",
    )


def capacity(slo: Slo) -> Alert:
    """There is nearly as much traffic as the load test found to be possible."""
    return Alert(
        name="CapacityNear",
        severity="ticket",
        expr=f'ekiben:slo_requests:rate5m{{slo="availability"}} > {NEAR:g} * {slo.capacity:g}',
        summary=f"{slo.service} is close to its capacity",
        description=(
            f'{{{{ $value | printf "%.0f" }}}} requests/s of the {slo.capacity:g} that the load test found it can take.'
        ),
        pending="5m",
        labels={"slo": "", "sli": ""},
    )
