"""`python -m convert import`: an ONNX file of one's own becomes a model without a recipe."""

from __future__ import annotations

import argparse
import hashlib
import re
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx

from bentos import contract, golden, trained
from bentos.certificate import Certificate, Dataset, Difference, Onnx, Training
from bentos.contract import Arrays, Signature
from bentos.meaning import Meaning
from bentos.rehearsal import Run
from convert import graph, store
from convert.artifacts import ConvertError
from convert.certify import identify
from convert.engine import in_batches, onnx_run

MAX_BYTES = 2**31 - 1  # of one protobuf file
TRIAL_ROWS = 3
NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
CONSISTENT = 1e-3  # how far a row's answer may depend on the rows beside it, relative to the largest value


def parser() -> argparse.ArgumentParser:
    """The command line."""
    command = argparse.ArgumentParser(
        prog="python -m convert import",
        description="Box an ONNX file that has no recipe: check it, derive its signature, try it, certify it as it is "
        "and save it to the BentoML store as <name>-onnx:<version>. It is then served at /v2/models/<name>.",
        epilog="The file must have one dynamic first dimension (the batch) in every input and output, all others "
        "fixed; tensors of numbers; ONNX's own operators or ONNX Runtime's (com.microsoft); weights inside.",
    )
    command.add_argument("file", type=Path, help="my.onnx")
    command.add_argument("--name", required=True, help="the model's name: lower-case letters, digits, _")
    command.add_argument("--title", default="", help="what pages call it (default: the name)")
    command.add_argument("--labels", default="", metavar="A,B,C", help="class names, in the order of the output")
    command.add_argument("--force", action="store_true", help="replace it if it is in the store already")
    return command


def main(arguments: Sequence[str]) -> int:
    """Import one file; 1 and the reason if it cannot be served."""
    options = parser().parse_args(arguments)
    labels = tuple(label.strip() for label in options.labels.split(",")) if options.labels else ()
    try:
        tag, note = import_onnx(options.file, options.name, options.title or options.name, labels, options.force)
    except ConvertError as error:
        print(f"{options.file}: {error}", file=sys.stderr)
        return 1
    print(f"{tag}: {note}")
    return 0


def import_onnx(file: Path, name: str, title: str, labels: Sequence[str], force: bool = False) -> tuple[str, str]:
    """Check, try, certify and save an ONNX file: its tag, and what happened. ConvertError says why not."""
    check_name(name)
    loaded = load(file)
    graph.check(loaded)
    signature = graph.signature(loaded)
    check_labels(signature, labels)
    version = trained.numbered(hashlib.sha256(file.read_bytes() + repr((title, list(labels))).encode()).digest())
    tag = f"{name}-onnx:{version}"
    if not force and store.find(tag, "onnx"):
        return tag, "already in the store" + (", now the latest again" if store.make_latest(tag) else "")
    run = open_file(file)
    apart = row_dependence(run, signature)
    with tempfile.TemporaryDirectory() as folder:
        boxed = Path(shutil.copyfile(file, Path(folder) / "model.onnx"))
        facts = Onnx(graph.opset(loaded), loaded.ir_version)
        certificate = certify(name, version, boxed, file.name, signature, tuple(labels), facts, run, apart)
        store.save(boxed, certificate, {"title": title, "doc": f"Imported from {file.name}."})
    return tag, f"saved: {graph.words(signature)}"


def check_name(name: str) -> None:
    """ConvertError for a name that cannot be in a path, or is a folder's."""
    if not NAME.fullmatch(name):
        raise ConvertError(f"the name {name!r} is not lower-case letters, digits and _, beginning with a letter")
    if name in contract.names():
        raise ConvertError(f"the name {name!r} is taken by bentos/{name}")


