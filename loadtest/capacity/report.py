"""The fit, its errors, and the answer: how many replicas, what they cost, and a plot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from loadtest import figures as plots
from loadtest.capacity.fit import Cost, Point
from loadtest.capacity.interval import Replicas, replicas, saturation
from loadtest.capacity.measure import Measured
from loadtest.documents import table
from loadtest.machine import busy_warning
from loadtest.tune.verdict import Estimate

LOADS = (0.4, 0.5, 0.6, 0.7, 0.8)  # of saturation, 1/a
CHOSEN = 0.7  # as in docs/fleet.md: below the saturation alert's 0.8
HOURS = 730  # of a month


@dataclass(frozen=True)
class Study:
    """What was measured of one model's form, with one worker on one core, and what was made of it."""

    name: str
    where: str
    measured: Measured
    cost: Cost

    @cached_property
    def sure(self) -> Estimate:
        """1/a with its interval over the rounds."""
        return saturation(self.measured)


@dataclass(frozen=True)
class Answer:
    """What a load takes: requests/s of each replica."""

    load: float
    replicas: Replicas
    rate: float

    @classmethod
    def of(cls, study: Study, load: float, target: float) -> Answer:
        """As few replicas as give none more than this share of saturation, nor more than was measured."""
        found = replicas(target, load, study.cost.queue.saturation, study.measured.highest, study.sure)
        return cls(load, found, target / found.number)


def markdown(study: Study, target: float, price: float, picture: str) -> str:
    """The whole section."""
    return "\n\n".join(
        [
            headline(study, target, price),
            f"{study.where}; one worker, one engine thread, one row a request as V2 JSON, Poisson arrivals."
            + (f" {busy}" if (busy := busy_warning(study.measured.background_cores)) else ""),
            costs(study),
            held_table(study),
            f"![Measured and predicted]({picture})",
            f"What {target:,.0f} requests/s take, by what share of saturation, 1/a, a replica gets at most; none gets "
            f"more than the highest rate measured, {study.measured.highest:,.0f}/s. Poisson arrivals that are "
            "spread at random over replicas are Poisson arrivals at each, so that one replica's figures hold for all:",
            answers(study, target, price),
        ]
    )


def headline(study: Study, target: float, price: float) -> str:
    """How many replicas, what they cost, and how far off the model is."""
    answer = Answer.of(study, CHOSEN, target)
    number, latency = answer.replicas.number, study.cost.latency(answer.rate)
    within = [point for point in study.measured.points if point.rate <= CHOSEN * study.cost.queue.saturation]
    error = _worst(within, study.cost, "latency")
    memory = number * study.measured.memory_mb / 1024
    return (
        f"**{target:,.0f} requests/s of {study.name} need {answer.replicas} replicas** of one core at "
        f"{100 * CHOSEN:.0f} % of saturation, with {memory:,.1f} GiB of memory in all. At an assumed {price:g} a "
        f"CPU-hour that is {number * price:,.2f} an hour, {number * price * HOURS:,.0f} a month. Each uses "
        f"{study.cost.cores(answer.rate):.2f} cores; half of the requests are answered within "
        f"{1e3 * latency:.2f} ms, by a model that is up to {error:.0f} % off at the rates measured up to there."
    )


def costs(study: Study) -> str:
    """The fitted figures, and by how much they miss what they were fitted to."""
    cost, queue, measured = study.cost, study.cost.queue, study.measured
    cores, latency = (f"{_worst(measured.fitted, cost, name):.0f} %" for name in ("cores", "latency"))
    missed = _error(queue.saturation, measured.saturation)
    return (
        f"A request costs a = {1e6 * queue.a:.1f} µs of CPU and each waking c = {1e6 * queue.c:.0f} µs more; idle, the "
        f"service takes {measured.idle:.3f} cores. Two constants bend the curve of the "
        f"median latency and are measured by nobody: {queue.variation:.1f} in the place of a variance, and "
        f"{1e6 * cost.around:+.0f} µs beside the queue. Offered more than "
        f"it can do, the worker answers {measured.saturation:,.0f}/s; 1/a is {queue.saturation:,.0f}/s ({missed}). "
        f"Fitted to that and to {len(measured.fitted)} rates, of which it misses the cores by up to {cores} and the "
        f"median latency by up to {latency}, and held against {len(measured.held_out)} others. "
        f"{_sureness(study.sure)}"
    )


