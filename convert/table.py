"""What became of every form, as a table on a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from convert.forms import Outcome

HEADS = ("model", "form", "size", "max difference", "tolerance", "metric", "lost", "tag", "")


def table(outcomes: Sequence[Outcome]) -> str:
    """The figures of every form, one row each; of one that is refused, why. Below, what the held-out rows can tell."""
    rows = [HEADS, *(row(o) for o in outcomes)]
    widths = [max(len(r[i]) for r in rows) for i in range(len(HEADS))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(r, widths, strict=True)).rstrip() for r in rows]
    return "\n".join(["", lines[0], "  ".join("─" * w for w in widths[:-1]), *lines[1:], *_compared(outcomes)])


def row(outcome: Outcome) -> tuple[str, ...]:
    """One form's cells, in the order of HEADS."""
    if outcome.certificate is None:
        return (outcome.model, outcome.form, "", "", "", "", "", "", f"refused: {outcome.refusal}")
    certificate, difference = outcome.certificate, outcome.certificate.difference
    kind = " relative" if difference.relative else ""
    tolerance = "none" if difference.tolerance is None else f"{difference.tolerance:.0e}{kind}"
    figure = certificate.metrics.get(difference.metric)
    metric = "" if figure is None else f"{difference.metric} {figure:.4f}"
    size = f"{certificate.file.bytes / 1024:.0f} KiB"
    figures = (f"{difference.max:.1e}{kind}", tolerance, metric, f"{difference.loss:z.4f}")
    return (outcome.model, outcome.form, size, *figures, outcome.tag, outcome.note)


def _compared(outcomes: Sequence[Outcome]) -> list[str]:
    compared = [
        f"{o.model}-{o.form}: {o.certificate.comparison.words()}"
        for o in outcomes
        if o.certificate is not None and o.certificate.comparison is not None
    ]
    return ["", *compared] if compared else []
