"""What a load test does, of options, scenario and defaults; and when its requests are sent."""

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
DEFAULTS: dict[str, Any] = {
    "scenario": "", "shape": "steady", "rate": 50.0, "clients": 0, "arrival": "poisson", "mix": "even", "models": "",
    "rows": 1, "seed": 0, "tells": "",
}  # fmt: skip
NUMBERS: dict[str, type] = {"rate": float, "seconds": float, "clients": int, "rows": int, "seed": int}
GRID = 0.01  # seconds between the points at which the rate is summed


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
    add("--arrival", choices=["", "poisson", "constant"], help="open loop: at random, or evenly spaced (poisson)")
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
        present = {key: _number(key, value) for key, value in options.items() if value not in (None, "")}
        scenario = _named("scenarios", present["scenario"]) if "scenario" in present else {}
        values = {**DEFAULTS, **scenario, **present}
        if "rate" in present and "clients" not in present:
            values["clients"] = 0  # a rate asks for an open loop, whatever the scenario has
        points = _named("shapes", values["shape"])
        stretch = values.get("seconds", points[-1][0]) / points[-1][0]
        values["points"] = tuple((second * stretch, level) for second, level in points)
        values["models"] = tuple(name.strip() for name in values["models"].split(",") if name.strip())
        plan = cls(**{name: values[name] for name in cls.__dataclass_fields__})
        for name, good, needed in (
            ("clients", plan.clients >= 0, "at least 1, or 0 for an open loop"),
            ("rate", plan.rate > 0, "above 0 requests/s"),
            ("rows", plan.rows >= 1, "at least 1"),
            ("seconds", plan.seconds > 0, "above 0"),
        ):
            if not good:
                raise PlanError(f"--{name} is {getattr(plan, name):g}: it must be {needed}")
        return plan

    @property
    def open(self) -> bool:
        """Whether arrivals come whatever happens."""
        return self.clients == 0

    @property
    def seconds(self) -> float:
        """How long the shape lasts."""
        return self.points[-1][0]

    def level(self, second: float | np.ndarray) -> np.ndarray:
        """The share of the full load at these seconds."""
        seconds, levels = zip(*self.points, strict=True)
        return np.interp(second, seconds, levels)

    def shares(self, kinds: Iterable[tuple[str, str]]) -> list[float]:
        """How often each (model, interface) is asked; a model's share is spread over the interfaces that it has."""
        models, interfaces = NAMED["mixes"][self.mix]["models"], NAMED["mixes"][self.mix]["interfaces"]
        pairs = list(kinds)
        totals: dict[str, float] = defaultdict(float)
        for model, interface in pairs:
            totals[model] += interfaces.get(interface, 0)
        return [
            models.get(model, models.get("*", 0)) * interfaces.get(interface, 0) / (totals[model] or 1)
            for model, interface in pairs
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
    if name not in NAMED[kind]:
        raise PlanError(f"no {kind[:-1]} {name!r}: there is {', '.join(NAMED[kind])}")
    return NAMED[kind][name]


def _time(seconds: float) -> str:
    return f"{seconds:g} s" if seconds < 120 else f"{seconds / 60:.4g} min"


def schedule(plan: Plan, generator: int = 0, generators: int = 1) -> np.ndarray:
    """Seconds after the start at which one of several generators sends; together they make up the plan's rate. (n,)

    A process of rate 1, stretched by the inverse of the summed rate: evenly spaced, or Poisson with a rate that changes
    (Çinlar 1975, Introduction to Stochastic Processes, ch. 4.7).
    """
    seconds = np.linspace(0, plan.seconds, max(2, round(plan.seconds / GRID) + 1))
    rates = plan.level(seconds) * plan.rate / generators
    summed = np.concatenate([[0], np.cumsum((rates[1:] + rates[:-1]) / 2 * np.diff(seconds))])
    due: np.ndarray = np.interp(_of_rate_one(plan, float(summed[-1]), generator, generators), summed, seconds)
    return due


def _of_rate_one(plan: Plan, until: float, generator: int, generators: int) -> np.ndarray:
    if plan.arrival == "constant":
        return np.arange((generator + 0.5) / generators, until)
    random = np.random.default_rng([plan.seed, generator])
    # Ten deviations more than are expected: none is ever missing at the end.
    gaps = random.exponential(size=int(until + 10 * np.sqrt(until) + 20))
    arrivals = np.cumsum(gaps)
    return arrivals[arrivals < until]
