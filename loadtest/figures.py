"""Every plot of the load tests: one style, one way to be saved."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import matplotlib
import numpy as np

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes

RED, BLUE, PALE, INK, GREY = "#c8442e", "#3d6b8e", "#a9b4c0", "#2b2f36", "#6b7480"
SERIES = (INK, BLUE, "#6aa36f", RED, PALE, "#b08d3c", "#8a6fb0", "#5fa8a8", "#93a0ad")
BELOW: dict[str, Any] = {"loc": "upper right", "bbox_to_anchor": (1.01, -0.09)}  # a legend under its panel
ABOVE: dict[str, Any] = {"loc": "lower left", "bbox_to_anchor": (0, 0.99), "ncols": 4}
STYLE = {
    "font.size": 9.5, "text.color": INK, "axes.labelcolor": INK, "axes.titlelocation": "left", "axes.titlesize": 10.5,
    "axes.titleweight": "bold", "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True,
    "axes.axisbelow": True, "grid.color": "#e6e9ec", "grid.linewidth": 0.7, "legend.frameon": False,
    "legend.fontsize": 8.5, "figure.titlesize": 13, "figure.titleweight": "bold", "figure.constrained_layout.use": True,
}  # fmt: skip


@contextmanager
def figure(path: Path, title: str, caption: str, size: tuple[float, float], **grid: Any) -> Iterator[np.ndarray]:
    """The axes, flat, of plt.subplots(**grid); saved to the path when the block ends."""
    with plt.rc_context(cast(Any, STYLE)):
        drawing, axes = plt.subplots(figsize=size, squeeze=False, **grid)
        yield axes.ravel()
        drawing.suptitle(title)
        drawing.supxlabel(textwrap.fill(caption, round(14 * size[0])), fontsize=8.5, color=GREY)
        path.parent.mkdir(parents=True, exist_ok=True)
        drawing.savefig(path, dpi=150, facecolor="white")
        plt.close(drawing)


def plain_numbers(axis: Axes, x: str = "", y: str = "") -> None:
    """Tick labels by format strings, `{x:,.0f}` for 12,000, also on logarithmic scales."""
    for side, shape in ((axis.xaxis, x), (axis.yaxis, y)):
        if shape:
            side.set_major_formatter(shape)
            side.set_minor_formatter("")


def bars_only(axis: Axes) -> None:
    """For horizontal bars: no vertical axis, a grid along the values."""
    axis.grid(False, axis="y")
    axis.tick_params(axis="y", length=0)
    axis.spines["left"].set_visible(False)
