"""Which settings there are to try, and the order in which they are worth trying."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import yaml

Axes = Mapping[str, Sequence[Any]]
DEFAULT = Path(__file__).with_name("space.yaml")


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
        if name == "form":
            return Setting(value, self.values)
        return Setting(self.form, tuple((n, value if n == name else v) for n, v in self.values))

    def difference(self, default: Setting) -> str:
        """What is other than in the default, in words."""
        words = [] if self.form == default.form else [self.form]
        words += [f"{name}={value}" for name, value in self.values if (name, value) not in default.values]
        return " ".join(words) or "defaults"


def variables(values: Sequence[tuple[str, Any]]) -> dict[str, str]:
    return {f"EKIBEN_{name.upper()}": str(value) for name, value in values}


def read(path: Path, cores: int) -> dict[str, list[Any]]:
    """The axes of a file. SystemExit names the axis that is no list."""
    written = yaml.safe_load(path.read_text())
    for name, values in (written or {"": None}).items():
        if not isinstance(values, list) or not values:
            raise SystemExit(f"{path}: {name or 'it'} must be a list of values, the default first")
    most = {"workers": 2 * cores, "engine_threads": cores}
    axes = {
        name: [value for place, value in enumerate(values) if place == 0 or value <= most.get(name, value)]
        for name, values in written.items()
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


def combined(default: Setting, better: Sequence[Setting]) -> Setting:
    """All that made single settings better than the default, in one; `better` has the best last."""
    together = default
    for setting in better:
        for name, value in (("form", setting.form), *setting.values):
            if (name, value) not in (("form", default.form), *default.values):
                together = together.with_value(name, value)
    return together
