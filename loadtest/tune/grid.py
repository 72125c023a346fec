"""A grid of two settings, as a file describes it, the figures in its cells, and what they teach, in words."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

import yaml

from loadtest.machine import busy_warning
from loadtest.measurement import Run
from loadtest.tune.space import variables

KEYS = {"model", "form", "concurrency", "fixed", "rows", "columns"}
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


def read(path: Path) -> Grid:
    """SystemExit names the file and the key that is missing, unknown or no list."""
    document = yaml.safe_load(path.read_text()) if path.exists() else None
    if not isinstance(document, dict) or set(document) != KEYS:
        raise SystemExit(f"{path} must be a file with the keys {', '.join(sorted(KEYS))}")
    for axis in ("rows", "columns"):
        if len(document[axis]) != 1 or not all(isinstance(values, list) for values in document[axis].values()):
            raise SystemExit(f"{path}: {axis} must be one setting and a list of its values")
    (row, rows), (column, columns) = next(iter(document["rows"].items())), next(iter(document["columns"].items()))
    kept = {key: document[key] for key in ("model", "form", "concurrency", "fixed")}
    return Grid(**kept, row=row, rows=rows, column=column, columns=columns)


@dataclass
class Swept:
    """A grid with the runs of each cell."""

    grid: Grid
    cores: int
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
        return max(self.runs, key=self.rate)

    @property
    def winner(self) -> Cell:
        """The simplest cell that noise does not tell from the best: the fewest rows' value, then the columns'."""
        grid, enough = self.grid, self.rate(self.best) / (1 + self.noise)
        alike = [cell for cell in self.runs if self.rate(cell) >= enough]
        return min(alike, key=lambda cell: (grid.rows.index(cell[0]), grid.columns.index(cell[1])))


def lessons(swept: Swept) -> str:
    """What a sweep of workers against queue delay taught, said from its own figures."""
    return "\n\n".join([_of_winner(swept), _of_columns(swept), _of_rows(swept)])


def _of_winner(swept: Swept) -> str:
    grid, winner, best = swept.grid, swept.winner, swept.best
    rate = f"{swept.rate(winner):,.0f} requests/s, p50 {swept.mean(winner, 'p50'):.2f} ms"
    text = f"**Winner: {_cell(swept, winner)}**, {rate}."
    if best != winner:
        text += f" {_cell(swept, best)} measured {swept.rate(best):,.0f}, which the noise does not tell apart from it."
    references = len(swept.runs[grid.reference])
    text += f" The first cell, measured {references} times, differed by {100 * swept.noise:.0f} % from itself."
    busy = max(run.background_cores for runs in swept.runs.values() for run in runs)
    return f"{text} {busy_warning(busy)}".rstrip()


def _of_columns(swept: Swept) -> str:
    """Along the delays, with the first number of workers."""
    grid = swept.grid
    none, longest = ((grid.rows[0], column) for column in (grid.columns[0], grid.columns[-1]))
    top = max(((grid.rows[0], column) for column in grid.columns), key=swept.rate)
    rows = {cell: swept.mean(cell, "batch_rows") for cell in (none, longest)}
    engine = {cell: 1e3 * swept.mean(cell, "infer") / max(1.0, rows[cell]) for cell in (none, longest)}
    verdict = "**Waiting does not help**"
    if _helps(swept, top, none):
        verdict = (
            f"**Waiting helps up to {_cell(swept, top)}**: {swept.rate(top):,.0f} against {swept.rate(none):,.0f}, "
            f"with {swept.mean(top, 'batch_rows'):.1f} rows a batch and {swept.mean(top, 'cpu_us'):.0f} instead of "
            f"{swept.mean(none, 'cpu_us'):.0f} µs of CPU a request"
        )
    saved = engine[none] - engine[longest]
    saving = f"saves {saved:.1f} µs of engine time a row" if saved > 0 else "saves no engine time"
    waited = 1e3 * (swept.mean(longest, "queue") - swept.mean(none, "queue"))
    little = 1e3 * grid.concurrency / swept.mean(longest, "mean")
    return (
        f"{verdict}: without a delay a batch already has {rows[none]:.1f} rows, of those who came while the process "
        f"was busy, and a request spends {1e3 * swept.mean(none, 'queue'):.0f} µs in the queue. At "
        f"{_cell(swept, longest)} a batch has {rows[longest]:.1f} rows, of the {grid.concurrency} that can come at all "
        f"while everybody else waits for an answer. That {saving} ({engine[none]:.1f} → {engine[longest]:.1f} µs) and "
        f"costs each request {waited:,.0f} µs of waiting: {grid.concurrency} in flight, "
        f"{swept.mean(longest, 'mean'):.2f} ms each, are {little:,.0f} requests/s (Little's law); "
        f"{swept.rate(longest):,.0f} were measured."
    )


def _of_rows(swept: Swept) -> str:
    """Along the workers, without a delay."""
    grid = swept.grid
    one, most = ((row, grid.columns[0]) for row in (grid.rows[0], grid.rows[-1]))
    top = max(((row, grid.columns[0]) for row in grid.rows), key=swept.rate)
    used, cores = swept.mean(one, "cpu_cores"), f"{swept.cores} core{'s' if swept.cores > 1 else ''}"
    if _helps(swept, top, one):
        verdict = f"**More workers help up to {_cell(swept, top)}**, × {swept.rate(top) / swept.rate(one):.2f}"
    else:
        verdict = "**More workers do not help**"
    if used >= 0.8 * swept.cores:
        why = f"one worker uses {used:.2f} of the {cores} that the service has, and there is no more to give"
    else:
        why = (
            f"one worker uses {used:.2f} of the {cores} that the service has; the rest of the time it waits to be asked"
        )
    fewer = swept.mean(most, "batch_rows") < swept.mean(one, "batch_rows") * (1 - swept.noise)
    met = f"the {grid.concurrency} connections meet less often: " if fewer else ""
    return (
        f"{verdict}: {why}. Among {grid.rows[-1]} workers {met}batches go from "
        f"{swept.mean(one, 'batch_rows'):.1f} to {swept.mean(most, 'batch_rows'):.1f} rows, CPU a "
        f"request goes from {swept.mean(one, 'cpu_us'):.0f} to {swept.mean(most, 'cpu_us'):.0f} µs, memory from "
        f"{swept.mean(one, 'memory_mb'):.0f} to {swept.mean(most, 'memory_mb'):.0f} MB, and the rate from "
        f"{swept.rate(one):,.0f} to {swept.rate(most):,.0f}."
    )


def _helps(swept: Swept, cell: Cell, base: Cell) -> bool:
    return swept.rate(cell) > swept.rate(base) * (1 + swept.noise)


def _cell(swept: Swept, cell: Cell) -> str:
    return f"{swept.grid.row}={cell[0]} {swept.grid.column}={cell[1]}"
