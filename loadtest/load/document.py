"""python -m loadtest.load.document: every model in MLPerf's scenarios, and a spike on all of them, into the docs.

Writes what is in docs/load.md between <!-- scenarios --> and <!-- /scenarios -->, and docs/load.png. The service has to
run, and nothing else should; it takes ten seconds for each scenario and model, and a minute for the spike.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from loadtest import machine
from loadtest.documents import CHECKOUT, Progress, add_section, command_line, table
from loadtest.load.plan import NAMED
from loadtest.load.requests import describe, folders
from loadtest.service import run_command

INTERFACES = ("native", "v2", "binary")
SPIKE = ("--shape", "spike", "--rate", "300")


def main() -> None:
    """The command. ServiceError where no service answers"""
    parser = command_line("loadtest.load.document", __doc__)
    parser.add_argument("--host", default="http://127.0.0.1:3000", help="where the service is (http://127.0.0.1:3000)")
    parser.add_argument("--seconds", type=float, default=10, help="of one scenario and model (10)")
    add_section(parser, "scenarios", "docs/load.md")
    options = parser.parse_args()
    models = [model.name for model in describe(options.host, folders())]
    measured = measure(options.host, models, options.seconds)
    spike = run(options.host, "spike", *SPIKE)
    picture = options.document.path.with_suffix(".png")
    shutil.copy(spike / "load.png", picture)
    text = f"{markdown(measured, options.seconds)}\n\n![A spike on all models]({picture.name})"
    options.document.publish(text, picture)


def measure(host: str, models: list[str], seconds: float) -> dict[str, dict[str, Any]]:
    """model → scenario → what load.json says."""
    measured: dict[str, dict[str, Any]] = {model: {} for model in models}
    with Progress(len(models) * len(NAMED["scenarios"])) as progress:
        for model in models:
            for scenario in NAMED["scenarios"]:
                words = ("--scenario", scenario, "--models", model, "--seconds", f"{seconds:g}")
                folder = run(host, f"{model}-{scenario}", *words)
                measured[model][scenario] = json.loads((folder / "load.json").read_text())
                progress.tell(f"{model}, {scenario}")
    return measured


def run(host: str, name: str, *words: str) -> Path:
    """The folder of one load test's results. Exits if a threshold was missed: that is no table to publish."""
    folder = CHECKOUT / "build" / "load" / name
    command = [sys.executable, "-m", "loadtest.load", "--host", host, "--out", str(folder), *words]
    process = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True)
    if process.returncode:
        sys.exit(f"{name}: {process.stdout}{process.stderr}")
    return folder


def markdown(measured: dict[str, dict[str, Any]], seconds: float) -> str:
    """A row per model: p90 by interface, p99, rows a second; percentiles are those of report.SHOWN."""
    rows = []
    for model, scenarios in measured.items():
        single = {each["name"]: each["percentiles"][1] for each in scenarios["single-stream"]["rows"]}
        p90 = [single.get(f"{model} {how}") for how in INTERFACES]
        p99, offline = scenarios["server"]["rows"][-1]["percentiles"][3], scenarios["offline"]
        times = ["–" if value is None else f"{1000 * value:.2f} ms" for value in (*p90, p99)]
        rows.append([model, *times, f"{offline['rows'][-1]['rate'] * offline['plan']['rows']:,.0f}"])
    rate = NAMED["scenarios"]["server"]["rate"]
    head = ["", *(f"single stream, {how}: p90" for how in INTERFACES), f"server, {rate}/s: p99", "offline: rows/s"]
    where = f"{seconds:g} s each; service and load generator on one machine, {machine.describe()}."
    return f"{where}\n\n{table(head, rows)}"


if __name__ == "__main__":
    run_command(main)
