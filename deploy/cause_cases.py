"""Promtool tests of the alerts on causes: each fires, and does not."""

from __future__ import annotations

import re
from collections.abc import Iterable

from deploy.alerts import Alert
from deploy.causes import (
    NEAR,
    SHED,
    STALLS,
    capacity,
    form_refused,
    queue,
    replica_down,
    service_down,
    shedding,
    stalls,
    worker_lost,
)
from deploy.objectives import Slo
from deploy.promtests import Case, growing, series, stepwise

SERVED = {"model": "digits", "form": "onnx", "version": "v1"}
FORM = {"model": "digits", "form": "onnx"}


def cases(slo: Slo) -> Iterable[Case]:
    """All cases of all causes."""
    yield from down(slo)
    yield from workers(slo)
    yield from refused(slo)
    yield from stalling(slo)
    yield from saturation(slo)
    if slo.capacity:
        yield from near(slo, slo.capacity)


def down(slo: Slo) -> Iterable[Case]:
    """Replicas that answer, that do not, and how long they may take to come back."""
    gone, replica = service_down(slo), replica_down(slo)
    up = {name: series("up", job=slo.job, instance=name) for name in ("a", "b")}
    labels = {"job": slo.job, "instance": "b"}
    yield Case("all replicas are up", dict.fromkeys(up.values(), "1+0x20")).silent(15, gone, replica)
    one = Case("one of two replicas is down", {up["a"]: "1+0x20", up["b"]: "1+0x2 0+0x20"})
    one.silent(15, gone).silent(7.5, replica)
    yield one.fires(8, replica.name, replica.fired(slo, labels)).fires(15, replica.name, replica.fired(slo, labels))
    all_ = Case("all replicas are down", dict.fromkeys(up.values(), "1+0x2 0+0x20"))
    yield all_.silent(3.5, gone).fires(4, gone.name, gone.fired(slo, {})).fires(8, gone.name, gone.fired(slo, {}))
    other = {series("up", job="another", instance="a"): "1+0x20"}
    yield Case("no replica is known", other).fires(5, gone.name, gone.fired(slo, {}))
    yield Case("a restart within the minute", {up["a"]: "1 1 1 0 1 1"}).silent(4, gone)


def workers(slo: Slo) -> Iterable[Case]:
    """Workers that live, hardly live, stop, start again."""
    lost = worker_lost(slo)
    at = {"job": slo.job, "instance": "a"}
    first, second = (series("ekiben_worker_heartbeats_total", **at, worker=worker) for worker in "01")
    expected = {series("ekiben_workers", **at): "2+0x30"}
    well = {first: growing(60, 30), second: growing(60, 30)}
    yield Case("both workers live", expected | well).silent(20, lost)
    yield Case("one hardly gets to run", expected | well | {second: growing(0.1, 30)}).silent(20, lost)
    # The last sign of life is of minute 10, seen by the window until 14:30.
    one = Case("one worker of two stops", expected | well | {second: "0+60x10 600+0x20"})
    yield (
        one.silent(15, lost)
        .fires(16, lost.name, lost.fired(slo, at, "1"))
        .fires(20, lost.name, lost.fired(slo, at, "1"))
    )
    none = Case("no worker is left", expected | dict.fromkeys(well, "600+0x30"))
    yield none.fires(20, lost.name, lost.fired(slo, at, "2"))
    again = Case("a worker starts again", expected | well | {second: "0+60x10 0+60x20"})
    yield again.silent(12, lost).silent(20, lost)


def refused(slo: Slo) -> Iterable[Case]:
    """A form that is refused, and one that is served."""
    alert, name = form_refused(slo), series("ekiben_form_refused", **SERVED)
    yield Case("a form is refused", {name: "1+0x5"}).fires(3, alert.name, alert.fired(slo, SERVED))
    yield Case("a form is served", {name: "0+0x5"}).silent(3, alert)


