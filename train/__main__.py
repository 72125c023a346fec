"""`python -m train`: recipes become trained models, in artifacts/."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from bentos import contract
from bentos.contract import ModelError, Recipe
from bentos.record import TrainingRecord
from train.check import TrainingError
from train.lineage import unchanged
from train.run import train

GENERAL = ("models", "seed", "out", "if_changed", "strict")  # options that are no recipe's


def recipes(names: Sequence[str]) -> tuple[dict[str, Recipe], dict[str, str]]:
    """The recipes of those folders that can be read, and why the others cannot."""
    readable, mistakes = {}, {}
    for name in names:
        try:
            readable[name] = contract.recipe(name)
        except (ModelError, ModuleNotFoundError) as error:
            mistakes[name] = str(error)
    return readable, mistakes


def parser(names: Sequence[str]) -> argparse.ArgumentParser:
    """The command line: general options, and those that the recipes ask for."""
    readable, mistakes = recipes(names)
    listed = "\n".join(
        f"  {n:10} {contract.model(n).title} ({readable[n].framework})" if n in readable else f"  {n:10} {mistakes[n]}"
        for n in names
    )
    command = argparse.ArgumentParser(
        prog="python -m train",
        description="Train models by their recipes (bentos/<model>/recipe.py), judge them on data held out of the\n"
        "training, and write what convert reads to artifacts/<model>/. The same seed gives the same weights.",
        epilog=f"models:\n{listed}\n\nexamples:\n  python -m train {names[0]}\n"
        f"  python -m train {' '.join(names[:2])} --seed 7\n\nnext: python -m convert <model>\n\n"
        "A model that cannot be trained does not stop the others. Exit 1 if it was named here, or with --strict.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("models", nargs="*", metavar="model", help=f"{', '.join(names)}; all of them if none is named")
    command.add_argument("--seed", type=int, default=0, metavar="N", help="seed of everything random (default: 0)")
    command.add_argument("--out", type=Path, default=Path("artifacts"), metavar="DIR", help="default: artifacts")
    command.add_argument(
        "--if-changed", action="store_true", help="skip a model whose code, data, seed and libraries are as before"
    )
    command.add_argument("--strict", action="store_true", help="exit 1 if any model was not trained")
    for option in sorted({option for recipe in readable.values() for option in recipe.options}):
        texts = [f"{n}: {recipe.options[option]}" for n, recipe in readable.items() if option in recipe.options]
        command.add_argument(f"--{option}", metavar="PATH", help="; ".join(texts))
    return command


def main(arguments: Sequence[str] | None = None) -> int:
    """Train these models, all by default; 1 if one failed that was named, or any with --strict."""
    names = contract.names()
    command = parser(names)
    options = command.parse_args(arguments)
    models = list(dict.fromkeys(options.models)) or names
    if unknown := sorted(set(models) - set(names)):
        command.error(f"no model {unknown[0]!r}: there is {', '.join(names)}")
    readable, _ = recipes(models)
    of_recipes = {k.replace("_", "-"): v for k, v in vars(options).items() if k not in GENERAL and v}
    if idle := [o for o in of_recipes if not any(o in recipe.options for recipe in readable.values())]:
        command.error(f"--{idle[0]} is no option of {', '.join(models)}")
    trained = [train_or_say_why(name, of_recipes, options) for name in models]
    return int(not all(trained) and bool(options.strict or options.models))


def train_or_say_why(name: str, of_recipes: Mapping[str, str], options: argparse.Namespace) -> bool:
    """Whether the model is trained now; what came of it is printed."""
    try:
        own = {key: value for key, value in of_recipes.items() if key in contract.recipe(name).options}
        if options.if_changed and (record := unchanged(name, options.seed, own, options.out)):
            print(f"{name}: version {record.version} is up to date in {options.out / name}", flush=True)
        else:
            report(train(name, options.seed, own, options.out), options.out / name)
    except (TrainingError, OSError, ValueError, ImportError) as error:
        print(f"{name}: {error}", file=sys.stderr, flush=True)
        return False
    except Exception as error:  # the recipe's own
        print(f"{name}: {contract.shown(name)}/recipe.py: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
        return False
    return True


def report(record: TrainingRecord, folder: Path) -> None:
    """Print the held-out metrics, and where the artifacts are."""
    training, data = record.training, record.dataset
    metrics = ", ".join(f"{key} {value:.4g}" for key, value in training.metrics.items())
    total = data.rows + data.held_out_rows
    print(f"{record.model}: {metrics} on {data.held_out_rows} held-out rows of {total}")
    for name, interval in training.intervals.items():
        print(f"{record.model}: {name} {interval.low:.4f} to {interval.high:.4f} at 95 %, {interval.rows} rows")
    print(f"{record.model}: version {record.version} in {training.seconds:.1f} s → {folder}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
