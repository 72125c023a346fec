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
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from serving.errors import EngineError

# Faults that another worker began are seen after this at the latest.
READ_SECONDS = 0.05
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
        self._fresh_until = 0.0

    def any_active(self) -> bool:
        """Whether any request may meet a fault. Looks at the file twenty times a second at most."""
        now = time.monotonic()
        if now >= self._fresh_until:
            self._fresh_until = now + READ_SECONDS
            self._current()
        return bool(self._faults) and bool(self.active())

    def active(self, kind: str = "", path: str = "") -> list[Fault]:
        """Those in force now, of a kind and on a path."""
        now = time.time()
        in_time = [f for f in self._current() if f.until > now]
        return [f for f in in_time if kind in ("", f.kind) and path.startswith(f.route if path else "")]

    def add(self, fault: Fault) -> None:
        """Put a fault in force, in place of its like."""
        rest = [f for f in self.active() if (f.kind, f.route) != (fault.kind, fault.route)]
        self._write([*rest, fault])

    def clear(self) -> None:
        """End all faults."""
        self._write([])

    async def inject(self, path: str, inputs: Sequence[np.ndarray]) -> Sequence[np.ndarray]:
        """The inputs of a request on this path, after the time that it is made to wait, perhaps scaled. EngineError"""
        for fault in self.active("latency", path):
            await asyncio.sleep(DISTRIBUTIONS[fault.distribution](fault.amount))
        for fault in self.active("errors", path):
            if random.random() < fault.amount:  # noqa: S311
                raise EngineError(f"a fault on purpose: {fault.amount:g} of the requests fail")
        for fault in self.active("drift", path):
            inputs = [(a * fault.amount).astype(a.dtype) if a.dtype.kind == "f" else a for a in inputs]
        return inputs

    def _current(self) -> list[Fault]:
        try:
            changed = self._file.stat().st_mtime_ns
        except FileNotFoundError:
            self._faults, self._read_at = [], -1
            return []
        if changed != self._read_at:
            self._faults, self._read_at = msgspec.json.decode(self._file.read_bytes(), type=list[Fault]), changed
        return self._faults

    def _write(self, faults: list[Fault]) -> None:
        new = self._file.with_suffix(f".{os.getpid()}")
        new.write_bytes(msgspec.json.encode(faults))
        new.replace(self._file)
        self._fresh_until = 0.0


def in_force(faults: Faults) -> list[dict[str, Any]]:
    """The faults in force and the seconds that each has left."""
    now = time.time()
    return [{**msgspec.structs.asdict(f), "seconds_left": round(f.until - now, 1)} for f in faults.active()]
