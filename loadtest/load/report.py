"""What a run says: a table and verdicts at its end, and the same as JSON, CSV and a plot."""

from __future__ import annotations

import csv
import json
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from loadtest import figures as plots
from loadtest.load.plan import Plan
from loadtest.load.records import Records, Verdict, percentiles

SHOWN = (50.0, 90.0, 95.0, 99.0)
# A generator that sends later than this at its own p99 has measured itself.
LATE = 0.05  # seconds
TOLD = 5  # reasons of failures
MARKED = 120  # seconds that can be told from one another
COLUMNS = ("second", "offered", "answered", "failed", *(f"p{which:g}_seconds" for which in SHOWN))


@dataclass(frozen=True)
class Row:
    """Figures of some requests: seconds of latency since the intended time, of those that were answered."""

    name: str
    requests: int
    failed: int
    rate: float  # answered requests/s
    percentiles: tuple[float, ...]  # as in SHOWN

    def __str__(self) -> str:
        latencies = "".join(f"{1000 * value:>10.2f}" for value in self.percentiles)
        return f"{self.name:<24}{self.requests:>10,}{self.failed:>8,}{self.rate:>10,.1f}{latencies}"


HEAD = f"{'ms from the intended time':<24}{'requests':>9}{'failed':>8}{'answ./s':>10}" + "".join(
    f"{f'p{which:g}':>10}" for which in SHOWN
)


def rows(records: Records) -> list[Row]:
    """One row per model and interface, in alphabetical order, and one of all."""
    kind = records.column("kind")
    every = np.ones(len(records), bool)
    places = sorted(range(len(records.kinds)), key=lambda place: records.kinds[place])
    each = [_row(" ".join(records.kinds[place]), records, kind == place) for place in places]
    return [*each, _row("all", records, every)]


def _row(name: str, records: Records, mask: np.ndarray) -> Row:
    failed = records.column("failed").astype(bool)
    answered = records.column("latency")[mask & ~failed]
    rate = len(answered) / (records.seconds or 1)
    return Row(name, int(mask.sum()), int((mask & failed).sum()), rate, tuple(percentiles(answered, *SHOWN)))


def by_second(records: Records) -> list[dict[str, float]]:
    """What was due, answered and failed in each second, and the latency of what was due in it."""
    order = np.argsort(records.column("due"))
    due, latency, failed = (records.column(name)[order] for name in ("due", "latency", "failed"))
    count = int(due.max(initial=0)) + 1
    answered = np.bincount((due + latency)[failed == 0].astype(int), minlength=count)
    edges = np.searchsorted(due, np.arange(count + 1))
    seconds = []
    for second, (start, end) in enumerate(pairwise(edges)):
        its = latency[start:end][failed[start:end] == 0]
        counts = (second, int(end - start), int(answered[second]), int(failed[start:end].sum()))
        seconds.append(dict(zip(COLUMNS, (*counts, *percentiles(its, *SHOWN)), strict=True)))
    return seconds


def lag(records: Records) -> float:
    """p99 of how late the generator itself was, in seconds."""
    return percentiles(records.column("lag"), 99)[0]


def highlight(plan: Plan, table: list[Row]) -> str:
    """The figure that the scenario is about, or nothing."""
    everything = table[-1]
    if plan.tells == "rows/s":
        return f"{plan.scenario}: {everything.rate * plan.rows:,.0f} rows/s"
    if plan.tells:
        value = everything.percentiles[SHOWN.index(float(plan.tells[1:]))]
        return f"{plan.scenario}: {plan.tells} latency {1000 * value:.2f} ms"
    return ""


def text(plan: Plan, records: Records, verdicts: list[Verdict]) -> str:
    """The report for the terminal."""
    table = rows(records)
    late = lag(records)
    lines = ["", str(plan), "", HEAD, *map(str, table), ""]
    if records.reasons:
        lines += [f"{count:>8,} × {reason}" for reason, count in records.reasons.most_common(TOLD)] + [""]
    if late > LATE:
        lines += [
            f"The load generator was late: {1000 * late:.0f} ms at its p99, which is in the latencies above.",
            "Ask for less, give it more processes (--processes 4), or a machine of its own.",
            "",
        ]
    if figure := highlight(plan, table):
        lines += [figure, ""]
    return "\n".join([*lines, *map(str, verdicts)])


