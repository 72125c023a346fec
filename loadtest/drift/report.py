"""The figures in words, tables and a plot."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from loadtest import figures as plots
from loadtest.documents import table
from loadtest.drift.chance import PSI, Reference, limit, looks
from loadtest.drift.rates import MONTH, ROWS, SHIFTS, Measured, Rates

FEWEST = ROWS[0]
TRAINED = np.geomspace(25, 20_000, 18).astype(int)
PLOTTED_SHIFTS = np.linspace(0, 1.5, 31)
DECILES = np.append(np.full(10, 0.1), 0.0)  # the usual quantity: ten bins alike, none missing


def markdown(models: Sequence[Measured], quantities: Sequence[Measured], count: int, plot: str) -> str:
    """The whole block: conclusion, plot, a table per model, power, a table per quantity."""
    parts = [
        conclusion(models, quantities, count),
        f"![False alarms against rows of training, and shifts that are told]({plot})",
        f"Looks at a model in which any of its quantities is above {PSI:g} → above the limit, though nothing has "
        "drifted, by rows in the window; and months that have such an hour:",
        _models(models),
        f"Shifts that are told, of looks with {FEWEST} rows, by how far the values have moved (in standard deviations, "
        "were they normal ones); the least of each model's inputs and predictions:",
        _powers(quantities),
        f"<details><summary>Every quantity, with {FEWEST} rows in the window</summary>",
        _quantities(quantities),
        "</details>",
    ]
    return "\n\n".join(parts)


def conclusion(models: Sequence[Measured], quantities: Sequence[Measured], count: int) -> str:
    """What the tables say, of the model that is worst off."""
    worst = max(models, key=lambda model: model.months.alone)
    still = max(models, key=lambda model: model.months.limited)
    blind = min(quantities, key=lambda quantity: quantity.power[SHIFTS[-1]])
    (reference,) = blind.references
    return (
        f"{count:,} looks at each of {len(quantities)} quantities; a figure of 0 is below {share(3 / count)} with 95 % "
        f"confidence, of months below {share(30 / count)}. **With a limit of {PSI:g} alone**, a month of hours of "
        f"{FEWEST} rows that have not drifted has a false alarm for {share(worst.months.alone)} of the trainings of "
        f"{worst.model}, which has {fewest(worst)} rows to compare with. **With the limit of the rules** it is at most "
        f"{share(still.months.limited)} ({still.model}), and in a single look "
        f"{share(max(m.false_alarms[FEWEST].limited for m in models))}. The price is paid where training had few rows: "
        f"{blind.model}'s {reference.quantity}, of {reference.rows} rows, tells a shift by {SHIFTS[-1]:g} standard "
        f"deviation in {share(blind.power[SHIFTS[-1]])} of the looks, and the limit is {limit(reference, FEWEST):.2f}."
    )


def fewest(measured: Measured) -> int:
    """Rows of training of the quantity that had the fewest."""
    return min(reference.rows for reference in measured.references)


def share(value: float) -> str:
    """0.0012 → `0.12 %`, in two digits."""
    return f"{value * 100:.2g} %" if value < 0.995 else f"{value * 100:.0f} %"


def _models(models: Sequence[Measured]) -> str:
    head = ["", "quantities", "rows of training", *(f"{rows:,}" for rows in ROWS), f"months of {MONTH} × {FEWEST}"]
    rates = ([_both(m.false_alarms[rows]) for rows in ROWS] for m in models)
    lines = zip(models, rates, strict=True)
    return table(head, ([m.model, str(len(m.references)), _rows(m), *of_rows, _both(m.months)] for m, of_rows in lines))


def _rows(measured: Measured) -> str:
    return " / ".join(f"{rows:,}" for rows in sorted({reference.rows for reference in measured.references}))


def _both(rates: Rates) -> str:
    return f"{share(rates.alone)} → **{share(rates.limited)}**"


def _powers(quantities: Sequence[Measured]) -> str:
    sides: dict[tuple[str, str], list[Measured]] = {}
    for each in quantities:
        sides.setdefault((each.model, each.references[0].quantity.split(":")[0]), []).append(each)
    return table(
        ["", "rows of training", "limit", *(f"{shift:g} σ" for shift in SHIFTS)],
        (
            [
                f"{model}, {side}",
                _rows(members[0]),
                f"{max(limit(m.references[0], FEWEST) for m in members):.2f}",
                *(share(min(m.power[shift] for m in members)) for shift in SHIFTS),
            ]
            for (model, side), members in sides.items()
        ),
    )


def _quantities(quantities: Sequence[Measured]) -> str:
    rows = []
    for each in quantities:
        (reference,) = each.references
        rates, powers = each.false_alarms[FEWEST], [share(each.power[shift]) for shift in SHIFTS]
        figures = [str(reference.filled), f"{reference.rows:,}", f"{limit(reference, FEWEST):.2f}", _both(rates)]
        rows.append([each.model, reference.quantity, *figures, *powers])
    return table(["", "", "bins", "rows", "limit", "false alarms", *(f"{shift:g} σ" for shift in SHIFTS)], rows)


def draw(quantities: Sequence[Measured], count: int, path: Path) -> None:
    """What chance makes of PSI where training had few rows, the limits above it, and what they let pass."""
    random = np.random.default_rng(1)
    with plots.figure(path, "", "", (11, 4.4), ncols=2) as (left, right):
        _chance(left, count, random)
        _power(right, sorted({q.references[0].rows for q in quantities}), count, random)


def _chance(axis: plots.Axes, count: int, random: np.random.Generator) -> None:
    """What a quantity of ten bins that has not drifted shows, and the limits above it."""
    references = [Reference("", "", DECILES, int(rows)) for rows in TRAINED]
    low, median, high, rare = np.array(
        [np.quantile(_looks(r, count, random), (0.05, 0.5, 0.95, 0.999)) for r in references]
    ).T
    axis.fill_between(TRAINED, low, high, color=plots.PALE, alpha=0.5, linewidth=0, label="9 of 10 looks")
    axis.plot(TRAINED, median, color=plots.GREY, label="the median look")
    axis.plot(TRAINED, rare, color=plots.GREY, linestyle=":", label="one look of 1,000 is above")
    axis.axhline(PSI, color=plots.INK, linestyle="--", linewidth=1, label=f"{PSI:g} alone")
    limits = [limit(reference, FEWEST) for reference in references]
    axis.plot(TRAINED, limits, color=plots.RED, linewidth=2, label="the limit of the rules")
    axis.set(xscale="log", yscale="log", xlabel="rows of training", title=f"PSI of {FEWEST} rows that have not drifted")
    plots.plain_numbers(axis, "{x:,.0f}", "{x:g}")
    axis.legend(loc="upper right")


def _power(axis: plots.Axes, trained: Sequence[int], count: int, random: np.random.Generator) -> None:
    """Which shifts are told, by the rows of training that the service's quantities have."""
    for rows, colour in zip(trained, plt.colormaps["viridis"](np.linspace(0, 0.85, len(trained))), strict=True):
        reference = Reference("", "", DECILES, rows)
        above = limit(reference, FEWEST)
        told = [100 * (_looks(reference, count // 4, random, by) > above).mean() for by in PLOTTED_SHIFTS]
        axis.plot(PLOTTED_SHIFTS, told, color=colour, label=f"{rows:,} rows, limit {above:.2f}")
    axis.set(xlabel="shift, in standard deviations of a normal quantity", xlim=(0, 2.15), ylim=(-2, 102))
    axis.set_title(f"Looks at {FEWEST} rows that tell a shift, %")
    axis.legend(loc="lower right")


def _looks(reference: Reference, count: int, random: np.random.Generator, shift: float = 0.0) -> np.ndarray:
    return np.concatenate([*looks(reference, FEWEST, count, random, shift=shift)])
