"""The certificate of a form: what it gives on held-out rows against the trained form, and what it was made from."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from bentos import certificate as proof
from bentos import golden, statistics, trained
from bentos.certificate import Certificate, Comparison, Difference, FormFile, Onnx
from bentos.comparison import classes, labels_differing, row_gaps
from bentos.contract import Arrays, Tolerance
from bentos.rehearsal import Run, rehearse
from bentos.scores import accuracy_interval
from convert.artifacts import Artifacts, ConvertError
from convert.engine import BATCH, in_batches

SINGLES = 16  # held-out rows that are also run one by one
TRAINED = Tolerance(difference=1e-4)  # what storing the trained form may cost, where a recipe has no `onnx`


def certify(
    artifacts: Artifacts, form: str, file: Path, run: Run, expected: Arrays, onnx: Onnx | None = None
) -> Certificate:
    """The sealed certificate of a form's file, whose golden rows are written beside it.

    `expected` is what the trained form gives on the held-out rows. ConvertError names the figure and the tolerance that
    it breaks, ModelError the payload that is not answered.
    """
    record, framework = artifacts.record, artifacts.recipe.framework
    tolerance = artifacts.recipe.tolerances.get("onnx" if form == framework else form, TRAINED)
    outputs = in_batches(run, artifacts.inputs, BATCH)
    metrics = {key: float(value) for key, value in artifacts.recipe.score(artifacts.targets, outputs).items()}
    interval = accuracy_interval(artifacts.targets, outputs) if "accuracy" in metrics else None
    difference = differ(artifacts, form, run, outputs, expected, tolerance, metrics)
    certificate = Certificate(
        **identify(artifacts.model.name, form, record.version, framework, file),
        signature=record.signature,
        meaning=record.meaning,
        dataset=record.dataset,
        training=record.training,
        difference=difference,
        comparison=compare(artifacts, outputs, expected, tolerance),
        metrics=metrics,
        intervals={} if interval is None else {"accuracy": interval},
        reference=record.reference,
        golden=golden.write(file.parent, artifacts.inputs, expected, difference),
        onnx=onnx,
    )
    check(certificate)
    rehearse(artifacts.model, run, artifacts.payloads)
    return certificate.sealed()


def identify(model: str, form: str, version: str, framework: str, file: Path) -> dict[str, Any]:
    """Those fields of a certificate that say what it is of, when and with what it was made."""
    return {
        "schema": proof.SCHEMA,
        "model": model,
        "form": form,
        "version": version,
        "framework": framework,
        "issued": datetime.now(UTC).isoformat(timespec="seconds"),
        "file": FormFile(file.name, proof.file_sha256(file), file.stat().st_size),
        "libraries": libraries(form),
    }


def check(certificate: Certificate) -> None:
    """ConvertError if a figure is above its tolerance."""
    if failed := certificate.difference.failures():
        raise ConvertError(f"refused, not saved: {'; '.join(failed)}")


def differ(
    artifacts: Artifacts,
    form: str,
    run: Run,
    outputs: Arrays,
    expected: Arrays,
    tolerance: Tolerance,
    metrics: dict[str, float],
) -> Difference:
    """How far the form's outputs are from those expected, in batches and row by row."""
    framework, headline = artifacts.recipe.framework, next(iter(metrics))
    largest = largest_gap(outputs, expected, tolerance)
    single = largest_gap(in_batches(run, first_rows(artifacts.inputs), 1), first_rows(expected), tolerance)
    return Difference(
        against=f"{framework} as trained" if form == framework else framework,
        rows=len(artifacts.targets),
        max=largest if tolerance.difference is None else float(max(largest, single)),
        relative=tolerance.relative,
        tolerance=tolerance.difference,
        single_rows_max=single,
        labels_must_equal=tolerance.labels_equal,
        labels_differing=labels_differing(outputs, expected),
        metric=headline,
        loss=float(artifacts.recipe.score(artifacts.targets, expected)[headline]) - metrics[headline],
        loss_tolerance=tolerance.metric_loss,
    )


def largest_gap(outputs: Arrays, expected: Arrays, tolerance: Tolerance) -> float:
    """The largest difference of any row. ConvertError where the shapes differ."""
    try:
        return float(row_gaps(outputs, expected, tolerance.relative).max())
    except ValueError as error:
        raise ConvertError(str(error)) from error


def compare(artifacts: Artifacts, outputs: Arrays, expected: Arrays, tolerance: Tolerance) -> Comparison:
    """Row by row against the trained form: labels of a classifier, values above the tolerance of a regressor."""
    labels, trained = classes(outputs), classes(expected)
    n_rows = len(artifacts.targets)
    if labels is None or trained is None:
        gaps = row_gaps(outputs, expected, tolerance.relative)
        changed = n_rows - int((gaps <= (tolerance.difference or 0.0)).sum())
        return Comparison("values", n_rows, changed, statistics.upper_bound(changed, n_rows))
    return compare_labels(labels, trained, artifacts.targets)


def compare_labels(labels: np.ndarray, trained: np.ndarray, targets: np.ndarray) -> Comparison:
    """How many rows' labels changed, and whether for the worse. (n,) places each"""
    correct, was_correct = labels == targets, trained == targets
    worse, better = int((was_correct & ~correct).sum()), int((correct & ~was_correct).sum())
    changed = int((labels != trained).sum())
    return Comparison(
        what="labels",
        rows=len(labels),
        changed=changed,
        below=statistics.upper_bound(changed, len(labels)),
        worse=worse,
        better=better,
        p_value=statistics.mcnemar(worse, better),
    )


def first_rows(rows: Arrays) -> Arrays:
    """Those that are run one by one."""
    return {name: array[:SINGLES] for name, array in rows.items()}


def libraries(form: str) -> dict[str, str]:
    """What made and judged a form."""
    own = trained.libraries(form) if form in trained.FILES else ("onnx", "onnxruntime")
    return {name: trained.library_version(name) for name in ("numpy", *own)}
