"""What slo.yaml promises, checked: objectives, their error budgets, and the burn rates at which somebody is told."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
# A tier that needs a larger share of errors is lowered to this one: few outages fail every single request.
CEILING = 0.8
KEYS = {"service", "job", "window", "runbook", "objectives", "models", "capacity", "drift"}
OPTIONAL = {"job", "runbook", "models", "capacity"}
RUNBOOK = "deploy/runbook.md"


class SloError(ValueError):
    """slo.yaml cannot be kept as it is written; the message names the key, its value and what is allowed."""


def seconds(text: str) -> float:
    """`250ms`, `5m` or `30d` in seconds."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)", str(text))
    if not match:
        raise SloError(f"{text!r} is no duration: a number and one of {', '.join(UNITS)}, as in 250ms or 30d")
    return float(match[1]) * UNITS[match[2]]


@dataclass(frozen=True)
class Tier:
    """A pair of windows and the burn rate above which both must be."""

    severity: str
    long: str
    short: str
    burn: float
    lowered_from: float = 0.0  # the burn rate that the objective could never reach


@dataclass(frozen=True)
class Objective:
    """`target` of all requests are good; `budget` is the share that may be bad."""

    sli: str
    target: float
    model: str = ""  # empty: the whole service
    within: float = 0.0  # seconds, of a latency objective
    tiers: tuple[Tier, ...] = ()

    @property
    def name(self) -> str:
        """What the objective is called in labels."""
        return f"{self.model}-{self.sli}" if self.model else self.sli

    @property
    def budget(self) -> float:
        """The share of requests that may be bad."""
        return round(1 - self.target, 10)

    @property
    def labels(self) -> dict[str, str]:
        """Of all that is recorded of the objective."""
        return {"slo": self.name, "sli": self.sli} | ({"model": self.model} if self.model else {})


@dataclass(frozen=True)
class Drift:
    """When a quantity has drifted: above this PSI, once so many rows came within the window."""

    psi: float
    samples: int
    window: str


@dataclass(frozen=True)
class Slo:
    """The whole of slo.yaml. `scale` divides every duration of the rules, so that a test sees an hour in seconds."""

    service: str
    job: str  # of the scrape whose requests count
    window: str
    runbook: str  # an address, or the path of the file
    objectives: tuple[Objective, ...]
    capacity: float | None
    drift: Drift
    failures: int = 1  # bad requests within a tier's long window, below which nobody is told
    windows: tuple[str, ...] = field(default=())  # of all tiers and the budget, shortest first
    scale: float = 1.0

    def span(self, duration: str) -> str:
        """The duration as PromQL writes it: `5m`, or its scaled milliseconds."""
        return duration if self.scale == 1 else f"{round(seconds(duration) * 1000 / self.scale)}ms"

    def service_wide(self, sli: str) -> Objective:
        """The service's own objective of this kind."""
        return next(o for o in self.objectives if o.sli == sli and not o.model)


def read(file: Path = HERE / "slo.yaml", scale: float = 1.0) -> Slo:
    """slo.yaml, checked, with the tiers of windows.yaml fitted to each objective."""
    document = yaml.safe_load(file.read_text())
    only(document, KEYS, "slo.yaml")
    if missing := KEYS - OPTIONAL - set(document):
        raise SloError(f"slo.yaml: {', '.join(sorted(missing))} is missing")
    policy = yaml.safe_load((HERE / "windows.yaml").read_text())
    window, tiers = document["window"], policy["tiers"]
    wide = tuple(objectives(document["objectives"], ""))
    if missing := {"availability", "latency"} - {o.sli for o in wide}:
        raise SloError(f"objectives: {', '.join(sorted(missing))} is missing; the service promises both")
    single = (o for model, of_model in (document.get("models") or {}).items() for o in objectives(of_model, model))
    return Slo(
        service=document["service"],
        job=document.get("job") or document["service"],
        window=window,
        runbook=document.get("runbook") or RUNBOOK,
        objectives=tuple(replace(o, tiers=tiers_of(o, tiers, window)) for o in (*wide, *single)),
        capacity=None if document.get("capacity") is None else positive("capacity", document["capacity"]),
        drift=drift(document["drift"]),
        failures=policy["failures"],
        windows=tuple(sorted({window, *(t[key] for t in tiers for key in ("long", "short"))}, key=seconds)),
        scale=scale,
    )


def objectives(written: Mapping[str, Mapping[str, Any]], model: str) -> Iterable[Objective]:
    """The objectives of the service (`model` empty) or of one model."""
    where = f"models.{model}" if model else "objectives"
    if model and not re.fullmatch(r"[A-Za-z0-9_-]+", str(model)):
        raise SloError(f"{where}: a model's name has letters, digits, - and _")
    only(written, {"availability", "latency"}, where)
    for sli, row in written.items():
        key = f"{where}.{sli}"
        only(row, {"target", "within"} if sli == "latency" else {"target"}, key)
        target = positive(f"{key}.target", row.get("target"))
        if target >= 100:
            raise SloError(f"{key}.target = {target!r} must be a percentage below 100: 100 leaves no budget")
        if sli == "latency" and "within" not in row:
            raise SloError(
                f"{key}.within is missing: the time that {target} % of requests are answered in, as in 250ms"
            )
        yield Objective(sli, round(target / 100, 10), model, seconds(row["within"]) if sli == "latency" else 0.0)


def tiers_of(objective: Objective, written: Iterable[Mapping[str, Any]], window: str) -> tuple[Tier, ...]:
    """The tiers that the objective can reach: too high a burn rate is lowered, and left out where it repeats a faster.

    SloError if no page or no ticket is left: then even a full outage burns too slowly to tell them apart.
    """
    fitted: list[Tier] = []
    for row in written:
        burn = round(row["budget"] / 100 * seconds(window) / seconds(row["long"]), 6)
        highest = round(CEILING / objective.budget, 6)
        tier = Tier(row["severity"], row["long"], row["short"], min(burn, highest), burn if burn > highest else 0.0)
        if not fitted or tier.burn < fitted[-1].burn:
            fitted.append(tier)
    if lost := {row["severity"] for row in written} - {tier.severity for tier in fitted}:
        raise SloError(
            f"{objective.name}: target = {objective.target * 100:g} leaves a budget of {objective.budget * 100:g} %, "
            f"of which a full outage burns {1 / objective.budget:.2f} times what is allowed: no {' or '.join(lost)} "
            f"tier can be told from the faster ones"
        )
    return tuple(fitted)


def drift(written: Mapping[str, Any]) -> Drift:
    """The part of slo.yaml about drift, checked."""
    only(written, {"psi", "samples", "window"}, "drift")
    psi, samples = (positive(f"drift.{key}", written.get(key)) for key in ("psi", "samples"))
    seconds(written.get("window", "none"))
    return Drift(psi, int(samples), written["window"])


def positive(key: str, value: Any) -> float:
    """The value, if it is a number above 0. SloError"""
    if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
        raise SloError(f"{key} = {value!r} must be a number above 0")
    return value


def only(written: Any, allowed: set[str], where: str) -> None:
    """`written` is a mapping of nothing but allowed keys."""
    if not isinstance(written, Mapping):
        raise SloError(f"{where} = {written!r} must be a mapping of {', '.join(sorted(allowed))}")
    if unknown := sorted(set(written) - allowed):
        raise SloError(f"{where}: unknown {', '.join(map(repr, unknown))}; there is {', '.join(sorted(allowed))}")
