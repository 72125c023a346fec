"""What a load test does: options, scenario and defaults made one plan."""

from __future__ import annotations

from argparse import ArgumentParser
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

NAMED = yaml.safe_load((Path(__file__).parent / "plans.yaml").read_text())
DEFAULTS = {"shape": "steady", "rate": 50.0, "clients": 0, "arrival": "poisson", "mix": "even", "rows": 1, "seed": 0}
NUMBERS: dict[str, type] = {"rate": float, "seconds": float, "clients": int, "rows": int, "seed": int}
ARRIVALS = ("poisson", "constant")


class PlanError(ValueError):
    """A plan that cannot be; the message names the option, the value and what is allowed."""


def add_options(parser: ArgumentParser) -> None:
    """The options that say what is done; one that is left out is as the scenario says, or else as the default."""
    shapes = ", ".join(f"{name} {_time(points[-1][0])}" for name, points in NAMED["shapes"].items())
    add = parser.add_argument
    add("--scenario", choices=["", *NAMED["scenarios"]], help="one of MLPerf's; further options change parts of it")
    add("--shape", choices=["", *NAMED["shapes"]], help=f"how the load goes up and down: {shapes} (steady)")
    add("--rate", help="open loop: requests/s at the shape's level 1, answered or not (50)")
    add("--clients", help="closed loop instead: so many, each of whom waits for an answer before asking again")
    add("--arrival", choices=["", *ARRIVALS], help="open loop: at random, or evenly spaced (poisson)")
    add("--mix", choices=["", *NAMED["mixes"]], help="who is asked how: a mix of plans.yaml (even)")
    add("--models", help="only these, comma-separated (all that are served and have a folder)")
    add("--rows", help="rows in each request (1)")
    add("--seconds", help="stretch the shape to this long")
    add("--seed", help="of the arrivals and the mix (0)")
    add("--out", default="build/load", help="folder for the results (build/load)")


@dataclass(frozen=True)
class Plan:
    """Everything that is decided before the first request."""

    scenario: str
    shape: str
    points: tuple[tuple[float, float], ...]  # (second, level)
    rate: float  # requests/s at level 1, if open
    clients: int  # at level 1; 0: open loop
    arrival: str
    mix: str
    models: tuple[str, ...]  # empty: all
    rows: int
    seed: int
    tells: str  # the figure that a scenario is about: p90, p99, rows/s

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Plan:
        """The plan of parsed options, of which those that are None or "" were not given. PlanError"""
        given = {key: _number(key, value) for key, value in options.items() if value not in (None, "")}
        scenario = given.get("scenario", "")
        chosen = {**DEFAULTS, **_named("scenarios", scenario), **given}
        if "rate" in given and "clients" not in given:
            chosen["clients"] = 0  # a rate asks for an open loop, whatever the scenario has
        points = _named("shapes", chosen["shape"])
        plan = cls(
            scenario,
            chosen["shape"],
            tuple((second * chosen.get("seconds", points[-1][0]) / points[-1][0], level) for second, level in points),
            chosen["rate"],
            chosen["clients"],
            chosen["arrival"],
            chosen["mix"],
            tuple(name.strip() for name in chosen.get("models", "").split(",") if name.strip()),
            chosen["rows"],
            chosen["seed"],
            chosen.get("tells", ""),
        )
        plan._check()
        return plan

    def _check(self) -> None:
        if self.clients < 0:
            raise PlanError(f"--clients is {self.clients}: it must be at least 1, or 0 for an open loop")
        if not self.rate > 0:
            raise PlanError(f"--rate is {self.rate:g}: it must be above 0 requests/s")
        if self.rows < 1:
            raise PlanError(f"--rows is {self.rows}: it must be at least 1")
        if not self.seconds > 0:
            raise PlanError(f"--seconds is {self.seconds:g}: it must be above 0")

    @property
    def open(self) -> bool:
        return self.clients == 0

    @property
    def seconds(self) -> float:
        return self.points[-1][0]

    def level(self, second: float | np.ndarray) -> np.ndarray:
        """The share of the full load at these seconds."""
        seconds, levels = zip(*self.points, strict=True)
        return np.interp(second, seconds, levels)

    def shares(self, kinds: Iterable[tuple[str, str]]) -> list[float]:
        """How often each (model, interface) is asked; a model's share is spread over the interfaces that it has."""
        models, interfaces = NAMED["mixes"][self.mix]["models"], NAMED["mixes"][self.mix]["interfaces"]
        there = list(kinds)
        totals: dict[str, float] = defaultdict(float)
        for model, interface in there:
            totals[model] += interfaces.get(interface, 0)
        return [
            models.get(model, models.get("*", 0)) * interfaces.get(interface, 0) / (totals[model] or 1)
            for model, interface in there
        ]

    def __str__(self) -> str:
        loop = (
            f"open loop, {self.arrival} arrivals at {self.rate:g} requests/s"
            if self.open
            else f"CLOSED LOOP, clients: {self.clients} (who ask less when answers are slow)"
        )
        rows = f", {self.rows} rows each" if self.rows > 1 else ""
        return f"{self.scenario or self.shape}, {_time(self.seconds)}: {loop}{rows}, mix {self.mix}"


def _number(option: str, value: Any) -> Any:
    """A number where one is wanted, of the words of a command line or a web page."""
    if option not in NUMBERS:
        return value
    try:
        return NUMBERS[option](value)
    except ValueError:
        kind = "a whole number" if NUMBERS[option] is int else "a number"
        raise PlanError(f"--{option} is {value!r}: it must be {kind}") from None


def _named(kind: str, name: str) -> Any:
    if kind == "scenarios" and not name:
        return {}
    try:
        return NAMED[kind][name]
    except KeyError:
        raise PlanError(f"no {kind[:-1]} {name!r}: there is {', '.join(NAMED[kind])}") from None


def _time(seconds: float) -> str:
    return f"{seconds:g} s" if seconds < 120 else f"{seconds / 60:.4g} min"
