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
    return f"0+{per_minute:.12g}x{minutes}"


@dataclass
class Case:
    """One scenario: `given` is series → values in promtool's notation, a minute apart."""

    name: str
    given: Mapping[str, str]
    alerts: list[dict[str, Any]] = field(default_factory=list)
    values: list[dict[str, Any]] = field(default_factory=list)

    def fires(self, minute: int, name: str, *fired: dict[str, Any]) -> Case:
        """At this minute exactly these alerts of the name fire; none, if none is given."""
        self.alerts.append({"eval_time": f"{minute}m", "alertname": name, "exp_alerts": list(fired)})
        return self

    def silent(self, minute: int, *alerts: Alert) -> Case:
        for name in dict.fromkeys(alert.name for alert in alerts):
            self.fires(minute, name)
        return self

    def gives(self, minute: int, expr: str, *samples: tuple[str, float]) -> Case:
        """At this minute the expression has these (labels, value), and no others."""
        expected = [{"labels": labels, "value": value} for labels, value in samples]
        self.values.append({"expr": expr, "eval_time": f"{minute}m", "exp_samples": expected})
        return self

    def written(self) -> dict[str, Any]:
        given = [{"series": name, "values": values} for name, values in self.given.items()]
        tests = {"alert_rule_test": self.alerts, "promql_expr_test": self.values}
        head = {"name": self.name, "interval": "1m", "input_series": given}
        return head | {kind: rows for kind, rows in tests.items() if rows}


def file(slo: Slo, rules: str, cases: Iterable[Case]) -> dict[str, Any]:
    """A promtool test file for deploy/prometheus/rules/<rules>."""
    return {"rule_files": [f"../rules/{rules}"], "evaluation_interval": "30s", "tests": [c.written() for c in cases]}
