"""`/faults`: GET lists those in force, POST /faults/{latency,errors,drift} begins one, DELETE ends all."""

from __future__ import annotations

import asyncio
import time
from functools import partial

from serving.errors import BadInput
from serving.http.endpoint import Endpoint, get
from serving.http.gateway import Routes
from serving.http.messages import Request, Response, json_response
from serving.inference.faults import DISTRIBUTIONS, KINDS, Fault, Faults, in_force

MAX_SECONDS = 3600.0


def routes(faults: Faults | None) -> Routes:
    """There only with EKIBEN_FAULTS=1; /faults/sleep sleeps."""
    if faults is None:
        return {}
    sleep_endpoint = Endpoint(sleep, same_origin=True)
    return {
        "/faults": {
            **get(lambda _: in_force(faults)),
            "DELETE": Endpoint(lambda _: end_all(faults), same_origin=True),
        },
        "/faults/sleep": {"GET": sleep_endpoint, "POST": sleep_endpoint},
        **{f"/faults/{kind}": {"POST": Endpoint(partial(begin, faults, kind), same_origin=True)} for kind in KINDS},
    }


def end_all(faults: Faults) -> Response:
    """No fault is in force any more. The faults in force, as JSON: none"""
    faults.clear()
    return json_response(in_force(faults))


async def sleep(request: Request) -> Response:
    """Answer after `seconds`, 0 to 60. BadInput"""
    seconds = _number(request.query, "seconds", 1.0, 0.0, 60.0)
    await asyncio.sleep(seconds)
    return json_response({"slept": seconds})


def begin(faults: Faults, kind: str, request: Request) -> Response:
    """Put a fault of one kind in force. BadInput"""
    parameter, low, high = KINDS[kind]
    query = request.query
    if unknown := query.keys() - {parameter, "route", "for", "distribution"}:
        raise BadInput(f"{min(unknown)!r} is unknown; there is {parameter}, route, for and distribution")
    distribution = query.get("distribution", "constant")
    if distribution not in DISTRIBUTIONS:
        raise BadInput(f"distribution is {distribution!r}: it must be one of {', '.join(DISTRIBUTIONS)}")
    amount = _number(query, parameter, None, low, high)
    until = time.time() + _number(query, "for", 60.0, 0.0, MAX_SECONDS)
    faults.add(Fault(kind, amount, query.get("route", "/"), until, distribution))
    return json_response(in_force(faults))


def _number(query: dict[str, str], name: str, default: float | None, low: float, high: float) -> float:
    text = query.get(name, default)
    try:
        value = float(text)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        value = float("nan")
    if not low <= value <= high:
        raise BadInput(f"{name} is {text}: it must be a number from {low:g} to {high:g}")
    return value
