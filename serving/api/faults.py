"""Faults on purpose, to prove that alerts arrive: latency, errors and drifted inputs, by route and for a time.

There only with EKIBEN_FAULTS=1. The faults in force are one small file beside the workers' metrics, so that a call that
one worker answers holds for all of them, and none outlives the service.
"""

from __future__ import annotations

import asyncio
import os
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from serving.errors import BadInput, EngineError
from serving.http.router import App, Receive, Routes, Scope, Send, get, query, send_json
from serving.inference.sessions import Batch

MAX_SECONDS = 3600.0
# What each kind takes: the parameter that says how much, and its bounds.
KINDS = {"latency": ("seconds", 0.0, 60.0), "errors": ("share", 0.0, 1.0), "drift": ("factor", -100.0, 100.0)}
DISTRIBUTIONS: dict[str, Callable[[float], float]] = {
    "constant": lambda mean: mean,
    "exponential": lambda mean: random.expovariate(1 / mean) if mean else 0.0,
    "uniform": lambda mean: random.uniform(0, 2 * mean),  # noqa: S311
}


class Fault(msgspec.Struct, frozen=True):
    """One fault in force: what it does, on which paths, and until when (seconds since 1970)."""

    kind: str
    amount: float
    route: str
    until: float
    distribution: str = "constant"


class Faults:
    """The faults of this service, as all workers see them."""

    def __init__(self, file: Path | None = None) -> None:
        folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR") or tempfile.mkdtemp(prefix="ekiben-")
        self._file = file or Path(folder) / "faults.json"
        self._read_at = -1
        self._faults: list[Fault] = []

    def active(self, kind: str = "", path: str = "") -> list[Fault]:
        """Those in force now, of a kind and on a path."""
        now = time.time()
        found = [f for f in self._current() if f.until > now]
        return [f for f in found if kind in ("", f.kind) and path.startswith(f.route if path else "")]

    def add(self, fault: Fault) -> None:
        """Put a fault in force, in place of its like."""
        rest = [f for f in self.active() if (f.kind, f.route) != (fault.kind, fault.route)]
        self._write([*rest, fault])

    def clear(self) -> None:
        self._write([])

    async def befall(self, path: str, inputs: Batch, then: Callable[[Batch], None]) -> None:
        """What befalls a request: it waits, it fails, or it goes on with its inputs scaled. EngineError"""
        for fault in self.active("latency", path):
            await asyncio.sleep(DISTRIBUTIONS[fault.distribution](fault.amount))
        for fault in self.active("errors", path):
            if random.random() < fault.amount:  # noqa: S311
                raise EngineError(f"a fault on purpose: {fault.amount:g} of the requests fail")
        for fault in self.active("drift", path):
            inputs = [(a * fault.amount).astype(a.dtype) if a.dtype.kind == "f" else a for a in inputs]
        then(inputs)

    def _current(self) -> list[Fault]:
        try:
            changed = self._file.stat().st_mtime_ns
        except FileNotFoundError:
            return []
        if changed != self._read_at:
            self._faults, self._read_at = msgspec.json.decode(self._file.read_bytes(), type=list[Fault]), changed
        return self._faults

    def _write(self, faults: list[Fault]) -> None:
        new = self._file.with_suffix(f".{os.getpid()}")
        new.write_bytes(msgspec.json.encode(faults))
        new.replace(self._file)


def routes(faults: Faults | None) -> Routes:
    """GET /faults lists, DELETE ends all; POST /faults/{latency,errors,drift} begins one; /faults/sleep sleeps."""
    if faults is None:
        return {}

    async def end(scope: Scope, receive: Receive, send: Send) -> None:
        faults.clear()
        await send_json(send, in_force(faults))

    async def sleep(scope: Scope, receive: Receive, send: Send) -> None:
        seconds = _number(query(scope), "seconds", 1.0, 0.0, 60.0)
        await asyncio.sleep(seconds)
        await send_json(send, {"slept": seconds})

    return {
        "/faults": {**get(lambda _: in_force(faults)), "DELETE": end},
        "/faults/sleep": {"GET": sleep, "POST": sleep},
        **{f"/faults/{kind}": {"POST": _begin(faults, kind, *bounds)} for kind, bounds in KINDS.items()},
    }


def _begin(faults: Faults, kind: str, parameter: str, low: float, high: float) -> App:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        asked = query(scope)
        if unknown := asked.keys() - {parameter, "route", "for", "distribution"}:
            raise BadInput(f"{min(unknown)!r} is unknown; there is {parameter}, route, for and distribution")
        distribution = asked.get("distribution", "constant")
        if distribution not in DISTRIBUTIONS:
            raise BadInput(f"distribution is {distribution!r}: it must be one of {', '.join(DISTRIBUTIONS)}")
        amount = _number(asked, parameter, None, low, high)
        until = time.time() + _number(asked, "for", 60.0, 0.0, MAX_SECONDS)
        faults.add(Fault(kind, amount, asked.get("route", "/"), until, distribution))
        await send_json(send, in_force(faults))

    return app


def _number(asked: dict[str, str], name: str, default: float | None, low: float, high: float) -> float:
    text = asked.get(name, default)
    try:
        value = float(text)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        value = float("nan")
    if not low <= value <= high:
        raise BadInput(f"{name} is {text}: it must be a number from {low:g} to {high:g}")
    return value


def in_force(faults: Faults) -> list[dict[str, Any]]:
    """The faults in force and the seconds that each has left."""
    now = time.time()
    return [{**msgspec.structs.asdict(f), "seconds_left": round(f.until - now, 1)} for f in faults.active()]
