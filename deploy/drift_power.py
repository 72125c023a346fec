"""`python -m deploy.drift_power`: what each drift alarm tells, and how often it is wrong, by rows in the window.

Draws looks at the usual quantity, ten bins between the deciles of training, and writes the table into docs/drift.md: of
rows that nobody has moved, of such as have moved by a part of a standard deviation or spread wider; each row a request
of its own, or ten alike rows in each. Nothing is asked of a service and nothing is timed: the same figures come again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from statistics import NormalDist

import numpy as np

from deploy.drift import BINS, EMPTY, SPARSE, SURE
from deploy.objectives import read

DOCUMENT = Path(__file__).parents[1] / "docs" / "drift.md"
MARKED = re.compile(r"(?<=<!-- power -->\n).*?(?=<!-- /power -->)", re.DOTALL)
LOOKS = 20_000
WINDOWS = (500, 2_000, 10_000)  # rows observed
TRAINED = (120, 1_437, 16_154)  # rows of training: iris, digits, homes
SHIFTS = (0.0, 0.1, 0.25, 0.5)  # standard deviations of a normal quantity
SPREADS = (1.25, 1.5)  # times the standard deviation
ALIKE = 10  # rows in a request
DEGREES = BINS - 1
QUANTILE = DEGREES * (1 - 2 / 9 / DEGREES + SURE * sqrt(2 / 9 / DEGREES)) ** 3


def shares(shift: float, spread: float = 1.0) -> np.ndarray:
    """Of the bins between the deciles of a normal quantity, once it has moved up by so many standard deviations and
    spreads so many times as wide."""
    normal = NormalDist()
    below = [normal.cdf((normal.inv_cdf(i / BINS) - shift) / spread) for i in range(1, BINS)]
    return np.diff([0.0, *below, 1.0])


@dataclass(frozen=True)
class Looks:
    """Windows of rows that came in requests of `alike` rows each, against trainings of `trained` rows."""

    rows: int
    trained: int
    shift: float
    alike: int = 1
    spread: float = 1.0

    def observed(self) -> np.ndarray:
        """Shares of the bins, a look in each row: (LOOKS, BINS)."""
        # What a training leaves open of the distribution that it was drawn from is Dirichlet's.
        random = np.random.default_rng(0)
        truth = random.dirichlet(np.full(BINS, self.trained / BINS), LOOKS) * shares(self.shift, self.spread) * BINS
        requests = random.multinomial(self.rows // self.alike, truth / truth.sum(1, keepdims=True))
        return requests / (self.rows // self.alike)

    def alarms(self, independent: int) -> tuple[float, float]:
        """Shares of the looks that are alarms by effect and by significance, if so many rows are independent."""
        p, q = self.observed(), 1 / BINS
        observed, trained = 1 / independent, 1 / self.trained
        psi = ((np.maximum(p, float(EMPTY)) - q) * np.log(np.maximum(p, float(EMPTY)) / q)).sum(1)
        limit = max((observed + trained) * QUANTILE, read().drift.psi)
        populated = (p + q) * independent >= SPARSE
        chi_square = np.where(populated, (p - q) ** 2 / (p * trained + q * observed), 0).sum(1)
        sure = chi_square > QUANTILE
        return float((sure & (psi > limit)).mean()), float(sure.mean())


def table() -> Iterator[str]:
    """The lines of the Markdown table."""
    head = ["rows of training", "rows in the window", "not moved", *(f"{shift:g} σ" for shift in SHIFTS[1:])]
    head += [f"{spread:g} × σ" for spread in SPREADS]
    alike = [f"{ALIKE} alike, counted as rows", f"{ALIKE} alike, counted as one"]
    yield "| " + " | ".join([*head, *alike]) + " |"
    yield "|" + " ---: |" * (len(head) + len(alike))
    for trained in TRAINED:
        for rows in WINDOWS:
            moved = [Looks(rows, trained, shift).alarms(rows) for shift in SHIFTS]
            moved += [Looks(rows, trained, 0.0, spread=spread).alarms(rows) for spread in SPREADS]
            together = Looks(rows, trained, 0.0, ALIKE)
            unmoved = [together.alarms(rows), together.alarms(rows // ALIKE)]
            cells = [f"{effect} / {sure}" for effect, sure in ((share(e), share(s)) for e, s in [*moved, *unmoved])]
            yield "| " + " | ".join([f"{trained:,}", f"{rows:,}", *cells]) + " |"


def share(value: float) -> str:
    """0.0012 → `0.12 %`"""
    return f"{value * 100:.2g} %" if value < 0.995 else f"{value * 100:.0f} %"


def main() -> None:
    """Writes the table."""
    head = f"{LOOKS:,} looks each; 0 is below {300 / LOOKS:.2g} % with 95 % confidence. Cells: effect / significance."
    text = "\n".join([head, "", *table(), ""])
    DOCUMENT.write_text(MARKED.sub(lambda _: text, DOCUMENT.read_text()))


if __name__ == "__main__":
    main()
