"""What one worker on one core takes at rates between nothing and all that it can do."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import isfinite
from statistics import median

from loadtest.capacity.fit import Point
from loadtest.measurement import Limit, Run
from loadtest.openloop.load import Load
from loadtest.pool import Target
from loadtest.progress import Progress
from loadtest.service import HOST, ServiceError, ServiceProcess

FITTED = (0.1, 0.2, 0.35, 0.5, 0.65, 0.75)  # of saturation, as it is measured first
# One below the fitted rates, one between and one beyond them; above it a machine whose speed drifts by a tenth would
# be saturated.
HELD_OUT = (0.05, 0.6, 0.85)
FEWEST = 4  # rates, for the four figures that are fitted
ROUNDS = 5
IDLE_SECONDS = 5.0
OVERLOAD = 1.5  # times what a closed loop gets
WARMUP, AROUND, CONNECTIONS = 0.5, 0.8, 128
ANY = Limit(0.99, 0.02)  # no objective; the generator may be 2 ms late


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


def measure(target: Target, seconds: float) -> Measured:
    """Every rate in every round, and the medians over the rounds. ServiceError if too few runs count"""
    idle = _idle(target.service)
    offered = OVERLOAD * target.run(Load(HOST, target.service.port, 0.0, 32, 2.0), ANY).achieved
    saturations = _saturations(target, offered, seconds, 3)
    top = median(saturations)
    runs: dict[float, list[Run]] = {}
    rounds: list[Round] = []
    progress = Progress(ROUNDS * len(FITTED + HELD_OUT) * (seconds + WARMUP + AROUND))
    for number in range(ROUNDS):
        of_round = list(_round(target, top, seconds, number, progress))
        for share, run in of_round:
            runs.setdefault(share, []).append(run)
        saturations += _saturations(target, offered, seconds, 1)
        points = [Point.of([run]) for share, run in of_round if share in FITTED]
        rounds.append(Round([point for point in points if point.kept_up], saturations[-1]))
    progress.close()
    fitted, held_out = ([Point.of(runs[share]) for share in shares if share in runs] for shares in (FITTED, HELD_OUT))
    fitted = [point for point in fitted if point.kept_up]
    if len(fitted) < FEWEST or len(held_out) < len(HELD_OUT):
        raise ServiceError(
            f"{len(fitted)} of {len(FITTED)} rates can be fitted and {len(held_out)} of {len(HELD_OUT)} held out: at "
            "the others the generator was late or the worker fell behind: the machine is busy"
        )
    every = [run for of_share in runs.values() for run in of_share]
    return Measured(
        idle=idle,
        saturation=median(saturations),
        fitted=fitted,
        held_out=held_out,
        memory_mb=max(run.memory_mb for run in every),
        background_cores=max(run.background_cores for run in every),
        rounds=rounds,
    )


def _idle(service: ServiceProcess) -> float:
    spent, began = service.cpu_seconds(), time.monotonic()
    time.sleep(IDLE_SECONDS)
    return (service.cpu_seconds() - spent) / (time.monotonic() - began)


def _saturations(target: Target, offered: float, seconds: float, count: int) -> list[float]:
    """What is answered of more than can be. A closed loop gets what it gets by how many connections ask."""
    # Without a warm-up, whose requests would be answered within the time that is measured.
    load = Load(HOST, target.service.port, offered, CONNECTIONS, seconds, 0.0, patience=seconds)
    return [target.run(load, ANY).achieved for _ in range(count)]


def _round(target: Target, top: float, seconds: float, number: int, progress: Progress) -> Iterator[tuple[float, Run]]:
    """The runs of every share of the saturation, of those that count."""
    shares = sorted(FITTED + HELD_OUT)
    for place, share in enumerate(shares):
        run = target.run(Load(HOST, target.service.port, share * top, CONNECTIONS, seconds, WARMUP, seed=number), ANY)
        counts = not run.rejected and isfinite(run.p50)
        words = f"{run.cpu_cores:.2f} cores, {run.p50:.2f} ms" if counts else run.rejected or "half was not answered"
        done = (number * len(shares) + place + 1) * (seconds + WARMUP + AROUND)
        progress.tell(f"{run.rate:,.0f}/s: {words}", done)
        if counts:
            yield share, run