def stalling(slo: Slo) -> Iterable[Case]:
    """An event loop that now and then stands still: 2 % less often than is told, then 2 % more often."""
    alert = stalls(slo)
    at = {"job": slo.job, "instance": "a"}
    boundary = re.findall(r'le="([^"]+)"', alert.expr)[0]
    count, punctual = (
        series(f"ekiben_loop_lag_seconds_{name}", **at, **further)
        for name, further in (("count", {}), ("bucket", {"le": boundary}))
    )
    ticks = 3000.0  # a minute
    often = Case("it stands still twice a minute", {count: growing(ticks, 20), punctual: growing(ticks - 2, 20)})
    yield often.fires(15, alert.name, alert.fired(slo, at, "10"))
    yield Case("it never does", {count: growing(ticks, 20), punctual: growing(ticks, 20)}).silent(15, alert)
    edge = [(20, ticks - part * STALLS / 5) for part in EDGE]
    firing = f'count(ALERTS{{alertname="{alert.name}",alertstate="firing"}})'
    # Half of the window is to be of the second phase before there are so many: minute 23.
    case = Case("it stands still a little too often", {count: growing(ticks, 40), punctual: stepwise(*edge)})
    yield case.silent(CHANGE, alert).silent(27, alert).gives(29, firing, ("{}", 1)).gives(38, firing, ("{}", 1))


def saturation(slo: Slo) -> Iterable[Case]:
    """Load that is turned away, and load that waits: a share, and 2 % either side of what is allowed."""
    shed, waits = shedding(slo), queue(slo)
    served = series("ekiben_request_seconds_count", job=slo.job, **SERVED)
    turned_away, broken = (
        series("ekiben_failures_total", job=slo.job, **SERVED, reason=reason) for reason in ("shed", "engine")
    )
    some = Case("a tenth is shed", {served: growing(90, 20), turned_away: growing(10, 20)})
    yield some.fires(15, shed.name, shed.fired(slo, FORM, "10%"))
    yield Case("nothing comes", {served: "90+0x20", turned_away: "10+0x20"}).silent(15, shed)
    rest = stepwise(*((minutes, step * (1 - SHED)) for minutes, step in PHASES))
    little = stepwise(*((minutes, step * SHED * part) for (minutes, step), part in zip(PHASES, EDGE, strict=True)))
    for what, others in (("answered", served), ("failed", broken)):
        counters = {turned_away: little, others: rest}
        yield risen(slo, shed, f"a little more than a hundredth is shed, the rest is {what}", counters)

    boundary = re.findall(r'le="([^"]+)"', waits.expr)[0]
    soon = series("ekiben_queue_seconds_bucket", job=slo.job, **SERVED, le=boundary)
    count = series("ekiben_queue_seconds_count", job=slo.job, **SERVED)
    long = Case("half of the requests wait long", {count: growing(100, 20), soon: growing(50, 20)})
    yield long.fires(15, waits.name, waits.fired(slo, FORM, "50%"))
    yield Case("nothing waits", {count: "100+0x20", soon: "50+0x20"}).silent(15, waits)
    budget = slo.service_wide("latency").budget
    within = (1 - part * budget for part in EDGE)
    quick = stepwise(*((minutes, step * share) for (minutes, step), share in zip(PHASES, within, strict=True)))
    total = stepwise(*PHASES)
    yield risen(slo, waits, "a little more than the budget waits long", {count: total, soon: quick})


# 20 minutes below a threshold, then twice the load and above it: so that both sides of a ratio are seen to look back
# over the same five minutes. The ratio is above from the second minute on, so the alert fires five minutes later.
PHASES = ((20, 30.0), (20, 60.0))  # minutes, requests per minute
EDGE = (0.98, 1.02)  # of the threshold
CHANGE, FIRES = 20, 27


def risen(slo: Slo, alert: Alert, name: str, counters: dict[str, str]) -> Case:
    """Silent below, silent while it is held, then firing."""
    case = Case(name, counters).silent(CHANGE, alert).silent(FIRES - 0.5, alert)
    firing = f'count(ALERTS{{alertname="{alert.name}",alertstate="firing"}})'
    return case.gives(FIRES + 0.5, firing, ("{}", 1)).gives(CHANGE + 18, firing, ("{}", 1))


def near(slo: Slo, requests: float) -> Iterable[Case]:
    """The recorded rate stands in for the traffic: its rule is in another file."""
    alert = capacity(slo)
    rate = series("ekiben:slo_requests:rate5m", slo="availability", sli="availability")
    fired = alert.fired(slo, {"slo": "availability", "sli": "availability"}, f"{requests * 0.9:.0f}")
    yield Case("nine tenths of the capacity", {rate: f"{requests * 0.9:g}+0x20"}).fires(15, alert.name, fired)
    yield Case("half of the capacity", {rate: f"{requests * NEAR / 2:g}+0x20"}).silent(15, alert)
