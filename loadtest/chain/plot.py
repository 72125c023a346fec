"""chain.png: requests a second, latency and CPU of every arrangement, bars by stage where there are several."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from loadtest.chain.report import STAGES, Cell, Figure, figures

INK, WHOLE = "#2b2f36", "#c8442e"
COLOURS = {"service": WHOLE, "postprocess": "#a9b4c0", "preprocess": "#7d93a8", "model": "#3d6b8e"}
BELOW: dict[str, Any] = {"frameon": False, "fontsize": 8.5, "loc": "upper right", "bbox_to_anchor": (1.01, -0.07)}
MARKS = (("p50_ms", "o", "p50"), ("p95_ms", "D", "p95"), ("p99_ms", "s", "p99"))


def draw(results: dict[str, Any], path: Path) -> None:
    """Writes the plot: load as the most connections, latency with the fewest."""
    found = figures(results["records"])
    quiet, busy = min(results["connections"]), max(results["connections"])
    rows = [cell for cell in reversed(found) if cell[2] == busy]
    names = [f"{way}, {replicas}" for way, replicas, _ in rows]
    with plt.rc_context({"font.size": 9.5, "text.color": INK, "axes.labelcolor": INK, "ytick.color": INK}):
        figure, (rate, latency, cpu) = plt.subplots(1, 3, figsize=(13, 3.9), sharey=True, layout="constrained")
        rate.set_yticks(range(len(rows)), names)
        rates(rate, [(cell, found[cell]) for cell in rows])
        latencies(latency, [found[way, replicas, quiet] for way, replicas, _ in rows])
        costs(cpu, [found[cell] for cell in rows])
        rate.set_title(f"requests/s, connections kept: {busy}", loc="left", weight="bold", fontsize=10.5)
        latency.set_title(f"latency in ms, connections kept: {quiet}", loc="left", weight="bold", fontsize=10.5)
        cpu.set_title(f"CPU in µs a request, connections kept: {busy}", loc="left", weight="bold", fontsize=10.5)
        for axis in (rate, latency, cpu):
            axis.grid(axis="x", color="#e3e7eb", zorder=0)
            axis.tick_params(axis="y", length=0)
            axis.spines[["top", "right", "left"]].set_visible(False)
        figure.suptitle("One pipeline in one process, or as three services", fontsize=13, weight="bold")
        caption = f"median of {results['rounds']} rounds of {results['seconds']} s · {results['machine']}"
        figure.supxlabel(caption, fontsize=8.5, color="#6b7480")
        figure.savefig(path, dpi=150, facecolor="white")
        plt.close(figure)


def rates(axis: Axes, rows: list[tuple[Cell, Figure]]) -> None:
    for place, (cell, figure) in enumerate(rows):
        axis.barh(
            place, figure.rate, color=WHOLE if cell[0] == "in process" else COLOURS["model"], height=0.66, zorder=2
        )
        _value(axis, figure.rate, place)
    axis.set_xlim(0, 1.2 * max(figure.rate for _, figure in rows))


def latencies(axis: Axes, rows: list[Figure]) -> None:
    for name, mark, label in MARKS:
        values = [getattr(figure, name) for figure in rows]
        axis.plot(values, range(len(rows)), mark, color=INK, markersize=5, fillstyle="none", label=label, zorder=3)
    axis.set_xlim(left=0)
    axis.legend(ncols=len(MARKS), **BELOW)


def costs(axis: Axes, rows: list[Figure]) -> None:
    for stage in STAGES:
        starts = [sum(figure.cpu.get(s, 0.0) for s in STAGES[: STAGES.index(stage)]) for figure in rows]
        widths = [figure.cpu.get(stage, 0.0) for figure in rows]
        label = "the one service" if stage == "service" else stage
        axis.barh(range(len(rows)), widths, left=starts, color=COLOURS[stage], height=0.66, label=label, zorder=2)
    for place, figure in enumerate(rows):
        _value(axis, figure.cpu_us, place)
    axis.set_xlim(0, 1.2 * max(figure.cpu_us for figure in rows))
    axis.legend(ncols=len(STAGES), columnspacing=1, handlelength=1.2, **BELOW)


def _value(axis: Axes, value: float, place: int) -> None:
    axis.annotate(f"{value:,.0f}", (value, place), (4, 0), textcoords="offset points", va="center", weight="bold")
