"""The certificate of a form: what it gives on held-out rows against the trained form, and what it was made from."""

from __future__ import annotations

from datetime import UTC, datetime
from importlib.metadata import version as library
from pathlib import Path
from typing import Any

import numpy as np

from bentos import certificate as proof
from bentos.contract import Arrays, Signature, Tolerance, class_probabilities
from convert.artifacts import Artifacts, ConvertError
from convert.engine import BATCH, Run, in_batches

SINGLES = 16  # held-out rows that are also run one by one
TRAINED = Tolerance(difference=1e-4)  # what storing the trained form may cost, where a recipe has no `onnx`


def certify(
    made: Artifacts, form: str, file: Path, run: Run, expected: Arrays, extra: dict[str, Any]
) -> dict[str, Any]:
    """The sealed certificate of a form's file. ConvertError names the figure and the tolerance that it breaks.

    `expected` is what the trained form gives on the held-out rows.
    """
    framework = made.recipe.framework
    tolerance = made.recipe.tolerances.get("onnx" if form == framework else form, TRAINED)
    outputs = in_batches(run, made.inputs, BATCH)
    metrics = {key: float(value) for key, value in made.recipe.score(made.targets, outputs).items()}
    headline = next(iter(metrics))
    against = f"{framework} as trained" if form == framework else framework
    difference = compare(outputs, expected, tolerance) | {
        "against": against,
        "metric": headline,
        "loss": float(made.recipe.score(made.targets, expected)[headline]) - metrics[headline],
        "single_rows_max": compare(in_batches(run, first_rows(made.inputs), 1), first_rows(expected), tolerance)["max"],
    }
    if tolerance.difference is not None:
        difference["max"] = max(difference["max"], difference["single_rows_max"])
    record = made.record
    training = {key: record[key] for key in ("seed", "options", "metrics", "code", "seconds", "libraries")}
    return issue(made.model.name, form, made.version, framework, file, made.model.signature, {
        "dataset": record["dataset"], "training": training, "difference": difference, "metrics": metrics,
        "reference": record["reference"],
    } | extra)  # fmt: skip


def issue(
    model: str, form: str, version: str, framework: str, file: Path, signature: Signature, facts: dict[str, Any]
) -> dict[str, Any]:
    """A sealed certificate over these facts. ConvertError if its figures are above their tolerances."""
    certificate = {
        "schema": proof.SCHEMA, "model": model, "form": form, "version": version, "framework": framework,
        "issued": datetime.now(UTC).isoformat(timespec="seconds"), "signature": signature.as_dict(),
        "file": {"name": file.name, "sha256": proof.file_sha256(file), "bytes": file.stat().st_size},
        "libraries": libraries(form),
    } | facts  # fmt: skip
    if failed := proof.failures(certificate):
        raise ConvertError(f"refused, not saved: {'; '.join(failed)}")
    return certificate | {"seal": proof.seal(certificate)}


def compare(outputs: Arrays, expected: Arrays, tolerance: Tolerance) -> dict[str, Any]:
    """How far outputs are from those expected. NaN where either is, so that no tolerance accepts it."""
    floats = [name for name, array in expected.items() if array.dtype.kind == "f"]
    gaps = [gap(outputs[name], expected[name], tolerance.relative) for name in floats]
    found = {
        "max": float(np.max(gaps)) if gaps else 0.0,
        "relative": tolerance.relative,
        "rows": len(next(iter(expected.values()))),
        "labels_must_equal": tolerance.labels_equal,
        "labels_differing": labels_differing(outputs, expected),
        "tolerance": tolerance.difference,
        "loss_tolerance": tolerance.metric_loss,
    }
    return {key: value for key, value in found.items() if value is not None}  # the store's metadata holds no None


def gap(given: np.ndarray, expected: np.ndarray, relative: bool) -> float:
    if given.shape != expected.shape:
        raise ConvertError(f"it gives {list(given.shape)} where the trained form gives {list(expected.shape)}")
    wide = expected.astype(np.float64)
    found = np.abs(given.astype(np.float64) - wide)
    return float((found / np.maximum(np.abs(wide), np.finfo(np.float32).tiny) if relative else found).max())


def labels_differing(outputs: Arrays, expected: Arrays) -> int:
    """Rows whose class is another one; 0 for regressors."""
    if not {"label", "logits", "probabilities"} & set(expected):
        return 0
    return int((label(outputs) != label(expected)).sum())


def label(outputs: Arrays) -> np.ndarray:
    return outputs["label"] if "label" in outputs else class_probabilities(outputs).argmax(1)


def first_rows(rows: Arrays) -> Arrays:
    return {name: array[:SINGLES] for name, array in rows.items()}


def libraries(form: str) -> dict[str, str]:
    """What made and judged a form."""
    by_form = {"pytorch": ("torch", "safetensors"), "sklearn": ("scikit-learn", "skops")}
    return {name: library(name) for name in ("numpy", *by_form.get(form, ("onnx", "onnxruntime")))}