def write(folder: Path, plan: Plan, records: Records, verdicts: list[Verdict]) -> None:
    """load.json and seconds.csv in a folder, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "seconds.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(by_second(records))
    summary: dict[str, Any] = {
        "plan": asdict(plan),
        "seconds": records.seconds,
        "generator_lag_p99_seconds": lag(records),
        "rows": [asdict(row) for row in rows(records)],
        "thresholds": [{**asdict(verdict), "met": bool(verdict.met)} for verdict in verdicts],
    }
    (folder / "load.json").write_text(json.dumps(summary, indent=1) + "\n")


def draw(plan: Plan, records: Records, verdicts: list[Verdict], path: Path) -> None:
    """Throughput, latency and failures over time, if anything was asked; limits are those of the service."""
    if not len(records):
        return
    seconds = by_second(records)
    columns = {name: np.array([second[name] for second in seconds], float) for name in seconds[0]}
    limits = {verdict.unit: verdict for verdict in verdicts if verdict.whose == "service"}
    missed = [f"{verdict.whose} {verdict.what}" for verdict in verdicts if not verdict.met]
    title = f"Missed: {', '.join(missed)}" if missed else "Every threshold met"
    caption, grid = f"{plan}; latency counts from the intended send time", {"nrows": 3, "sharex": True}
    with plots.figure(path, title, caption, (9, 8), height_ratios=(1, 1.3, 0.8), **grid) as axes:
        _throughput(axes[0], columns)
        _latency(axes[1], columns, limits.get("s"))
        _failures(axes[2], columns, limits.get("%"))
        for axis in axes:
            axis.legend(**plots.ABOVE)


def _throughput(axis: plots.Axes, columns: dict[str, np.ndarray]) -> None:
    axis.stairs(columns["offered"], _edges(columns), label="sent", baseline=None, color=plots.PALE, linewidth=3)
    axis.stairs(columns["answered"], _edges(columns), label="answered rightly", baseline=None, color=plots.RED)
    axis.set(ylabel="requests/s", ylim=(0, max(columns["offered"].max(), columns["answered"].max()) * 1.15))


def _latency(axis: plots.Axes, columns: dict[str, np.ndarray], limit: Verdict | None) -> None:
    mark = ".-" if len(columns["second"]) <= MARKED else "-"
    for name, colour in (("p50", "#e8a598"), ("p95", plots.RED), ("p99", "#7a2316")):
        axis.plot(columns["second"] + 0.5, 1000 * columns[f"{name}_seconds"], mark, color=colour, label=name)
    axis.set(yscale="log", ylabel="latency, ms")
    plots.plain_numbers(axis, y="{x:g}")
    if limit:
        _line(axis, 1000 * limit.limit, f"limit of {limit.what}: {1000 * limit.limit:g} ms")


def _failures(axis: plots.Axes, columns: dict[str, np.ndarray], limit: Verdict | None) -> None:
    share = 100 * columns["failed"] / np.maximum(columns["offered"], 1)
    axis.stairs(share, _edges(columns), fill=True, color=plots.RED, alpha=0.8)
    if limit:
        _line(axis, limit.limit, f"limit of {limit.what}: {limit.limit:g} %")
    top = max(share.max(), limit.limit if limit else 0)
    axis.set(ylabel="failed, %", xlabel="seconds", ylim=(0, top * 1.3 or 1))


def _edges(columns: dict[str, np.ndarray]) -> np.ndarray:
    return np.append(columns["second"], columns["second"][-1] + 1)


def _line(axis: plots.Axes, value: float, label: str) -> None:
    axis.axhline(value, color=plots.BLUE, linestyle="--", linewidth=1.2, label=label)
