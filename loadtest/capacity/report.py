"""What was measured and fitted of one model's form, as a section of a document, and as a plot."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from loadtest import figures as plots
from loadtest.capacity.fit import Cost, Point, fit_queue
from loadtest.documents import render
from loadtest.machine import busy_warning
from loadtest.tune.verdict import Estimate, estimate

LOADS = (0.4, 0.5, 0.6, 0.7, 0.8)  # of saturation, 1/a
CHOSEN = 0.7  # as in docs/fleet.md: below the saturation alert's 0.8
HOURS = 730  # of a month
FEWEST = 4  # rates, for the four figures that are fitted


@dataclass(frozen=True)
class Round:
    """What one round measured: the points that can be fitted, and the requests/s answered when more was offered."""

    points: list[Point]
    saturation: float


@dataclass(frozen=True)
class Measured:
    """idle: cores of a worker that nobody asks. saturation: requests/s that it answers when offered more, the median of
    before all others and of every round. fitted: only where worker and generator kept up.

    memory_mb: the most that it held; background_cores: the most that other programs took meanwhile.
    """

    idle: float
    saturation: float
    fitted: list[Point]
    held_out: list[Point]
    memory_mb: float
    background_cores: float
    rounds: list[Round] = field(default_factory=list)

    @property
    def points(self) -> list[Point]:
        """Fitted and held out."""
        return [*self.fitted, *self.held_out]

    @property
    def highest(self) -> float:
        """Requests/s that were offered, and answered."""
        return max(point.rate for point in self.points if point.kept_up)

    @cached_property
    def sure(self) -> Estimate:
        """1/a in requests/s, fitted to every round alone, with its 95 % interval over the rounds.

        A machine's speed drifts, and all that a round measures shares its drift: a round is one observation, and the
        errors of the single rates, of which there are more, are not. Not `known` of fewer than three rounds.
        """
        whole = [each for each in self.rounds if len(each.points) >= FEWEST]
        return estimate([fit_queue(each.points, each.saturation, self.idle).saturation for each in whole])


@dataclass(frozen=True)
class Study:
    """What was measured of one model's form, with one worker on one core, and what was made of it."""

    name: str
    where: str
    measured: Measured
    cost: Cost

    def error(self, name: str, points: Sequence[Point]) -> float:
        """The largest by which the fit misses `cores` or `latency` at these points, as a share."""
        return max(abs(getattr(self.cost, name)(point.rate) / getattr(point, name) - 1) for point in points)


@dataclass(frozen=True)
class Answer:
    """What a load takes: the fewest replicas, the ends of their 95 % interval (0: unknown), requests/s of each."""

    load: float
    number: int
    low: int
    high: int
    rate: float

    @classmethod
    def of(cls, study: Study, load: float, target: float) -> Answer:
        """So many that none gets more than this share of saturation, nor more than was measured."""
        fitted, most, sure = study.cost.queue.saturation, study.measured.highest, study.measured.sure

        def fewest(saturation: float) -> int:
            return math.ceil(target / min(load * saturation, most))

        number = fewest(fitted)
        if not sure.known:
            return cls(load, number, 0, 0, target / number)
        low, high = (fewest(fitted * end / sure.mean) for end in (sure.high, sure.low))
        return cls(load, number, low, high, target / number)

    @property
    def replicas(self) -> str:
        """`8 (7 to 9)`"""
        return f"{self.number} ({self.low} to {self.high})" if self.high else f"{self.number}"


def markdown(study: Study, target: float, price: float, picture: str) -> str:
    """The whole section: replicas and their price, the fit and its errors, and what other loads would take."""
    measured, top = study.measured, CHOSEN * study.cost.queue.saturation
    return render(
        Path(__file__).with_name("report.md"),
        study=study,
        measured=measured,
        cost=study.cost,
        queue=study.cost.queue,
        answer=Answer.of(study, CHOSEN, target),
        answers=[Answer.of(study, load, target) for load in LOADS],
        below_chosen=[point for point in measured.points if point.rate <= top],
        fitted_rates=[point.rate for point in measured.fitted],
        busy=busy_warning(measured.background_cores),
        target=target,
        price=price,
        chosen=CHOSEN,
        hours=HOURS,
        picture=picture,
    )


def draw(study: Study, path: Path) -> None:
    """Cores and median latency against the rate: the model's lines, both kinds of points, and the saturation."""
    measured, cost = study.measured, study.cost
    rates = np.linspace(measured.saturation / 100, measured.saturation, 200)
    title = f"{study.name}: one worker on one core"
    with plots.figure(path, title, study.where, (10.4, 4.0), ncols=2) as axes:
        for axis, name, scale, words in zip(
            axes, ("cores", "latency"), (1, 1e3), ("cores used", "median latency, ms"), strict=True
        ):
            axis.plot(rates, [scale * getattr(cost, name)(rate) for rate in rates], color=plots.BLUE, label="model")
            axis.axvline(measured.saturation, color=plots.GREY, linestyle=":", label="saturation, measured")
            for points, marker, colour, label in (
                (measured.fitted, "o", plots.INK, "fitted to"), (measured.held_out, "D", plots.RED, "held out"),
            ):  # fmt: skip
                values = [scale * getattr(point, name) for point in points]
                axis.scatter([p.rate for p in points], values, marker=marker, color=colour, label=label)
            axis.set(title=words, xlabel="requests/s (Poisson)")
            plots.plain_numbers(axis, x="{x:,.0f}")
        axes[0].legend()
        axes[0].set_ylim(0, 1.05)
        axes[1].set_ylim(0, 1.5e3 * max(point.latency for point in measured.points))
