"""Every setting of the service: an environment variable with the prefix EKIBEN_, its default and what it means.

They may also stand in a settings file, `ekiben.env` in the working directory or what EKIBEN_SETTINGS names (empty: no
file): a line EKIBEN_WORKERS=2 each, # before comments, as Docker's --env-file and Compose's env_file take it. The
environment wins over the file. `python -m loadtest.tune --write` writes one.
"""

from __future__ import annotations

import json
import os
import re
import resource
from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Self

from serving.cgroup import cpu_limit
from serving.errors import SettingsError

FILE = "ekiben.env"
# Variables with our prefix that others read: Make and compose files, clients, tests, the supervisor's workers.
OTHERS = {
    "API_KEY",
    "GRPC_FD",
    "HEARTBEAT_FD",
    "IMAGE",
    "KEY",
    "MUTANTS",
    "PORT",
    "REPLICAS",
    "SETTINGS",
    "SHARED_FD",
    "URL",
}
# Kubernetes and Docker set these for a service that is called ekiben.
LINKS = re.compile(r"([A-Z0-9]+_)*(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT_[0-9]+_(TCP|UDP)[A-Z_]*)")


def _cores() -> int:
    """The cores that this process may use: of the machine, of its affinity, of its container's quota."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cpu_limit()
    return cores if quota is None else max(1, min(cores, int(quota)))


def setting(
    default: Any, doc: str, least: float | None = None, of: tuple[Any, ...] = (), by_model: bool = False
) -> Any:
    """A setting, what it means, and what it may be: a number of at `least` so much, or one `of` these.

    One `by_model` may also be given for some models: `32,segment=2`.
    """
    return field(default=default, metadata={"doc": doc, "least": least, "of": of, "by_model": by_model})


@dataclass(frozen=True)
class Settings:
    """What the operator may set; `Settings.read()` takes it from the environment."""

    workers: int = setting(1, "worker processes, each with its own sessions and queues", least=1)
    engine_threads: int = setting(0, "threads of one engine call; 0 shares the cores among the workers", least=0)
    models: str = setting("", "models to serve, comma-separated; empty serves all in the store or the bento")
    bentos: str = setting(
        "",
        "folders of models beside bentos/, as ../mine:../theirs; of the environment alone, also for train and convert",
    )
    forms: str = setting("", "forms to serve (pytorch, onnx, optimized, int8, …), comma-separated; empty: all")
    versions: str = setting("", "versions to pin, as digits=1a2b3c,iris=4d5e6f; models left out serve their latest")
    ready: str = setting(
        "any", "which models must answer for /readyz to be 200: all, any, or names of models, comma-separated"
    )
    max_batch_size: int = setting(
        64,
        "rows of one engine call at most; 32,segment=2 sets it for all models and one of them. What does not fit"
        " 1 GiB is lowered",
        least=1,
        by_model=True,
    )
    queue_delay_us: int = setting(0, "microseconds that an idle engine waits for a batch to fill; 0: never", least=0)
    max_latency_ms: float = setting(
        1000.0,
        "a request that cannot be answered in this time is shed with 503; by model as EKIBEN_MAX_BATCH_SIZE",
        least=1,
        by_model=True,
    )
    max_queue_rows: int = setting(2048, "rows that wait for one form at most; more are answered 429", least=1)
    max_request_rows: int = setting(1024, "rows of one request at most", least=1)
    max_body_bytes: int = setting(16 * 2**20, "bytes of one request's body at most; more are answered 413", least=1)
    memory_mb: int = setting(
        0,
        "MB that requests of one worker take at a time while they arrive, are inflated and decoded; 0: what the"
        " container leaves; more wait, and are answered 429 or 503",
        least=0,
    )
    max_json_depth: int = setting(64, "lists and objects within each other in JSON at most", least=4)
    max_request_pixels: int = setting(
        25_000_000, "pixels of all pictures of one request at most; more are answered 413", least=1
    )
    body_timeout_s: float = setting(30.0, "a request that has not arrived in this time is answered 408", least=0.01)
    keep_alive_s: float = setting(
        75.0,
        "seconds that a connection may be idle after an answer: more than the proxies in front keep it",
        least=0,
    )
    max_connections: int = setting(
        0, "open connections of one worker at most, 503 to others; 0: what its limit of open files leaves", least=0
    )
    grpc_port: int = setting(3001, "port of the Open Inference Protocol over gRPC, for all workers; 0: none", least=0)
    api_keys_file: str = setting(
        "", "file of API keys, as `python -m serving.http.keys` makes them; empty: all may enter"
    )
    synthetic: int = setting(
        0,
        "1 lets every client keep its rows out of the drift watch by X-Ekiben-Synthetic: 1, as load tests do; 0: only"
        " one whose key opens synthetic",
        of=(0, 1),
    )
    allowed_hosts: str = setting(
        "", "names that requests may have in Host, comma-separated, 421 to others; empty: all (DNS rebinding)"
    )
    log_format: str = setting("human", "how every line of the log is written", of=("human", "json"))
    log_level: str = setting("info", "the least that is logged", of=("debug", "info", "warning", "error"))
    log_requests_per_second: int = setting(
        100, "answered requests that a worker logs each second at most; failures have their own 100", least=0
    )
    faults: int = setting(
        0, "1 opens /faults, to prove that alerts arrive; never where strangers can reach it", of=(0, 1)
    )
    drain_s: float = setting(
        0.0, "seconds after SIGTERM in which requests are still taken, and /readyz is 503", least=0
    )
    hang_s: float = setting(30.0, "a worker whose loop or engine has stood still for so long is replaced", least=1)

    limits: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # setting → model → number, of those by model

    def __post_init__(self) -> None:
        for each in variables(type(self)):
            value, least, of = getattr(self, each.name), each.metadata["least"], each.metadata["of"]
            must_be = f"EKIBEN_{each.name.upper()}={value} must be"
            if least is not None and not value >= least:
                raise ValueError(f"{must_be} at least {least}")
            for model, number in self.limits.get(each.name, {}).items():
                if not number >= least:
                    raise ValueError(f"EKIBEN_{each.name.upper()}={model}={number} must be at least {least}")
            if of and value not in of:
                raise ValueError(f"{must_be} {' or '.join(map(str, of))}")
        self.pinned()

    @classmethod
    def read(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """The settings of this process. ValueError names the variable, its value and what is allowed."""
        environment = {**_of_file(cls, environment.get("EKIBEN_SETTINGS")), **environment}
        cls.check_names(environment)
        values: dict[str, Any] = {}
        limits: dict[str, dict[str, Any]] = {}
        for each in variables(cls):
            if (text := environment.get(f"EKIBEN_{each.name.upper()}")) in (None, ""):
                continue
            kind = type(each.default)
            for part in text.split(",") if each.metadata["by_model"] else [text]:
                model, equals, number = part.partition("=") if each.metadata["by_model"] else ("", "", part)
                if equals:
                    limits.setdefault(each.name, {})[model.strip()] = _converted(each.name, kind, number)
                else:
                    values[each.name] = _converted(each.name, kind, part)
        return cls(**values, limits=limits)

    def batch_size(self, model: str) -> int:
        """Rows of one engine call of this model at most."""
        rows: int = self.limits.get("max_batch_size", {}).get(model, self.max_batch_size)
        return rows

    def latency_ms(self, model: str) -> float:
        """The time in which a request to this model must be answered, in milliseconds."""
        limit: float = self.limits.get("max_latency_ms", {}).get(model, self.max_latency_ms)
        return limit

    @classmethod
    def check_names(cls, environment: Mapping[str, str]) -> None:
        """ValueError for a variable that looks like a setting and is none: what it was to protect would be open."""
        known = {each.name.upper() for each in fields(cls)} | OTHERS
        for variable in sorted(environment):
            name = variable.removeprefix("EKIBEN_")
            if name == variable or name in known or LINKS.fullmatch(name):
                continue
            if name.startswith("CHAIN_") and not any(other.startswith("CHAIN_") for other in known):
                continue  # the chain's services know them
            near = get_close_matches(name, known - OTHERS, 1, 0.6) or [k for k in known if k.startswith(name)]
            meant = f"did you mean EKIBEN_{near[0]}?" if near else "serving/settings.py lists those there are"
            raise SettingsError(f"{variable} is no setting: {meant}")
        if not environment.get("EKIBEN_API_KEYS_FILE") and (
            keys := {"EKIBEN_API_KEY", "EKIBEN_KEY"} & environment.keys()
        ):
            raise SettingsError(f"{min(keys)} is what a client sends; without EKIBEN_API_KEYS_FILE all may enter")

    @classmethod
    def read_or_exit(cls) -> Self:
        """The same for a service that starts: what is wrong is one line on stderr, and the exit code 1."""
        try:
            return cls.read()
        except ValueError as error:
            line = f"ekiben cannot start: {error}"
            if os.environ.get("EKIBEN_LOG_FORMAT") == "json":
                line = json.dumps({"level": "error", "logger": "bentoml.ekiben", "message": line})
            raise SystemExit(line) from None

    def connections(self) -> int:
        """Connections that one worker holds at most; 128 files are left for models, metrics and sockets."""
        return self.max_connections or max(64, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 128)

    def threads(self) -> int:
        """Engine threads per worker, so that workers × threads ≤ cores unless it was set."""
        return self.engine_threads or max(1, _cores() // self.workers)

    def one_core(self) -> bool:
        """Whether a worker has but one core, for its event loop and its engines' threads."""
        return _cores() <= self.workers

    def pinned(self) -> dict[str, str]:
        """model → version, of the versions that are pinned."""
        pairs = [pair.strip().partition("=") for pair in self.versions.split(",") if pair.strip()]
        for model, _, version in pairs:
            if not model or not version:
                raise ValueError(f"EKIBEN_VERSIONS={self.versions} must be model=version, comma-separated")
        return {model: version for model, _, version in pairs}


def variables(settings: type[Settings]) -> list[Field[Any]]:
    """The settings that are environment variables."""
    return [each for each in fields(settings) if each.metadata]


def _of_file(settings: type[Settings], named: str | None) -> dict[str, str]:
    """Variable → value of the settings file; ValueError names the file, the line and the key."""
    path = Path(FILE if named is None else named)
    if named == "" or (named is None and not path.is_file()):
        return {}
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"EKIBEN_SETTINGS={path} cannot be read: {error}") from None
    known = {f"EKIBEN_{each.name.upper()}" for each in variables(settings)}
    values: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        key, equals, value = (part.strip() for part in line.partition("="))
        if not key or key.startswith("#"):
            continue
        if not equals:
            raise ValueError(f"{path}, line {number}: {line!r} must be KEY=VALUE")
        if key == "EKIBEN_BENTOS":  # which folders there are is read with the first import
            raise ValueError(f"{path}, line {number}: EKIBEN_BENTOS is of the environment alone")
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
