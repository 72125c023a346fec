"""What can be asked of Prometheus: what the service exports, what rules record, and what Prometheus adds itself.

The service's metrics are known from a recording of its /metrics, grafana/metrics.txt, which holds names, types and
texts but no values; a test holds the recording against the running service.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from urllib.request import urlopen

import promql_parser
import yaml

from deploy.objectives import HERE

RECORDING = HERE / "grafana" / "metrics.txt"
RULES = HERE / "prometheus" / "rules"
PROMETHEUS = {"up", "ALERTS", "scrape_duration_seconds", "scrape_samples_scraped"}
SUFFIXES = {"histogram": ("_bucket", "_sum", "_count"), "summary": ("_sum", "_count")}
Family = tuple[str, str, str]  # name, type, text
# What Grafana puts into a query before Prometheus sees it.
WINDOWS = {"__rate_interval": "5m", "__interval": "1m", "__range": "1h"}


def of_service(url: str) -> list[Family]:
    """The metric families of a running service's /metrics."""
    with urlopen(url, timeout=30) as answer:  # noqa: S310 - the operator's own address
        return families(answer.read().decode())


def families(text: str) -> list[Family]:
    """The families of an exposition, or of a recording, by name; BentoML's own are left out."""
    texts = dict(re.findall(r"^# HELP (\S+) (.*)$", text, re.MULTILINE))
    types = re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE)
    return sorted((name, kind, texts.get(name, "")) for name, kind in types if not name.startswith("bentoml_"))


def recording(exposed: Iterable[Family]) -> str:
    """Families as the recording holds them."""
    return "".join(f"# HELP {name} {text}\n# TYPE {name} {kind}\n" for name, kind, text in exposed)


def recorded() -> list[Family]:
    """The families of the recording."""
    return families(RECORDING.read_text())


def series(exposed: Iterable[Family]) -> set[str]:
    """The names of the samples that the families have."""
    return {name + suffix for name, kind, _ in exposed for suffix in SUFFIXES.get(kind, ("",))}


def rules(folder: Path = RULES) -> set[str]:
    """The names that recording rules give."""
    files = [yaml.safe_load(file.read_text()) for file in sorted(folder.glob("*.yml"))]
    return {rule["record"] for file in files for group in file["groups"] for rule in group["rules"] if "record" in rule}


def metric_names(expr: str) -> set[str]:
    """The metric names that a panel's PromQL reads. ValueError where it is no PromQL"""
    plain = re.sub(r"\$(\w+)", lambda match: WINDOWS.get(match[1], "any"), expr)
    names: set[str] = set()

    def visit(node: promql_parser.Expr) -> None:
        if isinstance(node, promql_parser.VectorSelector):
            named = [m.value for m in node.matchers.matchers if m.name == "__name__"]
            names.update([node.name] if node.name else named or ["a selector without a name"])

    promql_parser.walk(promql_parser.parse(plain), visit)
    return names
