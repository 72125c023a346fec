"""The heat map of a sweep: requests a second, and the median latency beside it."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from loadtest.tune.grid import Swept


def draw(swept: Swept, path: Path, caption: str) -> None:
    grid = swept.grid
    with plt.rc_context({"font.size": 9.5}):
        figure, axes = plt.subplots(1, 2, figsize=(12.4, 0.55 * len(grid.rows) + 2.2), layout="constrained")
        panel(axes[0], swept, "achieved", "requests/s", "YlGnBu", "{:,.0f}")
        panel(axes[1], swept, "p50", "median latency, ms", "YlOrRd", "{:.2f}")
        title = f"{grid.model}-{grid.form}: {grid.row} × {grid.column}, closed loop of {grid.concurrency}"
        figure.suptitle(title, fontsize=12, weight="bold")
        figure.supxlabel(caption, fontsize=8, color="#6b7480")
        figure.savefig(path, dpi=150, facecolor="white")
        plt.close(figure)


def panel(axes: Axes, swept: Swept, name: str, title: str, colours: str, shape: str) -> None:
    """The winner's cell has a frame. A value's ink is what can be read on its colour."""
    grid = swept.grid
    values = np.array([[swept.mean((row, column), name) for column in grid.columns] for row in grid.rows])
    axes.imshow(values, cmap=colours, aspect="auto")
    low, high = values.min(), values.max()
    for (row, column), value in np.ndenumerate(values):
        dark = (value - low) / (high - low or 1) > 0.6
        axes.text(column, row, shape.format(value), ha="center", va="center", color="white" if dark else "#2b2f36")
    row, column = grid.rows.index(swept.winner[0]), grid.columns.index(swept.winner[1])
    axes.add_patch(
        plt.Rectangle((column - 0.48, row - 0.46), 0.96, 0.92, fill=False, edgecolor="#c8442e", linewidth=2.2)
    )
    axes.set(xlabel=grid.column, ylabel=grid.row, xticks=range(len(grid.columns)), yticks=range(len(grid.rows)))
    axes.set_xticklabels(grid.columns)
    axes.set_yticklabels(grid.rows)
    axes.set_title(title, loc="left", fontsize=10.5)