def load(file: Path) -> onnx.ModelProto:
    """The graph without the files that it may name. ConvertError"""
    if not file.is_file():
        raise ConvertError("there is no such file")
    if file.stat().st_size > MAX_BYTES:
        raise ConvertError(f"it has {file.stat().st_size:,} bytes, at most {MAX_BYTES:,} fit one ONNX file")
    try:
        return onnx.load(file, load_external_data=False)
    except Exception as error:
        raise ConvertError(f"it is no ONNX file: {error}") from error


def check_labels(signature: Signature, labels: Sequence[str]) -> None:
    """ConvertError unless the labels are as many as some output has columns, and differ."""
    if not labels:
        return
    if len(set(labels)) != len(labels) or not all(labels):
        raise ConvertError(f"the labels {', '.join(labels)} are not all different and not empty")
    widths = {t.shape[1] for t in signature.outputs if len(t.shape) == 2}
    if len(labels) not in widths:
        raise ConvertError(f"{len(labels)} labels for outputs of {sorted(widths)} columns: {graph.words(signature)}")


def open_file(file: Path) -> Run:
    """What runs the file. ConvertError where ONNX Runtime does not load it"""
    try:
        return onnx_run(file)
    except Exception as error:
        raise ConvertError(f"ONNX Runtime does not load it: {error}") from error


def row_dependence(run: Run, signature: Signature) -> float:
    """Random rows together and one by one: the greatest difference. ConvertError if a row depends on its neighbours."""
    rows = graph.random_rows(signature, TRIAL_ROWS)
    try:
        together, alone = in_batches(run, rows, TRIAL_ROWS), in_batches(run, rows, 1)
    except Exception as error:
        raise ConvertError(f"it does not run on random rows in batches of 1 and {TRIAL_ROWS}: {error}") from error
    check_shapes(together, signature)
    check_shapes(alone, signature)
    apart = max(relative_gap(together[t.name], alone[t.name]) for t in signature.outputs)
    if apart > CONSISTENT:
        raise ConvertError(f"a row's answer changes by {apart:.2g} with the rows beside it: it cannot be batched")
    return apart


def check_shapes(outputs: Arrays, signature: Signature) -> None:
    """ConvertError where the outputs of the trial are not as the file declares them."""
    for tensor in signature.outputs:
        array = outputs[tensor.name]
        if array.shape != (TRIAL_ROWS, *tensor.shape[1:]) or array.dtype != tensor.dtype:
            actual = f"{array.dtype} {list(array.shape)} for {TRIAL_ROWS} rows"
            raise ConvertError(f"output {tensor.name!r} is {actual}, declared is {graph.listed((tensor,))}")


def relative_gap(one: np.ndarray, other: np.ndarray) -> float:
    """The largest difference over the largest value, or over 1."""
    a, b = (np.nan_to_num(array.astype(np.float64)) for array in (one, other))
    return float(np.abs(a - b).max() / max(1.0, np.abs(a).max()))


def certify(
    name: str,
    version: str,
    file: Path,
    origin: str,
    signature: Signature,
    labels: tuple[str, ...],
    facts: Onnx,
    run: Run,
    apart: float,
) -> Certificate:
    """A certificate of the file as it is: nothing was converted, so nothing can have been lost.

    Its golden rows are those of the trial and what they give here; elsewhere they may differ as much as by their
    neighbours.
    """
    difference = Difference(against="onnx", rows=TRIAL_ROWS, single_rows_max=apart)
    rows = graph.random_rows(signature, TRIAL_ROWS)
    outputs = in_batches(run, rows, TRIAL_ROWS)
    largest = max((float(np.abs(a[np.isfinite(a)]).max(initial=1.0)) for a in outputs.values()), default=1.0)
    return Certificate(
        **identify(name, "onnx", version, "onnx", file),
        signature=signature,
        meaning=Meaning(payload="None", labels=labels),
        dataset=Dataset(f"not known: imported from {origin}"),
        training=Training(),
        difference=difference,
        metrics={},
        intervals={},
        reference={},
        golden=golden.write(file.parent, rows, outputs, difference, tolerance=CONSISTENT * largest),
        onnx=facts,
    ).sealed()
