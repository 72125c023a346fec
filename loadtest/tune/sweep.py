"""python -m loadtest.tune.sweep: every cell of a grid of two settings, and which wins, into docs/tuning.md.

Each cell is a fresh service that is asked in a closed loop. Cells are measured in shuffled order, and the first one
three times: what it differs by from itself is the noise within which cells cannot be told apart. Interrupted, it goes
on with the same command.

  python -m loadtest.tune.sweep                            grids/iris.yaml, about 8 minutes on 2 cores
  python -m loadtest.tune.sweep my.yaml --document my.md   between the lines <!-- sweep --> and <!-- /sweep --> of my.md
"""

from __future__ import annotations

import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import yaml
from matplotlib.patches import Rectangle

from loadtest import figures as plots
from loadtest.documents import Progress, add_section, command_line, render, table
from loadtest.machine import Cores, busy_warning, describe
from loadtest.measurement import Run, ServicePool
from loadtest.service import run_command
from loadtest.tune.search import Journal
from loadtest.tune.space import variables

GRID = Path(__file__).parent / "grids" / "iris.yaml"
KEYS = {"model", "form", "concurrency", "fixed", "rows", "columns"}
SHOWN = {"p50": 2, "p99": 2, "batch_rows": 1, "queue": 3, "infer": 4, "cpu_cores": 2, "cpu_us": 0, "memory_mb": 0}
REFERENCES = 3  # measurements of the first cell, spread over the sweep: what they differ by is noise
Cell = tuple[Any, Any]


@dataclass(frozen=True)
class Grid:
    """Two settings with their values, the rest fixed, in a closed loop of `concurrency` connections."""

    model: str
    form: str
    concurrency: int
    fixed: dict[str, Any]
    row: str
    rows: list[Any]
    column: str
    columns: list[Any]

    @property
    def reference(self) -> Cell:
        """The cell that is measured again and again."""
        return self.rows[0], self.columns[0]

    def plan(self) -> list[Cell]:
        """Every cell, shuffled so that no drift of the machine looks like an axis; the reference again and again."""
        cells = [(row, column) for row in self.rows for column in self.columns if (row, column) != self.reference]
        random.Random(0).shuffle(cells)  # noqa: S311
        every = len(cells) // (REFERENCES - 1)
        for number in range(REFERENCES):
            cells.insert(number * (every + 1), self.reference)
        return cells

    def environment(self, cell: Cell) -> dict[str, str]:
        """The variables that start the service for a cell."""
        values = [*self.fixed.items(), (self.row, cell[0]), (self.column, cell[1])]
        return {"EKIBEN_FORMS": self.form, **variables(values)}

    def named(self, cell: Cell) -> str:
        """`workers=1 queue_delay_us=0`"""
        return f"{self.row}={cell[0]} {self.column}={cell[1]}"


def read(path: Path) -> Grid:
    """SystemExit names the file and the key that is missing, unknown or no list."""
    document = yaml.safe_load(path.read_text()) if path.exists() else None
    if not isinstance(document, dict) or set(document) != KEYS:
        raise SystemExit(f"{path} must be a file with the keys {', '.join(sorted(KEYS))}")
    for axis in ("rows", "columns"):
        if len(document[axis]) != 1 or not all(isinstance(values, list) for values in document[axis].values()):
            raise SystemExit(f"{path}: {axis} must be one setting and a list of its values")
    (row, rows), (column, columns) = next(iter(document["rows"].items())), next(iter(document["columns"].items()))
    common = {key: document[key] for key in ("model", "form", "concurrency", "fixed")}
    return Grid(**common, row=row, rows=rows, column=column, columns=columns)


@dataclass
class Swept:
    """A grid with the runs of each cell."""

    grid: Grid
    runs: dict[Cell, list[Run]] = field(default_factory=dict)

    def rate(self, cell: Cell) -> float:
        """Mean requests a second."""
        return self.mean(cell, "achieved")

    def mean(self, cell: Cell, name: str) -> float:
        """Of a figure over the runs of a cell."""
        return fmean(getattr(run, name) for run in self.runs[cell])

    @property
    def noise(self) -> float:
        """Share by which the reference's own measurements differ, highest against lowest."""
        rates = [run.achieved for run in self.runs[self.grid.reference]]
        return max(rates) / min(rates) - 1

    @property
    def best(self) -> Cell:
        """The cell with the highest rate, by luck or not."""
        return max(self.runs, key=self.rate)

    @property
    def winner(self) -> Cell:
        """The simplest cell that noise does not tell from the best: the fewest rows' value, then the columns'."""
        grid, enough = self.grid, self.rate(self.best) / (1 + self.noise)
        alike = [cell for cell in self.runs if self.rate(cell) >= enough]
        return min(alike, key=lambda cell: (grid.rows.index(cell[0]), grid.columns.index(cell[1])))

    @property
    def place_of_winner(self) -> tuple[int, int]:
        """Its row and column."""
        return self.grid.rows.index(self.winner[0]), self.grid.columns.index(self.winner[1])


