"""`python -m convert`: trained models become certified forms in the BentoML store."""

from __future__ import annotations

import argparse
import logging
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

from bentos import contract
from bentos.contract import ModelError
from convert import imports
from convert.artifacts import ConvertError, read
from convert.forms import Outcome, convert, forms
from convert.table import table

FOLDER_ERRORS = (ConvertError, ModelError, ModuleNotFoundError)  # why a model cannot be read


def forms_of(name: str) -> list[str]:
    """The forms that a model's recipe asks for; none where its folder cannot be read."""
    try:
        return forms(contract.recipe(name))
    except FOLDER_ERRORS:
        return []


def parser(names: Sequence[str]) -> argparse.ArgumentParser:
    """The command line."""
    listed = "\n".join(f"  {n:10} {', '.join(forms_of(n)) or 'cannot be read'}" for n in names)
    command = argparse.ArgumentParser(
        prog="python -m convert",
        description="Make the forms of trained models, certify each against the trained one on held-out data, and\n"
        "save them to the BentoML store as <model>-<form>:<version>. A form above its tolerance is not saved; the\n"
        "table says why, and the others go on. Exit 1 if a model named here has no form left, or with --strict.",
        epilog=f"models and their forms:\n{listed}\n\na file of your own, without a recipe:\n"
        "  python -m convert import my.onnx --name mine      (--help says more)\n\n"
        "next: bentoml models list, bentoml serve",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("models", nargs="*", metavar="model", help=f"{', '.join(names)}; all of them if none is named")
    command.add_argument("--forms", metavar="F,F", help="only these forms (default: all that the recipe names)")
    command.add_argument("--force", action="store_true", help="make and replace forms that are in the store already")
    command.add_argument("--strict", action="store_true", help="exit 1 if any form was refused")
    command.add_argument("--artifacts", type=Path, default=Path("artifacts"), metavar="DIR", help="default: artifacts")
    return command


def main(arguments: Sequence[str] | None = None) -> int:
    """Convert these models, all by default; 1 if a named one has no form left, or with --strict if any was refused."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    quieten()
    if words[:1] == ["import"]:
        return imports.main(words[1:])
    names = contract.names()
    command = parser(names)
    options = command.parse_args(words)
    models = list(dict.fromkeys(options.models)) or names
    if unknown := sorted(set(models) - set(names)):
        command.error(f"no model {unknown[0]!r}: there is {', '.join(names)}")
    only = options.forms.split(",") if options.forms else None
    all_forms = {form for name in models for form in forms_of(name)}
    if only and all_forms and (strange := sorted(set(only) - all_forms)):
        command.error(f"no form {strange[0]!r} of {', '.join(models)}: there is {', '.join(sorted(all_forms))}")
    outcomes = [outcome for name in models for outcome in convert_model(name, options.artifacts, only, options.force)]
    print(table(outcomes))
    converted = {outcome.model for outcome in outcomes if not outcome.refusal}
    return int(bool(set(options.models) - converted) or (options.strict and any(o.refusal for o in outcomes)))


def quieten() -> None:
    """Exporters warn and log of their own affairs; what matters to the author is measured."""
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)


def convert_model(name: str, artifacts: Path, only: Sequence[str] | None, force: bool) -> Iterator[Outcome]:
    """What becomes of each form of a model, or of the model as a whole if it cannot be read; printed as it comes."""
    try:
        run = read(name, artifacts / name)
    except FOLDER_ERRORS as error:
        print(f"{name}: {error}", file=sys.stderr, flush=True)
        yield Outcome(name, "", "", refusal=str(error))
        return
    for outcome in convert(run, [f for f in forms(run.recipe) if not only or f in only], force):
        if outcome.refusal:
            print(f"{name}-{outcome.form}: {outcome.refusal}", file=sys.stderr, flush=True)
        else:
            print(f"{outcome.tag}: {outcome.note}", flush=True)
        yield outcome


if __name__ == "__main__":
    sys.exit(main())
