"""overload.png: what came and what became of it, how long it took, and memory, second by second."""

from __future__ import annotations

import textwrap
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from loadtest.overload.storm import Phase, Told
from loadtest.overload.verdict import TOLD_SECONDS, TURNED_AWAY, quantile

GOOD, AWAY, OFFERED, INK, GREY = "#3d6b8e", "#c8442e", "#2b2f36", "#2b2f36", "#6b7480"
BIN = 0.25


def draw(
    told: Told,
    phases: list[Phase],
    capacity: float,
    deadline: float,
    memory: list[tuple[float, float]],
    caption: str,
    path: Path,
) -> None:
    with plt.rc_context({"font.size": 9.5, "text.color": INK, "axes.labelcolor": INK}):
        figure, axes = plt.subplots(
            3, 1, figsize=(8.5, 8.2), sharex=True, layout="constrained", height_ratios=[3, 3, 1.4]
        )
        rates(axes[0], told, capacity)
        latencies(axes[1], told, deadline)
        axes[2].plot([at for at, _ in memory], [size / 2**20 for _, size in memory], color=GOOD)
        axes[2].set_ylim(0, 1.15 * max((size for _, size in memory), default=1) / 2**20)
        axes[2].set_ylabel("memory, MiB")
        axes[2].set_xlabel("seconds")
        for axis in axes:
            axis.axvspan(phases[0].seconds, phases[0].seconds + phases[1].seconds, color="#f3ece6", zorder=0)
            axis.grid(axis="y", color="#e6e9ec", linewidth=0.7)
            axis.spines[["top", "right"]].set_visible(False)
        axes[2].set_xlim(0, sum(phase.seconds for phase in phases))
        figure.suptitle("Three times as much as it can take", fontsize=13, weight="bold")
        figure.supxlabel(textwrap.fill(caption, 120), fontsize=8.5, color=GREY)
        figure.savefig(path, dpi=150, facecolor="white")
        plt.close(figure)


def rates(axis: Axes, told: Told, capacity: float) -> None:
    edges = np.arange(0, told.due[-1] + BIN, BIN)
    for times, colour, label in (
        (told.due, OFFERED, "offered"),
        (told.done[told.status == 200], GOOD, "answered"),
        (told.done[np.isin(told.status, TURNED_AWAY)], AWAY, "turned away"),
    ):
        counts, _ = np.histogram(times, edges)
        style = ":" if label == "offered" else "-"
        axis.plot(edges[:-1] + BIN / 2, counts / BIN, color=colour, linestyle=style, label=label)
    axis.axhline(capacity, color=GREY, linewidth=1, linestyle="--", label=f"capacity, {capacity:,.0f}/s")
    axis.set_ylabel("requests a second")
    axis.set_ylim(bottom=0)
    axis.legend(loc="lower right", bbox_to_anchor=(1, 0.99), fontsize=8.5, frameon=False, ncols=4)


def latencies(axis: Axes, told: Told, deadline: float) -> None:
    """Median and p99 of those answered and those turned away, by the time they were due."""
    edges = np.arange(0, told.due[-1] + BIN, BIN)
    for statuses, colour, label in (((200,), GOOD, "answered"), (TURNED_AWAY, AWAY, "turned away")):
        those = np.isin(told.status, statuses)
        place = np.digitize(told.due[those], edges) - 1
        seconds = told.seconds[those]
        bins = [(edges[i] + BIN / 2, seconds[place == i]) for i in range(len(edges))]
        filled = [(at, values) for at, values in bins if len(values)]
        for share, style in ((0.5, "-"), (0.99, ":")):
            name = "median" if share == 0.5 else "p99"
            line = [quantile(values, share) * 1e3 for _, values in filled]
            axis.plot([at for at, _ in filled], line, color=colour, linestyle=style, label=f"{label}, {name}")
    axis.axhline(deadline * 1e3, color=GREY, linewidth=1, linestyle="--", label="deadline")
    axis.axhline(TOLD_SECONDS * 1e3, color=AWAY, linewidth=1, linestyle="--", label="to turn away")
    axis.set_yscale("log")
    axis.set_ylabel("ms from sending to the answer")
    axis.legend(loc="lower right", bbox_to_anchor=(1, 0.99), fontsize=8.5, frameon=False, ncols=3)
