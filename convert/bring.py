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
from typing import Any

import numpy as np
import onnx

from bentos import contract, trained
from bentos.contract import Arrays, Signature
from convert import graph, store
from convert.artifacts import ConvertError
from convert.certify import issue
from convert.engine import Run, in_batches, onnx_run

MAX_BYTES = 2**31 - 1  # of one protobuf file
NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
CONSISTENT = 1e-3  # how far a row's answer may depend on the rows beside it, relative to the largest value


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(
        prog="python -m convert import",
        description="Box an ONNX file that has no recipe: check it, derive its signature, try it, certify it as it is "
        "and save it to the BentoML store as <name>-onnx:<version>. It is then served at /v2/models/<name>.",
        epilog="The file must have one dynamic first dimension (the batch) in every input and output, all others "
        "fixed; tensors of numbers; ONNX's own operators or ONNX Runtime's (com.microsoft); weights inside.",
    )
    found.add_argument("file", type=Path, help="my.onnx")
    found.add_argument("--name", required=True, help="the model's name: lower-case letters, digits, _")
    found.add_argument("--title", default="", help="what pages call it (default: the name)")
    found.add_argument("--labels", default="", metavar="A,B,C", help="class names, in the order of the output")
    found.add_argument("--force", action="store_true", help="replace it if it is in the store already")
    return found


def main(arguments: Sequence[str]) -> int:
    """Import one file; 1 and the reason if it cannot be served."""
    asked = parser().parse_args(arguments)
    labels = [label.strip() for label in asked.labels.split(",")] if asked.labels else []
    try:
        tag, note = bring(asked.file, asked.name, asked.title or asked.name, labels, asked.force)
    except ConvertError as error:
        print(f"{asked.file}: {error}", file=sys.stderr)
        return 1
    print(f"{tag}: {note}")
    return 0


def bring(file: Path, name: str, title: str, labels: Sequence[str], force: bool = False) -> tuple[str, str]:
    """Check, try, certify and save an ONNX file: its tag, and what happened. ConvertError says why not."""
    named(name)
    loaded = load(file)
    graph.check(loaded)
    signature = graph.signature(loaded)
    labelled(signature, labels)
    version = trained.numbered(hashlib.sha256(file.read_bytes() + repr((title, list(labels))).encode()).digest())
    tag = f"{name}-onnx:{version}"
    if not force and store.find(tag, "onnx"):
        return tag, "already in the store" + (", now the latest again" if store.make_latest(tag) else "")
    apart = consistent(onnx_run_or_refuse(file), signature)
    with tempfile.TemporaryDirectory() as folder:
        boxed = Path(shutil.copyfile(file, Path(folder) / "model.onnx"))
        certificate = certify(name, version, boxed, file.name, signature, loaded, apart)
        store.save(boxed, certificate, {"title": title, "labels": list(labels), "doc": f"Imported from {file.name}."})
    return tag, f"saved: {graph.words(signature)}"


def named(name: str) -> None:
    if not NAME.fullmatch(name):
        raise ConvertError(f"the name {name!r} is not lower-case letters, digits and _, beginning with a letter")
    if name in contract.names():
        raise ConvertError(f"the name {name!r} is taken by bentos/{name}")


def load(file: Path) -> onnx.ModelProto:
    if not file.is_file():
        raise ConvertError("there is no such file")
    if file.stat().st_size > MAX_BYTES:
        raise ConvertError(f"it has {file.stat().st_size:,} bytes, at most {MAX_BYTES:,} fit one ONNX file")
    try:
        return onnx.load(file, load_external_data=False)
    except Exception as error:
        raise ConvertError(f"it is no ONNX file: {error}") from error


def labelled(signature: Signature, labels: Sequence[str]) -> None:
    """The labels must be as many as some output has columns, and differ."""
    if not labels:
        return
    if len(set(labels)) != len(labels) or not all(labels):
        raise ConvertError(f"the labels {', '.join(labels)} are not all different and not empty")
    widths = {t.shape[1] for t in signature.outputs if len(t.shape) == 2}
    if len(labels) not in widths:
        raise ConvertError(f"{len(labels)} labels for outputs of {sorted(widths)} columns: {graph.words(signature)}")


def onnx_run_or_refuse(file: Path) -> Run:
    try:
        return onnx_run(file)
    except Exception as error:
        raise ConvertError(f"ONNX Runtime does not load it: {error}") from error


def consistent(run: Run, signature: Signature) -> float:
    """Random rows together and one by one: the greatest difference. ConvertError if a row depends on its neighbours."""
    rows = graph.random_rows(signature, 3)
    try:
        together, alone = in_batches(run, rows, 3), in_batches(run, rows, 1)
    except Exception as error:
        raise ConvertError(f"it does not run on random rows in batches of 1 and 3: {error}") from error
    promised(together, signature)
    promised(alone, signature)
    apart = max(relative_gap(together[t.name], alone[t.name]) for t in signature.outputs)
    if apart > CONSISTENT:
        raise ConvertError(f"a row's answer changes by {apart:.2g} with the rows beside it: it cannot be batched")
    return apart


def promised(outputs: Arrays, signature: Signature) -> None:
    for tensor in signature.outputs:
        array = outputs[tensor.name]
        if array.shape != (3, *tensor.shape[1:]) or array.dtype != tensor.dtype:
            given = f"{array.dtype} {list(array.shape)}"
            raise ConvertError(f"output {tensor.name!r} is {given} for 3 rows, declared is {graph.listed((tensor,))}")


def relative_gap(one: np.ndarray, other: np.ndarray) -> float:
    a, b = (np.nan_to_num(array.astype(np.float64)) for array in (one, other))
    return float(np.abs(a - b).max() / max(1.0, np.abs(a).max()))


def certify(
    name: str, version: str, file: Path, origin: str, signature: Signature, loaded: onnx.ModelProto, apart: float
) -> dict[str, Any]:
    """A certificate of the file as it is: nothing was converted, so nothing can have been lost."""
    nothing = {"source": f"not known: imported from {origin}", "sha256": "", "rows": 0, "held_out_rows": 0}
    return issue(name, "onnx", version, "onnx", file, signature, {
        "dataset": nothing,
        "training": {"metrics": {}},
        "difference": {
            "against": "onnx", "max": 0.0, "relative": False, "rows": 3, "labels_must_equal": False,
            "labels_differing": 0, "metric": "", "loss": 0.0, "single_rows_max": apart,
        },
        "metrics": {},
        "reference": {},
        "onnx": {"opset": graph.opset(loaded), "ir_version": loaded.ir_version},
    })  # fmt: skip
