"""A mended file held against the file as it was given: one request, and the same answers."""

from __future__ import annotations

import ctypes
import math
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto

from bentos.contract import Arrays, bfloat16_to_float32
from convert.artifacts import ConvertError
from convert.engine import options

SAME = 1e-5  # of the largest value: a mended graph may be optimised otherwise


def same_answers(original: Path, inputs: Arrays, answers: Arrays) -> None:
    """ConvertError where the original file answers otherwise than the mended one did."""
    for name, expected in answer(original, inputs).items():
        if words := _differing(answers[name], expected):
            raise ConvertError(f"mended, its {name} {words}")


def _differing(actual: np.ndarray, expected: np.ndarray) -> str:
    """How an answer differs from the one expected, in words; empty if it does not."""
    if expected.shape != actual.shape or expected.dtype != actual.dtype:
        return f"is {actual.dtype} {list(actual.shape)}, as given {expected.dtype} {list(expected.shape)}"
    if actual.dtype.kind != "f":
        return "" if (actual == expected).all() else "is another than as given"
    finite = np.isfinite(expected)
    if not np.array_equal(actual[~finite], expected[~finite], equal_nan=True):
        return "is not finite where it is as given"
    a, b = actual[finite].astype(np.float64), expected[finite].astype(np.float64)
    gap = float(np.abs(a - b).max(initial=0.0))
    return f"differs by {gap:.3g} from the file as given" if gap > SAME * np.abs(b).max(initial=0.0) else ""


@lru_cache(maxsize=1)
def _session(original: Path) -> Any:
    import onnxruntime

    return onnxruntime.InferenceSession(str(original), options(), providers=["CPUExecutionProvider"])


def answer(original: Path, inputs: Arrays) -> Arrays:
    """What the original file answers, in the words of the mended one: dictionaries as columns, BF16 as FP32."""
    session = _session(original)
    ports = (*session.get_inputs(), *session.get_outputs())
    names = [port.name for port in session.get_outputs()]
    if any(port.type == "tensor(bfloat16)" for port in ports):
        values = session.run_with_ort_values(names, {p.name: _ort_value(p, inputs) for p in session.get_inputs()})
        return {name: _widened(value) for name, value in zip(names, values, strict=True)}
    feeds = {p.name: [inputs[p.name]] if p.type.startswith("seq") else inputs[p.name] for p in session.get_inputs()}
    return {name: _plain(value) for name, value in zip(names, session.run(names, feeds), strict=True)}


def _ort_value(port: Any, inputs: Arrays) -> Any:
    import onnxruntime

    array = inputs[port.name]
    if port.type != "tensor(bfloat16)":
        return onnxruntime.OrtValue.ortvalue_from_numpy(array)
    return onnxruntime.OrtValue.ortvalue_from_numpy_with_onnx_type(bfloat16(array), TensorProto.BFLOAT16)


def bfloat16(values: np.ndarray) -> np.ndarray:
    """FP32 rounded to the nearest BF16, ties to even, as its 16 bits. → uint16"""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    rounded: np.ndarray = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
    return rounded


def _widened(value: Any) -> np.ndarray:
    """BF16, which NumPy cannot hold, is read where it lies."""
    if value.data_type() != "tensor(bfloat16)":
        array: np.ndarray = value.numpy()
        return array
    shape = tuple(value.shape())
    bits = np.frombuffer(ctypes.string_at(value.data_ptr(), 2 * math.prod(shape)), np.uint16).reshape(shape)
    return bfloat16_to_float32(bits)


def _plain(value: Any) -> np.ndarray:
    """A tensor; the one tensor of a sequence; of a list of dictionaries, a column for each key."""
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return np.array([list(row.values()) for row in value], np.float32)
    if isinstance(value, list):
        if len(value) != 1:
            raise ConvertError(f"it gives a sequence of {len(value)} tensors, not of one")
        return np.asarray(value[0])
    return np.asarray(value)
