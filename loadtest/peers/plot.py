"""bench.png: a panel per cell, a bar per peer on a logarithmic scale, the limits as lines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter

from loadtest.peers.summary import Cell, Figure, cells, figures

OURS, THEIRS, LIMIT, INK = "#c8442e", "#a9b4c0", "#3d6b8e", "#2b2f36"
LINES: tuple[Any, ...] = ("--", (0, (1, 1.4)))


def draw(results: dict[str, Any], path: Path) -> None:
    """Writes the plot of one bench.json."""
    found, columns = figures(results["records"]), cells(results["records"])
    across = 2 if len(columns) > 1 else 1
    down = -(-len(columns) // across)
    bars = max(sum(1 for name in found if not results["peers"][name]["limit"]), 3)
    size = (6.4 * across, down * (0.36 * bars + 1.1) + 0.9)
    with plt.rc_context({"font.size": 9.5, "text.color": INK, "axes.labelcolor": INK, "ytick.color": INK}):
        figure, axes = plt.subplots(down, across, figsize=size, squeeze=False, layout="constrained")
        for axis, cell in zip(axes.flat, columns, strict=False):
            panel(axis, cell, {name: row[cell] for name, row in found.items() if cell in row}, results["peers"])
        for axis in axes.flat[len(columns) :]:
            axis.set_visible(False)
        figure.suptitle("Requests a second, one worker and one engine thread each", fontsize=13, weight="bold")
        figure.supxlabel(_caption(results), fontsize=8.5, color="#6b7480")
        figure.savefig(path, dpi=150, facecolor="white")
        plt.close(figure)


def panel(axis: Axes, cell: Cell, row: dict[str, Figure], peers: dict[str, dict[str, Any]]) -> None:
    """One model at one number of connections: the fastest on top, the range of the rounds as a whisker."""
    axis.set_title(f"{cell[0]}, {cell[1]} connections", loc="left", weight="bold", fontsize=10.5)
    racing = sorted((name for name in row if not peers[name]["limit"]), key=lambda name: row[name].rate)
    if not row:
        return
    for place, name in enumerate(racing):
        bar(axis, place, row[name], OURS if name.startswith("ekiben") else THEIRS)
    axis.set_yticks(range(len(racing)), [peers[name]["title"] for name in racing])
    limits = [name for name in peers if peers[name]["limit"]]  # of all cells, so that each keeps its line
    for name, style in zip(limits, LINES, strict=False):
        if name in row:
            label = f"{peers[name]['title']}: {row[name].rate:,.0f}"
            axis.axvline(row[name].rate, color=LIMIT, linestyle=style, linewidth=1.4, zorder=1, label=label)
    finish(axis, [figure.rate for figure in row.values()])


def bar(axis: Axes, place: int, figure: Figure, colour: str) -> None:
    """The figure stands inside the bar's end, where no line of a limit can cross it."""
    whisker = [[figure.rate - figure.low], [figure.high - figure.rate]]
    axis.barh(place, figure.rate, color=colour, height=0.68, zorder=2)
    axis.errorbar(figure.rate, place, xerr=whisker, color=INK, linewidth=1, capsize=2, zorder=3)
    text: dict[str, Any] = {"ha": "right", "va": "center", "weight": "bold", "zorder": 4}
    ink = "white" if colour == OURS else INK
    axis.annotate(f"{figure.rate:,.0f}", (figure.low, place), (-6, 0), textcoords="offset points", color=ink, **text)


def finish(axis: Axes, rates: list[float]) -> None:
    axis.set_xscale("log")
    axis.set_xlim(min(rates) / 5, max(rates) * 1.25)
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.grid(axis="x", which="major", color="#e3e7eb", zorder=0)
    axis.tick_params(axis="y", length=0)
    axis.spines[["top", "right", "left"]].set_visible(False)
    if axis.get_legend_handles_labels()[0]:
        axis.legend(loc="upper right", bbox_to_anchor=(1.01, -0.07), frameon=False, fontsize=8.5, handlelength=2.6)


def _caption(results: dict[str, Any]) -> str:
    machine, settings = results["machine"], results["settings"]
    return (
        f"logarithmic scale · median and range of {settings['rounds']} interleaved rounds · "
        f"one-sample JSON requests by wrk · {machine['cpu']}, {machine['cores']} cores"
    )
