"""load.png: throughput, latency and failures over time, against the thresholds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from loadtest.load.plan import Plan
from loadtest.load.records import Records
from loadtest.load.report import by_second
from loadtest.load.thresholds import Verdict

OURS, LIMIT, INK, PALE = "#c8442e", "#3d6b8e", "#2b2f36", "#a9b4c0"
THROUGHPUT: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("offered", "sent", {"color": PALE, "linewidth": 3}),
    ("answered", "answered rightly", {"color": OURS, "linewidth": 1.2}),
)
MARKED = 120  # seconds that can be told from one another
LATENCIES = {"p50_seconds": "#e8a598", "p95_seconds": OURS, "p99_seconds": "#7a2316"}


def draw(plan: Plan, records: Records, verdicts: list[Verdict], path: Path) -> None:
    """Writes the plot of one run, if anything was asked in it; limits are those of the service."""
    if not len(records):
        return
    seconds = by_second(records)
    columns = {name: np.array([second[name] for second in seconds], float) for name in seconds[0]}
    limits = {verdict.unit: verdict for verdict in verdicts if verdict.whose == "service"}
    with plt.rc_context({"font.size": 9.5, "text.color": INK, "axes.labelcolor": INK}):
        figure, axes = plt.subplots(
            3, 1, figsize=(9, 8), sharex=True, layout="constrained", height_ratios=(1, 1.3, 0.8)
        )
        throughput(axes[0], columns)
        latency(axes[1], columns, limits.get("s"))
        failures(axes[2], columns, limits.get("%"))
        missed = [f"{verdict.whose} {verdict.what}" for verdict in verdicts if not verdict.met]
        verdict = f"Missed: {', '.join(missed)}" if missed else "Every threshold met"
        figure.align_ylabels(axes)
        figure.suptitle(verdict, fontsize=13, weight="bold", color=OURS if missed else INK)
        figure.supxlabel(f"{plan}\nlatency counts from the intended send time", fontsize=8.5, color="#6b7480")
        figure.savefig(path, dpi=130, facecolor="white")
        plt.close(figure)


def throughput(axis: Axes, columns: dict[str, np.ndarray]) -> None:
    for name, label, style in THROUGHPUT:
        axis.stairs(columns[name], edges(columns), label=label, baseline=None, **style)
    finish(axis, "requests/s")
    axis.set_ylim(0, max(columns["offered"].max(), columns["answered"].max()) * 1.15)


def latency(axis: Axes, columns: dict[str, np.ndarray], limit: Verdict | None) -> None:
    mark = ".-" if len(columns["second"]) <= MARKED else "-"
    for name, colour in LATENCIES.items():
        axis.plot(columns["second"] + 0.5, 1000 * columns[name], mark, color=colour, label=name.split("_")[0])
    axis.set_yscale("log")
    axis.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    if limit:
        line(axis, 1000 * limit.limit, f"limit of {limit.what}: {1000 * limit.limit:g} ms")
    finish(axis, "latency, ms")


def failures(axis: Axes, columns: dict[str, np.ndarray], limit: Verdict | None) -> None:
    share = 100 * columns["failed"] / np.maximum(columns["offered"], 1)
    axis.stairs(share, edges(columns), fill=True, color=OURS, alpha=0.8)
    top = max(share.max(), limit.limit if limit else 0)
    if limit:
        line(axis, limit.limit, f"limit of {limit.what}: {limit.limit:g} %")
    finish(axis, "failed, %")
    axis.set_ylim(0, top * 1.3 or 1)
    axis.set_xlabel("seconds")


def edges(columns: dict[str, np.ndarray]) -> np.ndarray:
    return np.append(columns["second"], columns["second"][-1] + 1)


def line(axis: Axes, value: float, label: str) -> None:
    axis.axhline(value, color=LIMIT, linestyle="--", linewidth=1.2, label=label)


def finish(axis: Axes, name: str) -> None:
    axis.set_ylabel(name)
    axis.grid(color="#e3e7eb")
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)
    style: dict[str, Any] = {"frameon": False, "fontsize": 8.5, "loc": "lower left", "bbox_to_anchor": (0, 1)}
    axis.legend(ncols=4, **style)
