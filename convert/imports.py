"""`python -m convert import PATH`: somebody's file becomes a model without a recipe."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from convert.artifacts import ConvertError
from convert.foreign import Network, arguments
from convert.import_onnx import Wish, import_file
from convert.sample import read_sample


def parser() -> argparse.ArgumentParser:
    """The command line."""
    command = argparse.ArgumentParser(
        prog="python -m convert import",
        description="Box a file that has no recipe: mend what can be mended, find its signature out by running it,\n"
        "certify it as it is and save it to the BentoML store as <name>-onnx:<version>, beside its native form where\n"
        "a library here runs that. It is then served at /v2/models/<name> and /<name>/predict.",
        epilog="It takes ONNX, a .pt2 of torch.export, LightGBM's .txt, XGBoost's .json and .ubj, a .skops, and\n"
        "weights (.safetensors, a state dict) with --network. Of other kinds it says what to write instead.\n\n"
        "It is run in a process of its own, with values as its graph says that they are: indices within their\n"
        "tables, numbers that it compares. Where that is not enough, give it rows: --sample rows.npz (an array for\n"
        "each input), or a .csv or .parquet of columns. With rows there are also optimized and 8-bit forms, drift,\n"
        "examples, and, of an array or a column `target`, metrics.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument(
        "file",
        type=Path,
        metavar="PATH",
        help="my.onnx, or another: see below",
    )
    command.add_argument("--name", help="the model's name: lower-case letters, digits, _ (default: the file's)")
    command.add_argument("--title", default="", help="what pages call it (default: the name)")
    command.add_argument("--labels", default="", metavar="A,B,C", help="class names, in the order of the output")
    command.add_argument("--finite", action="store_true", help="refuse NaN and infinities in its inputs")
    command.add_argument("--sample", type=Path, metavar="FILE", help="rows that it knows: .npz, .csv or .parquet")
    command.add_argument("--network", default="", metavar="MODULE:MAKE", help="what makes the network of some weights")
    command.add_argument("--args", default="", metavar="JSON", help="what it is called with: '{\"width\": 64}'")
    command.add_argument("--force", action="store_true", help="replace it if it is in the store already")
    return command


def main(words: Sequence[str]) -> int:
    """Import one file; 1 and the reasons if it cannot be served."""
    options = parser().parse_args(words)
    name = options.name or re.sub(r"[^a-z0-9]+", "_", options.file.stem.lower()).strip("_")
    labels = tuple(label.strip() for label in options.labels.split(",")) if options.labels else ()
    try:
        sample = read_sample(options.sample) if options.sample else None
        network = Network(options.network, arguments(options.args))
        wish = Wish(name, options.title, labels, options.finite, sample, options.force, network)
        imported = import_file(options.file, wish)
    except ConvertError as error:
        print(f"{options.file}: {error}", file=sys.stderr)
        return 1
    print(f"{imported.tag}: {imported.words}")
    for note in imported.notes:
        print(f"  {note}")
    return 0
