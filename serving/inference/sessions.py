"""Sessions: an inference engine that holds one form. Rows in, rows out, nothing of HTTP, queues or models.

Engines other than ONNX Runtime are imported when a form of theirs is loaded, so that a box without torch or
scikit-learn serves its ONNX forms.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import Any, Protocol

import numpy as np

from bentos import trained
from bentos.contract import Model, Signature
from serving.errors import EngineError
from serving.inference.onnx_files import check_onnx

Batch = Sequence[np.ndarray]  # one array per input of the signature, all with the same number of rows
MOST_BATCH_BYTES = 2**30  # of one tensor
FATAL = 4  # of ONNX Runtime's severities


class Session(Protocol):
    """`run` takes one array per input and gives one per output; it may be called from any one thread at a time."""

    def run(self, inputs: Batch) -> list[np.ndarray]: ...


class OnnxSession:
    """ONNX Runtime on the CPU."""

    def __init__(self, file: Path, signature: Signature, threads: int) -> None:
        os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # it looks when it is first imported
        import onnxruntime

        check_onnx(file)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # A spinning pool would take the cores that parse the next requests.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # What fails is an exception, which goes to our log, bounded and as JSON if so set; its own lines are neither.
        options.log_severity_level = FATAL
        onnxruntime.set_default_logger_severity(FATAL)
        self._session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        self._inputs = [tensor.name for tensor in signature.inputs]
        self._outputs = [tensor.name for tensor in signature.outputs]

    def run(self, inputs: Batch) -> list[np.ndarray]:
        outputs: list[np.ndarray] = self._session.run(self._outputs, dict(zip(self._inputs, inputs, strict=True)))
        return outputs


class TrainedSession:
    """The form as it was trained, in its own framework: PyTorch, or scikit-learn."""

    def __init__(self, model: Model, framework: str, file: Path, threads: int) -> None:
        if framework == "pytorch":
            import torch

            torch.set_num_threads(threads)
        self._predict = trained.predictor(model, framework, trained.load(model, framework, file))
        self._inputs = [tensor.name for tensor in model.signature.inputs]
        self._outputs = [tensor.name for tensor in model.signature.outputs]

    def run(self, inputs: Batch) -> list[np.ndarray]:
        outputs = self._predict(dict(zip(self._inputs, inputs, strict=True)))
        return [outputs[name] for name in self._outputs]


def open_session(model: Model, form: str, file: Path, threads: int) -> Session:
    """The session for one stored form. ModuleNotFoundError where its engine is not installed."""
    if form in trained.FILES:  # the trained form bears its framework's name
        return TrainedSession(model, form, file, threads)
    return OnnxSession(file, model.signature, threads)


def warm_up(session: Session, signature: Signature, batch_sizes: Sequence[int]) -> list[tuple[int, float]]:
    """Run zeros through, three times at each batch size: (rows, seconds) of each run but the first of a size.

    EngineError names the tensor that is not what the signature says, or that no machine should be asked to hold.
    """
    check_sizes(signature, max(batch_sizes))
    timings = []
    for rows in batch_sizes:
        batch = [np.zeros((rows, *t.shape[1:]), t.dtype) for t in signature.inputs]
        check_outputs(session.run(batch), signature, rows)  # the first run allocates
        for _ in range(2):
            started = perf_counter()
            session.run(batch)
            timings.append((rows, perf_counter() - started))
    return timings


def check_sizes(signature: Signature, rows: int) -> None:
    """EngineError for a tensor that would take over 1 GiB for so many rows."""
    for tensor in (*signature.inputs, *signature.outputs):
        size = math.prod(tensor.shape[1:]) * tensor.dtype.itemsize * rows
        if size > MOST_BATCH_BYTES:
            raise EngineError(
                f"{tensor.name} of shape {list(tensor.shape)} takes {size / 2**30:,.1f} GiB for {rows} rows,"
                " which EKIBEN_MAX_BATCH_SIZE sets; 1 GiB is the limit"
            )


def check_outputs(outputs: Any, signature: Signature, rows: int) -> None:
    """EngineError where the engine's outputs are not what the signature says for so many rows."""
    if len(outputs) != len(signature.outputs):
        raise EngineError(f"the engine gave {len(outputs)} outputs, the signature says {len(signature.outputs)}")
    for array, tensor in zip(outputs, signature.outputs, strict=True):
        if len(array) != rows or array.shape[1:] != tensor.shape[1:] or array.dtype != tensor.dtype:
            raise EngineError(
                f"the engine gave {tensor.name} as {array.dtype} {list(array.shape)}, "
                f"the signature says {tensor.datatype} {[rows, *tensor.shape[1:]]}"
            )
