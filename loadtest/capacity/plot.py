"""Cores and median latency against the rate, as a picture."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from loadtest.capacity.report import Study


def draw(study: Study, path: Path) -> None:
    """The model's lines, the fitted and the held-out points, and where the worker saturates."""
    measured = study.measured
    rates = np.linspace(measured.saturation / 100, measured.saturation, 200)
    with plt.rc_context({"font.size": 9.5}):
        figure, axes = plt.subplots(1, 2, figsize=(10.4, 4.0), layout="constrained")
        lines = ([study.cost.cores(rate) for rate in rates], [1e3 * study.cost.latency(rate) for rate in rates])
        for axis, line, title in zip(axes, lines, ("cores used", "median latency, ms"), strict=True):
            axis.plot(rates, line, color="#3d6b8e", label="model")
            axis.axvline(measured.saturation, color="#9aa3ad", linestyle=":", label="saturation, measured")
            axis.set_title(title, loc="left", fontsize=10.5)
            axis.set_xlabel("requests/s (Poisson)")
            axis.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
            axis.grid(color="#eef0f2")
            axis.set_axisbelow(True)
            axis.spines[["top", "right"]].set_visible(False)
        for points, marker, colour, label in (
            (measured.fitted, "o", "#2b2f36", "fitted to"), (measured.held_out, "D", "#c8442e", "held out"),
        ):  # fmt: skip
            look = {"marker": marker, "color": colour, "label": label}
            axes[0].scatter([point.rate for point in points], [point.cores for point in points], **look)
            axes[1].scatter([point.rate for point in points], [1e3 * point.latency for point in points], **look)
        axes[0].legend(frameon=False)
        axes[0].set_ylim(0, 1.05)
        axes[1].set_ylim(0, 1.5e3 * max(point.latency for point in measured.points))
        figure.suptitle(f"{study.name}: one worker on one core", fontsize=12, weight="bold")
        figure.supxlabel(study.where, fontsize=8, color="#6b7480")
        figure.savefig(path, dpi=150, facecolor="white")
        plt.close(figure)
