"""Every setting of the service: an environment variable with the prefix EKIBEN_, its default and what it means.

They may also stand in a settings file, `ekiben.env` in the working directory or what EKIBEN_SETTINGS names (empty: no
file): a line EKIBEN_WORKERS=2 each, # before comments, as Docker's --env-file and Compose's env_file take it. The
environment wins over the file. `python -m loadtest.tune --write` writes one.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

FILE = "ekiben.env"


def _cores() -> int:
    """The cores that this process may use: of the machine, of its affinity, of its container's quota."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return max(1, min(cores, int(quota) // int(period)))
    except (OSError, ValueError):  # no cgroup v2, or "max": no quota
        return cores


def _setting(default: Any, doc: str) -> Any:
    return field(default=default, metadata={"doc": doc})


@dataclass(frozen=True)
class Settings:
    """What the operator may set; `Settings.read()` takes it from the environment."""

    workers: int = _setting(1, "worker processes, each with its own sessions and queues")
    engine_threads: int = _setting(0, "threads of one engine call; 0 shares the cores among the workers")
    models: str = _setting("", "models to serve, comma-separated; empty serves all in the store or the bento")
    forms: str = _setting("", "forms to serve (pytorch, sklearn, onnx, optimized, int8), comma-separated; empty: all")
    versions: str = _setting("", "versions to pin, as digits=1a2b3c,iris=4d5e6f; models left out serve their latest")
    dispatcher: str = _setting("ekiben", "who forms batches: ekiben, or bentoml for BentoML's own dispatcher")
    max_batch_size: int = _setting(64, "rows of one engine call at most")
    queue_delay_us: int = _setting(0, "microseconds that an idle engine waits for a batch to fill; 0: never")
    max_latency_ms: float = _setting(1000.0, "a request that cannot be answered within this time is shed with 503")
    max_queue_rows: int = _setting(2048, "rows that wait for one form at most; more are answered 429")
    max_request_rows: int = _setting(1024, "rows of one request at most")
    faults: int = _setting(0, "1 opens /faults, to prove that alerts arrive; never where strangers can reach it")
    max_body_bytes: int = _setting(16 * 2**20, "bytes of one request's body at most; more are answered 413")
    max_body_seconds: float = _setting(30.0, "a request that has not arrived within this time is answered 408")
    max_connections: int = _setting(0, "open connections of one worker at most; 0: what its limit of open files leaves")

    def __post_init__(self) -> None:
        for name in ("workers", "max_batch_size", "max_queue_rows", "max_request_rows", "max_body_bytes"):
            if getattr(self, name) < 1:
                raise ValueError(f"EKIBEN_{name.upper()}={getattr(self, name)} must be at least 1")
        if self.engine_threads < 0:
            raise ValueError(f"EKIBEN_ENGINE_THREADS={self.engine_threads} must be 0 (share the cores) or more")
        if self.max_connections < 0:
            raise ValueError(f"EKIBEN_MAX_CONNECTIONS={self.max_connections} must be 0 (as many as files) or more")
        for name in ("max_latency_ms", "max_body_seconds"):
            if getattr(self, name) <= 0:
                raise ValueError(f"EKIBEN_{name.upper()}={getattr(self, name)} must be above 0")
        if self.dispatcher not in ("ekiben", "bentoml"):
            raise ValueError(f"EKIBEN_DISPATCHER={self.dispatcher} must be ekiben or bentoml")
        if self.faults not in (0, 1):
            raise ValueError(f"EKIBEN_FAULTS={self.faults} must be 0 or 1")
        self.pinned()

    @classmethod
    def read(cls, environment: Mapping[str, str] = os.environ) -> Settings:
        """The settings of this process. ValueError names the variable, its value and what is allowed."""
        environment = {**_of_file(environment.get("EKIBEN_SETTINGS")), **environment}
        values: dict[str, Any] = {}
        for setting in fields(cls):
            if (text := environment.get(f"EKIBEN_{setting.name.upper()}")) not in (None, ""):
                values[setting.name] = _converted(setting.name, type(setting.default), text)
        return cls(**values)

    def connections(self) -> int:
        """Connections that one worker holds at most; 128 files are left for models, metrics and sockets."""
        return self.max_connections or max(64, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 128)

    def threads(self) -> int:
        """Engine threads per worker, so that workers × threads ≤ cores unless it was set."""
        return self.engine_threads or max(1, _cores() // self.workers)

    def pinned(self) -> dict[str, str]:
        """model → version, of the versions that are pinned."""
        pairs = [pair.strip().partition("=") for pair in self.versions.split(",") if pair.strip()]
        for model, _, version in pairs:
            if not model or not version:
                raise ValueError(f"EKIBEN_VERSIONS={self.versions} must be model=version, comma-separated")
        return {model: version for model, _, version in pairs}


def _of_file(named: str | None) -> dict[str, str]:
    """Variable → value of the settings file; ValueError names the file, the line and the key."""
    path = Path(FILE if named is None else named)
    if named == "" or (named is None and not path.is_file()):
        return {}
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"EKIBEN_SETTINGS={path} cannot be read: {error}") from None
    known = {f"EKIBEN_{setting.name.upper()}" for setting in fields(Settings)}
    values: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        key, equals, value = (part.strip() for part in line.partition("="))
        if not key or key.startswith("#"):
            continue
        if not equals:
            raise ValueError(f"{path}, line {number}: {line!r} must be KEY=VALUE")
        if key not in known:
            raise ValueError(f"{path}, line {number}: unknown setting {key}; there is {', '.join(sorted(known))}")
        values[key] = value
    return values


def _converted(name: str, kind: type, text: str) -> Any:
    try:
        return kind(text)
    except ValueError:
        raise ValueError(
            f"EKIBEN_{name.upper()}={text} must be {'a whole number' if kind is int else 'a number'}"
        ) from None


def chosen(text: str) -> set[str]:
    """A comma-separated setting as a set; empty means no choice was made."""
    return {part.strip() for part in text.split(",") if part.strip()}
