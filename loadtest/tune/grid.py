"""A grid of two settings, as a file describes it, the figures in its cells, and the cell that wins."""

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


def summary(swept: Swept) -> str:
    """The winner with its figures, what noise does not tell from it, and whether the machine was busy."""
    winner, best = swept.winner, swept.best
    text = f"**Winner: {_cell(swept, winner)}**, {swept.rate(winner):,.0f} requests/s, p50 "
    text += f"{swept.mean(winner, 'p50'):.2f} ms."
    if best != winner:
        text += f" {_cell(swept, best)} measured {swept.rate(best):,.0f}, which the noise does not tell apart from it."
    references = len(swept.runs[swept.grid.reference])
    text += f" The first cell, measured {references} times, differed by {100 * swept.noise:.0f} % from itself."
    busy = max(run.background_cores for runs in swept.runs.values() for run in runs)
    return f"{text} {busy_warning(busy)}".rstrip()


def _cell(swept: Swept, cell: Cell) -> str:
    return f"{swept.grid.row}={cell[0]} {swept.grid.column}={cell[1]}"