def _sureness(sure: Estimate) -> str:
    """How sure 1/a is, and how it is known."""
    if not sure.known:
        return f"There is no interval, of {sure.rounds} rounds:"
    return (
        f"Fitted to each of {sure.rounds} rounds alone, 1/a is {sure.low:,.0f} to {sure.high:,.0f}/s (95 %, Student's "
        "t on logarithms), from which the intervals of the replicas follow:"
    )


def _worst(points: Sequence[Point], cost: Cost, name: str) -> float:
    """The largest error in %."""
    return 100 * max(abs(getattr(cost, name)(point.rate) / getattr(point, name) - 1) for point in points)


def held_table(study: Study) -> str:
    """The points that the fit has not seen: cores, the rate that those cores stand for, and the latency."""
    cost, rates = study.cost, [point.rate for point in study.measured.fitted]
    rows = []
    for point in study.measured.held_out:
        name = f"{point.rate:,.0f}/s" + ("" if point.kept_up else f" of {point.offered:,.0f}/s offered")
        name += (
            " (beyond all fitted)"
            if point.rate > max(rates)
            else " (below all fitted)"
            if point.rate < min(rates)
            else ""
        )
        cores, latency = cost.cores(point.rate), cost.latency(point.rate)
        used = [f"{point.cores:.3f}", f"{cores:.3f}", _error(cores, point.cores)]
        stands = _error(cost.rate_at(point.cores), point.rate)
        times = [f"{1e3 * point.latency:.3f}", f"{1e3 * latency:.3f}", _error(latency, point.latency)]
        rows.append([name, *used, stands, *times, f"{1e3 * point.mean:.3f}"])
    head = ["held out", "cores", "predicted", "error", "error as a rate"]
    return table([*head, "median ms", "predicted", "error", "mean ms, not predicted"], rows)


def _error(predicted: float, measured: float) -> str:
    return f"{100 * (predicted / measured - 1):+.0f} %"


def answers(study: Study, target: float, price: float) -> str:
    """What the target takes at several shares of saturation."""
    rows = []
    for load in LOADS:
        answer = Answer.of(study, load, target)
        hour = answer.replicas.number * price
        latency = f"{1e3 * study.cost.latency(answer.rate):.2f}"
        cores = f"{study.cost.cores(answer.rate):.2f}"
        money = [f"{hour:,.2f}", f"{hour * HOURS:,.0f}"]
        rows.append([f"{100 * load:.0f} %", str(answer.replicas), f"{answer.rate:,.0f}", cores, latency, *money])
    head = ["of saturation, at most", "replicas (95 %)", "requests/s of each", "cores of each", "median ms"]
    return table([*head, "cost an hour", "a month"], rows)


def draw(study: Study, path: Path) -> None:
    """Cores and median latency against the rate: the model's lines, both kinds of points, and the saturation."""
    measured, cost = study.measured, study.cost
    rates = np.linspace(measured.saturation / 100, measured.saturation, 200)
    lines = ([cost.cores(rate) for rate in rates], [1e3 * cost.latency(rate) for rate in rates])
    title = f"{study.name}: one worker on one core"
    with plots.figure(path, title, study.where, (10.4, 4.0), ncols=2) as axes:
        for axis, line, words in zip(axes, lines, ("cores used", "median latency, ms"), strict=True):
            axis.plot(rates, line, color=plots.BLUE, label="model")
            axis.axvline(measured.saturation, color=plots.GREY, linestyle=":", label="saturation, measured")
            axis.set(title=words, xlabel="requests/s (Poisson)")
            plots.plain_numbers(axis, x="{x:,.0f}")
        for points, marker, colour, label in (
            (measured.fitted, "o", plots.INK, "fitted to"), (measured.held_out, "D", plots.RED, "held out"),
        ):  # fmt: skip
            at, look = [point.rate for point in points], {"marker": marker, "color": colour, "label": label}
            axes[0].scatter(at, [point.cores for point in points], **look)
            axes[1].scatter(at, [1e3 * point.latency for point in points], **look)
        axes[0].legend()
        axes[0].set_ylim(0, 1.05)
        axes[1].set_ylim(0, 1.5e3 * max(point.latency for point in measured.points))
