"""`python -m convert`: trained models become certified forms in the BentoML store."""

from __future__ import annotations

import argparse
import logging
import sys
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path

from bentos import contract
from convert import bring
from convert.artifacts import ConvertError, read
from convert.forms import Outcome, convert, forms

HEADS = ("model", "form", "size", "max difference", "tolerance", "metric", "lost", "tag", "")


def parser(names: Sequence[str]) -> argparse.ArgumentParser:
    listed = "\n".join(f"  {n:10} {', '.join(forms(contract.recipe(n)))}" for n in names)
    found = argparse.ArgumentParser(
        prog="python -m convert",
        description="Make the forms of trained models, certify each against the trained one on held-out data, and\n"
        "save them to the BentoML store as <model>-<form>:<version>. A form above its tolerance is not saved: exit 1.",
        epilog=f"models and their forms:\n{listed}\n\nan ONNX file of your own, without a recipe:\n"
        "  python -m convert import my.onnx --name mine      (--help says more)\n\n"
        "next: bentoml models list, bentoml serve",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    found.add_argument("models", nargs="*", metavar="model", help=f"{', '.join(names)}; all of them if none is given")
    found.add_argument("--forms", metavar="F,F", help="only these forms (default: all that the recipe names)")
    found.add_argument("--force", action="store_true", help="make and replace forms that are in the store already")
    found.add_argument("--artifacts", type=Path, default=Path("artifacts"), metavar="DIR", help="default: artifacts")
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Convert what is asked for; 1 if any form was refused."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    quieten()
    if given[:1] == ["import"]:
        return bring.main(given[1:])
    names = contract.names()
    command = parser(names)
    asked = command.parse_args(given)
    models = list(dict.fromkeys(asked.models)) or names
    if unknown := sorted(set(models) - set(names)):
        command.error(f"no model {unknown[0]!r}: there is {', '.join(names)}")
    wanted = asked.forms.split(",") if asked.forms else None
    known = {form for name in models for form in forms(contract.recipe(name))}
    if wanted and (strange := sorted(set(wanted) - known)):
        command.error(f"no form {strange[0]!r} of {', '.join(models)}: there is {', '.join(sorted(known))}")
    outcomes = [outcome for name in models for outcome in _convert(name, asked.artifacts, wanted, asked.force)]
    print(table(outcomes))
    return int(any(o.refusal for o in outcomes))


def quieten() -> None:
    """Exporters warn and log of their own affairs; what matters to the author is measured."""
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)


def _convert(name: str, artifacts: Path, wanted: Sequence[str] | None, force: bool) -> Iterable[Outcome]:
    try:
        made = read(name, artifacts / name)
    except ConvertError as error:
        print(f"{name}: {error}", file=sys.stderr)
        yield Outcome(name, "", "", refusal=str(error))
        return
    for outcome in convert(made, [f for f in forms(made.recipe) if not wanted or f in wanted], force):
        if outcome.refusal:
            print(f"{name}-{outcome.form}: {outcome.refusal}", file=sys.stderr, flush=True)
        else:
            print(f"{outcome.tag}: {outcome.note}", flush=True)
        yield outcome


def table(outcomes: Sequence[Outcome]) -> str:
    """The figures of every form, one row each."""
    rows = [HEADS, *(row(o) for o in outcomes)]
    widths = [max(len(r[i]) for r in rows) for i in range(len(HEADS))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(r, widths, strict=True)).rstrip() for r in rows]
    return "\n".join(["", lines[0], "  ".join("─" * w for w in widths[:-1]), *lines[1:]])


def row(outcome: Outcome) -> tuple[str, ...]:
    if outcome.certificate is None:
        return (outcome.model, outcome.form, "", "", "", "", "", "", "refused")
    certificate, found = outcome.certificate, outcome.certificate["difference"]
    kind = " relative" if found["relative"] else ""
    tolerance = f"{found['tolerance']:.0e}{kind}" if "tolerance" in found else "none"
    figure = certificate["metrics"].get(found["metric"])
    metric = "" if figure is None else f"{found['metric']} {figure:.4f}"
    size = f"{certificate['file']['bytes'] / 1024:.0f} KiB"
    figures = (f"{found['max']:.1e}{kind}", tolerance, metric, f"{found['loss']:.4f}")
    return (outcome.model, outcome.form, size, *figures, outcome.tag, outcome.note)


if __name__ == "__main__":
    sys.exit(main())
