"""soak.png: memory with its line, file descriptors and latency over the time of a soak."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from loadtest.soak.samples import ENOUGH, Sample, line, warmed_up

BLUE, RED, INK, GREY = "#3d6b8e", "#c8442e", "#2b2f36", "#6b7480"


def draw(samples: list[Sample], caption: str, path: Path) -> None:
    at = [each.at / 60 for each in samples]
    warm = warmed_up(samples)
    with plt.rc_context({"font.size": 9.5, "text.color": INK, "axes.labelcolor": INK}):
        figure, axes = plt.subplots(3, 1, figsize=(8.5, 7), sharex=True, layout="constrained", height_ratios=[2, 1, 2])
        memory = [each.memory / 2**20 for each in samples]
        axes[0].plot(at, memory, color=BLUE, label="all workers")
        if len(warm) >= ENOUGH:
            slope, start = line(warm, "memory")
            rising = [(start + slope * each.at) / 2**20 for each in warm]
            axes[0].plot(
                [each.at / 60 for each in warm], rising, color=RED, linestyle="--", label="line after the warm-up"
            )
        middle = float(np.mean([each.memory / 2**20 for each in warm or samples]))
        low, high = min(memory), max(memory)
        axes[0].set_ylim(min(low, middle * 0.98) - 1, max(high, middle * 1.02) + 1)
        axes[0].axhspan(middle * 0.995, middle * 1.005, color="#e6eef4", zorder=0, label="1 %")
        axes[0].set_ylabel("memory, MiB")
        axes[1].plot(at, [each.files for each in samples], color=BLUE, drawstyle="steps-mid")
        axes[1].set_ylim(bottom=0)
        axes[1].set_ylabel("open files")
        axes[2].plot(at, [each.p50 for each in samples], color=BLUE, label="median")
        axes[2].plot(at, [each.p99 for each in samples], color=RED, label="p99")
        axes[2].set_yscale("log")
        axes[2].set_ylabel("latency, ms")
        axes[2].set_xlabel("minutes")
        for axis in axes:
            axis.grid(axis="y", color="#e6e9ec", linewidth=0.7)
            axis.spines[["top", "right"]].set_visible(False)
        for axis in (axes[0], axes[2]):
            axis.legend(loc="upper right", fontsize=8.5, frameon=False, ncols=3)
        figure.suptitle("An even load for a long time", fontsize=13, weight="bold")
        figure.supxlabel(caption, fontsize=8.5, color=GREY)
        figure.savefig(path, dpi=150, facecolor="white")
        plt.close(figure)
