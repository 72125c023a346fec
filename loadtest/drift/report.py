"""The figures in words and tables, written between the markers of a Markdown file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from loadtest.drift.chance import PSI, limit
from loadtest.drift.rates import MONTH, ROWS, SHIFTS, Measured, Rates
from loadtest.sections import table

START, END = "<!-- drift -->", "<!-- /drift -->"
FEWEST = ROWS[0]


def insert(document: Path, block: str) -> None:
    """Put the block between the document's markers. ValueError if it has none."""
    before, start, rest = document.read_text().partition(START)
    _, end, after = rest.partition(END)
    if not (start and end):
        raise ValueError(f"{document} has no line {START} and after it {END}")
    document.write_text(f"{before}{START}\n{block}\n{END}{after}")


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
    return min(reference.rows for reference in measured.references)


def share(value: float) -> str:
    """0.0012 → `0.12 %`, in two digits."""
    return f"{value * 100:.2g} %" if value < 0.995 else f"{value * 100:.0f} %"


def _models(models: Sequence[Measured]) -> str:
    head = ["", "quantities", "rows of training", *(f"{rows:,}" for rows in ROWS), f"months of {MONTH} × {FEWEST}"]
    return table(
        head,
        (
            [
                m.model,
                str(len(m.references)),
                _rows(m),
                *(_both(m.false_alarms[rows]) for rows in ROWS),
                _both(m.months),
            ]
            for m in models
        ),
    )


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
        told = f"{limit(reference, FEWEST):.2f}"
        rows.append(
            [each.model, reference.quantity, str(reference.filled), f"{reference.rows:,}", told, _both(rates), *powers]
        )
    return table(["", "", "bins", "rows", "limit", "false alarms", *(f"{shift:g} σ" for shift in SHIFTS)], rows)
