"""Promtool tests of the alerts on causes: each fires, and does not."""

from __future__ import annotations

import re
from collections.abc import Iterable

from deploy.causes import NEAR, capacity, form_refused, queue, replica_down, service_down, shedding, worker_lost
from deploy.objectives import Slo
from deploy.promtests import Case, growing, series

SERVED = {"model": "digits", "form": "onnx", "version": "v1"}
FORM = {"model": "digits", "form": "onnx"}


def cases(slo: Slo) -> Iterable[Case]:
    yield from down(slo)
    yield from workers(slo)
    yield from refused(slo)
    yield from saturation(slo)
    if slo.capacity:
        yield from near(slo, slo.capacity)


def down(slo: Slo) -> Iterable[Case]:
    gone, replica = service_down(slo), replica_down(slo)
    up = {name: series("up", job=slo.service, instance=name) for name in ("a", "b")}
    labels = {"job": slo.service, "instance": "b"}
    yield Case("all replicas are up", dict.fromkeys(up.values(), "1+0x20")).silent(15, gone, replica)
    one = Case("one of two replicas is down", {up["a"]: "1+0x20", up["b"]: "0+0x20"})
    yield one.silent(15, gone).fires(15, replica.name, replica.fired(slo, labels))
    yield Case("all replicas are down", dict.fromkeys(up.values(), "0+0x20")).fires(5, gone.name, gone.fired(slo, {}))
    yield Case("no replica is known", {}).fires(5, gone.name, gone.fired(slo, {}))
    yield Case("a restart within the minute", {up["a"]: "1 1 1 0 1 1"}).silent(4, gone)


def workers(slo: Slo) -> Iterable[Case]:
    lost = worker_lost(slo)
    at = {"job": slo.service, "instance": "a"}
    first, second = (series("ekiben_worker_heartbeats_total", **at, worker=worker) for worker in "01")
    known = {series("ekiben_workers", **at): "2+0x30"}
    well = {first: growing(60, 30), second: growing(60, 30)}
    yield Case("both workers live", known | well).silent(20, lost)
    one = Case("one worker of two stops", known | well | {second: "0+60x10 600+0x20"})
    yield one.silent(10, lost).fires(20, lost.name, lost.fired(slo, at, "1"))
    none = Case("no worker is left", known | dict.fromkeys(well, "600+0x30"))
    yield none.fires(20, lost.name, lost.fired(slo, at, "2"))
    again = Case("a worker starts again", known | well | {second: "0+60x10 0+60x20"})
    yield again.silent(12, lost).silent(20, lost)


def refused(slo: Slo) -> Iterable[Case]:
    alert, name = form_refused(slo), series("ekiben_form_refused", **SERVED)
    yield Case("a form is refused", {name: "1+0x5"}).fires(3, alert.name, alert.fired(slo, SERVED))
    yield Case("a form is served", {name: "0+0x5"}).silent(3, alert)


def saturation(slo: Slo) -> Iterable[Case]:
    shed, waits = shedding(slo), queue(slo)
    served = series("ekiben_request_seconds_count", **SERVED, interface="v2")
    turned_away = series("ekiben_failures_total", **SERVED, reason="shed")
    some = Case("a tenth is shed", {served: growing(90, 20), turned_away: growing(10, 20)})
    yield some.fires(15, shed.name, shed.fired(slo, FORM, "10%"))
    yield Case("next to nothing is shed", {served: growing(999, 20), turned_away: growing(1, 20)}).silent(15, shed)
    yield Case("nothing comes", {served: "90+0x20", turned_away: "10+0x20"}).silent(15, shed)

    boundary = re.findall(r'le="([^"]+)"', waits.expr)[0]
    soon = series("ekiben_queue_seconds_bucket", **SERVED, le=boundary)
    count = series("ekiben_queue_seconds_count", **SERVED)
    long = Case("half of the requests wait long", {count: growing(100, 20), soon: growing(50, 20)})
    yield long.fires(15, waits.name, waits.fired(slo, FORM, "50%"))
    yield Case("few requests wait long", {count: growing(100, 20), soon: growing(99, 20)}).silent(15, waits)
    yield Case("nothing waits", {count: "100+0x20", soon: "50+0x20"}).silent(15, waits)


def near(slo: Slo, requests: float) -> Iterable[Case]:
    """The recorded rate stands in for the traffic: its rule is in another file."""
    alert = capacity(slo)
    rate = series("ekiben:slo_requests:rate5m", slo="availability", sli="availability")
    fired = alert.fired(slo, {"slo": "availability", "sli": "availability"}, f"{requests * 0.9:.0f}")
    yield Case("nine tenths of the capacity", {rate: f"{requests * 0.9:g}+0x20"}).fires(15, alert.name, fired)
    yield Case("half of the capacity", {rate: f"{requests * NEAR / 2:g}+0x20"}).silent(15, alert)
