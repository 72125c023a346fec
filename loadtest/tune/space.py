"""Which settings to try, in the order in which they are worth it; the objective, as a person writes it; and where the
winner goes: a settings file that the service reads, and the capacity that the saturation alert watches.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import yaml

from loadtest.documents import CHECKOUT
from loadtest.measurement import Limit

Axes = Mapping[str, Sequence[Any]]
DEFAULT = Path(__file__).with_name("space.yaml")
UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}


@dataclass(frozen=True)
class Setting:
    """A form and the service's settings, by name."""

    form: str
    values: tuple[tuple[str, Any], ...]

    @property
    def environment(self) -> dict[str, str]:
        """The variables that start the service so, serving nothing but this form."""
        return {"EKIBEN_FORMS": self.form, **variables(self.values)}

    def with_value(self, name: str, value: Any) -> Setting:
        """The same but for one value; `form` is one too."""
        if name == "form":
            return Setting(value, self.values)
        return Setting(self.form, tuple((n, value if n == name else v) for n, v in self.values))

    def difference(self, default: Setting) -> str:
        """What is other than in the default, in words."""
        words = [] if self.form == default.form else [self.form]
        words += [f"{name}={value}" for name, value in self.values if (name, value) not in default.values]
        return " ".join(words) or "defaults"


def variables(values: Sequence[tuple[str, Any]]) -> dict[str, str]:
    """As the service reads them."""
    return {f"EKIBEN_{name.upper()}": str(value) for name, value in values}


def read(path: Path, cores: int) -> dict[str, list[Any]]:
    """The axes of a file. SystemExit names the axis that is no list."""
    document = yaml.safe_load(path.read_text())
    for name, values in (document or {"": None}).items():
        if not isinstance(values, list) or not values:
            raise SystemExit(f"{path}: {name or 'it'} must be a list of values, the default first")
    most = {"workers": 2 * cores, "engine_threads": cores}
    axes = {
        name: [value for place, value in enumerate(values) if place == 0 or value <= most.get(name, value)]
        for name, values in document.items()
    }
    if cores == 1 and "engine_threads" in axes:  # 0 gives one thread, and so does 1
        axes["engine_threads"] = axes["engine_threads"][:1]
    return axes


def candidates(forms: Sequence[str], axes: Axes) -> list[Setting]:
    """The defaults, then everything that differs from them in one thing: each axis's second value, then each third."""
    default = Setting(forms[0], tuple((name, values[0]) for name, values in axes.items()))
    others = [[(name, value) for value in values[1:]] for name, values in {"form": forms, **axes}.items()]
    turns = [change for turn in zip_longest(*others) for change in turn if change is not None]
    return [default, *(default.with_value(name, value) for name, value in turns)]


def combine(default: Setting, better: Sequence[Setting]) -> Setting:
    """All that made single settings better than the default, in one; `better` has the best last."""
    together = default
    for setting in better:
        for name, value in (("form", setting.form), *setting.values):
            if (name, value) not in (("form", default.form), *default.values):
                together = together.with_value(name, value)
    return together


def parse_slo(text: str) -> Limit:
    """`p99=50ms`: 99 % within 50 ms. argparse.ArgumentTypeError says what is allowed."""
    match = re.fullmatch(r"p(\d+(?:\.\d+)?)=(\d+(?:\.\d+)?)(us|ms|s)", text.strip())
    share = float(match[1]) / 100 if match else 0.0
    if not match or not 0.5 <= share < 1 or not float(match[2]):
        raise argparse.ArgumentTypeError(f"{text!r}: a percentile from 50 to below 100 and a time, as in p99=50ms")
    return Limit(round(share, 10), float(match[2]) * UNITS[match[3]])


def promised_slo() -> str:
    """The service's own latency objective, from what deploy/slo.yaml generates."""
    latency = json.loads((CHECKOUT / "deploy" / "thresholds.json").read_text())["service"]["latency"]
    return f"p{latency['percentile']:g}={1e3 * latency['seconds']:g}ms"


def slo_text(limit: Limit) -> str:
    """`p99=50ms`, as parse_slo reads it."""
    return f"p{100 * limit.percentile:g}={1e3 * limit.seconds:g}ms"


SLO = CHECKOUT / "deploy" / "slo.yaml"


def settings_file(values: Sequence[tuple[str, Any]], comment: Sequence[str]) -> str:
    """KEY=VALUE lines as `bentoml serve`, Docker's --env-file and Compose's env_file read them."""
    lines = [*(f"# {line}" for line in comment), *(f"{k}={v}" for k, v in variables(values).items())]
    return "\n".join(lines) + "\n"


def with_capacity(slo: str, rate: float) -> str:
    """slo.yaml with this capacity in requests a second, and everything else as it was. ValueError without the line"""
    changed, count = re.subn(r"(?m)^(capacity:[ \t]*)[^\s#]+", rf"\g<1>{rate:.0f}", slo)
    if count != 1:
        raise ValueError("slo.yaml has no line `capacity: …` of its own")
    return changed


def write(settings: str, rate: float, folder: Path = CHECKOUT) -> list[str]:
    """Both files, and what deploy/ generates from the second. What was written, in words."""
    (folder / "ekiben.env").write_text(settings)
    written = [f"{folder / 'ekiben.env'}: read by the next `bentoml serve` that is started in {folder}"]
    if rate:
        slo = folder / SLO.relative_to(CHECKOUT)
        slo.write_text(with_capacity(slo.read_text(), rate))
        if subprocess.run([sys.executable, "-m", "deploy.slo"], cwd=folder).returncode:
            raise SystemExit(f"{slo} has the capacity, but `python -m deploy.slo` failed with it")
        written.append(f"{slo}: capacity: {rate:.0f}, and the rules generated from it")
    return written
