"""python -m loadtest.capacity --model digits --form onnx: what load costs, and what 100,000 requests/s would.

Measures one worker on one core: idle, at nine rates and saturated, in five rounds. Fits what a request and a waking
cost to six of the rates, says by how much the fit misses the other three, and answers with it: replicas, memory, money.
Starts the service itself, over your models; takes about 4 minutes. The figures go into docs/capacity.md.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from math import isfinite
from pathlib import Path
from statistics import median

from loadtest.capacity.fit import Point, fit
from loadtest.capacity.report import FEWEST, Measured, Round, Study, draw, markdown
from loadtest.documents import Progress, add_section, command_line
from loadtest.machine import Cores, describe
from loadtest.measurement import Limit, Run, ServicePool, Target
from loadtest.openloop import Load
from loadtest.service import ServiceError, ServiceProcess, run_command
from loadtest.workload import Workload

FITTED = (0.1, 0.2, 0.35, 0.5, 0.65, 0.75)  # of saturation, as it is measured first
# One below the fitted rates, one between and one beyond them; above it a machine whose speed drifts by a tenth would
# be saturated.
HELD_OUT = (0.05, 0.6, 0.85)
ROUNDS = 5
IDLE_SECONDS = 5.0
OVERLOAD = 1.5  # times what a closed loop gets
WARMUP, AROUND, CONNECTIONS = 0.5, 0.8, 128
PUNCTUAL = Limit(0.99, 0.02)  # no objective; the generator may be 2 ms late


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
    workload = Workload(options.model, binary=False)
    with ServicePool(workload, cores, Path("build/capacity/service.log")) as pool:
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
    if len(fitted) < FEWEST or len(held_out) < len(HELD_OUT):
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
        counts = not run.rejected and isfinite(run.p50)
        words = f"{run.cpu_cores:.2f} cores, {run.p50:.2f} ms" if counts else run.rejected or "half was not answered"
        seconds_done = (number * len(shares) + place + 1) * (seconds + WARMUP + AROUND)
        progress.tell(f"{run.rate:,.0f}/s: {words}", seconds_done)
        if counts:
            yield share, run


if __name__ == "__main__":
    run_command(main)
