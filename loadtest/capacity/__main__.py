"""python -m loadtest.capacity --model digits --form onnx: what load costs, and what 100,000 requests/s would.

Measures one worker on one core at several rates, fits what a request and a batch cost, says by how much the fit misses
rates that it has not seen, and answers with it: replicas, memory, money. Starts the service itself, over your models;
takes about 3 minutes. The figures go into docs/capacity.md.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median

from loadtest.capacity.fit import Point, fit
from loadtest.capacity.report import Study, draw, markdown
from loadtest.openloop.loads import Load
from loadtest.progress import Progress
from loadtest.sections import replace
from loadtest.service.cores import Cores
from loadtest.service.machine import described
from loadtest.service.process import CHECKOUT, HOST, ServiceError
from loadtest.service.questions import Questioner
from loadtest.service.run import Limit, Run, Target
from loadtest.service.stand import Stand

FITTED = (0.1, 0.2, 0.3, 0.4, 0.6, 0.7)  # of what a closed loop gets
HELD_OUT = (0.5, 0.8)  # one between the fitted rates, one beyond them
ROUNDS = 3
WARMUP, AROUND, CONNECTIONS = 0.5, 0.8, 128
ANY = Limit(0.99, 0.02)  # no objective; the generator may be 2 ms late


def main(given: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        "python -m loadtest.capacity", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", required=True, help="which, as in /v2/models/MODEL")
    parser.add_argument("--form", required=True, help="its form")
    parser.add_argument("--rate", type=float, default=100_000, help="requests a second to answer for (100000)")
    parser.add_argument("--price", type=float, default=0.04, help="of a CPU-hour, an assumption (0.04)")
    parser.add_argument("--seconds", type=float, default=4.0, help="of one measurement (4)")
    parser.add_argument("--document", type=Path, default=CHECKOUT / "docs" / "capacity.md",
                        help="what holds <!-- capacity --> and <!-- /capacity --> (docs/capacity.md)")  # fmt: skip
    chosen = parser.parse_args(given)
    cores = Cores.split()
    cores = Cores(cores.service[:1], cores.generator)  # a replica of one core, whatever the machine has
    print(cores, file=sys.stderr)
    settings = {"EKIBEN_WORKERS": "1", "EKIBEN_ENGINE_THREADS": "1", "EKIBEN_FORMS": chosen.form}
    try:
        with Stand(Questioner(chosen.model, binary=False), cores, Path("build/capacity/service.log")) as stand:
            study = studied(stand.target(settings, chosen.form), chosen.seconds)
    except ServiceError as error:
        sys.exit(str(error))
    picture = chosen.document.with_name("capacity.png")
    draw(study, picture)
    text = markdown(study, chosen.rate, chosen.price, picture.name)
    replace(chosen.document, "capacity", text)
    print(text)
    print(f"written: {chosen.document}, {picture}", file=sys.stderr)


def studied(target: Target, seconds: float) -> Study:
    """Every rate in every round; the medians fitted, and some of them only predicted."""
    top = target.run(Load(HOST, target.service.port, 0.0, 32, 2.0), ANY).achieved
    runs: dict[float, list[Run]] = {}
    progress = Progress(ROUNDS * len(FITTED + HELD_OUT) * (seconds + WARMUP + AROUND))
    for number, (share, run) in enumerate(_rounds(target, top, seconds)):
        if not run.rejected:
            runs.setdefault(share, []).append(run)
        said = run.rejected or f"{run.cpu_cores:.2f} cores, {run.mean:.2f} ms"
        progress.say(f"{run.rate:,.0f}/s: {said}", (number + 1) * (seconds + WARMUP + AROUND))
    progress.close()
    points = {share: Point.of(of_share) for share, of_share in runs.items()}
    fitted, held_out = ([points[s] for s in shares if s in points] for shares in (FITTED, HELD_OUT))
    if len(fitted) < 4 or not held_out:
        raise ServiceError("too many measurements were thrown away, for the generator was late: the machine is busy")
    every = [run for of_share in runs.values() for run in of_share]
    return Study(
        name=f"{target.model}-{target.form}",
        cost=fit(fitted),
        fitted=fitted,
        held_out=held_out,
        memory_mb=median(run.memory_mb for run in every),
        other_cores=max(run.other_cores for run in every),
        where=f"{described()}; {target.cores}",
    )


def _rounds(target: Target, top: float, seconds: float) -> Iterator[tuple[float, Run]]:
    for number in range(ROUNDS):
        for share in sorted(FITTED + HELD_OUT):
            load = Load(HOST, target.service.port, share * top, CONNECTIONS, seconds, WARMUP, seed=number)
            yield share, target.run(load, ANY)


if __name__ == "__main__":
    main()
