"""Sessions: an inference engine that holds one form. Rows in, rows out, nothing of HTTP, queues or models.

Engines other than ONNX Runtime are imported when a form of theirs is loaded, so that a box without torch or
scikit-learn serves its ONNX forms.
"""

from __future__ import annotations

import ctypes
import math
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from bentos import trained
from bentos.contract import Model, Signature, Tensor
from serving.errors import EngineError
from serving.inference.onnx_files import check_onnx

Batch = Sequence[np.ndarray]  # one array per input of the signature
BFLOAT16 = 16  # as ONNX numbers types
FATAL = 4  # of ONNX Runtime's severities


class Refused(Exception):
    """What an engine says of values that it does not compute with; the message is its own, and short."""


class Session(Protocol):
    """`run` takes one array per input and gives one per output; it may be called from any one thread at a time.

    Refused, where the values are none that it computes with.
    """

    def run(self, inputs: Batch) -> list[np.ndarray]:
        """The outputs of one engine call, in the signature's order. Refused where it does not take the values"""


class OnnxSession:
    """ONNX Runtime on the CPU."""

    def __init__(self, file: Path, signature: Signature, threads: int) -> None:
        os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # it looks when it is first imported
        import onnxruntime
        from onnxruntime.capi import onnxruntime_pybind11_state as states

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
        self._errors = states.InvalidArgument, states.Fail, states.RuntimeException

    def run(self, inputs: Batch) -> list[np.ndarray]:
        """One call of ONNX Runtime. Refused where the graph does not take the values"""
        try:
            outputs: list[np.ndarray] = self._session.run(self._outputs, dict(zip(self._inputs, inputs, strict=True)))
        except self._errors as error:
            raise Refused(_status(str(error))) from error
        return outputs


def _status(message: str) -> str:
    """What ONNX Runtime says of a node, without where in its source it says so."""
    words = " ".join(message.rpartition("Status Message:")[2].split())
    return re.sub(r"^(\[ONNXRuntimeError\] : \d+ : \w+ : )?(/\S+\.(cc|h):\d+ .*?\) )?", "", words)[:300]


class Bfloat16Session(OnnxSession):
    """ONNX Runtime with tensors of BF16, which go in and come out as their 16 bits."""

    def __init__(self, file: Path, signature: Signature, threads: int) -> None:
        super().__init__(file, signature, threads)
        self._bfloat16 = {t.name for t in (*signature.inputs, *signature.outputs) if t.datatype == "BF16"}

    def run(self, inputs: Batch) -> list[np.ndarray]:
        """The same through OrtValues, as NumPy has no BF16. Refused"""
        named = {name: self._value(name, array) for name, array in zip(self._inputs, inputs, strict=True)}
        try:
            values = self._session.run_with_ort_values(self._outputs, named)
        except self._errors as error:
            raise Refused(_status(str(error))) from error
        return [self._array(value) for value in values]

    def _value(self, name: str, array: np.ndarray) -> Any:
        from onnxruntime import OrtValue

        array = np.ascontiguousarray(array)
        if name in self._bfloat16:
            return OrtValue.ortvalue_from_numpy_with_onnx_type(array, BFLOAT16)
        return OrtValue.ortvalue_from_numpy(array)

    @staticmethod
    def _array(value: Any) -> np.ndarray:
        if value.data_type() != "tensor(bfloat16)":
            array: np.ndarray = value.numpy()
            return array
        bits = (ctypes.c_uint16 * math.prod(value.shape())).from_address(value.data_ptr())
        return np.frombuffer(bits, np.uint16).reshape(value.shape()).copy()


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
        """One call of the framework that trained it. Refused where it does not take the values"""
        try:
            outputs = self._predict(dict(zip(self._inputs, inputs, strict=True)))
        except (IndexError, RuntimeError, ValueError) as error:  # as PyTorch and scikit-learn refuse values
            raise Refused(" ".join(str(error).split())[:300]) from error
        return [outputs[name] for name in self._outputs]


def open_session(model: Model, form: str, file: Path, threads: int) -> Session:
    """The session for one stored form. ModuleNotFoundError where its engine is not installed."""
    if form in trained.FILES:  # the trained form bears its framework's name
        return TrainedSession(model, form, file, threads)
    tensors = (*model.signature.inputs, *model.signature.outputs)
    kind = Bfloat16Session if any(tensor.datatype == "BF16" for tensor in tensors) else OnnxSession
    return kind(file, model.signature, threads)


def check_outputs(outputs: Any, signature: Signature, n_rows: int) -> None:
    """EngineError where the engine's outputs are not what the signature says for so many rows."""
    if len(outputs) != len(signature.outputs):
        raise EngineError(f"the engine gave {len(outputs)} outputs, the signature says {len(signature.outputs)}")
    if not signature.rows_alike:
        return _check_shapes(outputs, signature, n_rows)
    for array, tensor in zip(outputs, signature.outputs, strict=True):
        if len(array) != n_rows or array.shape[1:] != tensor.shape[1:] or array.dtype != tensor.dtype:
            raise _other_output(array, tensor, [n_rows, *tensor.shape[1:]])


def _check_shapes(outputs: Any, signature: Signature, n_rows: int) -> None:
    for array, tensor, axis in zip(outputs, signature.outputs, signature.output_axes, strict=True):
        expected = [n_rows if place == axis else size for place, size in enumerate(tensor.sizes)]
        if (
            array.dtype != tensor.dtype
            or array.ndim != len(expected)
            or any(size not in (-1, actual) for size, actual in zip(expected, array.shape, strict=True))
        ):
            raise _other_output(array, tensor, expected)


def _other_output(array: np.ndarray, tensor: Tensor, expected: Sequence[int | str]) -> EngineError:
    return EngineError(
        f"the engine gave {tensor.name} as {array.dtype} {list(array.shape)}, "
        f"the signature says {tensor.datatype} {list(expected)}"
    )
