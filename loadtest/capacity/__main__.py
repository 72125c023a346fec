"""python -m loadtest.capacity --model digits --form onnx: what load costs, and what 100,000 requests/s would.

Measures one worker on one core: idle, at nine rates and saturated, in five rounds. Fits what a request and a waking
cost to six of the rates, says by how much the fit misses the other three, and answers with it: replicas, memory, money.
Starts the service itself, over your models; takes about 4 minutes. The figures go into docs/capacity.md.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import median

import numpy as np

from loadtest import figures as plots
from loadtest.capacity.fit import Cost, Point, fit, fit_queue
from loadtest.documents import Progress, add_section, command_line, render
from loadtest.machine import Cores, busy_warning, describe
from loadtest.measurement import Limit, Run, ServicePool, Target
from loadtest.openloop import Load
from loadtest.service import ServiceError, ServiceProcess, run_command
from loadtest.tune.verdict import Estimate, estimate

FITTED = (0.1, 0.2, 0.35, 0.5, 0.65, 0.75)  # of saturation, as it is measured first
# One below the fitted rates, one between and one beyond them; above it a machine whose speed drifts by a tenth would
# be saturated.
HELD_OUT = (0.05, 0.6, 0.85)
ROUNDS = 5
IDLE_SECONDS = 5.0
OVERLOAD = 1.5  # times what a closed loop gets
WARMUP, AROUND, CONNECTIONS = 0.5, 0.8, 128
PUNCTUAL = Limit(0.99, 0.02)  # no objective; the generator may be 2 ms late
LOADS = (0.4, 0.5, 0.6, 0.7, 0.8)  # of saturation, 1/a
CHOSEN = 0.7  # as in docs/fleet.md: below the saturation alert's 0.8
HOURS = 730  # of a month
MIN_RATES = 4  # rates, for the four figures that are fitted


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
    rounds: list[Round]

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
        whole = [each for each in self.rounds if len(each.points) >= MIN_RATES]
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


def main(words: Sequence[str] | None = None) -> None:
    """The command. ServiceError where too little can be measured"""
    parser = command_line("loadtest.capacity", __doc__)
    parser.add_argument("--model", required=True, help="which, as in /v2/models/MODEL")
    parser.add_argument("--form", required=True, help="its form")
    parser.add_argument("--rate", type=float, default=100_000, help="requests a second to answer for (100000)")
    parser.add_argument("--price", type=float, default=0.04, help="of a CPU-hour, an assumption (0.04)")
    parser.add_argument("--seconds", type=float, default=4.0, help="of one measurement (4)")
    add_section(parser, "capacity", "docs/capacity.md")
    options = parser.parse_args(words)
    cores = Cores.split()
    cores = Cores(cores.service[:1], cores.generator)  # a replica of one core, whatever the machine has
    print(cores, file=sys.stderr)
    settings = {"EKIBEN_WORKERS": "1", "EKIBEN_ENGINE_THREADS": "1", "EKIBEN_FORMS": options.form}
    with ServicePool(options.model, Path("build/capacity/service.log"), cores=cores) as pool:
        measured = measure(pool.target(settings, options.form), options.seconds)
    name, where = f"{options.model}-{options.form}", f"{describe()}; {cores}"
    study = Study(name, where, measured, fit(measured.fitted, measured.saturation, measured.idle))
    picture = options.document.path.with_name("capacity.png")
    draw(study, picture)
    options.document.publish(markdown(study, options.rate, options.price, picture.name), picture)


def measure(target: Target, seconds: float) -> Measured:
    """Every rate in every round, and the medians over the rounds. ServiceError if too few runs count"""
    idle = _idle(target.service)
    offered = OVERLOAD * target.run(Load(0.0, 32, 2.0), PUNCTUAL).achieved
    saturations = _saturations(target, offered, seconds, 3)
    top = median(saturations)
    runs: dict[float, list[Run]] = {}
    rounds: list[Round] = []
    with Progress(ROUNDS * len(FITTED + HELD_OUT) * (seconds + WARMUP + AROUND)) as progress:
        for number in range(ROUNDS):
            of_round = list(_round(target, top, seconds, number, progress))
            for share, run in of_round:
                runs.setdefault(share, []).append(run)
            saturations += _saturations(target, offered, seconds, 1)
            points = [Point.of([run]) for share, run in of_round if share in FITTED]
            rounds.append(Round([point for point in points if point.kept_up], saturations[-1]))
    fitted, held_out = ([Point.of(runs[share]) for share in shares if share in runs] for shares in (FITTED, HELD_OUT))
    fitted = [point for point in fitted if point.kept_up]
    if len(fitted) < MIN_RATES or len(held_out) < len(HELD_OUT):
        raise ServiceError(
            f"{len(fitted)} of {len(FITTED)} rates can be fitted and {len(held_out)} of {len(HELD_OUT)} held out: at "
            "the others the generator was late or the worker fell behind: the machine is busy"
        )
    every = [run for of_share in runs.values() for run in of_share]
    memory, background = (max(getattr(run, name) for run in every) for name in ("memory_mb", "background_cores"))
    return Measured(idle, median(saturations), fitted, held_out, memory, background, rounds)


def _idle(service: ServiceProcess) -> float:
    spent, began = service.cpu_seconds(), time.monotonic()
    time.sleep(IDLE_SECONDS)
    return (service.cpu_seconds() - spent) / (time.monotonic() - began)


def _saturations(target: Target, offered: float, seconds: float, count: int) -> list[float]:
    """What is answered of more than can be. A closed loop gets what it gets by how many connections ask."""
    # Without a warm-up, whose requests would be answered within the time that is measured.
    load = Load(offered, CONNECTIONS, seconds, 0.0, patience=seconds)
    return [target.run(load, PUNCTUAL).achieved for _ in range(count)]


def _round(target: Target, top: float, seconds: float, number: int, progress: Progress) -> Iterator[tuple[float, Run]]:
    """The runs of every share of the saturation, of those that count."""
    shares = sorted(FITTED + HELD_OUT)
    for place, share in enumerate(shares):
        load = Load(share * top, CONNECTIONS, seconds, WARMUP, seed=number)
        run = target.run(load, PUNCTUAL)
        counts = not run.rejected and math.isfinite(run.p50)
        words = f"{run.cpu_cores:.2f} cores, {run.p50:.2f} ms" if counts else run.rejected or "half was not answered"
        seconds_done = (number * len(shares) + place + 1) * (seconds + WARMUP + AROUND)
        progress.tell(f"{run.rate:,.0f}/s: {words}", seconds_done)
        if counts:
            yield share, run


def markdown(study: Study, target: float, price: float, picture: str) -> str:
    """The whole section: replicas and their price, the fit and its errors, and what other loads would take."""
    measured, top = study.measured, CHOSEN * study.cost.queue.saturation
    values = {"target": target, "price": price, "chosen": CHOSEN, "hours": HOURS, "picture": picture}
    values |= {"busy": busy_warning(measured.background_cores), "answer": Answer.of(study, CHOSEN, target)}
    answers = [Answer.of(study, load, target) for load in LOADS]
    below = [point for point in measured.points if point.rate <= top]
    return render(Path(__file__).with_name("report.md"), study=study, answers=answers, below_chosen=below, **values)


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
        axes[0].set(ylim=(0, 1.05))
        axes[1].set(ylim=(0, 1.5e3 * max(point.latency for point in measured.points)))
        axes[0].legend()


if __name__ == "__main__":
    run_command(main)
