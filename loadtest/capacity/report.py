"""The fit, its error on loads it has not seen, and the answer: how many replicas, and what they cost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from loadtest.capacity.fit import Cost, Point
from loadtest.sections import table

UTILISATIONS = (0.5, 0.6, 0.7, 0.8, 0.9)
HOURS = 730  # of a month
ALERT = 0.8  # the saturation alert's share of the capacity


@dataclass(frozen=True)
class Study:
    """What was measured of one model's form, with one worker on one core, and what was made of it."""

    name: str
    cost: Cost
    fitted: Sequence[Point]
    held_out: Sequence[Point]
    memory_mb: float
    other_cores: float
    where: str


def markdown(study: Study, target: float, price: float, picture: str) -> str:
    queue, chosen = study.cost.queue, study.cost.rate_at(ALERT)
    replicas = math.ceil(target / chosen)
    top = max(point.rate for point in (*study.fitted, *study.held_out))
    busy = f" **Other programs took up to {study.other_cores:.1f} cores: measure again on a quiet machine.**"
    return "\n\n".join(
        [
            f"**{target:,.0f} requests/s of {study.name} need {replicas} replicas** of one core at {100 * ALERT:.0f} % "
            f"utilisation, with {replicas * study.memory_mb / 1024:,.1f} GiB of memory in all. At an assumed "
            f"{price:g} a CPU-hour that is {replicas * price:,.2f} an hour, {replicas * price * HOURS:,.0f} a month."
            + ("" if chosen <= top else f" Extrapolated: the highest rate measured was {top:,.0f}/s of {chosen:,.0f}."),
            f"{study.where}; one worker, one engine thread, one row a request as V2 JSON, Poisson arrivals."
            + (busy if study.other_cores > 0.2 else ""),
            f"A request costs a = {1e6 * queue.a:.1f} µs of CPU and a batch b = {1e6 * queue.b:.1f} µs more; "
            f"{study.cost.idle:.3f} cores do not depend on the load. {1e6 * study.cost.around:.0f} µs of each latency "
            f"are spent outside of the worker. Fitted to {len(study.fitted)} rates, held against "
            f"{len(study.held_out)} others:",
            held_table(study),
            f"![Measured and predicted]({picture})",
            f"What {target:,.0f} requests/s take, by how busy the replicas may be. Poisson arrivals that are spread at "
            "random over replicas are Poisson arrivals at each, so that one replica's figures hold for all:",
            answers(study.cost, target, price),
        ]
    )


def held_table(study: Study) -> str:
    """The points that the fit has not seen: cores, mean latency and mean batch, measured and predicted."""
    rows = []
    for point in study.held_out:
        cores, latency = study.cost.cores(point.rate), study.cost.latency(point.rate)
        errors = (cores / point.cores - 1, latency / point.latency - 1)
        figures = [f"{point.cores:.3f}", f"{cores:.3f}", f"{100 * errors[0]:+.0f} %"]
        times = [f"{1e3 * point.latency:.3f}", f"{1e3 * latency:.3f}", f"{100 * errors[1]:+.0f} %"]
        batches = [f"{point.rate / point.batches:.2f}", f"{study.cost.queue.batch(point.rate):.2f}"]
        beyond = " (beyond all fitted)" if point.rate > max(p.rate for p in study.fitted) else ""
        rows.append([f"{point.rate:,.0f}/s{beyond}", *figures, *times, *batches])
    return table(
        ["held out", "cores", "predicted", "error", "mean ms", "predicted", "error", "batch", "predicted"], rows
    )


def answers(cost: Cost, target: float, price: float) -> str:
    rows = []
    for utilisation in UTILISATIONS:
        rate = cost.rate_at(utilisation)
        replicas = math.ceil(target / rate)
        latency = f"{1e3 * cost.latency(target / replicas):.2f}"
        hour = replicas * price
        rows.append(
            [
                f"{100 * utilisation:.0f} %",
                f"{rate:,.0f}",
                str(replicas),
                latency,
                f"{hour:,.2f}",
                f"{hour * HOURS:,.0f}",
            ]
        )
    return table(["utilisation", "requests/s a replica", "replicas", "mean ms", "cost an hour", "a month"], rows)


def draw(study: Study, path: Path) -> None:
    """Cores and mean latency against the rate: the model's line, the fitted and the held-out points."""
    top = 1.06 * max(point.rate for point in (*study.fitted, *study.held_out))
    rates = np.linspace(top / 50, top, 50)
    with plt.rc_context({"font.size": 9.5}):
        figure, axes = plt.subplots(1, 2, figsize=(10.4, 4.0), layout="constrained")
        lines = ([study.cost.cores(rate) for rate in rates], [1e3 * study.cost.latency(rate) for rate in rates])
        for axis, line, title in zip(axes, lines, ("cores used", "mean latency, ms"), strict=True):
            axis.plot(rates, line, color="#3d6b8e", label="model")
            axis.set_title(title, loc="left", fontsize=10.5)
            axis.set_xlabel("requests/s (Poisson)")
            axis.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
            axis.grid(color="#eef0f2")
            axis.set_axisbelow(True)
            axis.spines[["top", "right"]].set_visible(False)
        for points, marker, colour, label in (
            (study.fitted, "o", "#2b2f36", "fitted to"), (study.held_out, "D", "#c8442e", "held out"),
        ):  # fmt: skip
            axes[0].scatter(
                [p.rate for p in points], [p.cores for p in points], marker=marker, color=colour, label=label
            )
            axes[1].scatter([p.rate for p in points], [1e3 * p.latency for p in points], marker=marker, color=colour)
        axes[0].legend(frameon=False)
        axes[0].set_ylim(bottom=0)
        axes[1].set_ylim(bottom=0, top=3e3 * max(p.latency for p in (*study.fitted, *study.held_out)))
        figure.suptitle(f"{study.name}: one worker on one core", fontsize=12, weight="bold")
        figure.supxlabel(study.where, fontsize=8, color="#6b7480")
        figure.savefig(path, dpi=150, facecolor="white")
        plt.close(figure)
