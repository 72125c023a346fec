"""python -m loadtest.tune.sweep: every cell of a grid of two settings, and what it taught, into docs/tuning.md.

Each cell is a fresh service that is asked in a closed loop. Cells are measured in shuffled order, and the first one
three times: what it differs by from itself is the noise within which cells cannot be told apart. Interrupted, it goes
on with the same command.

  python -m loadtest.tune.sweep                            grids/iris.yaml, about 8 minutes on 2 cores
  python -m loadtest.tune.sweep my.yaml --document my.md   between the lines <!-- sweep --> and <!-- /sweep --> of my.md
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from loadtest.openloop.loads import Load
from loadtest.progress import Progress
from loadtest.sections import replace, table
from loadtest.service.cores import Cores
from loadtest.service.machine import described
from loadtest.service.process import HOST, ServiceError
from loadtest.service.questions import Questioner
from loadtest.service.run import Limit, Run
from loadtest.service.stand import Stand
from loadtest.tune import grid, heatmap
from loadtest.tune.__main__ import DOCUMENT
from loadtest.tune.grid import Cell, Swept
from loadtest.tune.journal import Journal
from loadtest.tune.lesson import lessons

GRID = Path(__file__).parent / "grids" / "iris.yaml"
ANY = Limit(0.99, 10.0)  # a sweep has no objective
START_SECONDS, WORKER_SECONDS, SHOT_SECONDS = 3.0, 1.1, 1.2  # for the time left, until the first cells have shown it


def main(given: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        "python -m loadtest.tune.sweep", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("grid", type=Path, nargs="?", default=GRID, help="YAML: the model and the two settings")
    parser.add_argument("--seconds", type=float, default=2.5, help="of one cell's measurement (2.5)")
    parser.add_argument("--out", type=Path, default=Path("build/sweep"), help="folder of the runs (build/sweep)")
    parser.add_argument("--document", type=Path, default=DOCUMENT, help="where table and text go (docs/tuning.md)")
    parser.add_argument("--fresh", action="store_true", help="measure anew what is there already")
    chosen = parser.parse_args(given)
    asked = grid.read(chosen.grid)
    cores = Cores.split()
    print(cores, file=sys.stderr)
    head = {"grid": vars(asked), "seconds": chosen.seconds, "cores": str(cores), "machine": described()}
    journal = Journal(chosen.out / f"{chosen.grid.stem}.jsonl", head, chosen.fresh)
    try:
        with Stand(Questioner(asked.model, binary=False), cores, chosen.out / "service.log") as stand:
            swept = sweep(asked, stand, journal, chosen.seconds)
    except ServiceError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(f"\ninterrupted: the same command goes on from {journal.path}")
    caption = f"{described()} · {cores}"
    picture = chosen.document.with_name(f"sweep-{chosen.grid.stem}.png")
    heatmap.draw(swept, picture, caption)
    replace(chosen.document, "sweep", f"{caption}.\n\n{rows(swept)}\n\n![Heat map]({picture.name})\n\n{lessons(swept)}")
    print(f"{rows(swept)}\n\n{lessons(swept)}")
    print(f"written: {chosen.document}, {picture}, {journal.path}", file=sys.stderr)


def sweep(asked: grid.Grid, stand: Stand, journal: Journal, seconds: float) -> Swept:
    """Measures every cell that the journal does not hold."""
    swept = Swept(asked, stand.cores.count)
    plan = asked.plan()
    expected = [START_SECONDS + SHOT_SECONDS + seconds + WORKER_SECONDS * _workers(asked, cell) for cell in plan]
    progress = Progress(sum(expected))
    for number, cell in enumerate(plan):
        key = (str(cell), str(len(swept.runs.get(cell, []))))
        run = journal.found(key)
        if run is None:
            run = _measured(asked, stand, cell, seconds)
            journal.add(key, run)
        swept.runs.setdefault(cell, []).append(run)
        words = f"{number + 1}/{len(plan)}  {asked.row}={cell[0]} {asked.column}={cell[1]}"
        progress.say(f"{words}  {run.achieved:,.0f}/s, p50 {run.p50:.2f} ms", sum(expected[: number + 1]))
    progress.close()
    if not journal.ended:
        journal.end()
    return swept


def _workers(asked: grid.Grid, cell: Cell) -> int:
    return int({**asked.fixed, asked.row: cell[0], asked.column: cell[1]}.get("workers", 1))


def _measured(asked: grid.Grid, stand: Stand, cell: Cell, seconds: float) -> Run:
    stand.close()  # the reference too is a fresh service every time
    target = stand.target(asked.environment(cell), asked.form)
    run = target.run(Load(HOST, target.service.port, 0.0, asked.concurrency, seconds), ANY)
    if run.rejected:
        raise ServiceError(f"{asked.row}={cell[0]} {asked.column}={cell[1]}: {run.rejected}")
    return run


def rows(swept: Swept) -> str:
    """Requests a second of each cell, then queue and engine time and batches without and with the longest delay."""
    asked = swept.grid
    head = [f"{asked.row} ↓ {asked.column} →", *map(str, asked.columns)]
    body = [[str(row), *(_shown(swept, (row, column)) for column in asked.columns)] for row in asked.rows]
    inner = [
        [f"{row}", f"{column}", *(f"{swept.mean((row, column), name):.{places}f}" for name, places in SHOWN.items())]
        for row in asked.rows
        for column in (asked.columns[0], asked.columns[-1])
    ]
    titles = [asked.row, asked.column, "p50 ms", "p99 ms", "batch rows", "queue ms", "engine ms a batch"]
    return f"{table(head, body)}\n\n{table([*titles, 'CPU cores', 'CPU µs a request', 'MB'], inner)}"


SHOWN = {"p50": 2, "p99": 2, "batch_rows": 1, "queue": 3, "infer": 4, "cpu_cores": 2, "cpu_us": 0, "memory_mb": 0}


def _shown(swept: Swept, cell: Cell) -> str:
    text = f"{swept.rate(cell):,.0f}"
    return f"**{text}**" if cell == swept.winner else text


if __name__ == "__main__":
    main()