def main(words: Sequence[str] | None = None) -> None:
    """The command. ServiceError where the service does not start"""
    parser = command_line("loadtest.tune.sweep", __doc__)
    parser.add_argument("grid", type=Path, nargs="?", default=GRID, help="YAML: the model and the two settings")
    parser.add_argument("--seconds", type=float, default=2.5, help="of one cell's measurement (2.5)")
    parser.add_argument("--out", type=Path, default=Path("build/sweep"), help="folder of the runs (build/sweep)")
    add_section(parser, "sweep", "docs/tuning.md")
    parser.add_argument("--fresh", action="store_true", help="measure anew what is there already")
    options = parser.parse_args(words)
    grid, cores = read(options.grid), Cores.split()
    print(cores, file=sys.stderr)
    head = {"grid": vars(grid), "seconds": options.seconds, "cores": str(cores), "machine": describe()}
    journal = Journal(options.out / f"{options.grid.stem}.jsonl", head, options.fresh)
    try:
        with ServicePool(grid.model, options.out / "service.log") as pool:
            swept = sweep(grid, pool, journal, options.seconds)
    except KeyboardInterrupt:
        sys.exit(f"\ninterrupted: the same command goes on from {journal.path}")
    caption = f"{describe()} · {cores}"
    picture = options.document.path.with_name(f"sweep-{options.grid.stem}.png")
    draw(swept, picture, caption)
    options.document.publish(markdown(swept, caption, picture.name), picture, journal.path)


def sweep(grid: Grid, pool: ServicePool, journal: Journal, seconds: float) -> Swept:
    """Measures every cell that the journal does not hold. ServiceError"""

    def measure(cell: Cell) -> Run:
        pool.close()  # the reference too is a fresh service every time
        return pool.target(grid.environment(cell), grid.form).run_closed(grid.concurrency, seconds)

    swept, plan = Swept(grid), grid.plan()
    with Progress(len(plan)) as progress:
        for cell in plan:
            runs = swept.runs.setdefault(cell, [])
            runs.append(run := journal.run((str(cell), str(len(runs))), partial(measure, cell)))
            progress.tell(f"{grid.named(cell)}  {run.achieved:,.0f}/s, p50 {run.p50:.2f} ms")
    journal.end()
    return swept


def markdown(swept: Swept, caption: str, picture: str) -> str:
    """The winner with its figures and what noise does not tell from it; requests a second of each cell; then queue and
    engine time and batches without and with the longest delay."""
    grid = swept.grid
    rates = [[str(row), *(f"{swept.rate((row, column)):,.0f}" for column in grid.columns)] for row in grid.rows]
    row, column = swept.place_of_winner
    rates[row][column + 1] = f"**{rates[row][column + 1]}**"
    inner = [
        [f"{row}", f"{column}", *(f"{swept.mean((row, column), name):.{places}f}" for name, places in SHOWN.items())]
        for row in grid.rows
        for column in (grid.columns[0], grid.columns[-1])
    ]
    titles = [grid.row, grid.column, "p50 ms", "p99 ms", "batch rows", "queue ms", "engine ms a batch"]
    tables = {
        "rates": table([f"{grid.row} ↓ {grid.column} →", *map(str, grid.columns)], rates),
        "inner": table([*titles, "CPU cores", "CPU µs a request", "MB"], inner),
    }
    busy = busy_warning(max(run.background_cores for runs in swept.runs.values() for run in runs))
    template = Path(__file__).with_name("sweep.md")
    return render(template, swept=swept, grid=grid, busy=busy, caption=caption, picture=picture, **tables)


def draw(swept: Swept, path: Path, caption: str) -> None:
    """The heat maps: requests a second, and the median latency beside it."""
    grid = swept.grid
    title = f"{grid.model}-{grid.form}: {grid.row} × {grid.column}, closed loop of {grid.concurrency}"
    with plots.figure(path, title, caption, (12.4, 0.55 * len(grid.rows) + 2.2), ncols=2) as panels:
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
    row, column = swept.place_of_winner
    axes.add_patch(Rectangle((column - 0.48, row - 0.46), 0.96, 0.92, fill=False, edgecolor=plots.RED, linewidth=2.2))
    axes.set(xlabel=grid.column, ylabel=grid.row, title=title)
    axes.set(
        xticks=range(len(grid.columns)), xticklabels=grid.columns, yticks=range(len(grid.rows)), yticklabels=grid.rows
    )
    axes.grid(False)


if __name__ == "__main__":
    run_command(main)
