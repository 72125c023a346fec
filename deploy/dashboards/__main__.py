"""`python -m deploy.dashboards`: Grafana's dashboards, and what docs/monitoring.md says of them and of the metrics.

With --check nothing is written: a stale file fails, and so does a query that reads a metric which neither the service
exports nor a rule records. With --metrics the recording of what the service exports is taken anew. With --render the
dashboards are drawn from what a Prometheus has of the last hour: a PNG each, or one per model.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.error import URLError

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from deploy.dashboards import chain, drift, exported, handbook, model, overview, resources
from deploy.dashboards.prometheus import Prometheus, panels
from deploy.objectives import HERE, Slo, SloError, read
from deploy.slo import write

PAGES = {"overview": overview, "model": model, "drift": drift, "resources": resources, "chain": chain}


def dashboards(slo: Slo) -> dict[str, dict[str, Any]]:
    """Name → Grafana's JSON, in the order of the links."""
    boards = {}
    for name, page in PAGES.items():
        boards[name] = json.loads(json.dumps(page.dashboard(slo).build(), cls=JSONEncoder))
        for number, panel in enumerate(boards[name]["panels"], 1):
            panel["id"] = number
    return boards


def files(boards: dict[str, dict[str, Any]]) -> dict[str, str]:
    """Path below deploy/ → what belongs there."""
    texts = {f"grafana/dashboards/{name}.json": json.dumps(d, indent=1) + "\n" for name, d in boards.items()}
    return texts | {handbook.PATH: handbook.page(boards, exported.recorded())}


def stale(texts: dict[str, str], root: Path = HERE) -> list[str]:
    """A line for each file that is not as it should be, or should not be."""
    current = {f"grafana/dashboards/{file.name}" for file in (root / "grafana/dashboards").glob("*.json")}
    wrong = [p for p, text in texts.items() if not (root / p).exists() or (root / p).read_text() != text]
    return [f"deploy/{path} is stale" for path in wrong] + [
        f"deploy/{path} is generated from nothing: remove it" for path in sorted(current - set(texts))
    ]


def unknown(boards: dict[str, dict[str, Any]]) -> list[str]:
    """A line for each query that Prometheus cannot answer."""
    metrics = exported.series(exported.recorded()) | exported.rules() | exported.PROMETHEUS
    return [
        f"{dashboard['title']} · {panel['title']}: {', '.join(sorted(strangers))} is neither exported nor recorded"
        for dashboard in boards.values()
        for panel in panels(dashboard)
        for target in panel["targets"]
        if (strangers := exported.metric_names(target["expr"]) - metrics)
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """0; 1 for what --check finds, or a query that nobody can answer; 2 if something cannot be read."""
    options = argument_parser().parse_args(arguments)
    if bool(options.render) != bool(options.prometheus):
        argument_parser().error("--render DIR and --prometheus URL belong together")
    try:
        if options.metrics:
            families = {family for url in options.metrics for family in exported.of_service(url)}
            exported.RECORDING.write_text(exported.recording(sorted(families)))
        boards = dashboards(read())
        if options.render:
            from deploy.dashboards.render import draw

            return draw(boards, Prometheus(options.prometheus.rstrip("/")), options.render)
    except (SloError, URLError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    if wrong := unknown(boards):
        print("\n".join(wrong), file=sys.stderr)
        return 1
    texts = files(boards)
    if not options.check:
        write(texts)
        return 0
    wrong = stale(texts)
    print("\n".join([*wrong, "run python -m deploy.dashboards"]) if wrong else f"{len(texts)} files are current")
    return 1 if wrong else 0


def argument_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(
        prog="python -m deploy.dashboards", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--check", action="store_true", help="write nothing, fail if a file is stale or a query unknown"
    )
    parser.add_argument(
        "--metrics", metavar="URL", nargs="+", help="record anew what these /metrics export (service and chain)"
    )
    parser.add_argument("--render", metavar="DIR", type=Path, help="draw the dashboards into this folder")
    parser.add_argument("--prometheus", metavar="URL", help="from this Prometheus, as http://localhost:9090")
    return parser


if __name__ == "__main__":
    sys.exit(main())
