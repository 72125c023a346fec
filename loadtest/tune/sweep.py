"""python -m loadtest.tune.sweep: every cell of a grid of two settings, and which wins, into docs/tuning.md.

Each cell is a fresh service that is asked in a closed loop. Cells are measured in shuffled order, and the first one
three times: what it differs by from itself is the noise within which cells cannot be told apart. Interrupted, it goes
on with the same command.

  python -m loadtest.tune.sweep                            grids/iris.yaml, about 8 minutes on 2 cores
  python -m loadtest.tune.sweep my.yaml --document my.md   between the lines <!-- sweep --> and <!-- /sweep --> of my.md
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.patches import Rectangle

from loadtest import figures as plots
from loadtest.documents import command_line, replace_section, table
from loadtest.machine import Cores, describe
from loadtest.measurement import Limit, Run
from loadtest.openloop.load import Load
from loadtest.pool import ServicePool
from loadtest.progress import Progress
from loadtest.service import HOST, ServiceError
from loadtest.tune import grid
from loadtest.tune.__main__ import DOCUMENT
from loadtest.tune.grid import Cell, Swept, summary
from loadtest.tune.trials import Journal
from loadtest.workload import Workload

GRID = Path(__file__).parent / "grids" / "iris.yaml"
ANY = Limit(0.99, 10.0)  # a sweep has no objective
START_SECONDS, WORKER_SECONDS, SHOT_SECONDS = 3.0, 1.1, 1.2  # for the time left, until the first cells have shown it


def main(words: Sequence[str] | None = None) -> None:
    """The command. SystemExit where the service does not start"""
    parser = command_line("loadtest.tune.sweep", __doc__)
    parser.add_argument("grid", type=Path, nargs="?", default=GRID, help="YAML: the model and the two settings")
    parser.add_argument("--seconds", type=float, default=2.5, help="of one cell's measurement (2.5)")
    parser.add_argument("--out", type=Path, default=Path("build/sweep"), help="folder of the runs (build/sweep)")
    parser.add_argument("--document", type=Path, default=DOCUMENT, help="where table and text go (docs/tuning.md)")
    parser.add_argument("--fresh", action="store_true", help="measure anew what is there already")
    options = parser.parse_args(words)
    plan = grid.read(options.grid)
    cores = Cores.split()
    print(cores, file=sys.stderr)
    head = {"grid": vars(plan), "seconds": options.seconds, "cores": str(cores), "machine": describe()}
    journal = Journal(options.out / f"{options.grid.stem}.jsonl", head, options.fresh)
    try:
        with ServicePool(Workload(plan.model, binary=False), cores, options.out / "service.log") as pool:
            swept = sweep(plan, pool, journal, options.seconds)
    except ServiceError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(f"\ninterrupted: the same command goes on from {journal.path}")
    caption = f"{describe()} · {cores}"
    picture = options.document.with_name(f"sweep-{options.grid.stem}.png")
    draw(swept, picture, caption)
    text = f"{summary(swept)}\n\n{rows(swept)}"
    replace_section(options.document, "sweep", f"{caption}. {text}\n\n![Heat map]({picture.name})")
    print(text)
    print(f"written: {options.document}, {picture}, {journal.path}", file=sys.stderr)


def sweep(axes: grid.Grid, pool: ServicePool, journal: Journal, seconds: float) -> Swept:
    """Measures every cell that the journal does not hold."""
    swept = Swept(axes, pool.cores.count)
    plan = axes.plan()
    expected = [START_SECONDS + SHOT_SECONDS + seconds + WORKER_SECONDS * _workers(axes, cell) for cell in plan]
    progress = Progress(sum(expected))
    for number, cell in enumerate(plan):
        key = (str(cell), str(len(swept.runs.get(cell, []))))
        run = journal.get(key)
        if run is None:
            run = _measured(axes, pool, cell, seconds)
            journal.add(key, run)
        swept.runs.setdefault(cell, []).append(run)
        words = f"{number + 1}/{len(plan)}  {axes.row}={cell[0]} {axes.column}={cell[1]}"
        progress.tell(f"{words}  {run.achieved:,.0f}/s, p50 {run.p50:.2f} ms", sum(expected[: number + 1]))
    progress.close()
    if not journal.ended:
        journal.end()
    return swept


def _workers(axes: grid.Grid, cell: Cell) -> int:
    return int({**axes.fixed, axes.row: cell[0], axes.column: cell[1]}.get("workers", 1))


def _measured(axes: grid.Grid, pool: ServicePool, cell: Cell, seconds: float) -> Run:
    pool.close()  # the reference too is a fresh service every time
    target = pool.target(axes.environment(cell), axes.form)
    run = target.run(Load(HOST, target.service.port, 0.0, axes.concurrency, seconds), ANY)
    if run.rejected:
        raise ServiceError(f"{axes.row}={cell[0]} {axes.column}={cell[1]}: {run.rejected}")
    return run


def rows(swept: Swept) -> str:
    """Requests a second of each cell, then queue and engine time and batches without and with the longest delay."""
    axes = swept.grid
    head = [f"{axes.row} ↓ {axes.column} →", *map(str, axes.columns)]
    body = [[str(row), *(_shown(swept, (row, column)) for column in axes.columns)] for row in axes.rows]
    inner = [
        [f"{row}", f"{column}", *(f"{swept.mean((row, column), name):.{places}f}" for name, places in SHOWN.items())]
        for row in axes.rows
        for column in (axes.columns[0], axes.columns[-1])
    ]
    titles = [axes.row, axes.column, "p50 ms", "p99 ms", "batch rows", "queue ms", "engine ms a batch"]
    return f"{table(head, body)}\n\n{table([*titles, 'CPU cores', 'CPU µs a request', 'MB'], inner)}"


SHOWN = {"p50": 2, "p99": 2, "batch_rows": 1, "queue": 3, "infer": 4, "cpu_cores": 2, "cpu_us": 0, "memory_mb": 0}


def _shown(swept: Swept, cell: Cell) -> str:
    text = f"{swept.rate(cell):,.0f}"
    return f"**{text}**" if cell == swept.winner else text


def draw(swept: Swept, path: Path, caption: str) -> None:
    """The heat maps: requests a second, and the median latency beside it."""
    axes = swept.grid
    title = f"{axes.model}-{axes.form}: {axes.row} × {axes.column}, closed loop of {axes.concurrency}"
    with plots.figure(path, title, caption, (12.4, 0.55 * len(axes.rows) + 2.2), ncols=2) as panels:
        _panel(panels[0], swept, "achieved", "requests/s", "YlGnBu", "{:,.0f}")
        _panel(panels[1], swept, "p50", "median latency, ms", "YlOrRd", "{:.2f}")


def _panel(axes: plots.Axes, swept: Swept, name: str, title: str, colours: str, shape: str) -> None:
    """The winner's cell has a frame. A value's ink is what can be read on its colour."""
    grid = swept.grid
    values = np.array([[swept.mean((row, column), name) for column in grid.columns] for row in grid.rows])
    axes.imshow(values, cmap=colours, aspect="auto")
    low, high = values.min(), values.max()
    for (row, column), value in np.ndenumerate(values):
        dark = (value - low) / (high - low or 1) > 0.6
        axes.text(column, row, shape.format(value), ha="center", va="center", color="white" if dark else plots.INK)
    row, column = grid.rows.index(swept.winner[0]), grid.columns.index(swept.winner[1])
    axes.add_patch(Rectangle((column - 0.48, row - 0.46), 0.96, 0.92, fill=False, edgecolor=plots.RED, linewidth=2.2))
    axes.set(xlabel=grid.column, ylabel=grid.row, title=title)
    axes.set_xticks(range(len(grid.columns)), grid.columns)
    axes.set_yticks(range(len(grid.rows)), grid.rows)
    axes.grid(False)


if __name__ == "__main__":
    main()
