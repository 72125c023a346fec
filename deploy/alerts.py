"""An alert: its rule, and what it will say; and the YAML of rule files."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from deploy.objectives import Slo

HEADER = "generated from deploy/slo.yaml by python -m deploy.slo; do not edit"
PERCENT = "{{ $value | humanizePercentage }}"


@dataclass(frozen=True)
class Alert:
    """One alerting rule. An empty label takes a label of the expression away."""

    name: str
    severity: str  # page: wakes somebody; ticket: can wait for the morning
    expr: str
    summary: str
    description: str  # the value in words
    pending: str = ""  # how long the expression must stand
    labels: Mapping[str, str] = field(default_factory=dict)

    def rule(self, slo: Slo) -> dict[str, Any]:
        """The rule as Prometheus reads it."""
        duration = {"for": slo.span(self.pending)} if self.pending else {}
        annotations = {"summary": self.summary, "description": self.description, "runbook_url": self.runbook(slo)}
        labels = {"severity": self.severity, **self.labels}
        return {"alert": self.name, "expr": self.expr, **duration, "labels": labels, "annotations": annotations}

    def runbook(self, slo: Slo) -> str:
        """The address of this alert's section."""
        return f"{slo.runbook}#{self.name.lower()}"

    def fired(self, slo: Slo, labels: Mapping[str, str], value: str = "") -> dict[str, Any]:
        """What promtool expects once its expression has these labels, and this value in words."""

        def rendered(text: str) -> str:
            text = re.sub(r"{{ \$labels\.(\w+) }}", lambda m: labels[m[1]], text)
            return re.sub(r"{{ \$value[^}]*}}", value, text)

        all_labels = {"severity": self.severity, **labels, **self.labels}
        return {
            "exp_labels": {name: label for name, label in all_labels.items() if label},
            "exp_annotations": {
                "summary": rendered(self.summary),
                "description": rendered(self.description),
                "runbook_url": self.runbook(slo),
            },
        }


def recording(record: str, expr: str, **labels: str) -> dict[str, Any]:
    """A recording rule."""
    return {"record": record, "expr": expr} | ({"labels": labels} if labels else {})


def group(name: str, rules: Iterable[dict[str, Any]], interval: str = "") -> dict[str, Any]:
    """A group of rules; `interval` says how often they are evaluated, empty is Prometheus' own."""
    return {"name": name} | ({"interval": interval} if interval else {}) | {"rules": list(rules)}


def alert_group(name: str, alerts: Iterable[Alert], slo: Slo) -> dict[str, Any]:
    """A group of alerting rules."""
    return group(name, [alert.rule(slo) for alert in alerts])


class _Dumper(yaml.SafeDumper):
    """Several lines as a block, so that a query reads as it was written."""

    def ignore_aliases(self, data: Any) -> bool:
        """No anchors: every value is written where it stands."""
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    # 08 is text to PyYAML, and a number to YAML 1.2 and so to Kubernetes.
    style = "|" if "\n" in text else "'" if text.isdigit() else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def document(content: Any, comments: Iterable[str] = ()) -> str:
    """A generated YAML file."""
    head = "".join(f"# {line}\n" for line in (HEADER, *comments))
    return head + yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=10_000)
