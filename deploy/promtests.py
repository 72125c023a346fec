"""promtool's unit tests: what goes in per minute, and what must come out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from deploy.alerts import Alert
from deploy.objectives import Slo


def series(name: str, **labels: str) -> str:
    """`name{label="value",…}`"""
    return name + "{" + ",".join(f'{label}="{value}"' for label, value in labels.items()) + "}"


def growing(per_minute: float, minutes: int) -> str:
    """A counter that starts at 0."""
    return f"0+{per_minute:.12g}x{minutes}"


def stepwise(*phases: tuple[int, float]) -> str:
    """A counter from 0 that grows by (minutes, per minute), phase after phase."""
    parts, level = [], 0.0
    for minutes, step in phases:
        if minutes:
            parts.append(f"{level:.16g}+{step:.16g}x{minutes - 1}")
            level = round(level + step * minutes, 6)
    return " ".join(parts)


@dataclass
class Case:
    """One scenario: `input_series` is series → values in promtool's notation, a minute apart. Times are minutes."""

    name: str
    input_series: Mapping[str, str]
    alerts: list[dict[str, Any]] = field(default_factory=list)
    values: list[dict[str, Any]] = field(default_factory=list)

    def fires(self, minute: float, name: str, *fired: dict[str, Any]) -> Case:
        """At this time exactly these alerts of the name fire; none, if there are none."""
        self.alerts.append({"eval_time": time(minute), "alertname": name, "exp_alerts": list(fired)})
        return self

    def silent(self, minute: float, *alerts: Alert) -> Case:
        """At this time none of the alerts fires."""
        for name in dict.fromkeys(alert.name for alert in alerts):
            self.fires(minute, name)
        return self

    def gives(self, minute: float, expr: str, *samples: tuple[str, float]) -> Case:
        """At this time the expression has these (labels, value), and no others."""
        expected = [{"labels": labels, "value": value} for labels, value in samples]
        self.values.append({"expr": expr, "eval_time": time(minute), "exp_samples": expected})
        return self

    def near(self, minute: float, expr: str, value: float, within: float = 0.025) -> Case:
        """At this time the expression has one sample, this value within so small a part of it."""
        return self.gives(minute, f"count(abs({expr} / {value:.8g} - 1) < {within:g})", ("{}", 1))

    def written(self) -> dict[str, Any]:
        """The test group as promtool reads it."""
        rows = [{"series": name, "values": values} for name, values in self.input_series.items()]
        tests = {"alert_rule_test": self.alerts, "promql_expr_test": self.values}
        head = {"name": self.name, "interval": "1m", "input_series": rows}
        return head | {kind: checks for kind, checks in tests.items() if checks}


def time(minute: float) -> str:
    """7 is `7m`, 7.5 is `450s`."""
    return f"{minute:.0f}m" if minute == int(minute) else f"{minute * 60:g}s"


def file(slo: Slo, rules: str, cases: Iterable[Case], every: str = "30s") -> dict[str, Any]:
    """A promtool test file for deploy/prometheus/rules/<rules>, which are evaluated `every` so long."""
    return {"rule_files": [f"../rules/{rules}"], "evaluation_interval": every, "tests": [c.written() for c in cases]}
