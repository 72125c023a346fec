"""python -m loadtest.load.document: every model in MLPerf's scenarios, and a spike on all of them, into the docs.

Writes what is in docs/load.md between <!-- scenarios --> and <!-- /scenarios -->, and docs/load.png. The service has to
run, and nothing else should; it takes ten seconds for each scenario and model, and a minute for the spike.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from loadtest import sections
from loadtest.load import questions
from loadtest.load.described import ServiceError, describe
from loadtest.load.plan import NAMED
from loadtest.service.machine import described

ROOT = Path(__file__).parents[2]
INTERFACES = ("native", "v2", "binary")
SPIKE = ("--shape", "spike", "--rate", "300")


def main() -> None:
    parser = argparse.ArgumentParser(
        "python -m loadtest.load.document", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--host", default="http://127.0.0.1:3000", help="where the service is (http://127.0.0.1:3000)")
    parser.add_argument("--seconds", type=float, default=10, help="of one scenario and model (10)")
    parser.add_argument("--document", type=Path, default=ROOT / "docs" / "load.md", help="(docs/load.md)")
    chosen = parser.parse_args()
    try:
        models = [model.name for model in describe(chosen.host, questions.folders())]
    except ServiceError as error:
        sys.exit(str(error))
    measured = measure(chosen.host, models, chosen.seconds)
    spike = run(chosen.host, "spike", *SPIKE)
    picture = chosen.document.with_suffix(".png")
    shutil.copy(spike / "load.png", picture)
    text = f"{table(measured, chosen.seconds)}\n\n![A spike on all models]({picture.name})"
    sections.replace(chosen.document, "scenarios", text)
    print(f"written: {chosen.document} and {picture}", file=sys.stderr)


def measure(host: str, models: list[str], seconds: float) -> dict[str, dict[str, Any]]:
    """model → scenario → what load.json says."""
    cells = [(model, scenario) for model in models for scenario in NAMED["scenarios"]]
    found: dict[str, dict[str, Any]] = {model: {} for model in models}
    started = time.monotonic()
    for done, (model, scenario) in enumerate(cells):
        left = f"{(time.monotonic() - started) / done * (len(cells) - done) / 60:.1f} min left" if done else ""
        print(f"[{done + 1}/{len(cells)}] {model}, {scenario}  {left}", file=sys.stderr)
        asked = ("--scenario", scenario, "--models", model, "--seconds", f"{seconds:g}")
        folder = run(host, f"{model}-{scenario}", *asked)
        found[model][scenario] = json.loads((folder / "load.json").read_text())
    return found


def run(host: str, name: str, *asked: str) -> Path:
    """The folder of one load test's results. Exits if a threshold was missed: that is no table to publish."""
    folder = ROOT / "build" / "load" / name
    words = [sys.executable, "-m", "loadtest.load", "--host", host, "--out", str(folder), *asked]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{name}: {done.stdout}{done.stderr}")
    return folder


def table(measured: dict[str, dict[str, Any]], seconds: float) -> str:
    rate = NAMED["scenarios"]["server"]["rate"]
    head = ["", *(f"single stream, {how}: p90" for how in INTERFACES), f"server, {rate}/s: p99", "offline: rows/s"]
    rows = sections.table(head, (row(*each) for each in measured.items()))
    return f"{seconds:g} s each; service and load generator on one machine, {described()}.\n\n{rows}"


def row(model: str, scenarios: dict[str, Any]) -> list[str]:
    single = {each["name"]: each for each in scenarios["single-stream"]["rows"]}
    p90 = [milliseconds(single[f"{model} {how}"], 1) if f"{model} {how}" in single else "–" for how in INTERFACES]
    offline = scenarios["offline"]
    rows_a_second = offline["rows"][-1]["rate"] * offline["plan"]["rows"]
    return [model, *p90, milliseconds(scenarios["server"]["rows"][-1], 3), f"{rows_a_second:,.0f}"]


def milliseconds(figures: dict[str, Any], place: int) -> str:
    return f"{1000 * figures['percentiles'][place]:.2f} ms"


if __name__ == "__main__":
    main()
