"""Forms run on rows: the trained one by its framework, the others by ONNX Runtime, alike from run to run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime

from bentos import trained
from bentos.contract import Arrays, Model
from bentos.rehearsal import Run

BATCH = 64


def options() -> onnxruntime.SessionOptions:
    """One thread, so that sums are always taken in one order; no telemetry in the log."""
    session = onnxruntime.SessionOptions()
    session.intra_op_num_threads = session.inter_op_num_threads = 1
    session.use_deterministic_compute = True
    session.log_severity_level = 3
    return session


def onnx_run(file: Path) -> Run:
    """What runs an ONNX file on the CPU."""
    session = onnxruntime.InferenceSession(str(file), options(), providers=["CPUExecutionProvider"])
    names = [o.name for o in session.get_outputs()]
    return lambda inputs: dict(zip(names, session.run(names, inputs), strict=True))


def form_run(model: Model, framework: str, form: str, file: Path) -> Run:
    """What runs a form's file: the trained form is named after its framework."""
    if form == framework:
        return trained.predictor(model, framework, trained.load(model, framework, file))
    return onnx_run(file)


def in_batches(run: Run, inputs: Arrays, size: int) -> Arrays:
    """Run over all rows in batches of `size`; the last may be smaller."""
    total = len(next(iter(inputs.values())))
    parts = [run({n: rows[i : i + size] for n, rows in inputs.items()}) for i in range(0, total, size)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
