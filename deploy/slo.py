"""`python -m deploy.slo`: from slo.yaml the Prometheus rules and their tests, load-test thresholds and Telegram text.

With --check nothing is written: a file that is not what slo.yaml makes of it is shown and fails.
"""

from __future__ import annotations

import argparse
import difflib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from deploy import (
    alerting,
    alerting_cases,
    boundaries,
    burn,
    burn_cases,
    cause_cases,
    causes,
    drift,
    drift_cases,
    telegram,
    tier_cases,
)
from deploy.alerts import HEADER, document
from deploy.objectives import HERE, Slo, SloError, read
from deploy.promtests import file

RULES = {
    "slo.yml": (burn, burn_cases),
    "drift.yml": (drift, drift_cases),
    "causes.yml": (causes, cause_cases),
    "alerting.yml": (alerting, alerting_cases),
}
EVERY = {"drift.yml": "1m"}  # how often a test evaluates rules that look back over an hour
DIFF_LINES = 20  # of a stale file are shown


def files(slo: Slo) -> dict[str, str]:
    """Path below deploy/ → what belongs there."""
    generated, groups = {}, []
    for name, (rules, cases) in RULES.items():
        comments = burn.lowered(slo) if rules is burn else ()
        groups.append(rules.rules(slo))
        generated[f"prometheus/rules/{name}"] = document({"groups": groups[-1:]}, comments)
        generated[f"prometheus/tests/{name}"] = document(file(slo, name, cases.cases(slo), EVERY.get(name, "30s")))
    for name, every, cases_ in tier_cases.files(slo):
        generated[f"prometheus/tests/{name}"] = document(file(slo, "slo.yml", cases_, every))
    generated["kubernetes/monitoring/prometheusrule.yaml"] = document(prometheus_rule(slo.service, groups))
    generated["thresholds.json"] = json.dumps(thresholds(slo), indent=2) + "\n"
    generated["alertmanager/telegram.tmpl"] = telegram.template(slo)
    return generated


def prometheus_rule(name: str, groups: list[dict[str, Any]]) -> dict[str, Any]:
    """The same groups as the Prometheus operator takes them."""
    kind = {"apiVersion": "monitoring.coreos.com/v1", "kind": "PrometheusRule"}
    return {**kind, "metadata": {"name": name}, "spec": {"groups": groups}}


def thresholds(slo: Slo) -> dict[str, Any]:
    """What a load test holds its measurements against, for the service and for single models."""
    models = sorted({o.model for o in slo.objectives if o.model})
    return {
        "generated": HEADER,
        "service": _promises(slo, ""),
        "models": {model: _promises(slo, model) for model in models},
        "capacity_requests_per_second": slo.capacity,
    }


def _promises(slo: Slo, model: str) -> dict[str, Any]:
    promised: dict[str, Any] = {}
    for objective in slo.objectives:
        if objective.model == model and objective.sli == "latency":
            promised["latency"] = {"percentile": round(objective.target * 100, 6), "seconds": objective.within}
        elif objective.model == model:
            promised["availability"] = {"failed_ratio": objective.budget}
    return promised


def write(generated: dict[str, str], root: Path = HERE) -> None:
    """Every file at its path below `root`."""
    for path, text in generated.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)


def stale(generated: dict[str, str], root: Path = HERE) -> list[str]:
    """A summary of what is different from the files there; empty if nothing is."""
    summaries = []
    for path, text in generated.items():
        current = (root / path).read_text() if (root / path).exists() else ""
        diff = list(
            difflib.unified_diff(current.splitlines(), text.splitlines(), "there", "generated", n=0, lineterm="")
        )
        if diff:
            changed = sum(line[0] in "+-" for line in diff[2:])
            summaries.append("\n".join([f"deploy/{path} is stale, {changed} lines differ:", *diff[2 : 2 + DIFF_LINES]]))
    # A rule file that nothing generates any more would go on alerting.
    on_disk = {
        str(p.relative_to(root)) for kind in ("rules", "tests") for p in (root / "prometheus" / kind).glob("*.yml")
    }
    return summaries + [
        f"deploy/{path} is generated from nothing: remove it" for path in sorted(on_disk - set(generated))
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """0; 1 if --check finds a stale file, 2 if slo.yaml cannot be kept."""
    parser = argparse.ArgumentParser(prog="python -m deploy.slo", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, fail if a generated file is stale")
    parser.add_argument("--metrics", metavar="URL", help="take the boundaries from a running service's /metrics")
    options = parser.parse_args(arguments)
    try:
        slo = read()
        of = boundaries.of_service(boundaries.REQUEST, options.metrics) if options.metrics else None
        boundaries.check(slo.objectives, of or boundaries.of_file(boundaries.REQUEST))
        generated = files(slo)
    except SloError as error:
        print(f"deploy/slo.yaml: {error}", file=sys.stderr)
        return 2
    if not options.check:
        write(generated)
        return 0
    summary = stale(generated)
    print(
        "\n\n".join([*summary, "run python -m deploy.slo"])
        if summary
        else f"{len(generated)} generated files are current"
    )
    return 1 if summary else 0


if __name__ == "__main__":
    sys.exit(main())
