"""`python -m train`: recipes become trained models, in artifacts/."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from bentos import contract
from train.lineage import unchanged
from train.run import TrainingError, train

GENERAL = ("models", "seed", "out", "if_changed")  # options that are no recipe's


def parser(names: Sequence[str]) -> argparse.ArgumentParser:
    """The command line: general options, and those that the recipes ask for."""
    recipes = {name: contract.recipe(name) for name in names}
    listed = "\n".join(f"  {n:10} {contract.model(n).title} ({recipes[n].framework})" for n in names)
    found = argparse.ArgumentParser(
        prog="python -m train",
        description="Train models by their recipes (bentos/<model>/recipe.py), judge them on data held out of the\n"
        "training, and write what convert reads to artifacts/<model>/. The same seed gives the same weights.",
        epilog=f"models:\n{listed}\n\nexamples:\n  python -m train {names[0]}\n"
        f"  python -m train {' '.join(names[:2])} --seed 7\n\nnext: python -m convert <model>",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    found.add_argument("models", nargs="*", metavar="model", help=f"{', '.join(names)}; all of them if none is given")
    found.add_argument("--seed", type=int, default=0, metavar="N", help="seed of everything random (default: 0)")
    found.add_argument("--out", type=Path, default=Path("artifacts"), metavar="DIR", help="default: artifacts")
    found.add_argument(
        "--if-changed", action="store_true", help="skip a model whose code, data, seed and libraries are as before"
    )
    for option in sorted({option for recipe in recipes.values() for option in recipe.options}):
        texts = [f"{n}: {recipes[n].options[option]}" for n in names if option in recipes[n].options]
        found.add_argument(f"--{option}", metavar="PATH", help="; ".join(texts))
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Train what is asked for; 1 if any model was below its floor or its data was wrong."""
    names = contract.names()
    command = parser(names)
    asked = command.parse_args(arguments)
    models = list(dict.fromkeys(asked.models)) or names
    if unknown := sorted(set(models) - set(names)):
        command.error(f"no model {unknown[0]!r}: there is {', '.join(names)}")
    given = {k.replace("_", "-"): v for k, v in vars(asked).items() if k not in GENERAL and v}
    if idle := [o for o in given if not any(o in contract.recipe(n).options for n in models)]:
        command.error(f"--{idle[0]} is no option of {', '.join(models)}")
    return max([_train(name, given, asked) for name in models])


def _train(name: str, given: dict[str, str], asked: argparse.Namespace) -> int:
    options = {key: value for key, value in given.items() if key in contract.recipe(name).options}
    seed, out = asked.seed, asked.out
    if asked.if_changed and (record := unchanged(name, seed, options, out)):
        print(f"{name}: version {record['version']} is up to date in {out / name}", flush=True)
        return 0
    try:
        record = train(name, seed, options, out)
    except (TrainingError, OSError, ValueError) as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 1
    metrics = ", ".join(f"{key} {value:.4g}" for key, value in record["metrics"].items())
    data = record["dataset"]
    print(f"{name}: {metrics} on {data['held_out_rows']} held-out rows of {data['rows'] + data['held_out_rows']}")
    print(f"{name}: version {record['version']} in {record['seconds']:.1f} s → {out / name}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
