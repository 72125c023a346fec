"""drift.png: what chance makes of PSI where training had few rows, the limits above it, and what they let pass."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from loadtest.drift.chance import PSI, limit, looks
from loadtest.drift.rates import ROWS, Measured
from loadtest.drift.references import Reference

OURS, CHANCE, INK = "#c8442e", "#7f93a6", "#2b2f36"
TRAINED = np.geomspace(25, 20_000, 18).astype(int)
SHIFTS = np.linspace(0, 1.5, 31)
DECILES = np.append(np.full(10, 0.1), 0.0)  # the usual quantity: ten bins alike, none missing


def draw(quantities: Sequence[Measured], count: int, path: Path) -> None:
    """Writes the plot."""
    random = np.random.default_rng(1)
    with plt.rc_context({"font.size": 9.5, "text.color": INK, "axes.labelcolor": INK}):
        figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.4), layout="constrained")
        chance(left, count, random)
        power(right, sorted({q.references[0].rows for q in quantities}), count, random)
        figure.savefig(path, dpi=150, facecolor="white")
        plt.close(figure)


def chance(axis: Axes, count: int, random: np.random.Generator) -> None:
    """What a quantity of ten bins that has not drifted shows, and the limits above it."""
    references = [Reference("", "", DECILES, int(rows)) for rows in TRAINED]
    quantiles = np.array([np.quantile(_looks(r, count, random), (0.05, 0.5, 0.95, 0.999)) for r in references]).T
    axis.fill_between(TRAINED, quantiles[0], quantiles[2], color=CHANCE, alpha=0.3, linewidth=0, label="9 of 10 looks")
    axis.plot(TRAINED, quantiles[1], color=CHANCE, label="the median look")
    axis.plot(TRAINED, quantiles[3], color=CHANCE, linestyle=":", label="one look of 1,000 is above")
    axis.axhline(PSI, color=INK, linestyle="--", linewidth=1, label=f"{PSI:g} alone")
    axis.plot(TRAINED, [limit(r, ROWS[0]) for r in references], color=OURS, linewidth=2, label="the limit of the rules")
    axis.set(xscale="log", yscale="log", xlabel="rows of training")
    axis.xaxis.set_major_formatter("{x:,.0f}")
    axis.yaxis.set_major_formatter("{x:g}")
    axis.set_title(f"PSI of {ROWS[0]} rows that have not drifted", loc="left", fontsize=10.5, weight="bold")
    axis.legend(frameon=False, fontsize=8.5, loc="upper right")
    _finish(axis)


def power(axis: Axes, trained: Sequence[int], count: int, random: np.random.Generator) -> None:
    """Which shifts are told, by the rows of training that the service's quantities have."""
    for rows, colour in zip(trained, plt.colormaps["viridis"](np.linspace(0, 0.85, len(trained))), strict=True):
        reference = Reference("", "", DECILES, rows)
        above = limit(reference, ROWS[0])
        told = [float((_looks(reference, count // 4, random, shift) > above).mean()) for shift in SHIFTS]
        axis.plot(SHIFTS, told, color=colour, label=f"{rows:,} rows, limit {above:.2f}")
    axis.set(xlabel="shift, in standard deviations of a normal quantity", xlim=(0, 2.15), ylim=(-0.02, 1.02))
    axis.yaxis.set_major_formatter(PercentFormatter(1))
    axis.set_title(f"Looks at {ROWS[0]} rows that tell a shift", loc="left", fontsize=10.5, weight="bold")
    axis.legend(frameon=False, fontsize=8.5, loc="lower right")
    _finish(axis)


def _looks(reference: Reference, count: int, random: np.random.Generator, shift: float = 0.0) -> np.ndarray:
    return np.concatenate([*looks(reference, ROWS[0], count, random, shift=shift)])


def _finish(axis: Axes) -> None:
    axis.grid(color="#e3e7eb", zorder=0)
    axis.spines[["top", "right"]].set_visible(False)
