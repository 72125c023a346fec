"""Tensors on the wire: JSON or raw bytes to arrays and back, never through Python lists where it can be helped."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from math import isfinite
from reprlib import Repr
from typing import Any

import numpy as np
import simdjson

from bentos.contract import Tensor
from serving.errors import BadInput

MAX_DIMENSIONS = 16
_SHORT = Repr()  # stops at a few levels and items, where repr() of deep lists ends in a RecursionError
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 60
# A number too large for FP32 becomes infinite, which check_finite judges; NumPy need not warn, and an errstate around
# every cast would cost more than the cast.
warnings.filterwarnings("ignore", "overflow encountered in cast", RuntimeWarning)
# JSON numbers are read as the widest of their kind, then narrowed.
_BUFFERS: dict[str, tuple[Any, np.dtype[Any]]] = {
    "f": ("d", np.dtype(np.float64)),
    "i": ("i", np.dtype(np.int64)),
    "u": ("u", np.dtype(np.uint64)),
}


def checked_shape(given: Any, tensor: Tensor, max_rows: int) -> tuple[int, ...]:
    """A request's shape, held against the signature's. BadInput says what was sent and what is wanted."""
    if isinstance(given, simdjson.Array) and len(given) == len(tensor.shape):
        shape: Any = given.as_list()
        if type(shape[0]) is int and 0 < shape[0] <= max_rows and tuple(shape[1:]) == tensor.shape[1:]:
            return tuple(shape)
    shape = given.as_list() if isinstance(given, simdjson.Array) and len(given) <= MAX_DIMENSIONS else given
    if not isinstance(shape, list) or not all(type(size) is int for size in shape):
        raise BadInput(f"input {tensor.name!r}: shape must be a list of whole numbers, not {brief(shape)}")
    if len(shape) != len(tensor.shape) or shape[1:] != list(tensor.shape[1:]) or shape[0] < 1:
        raise BadInput(f"input {tensor.name!r}: shape is {shape}, expected {list(tensor.shape)}")
    if shape[0] > max_rows:
        raise BadInput(f"input {tensor.name!r}: {shape[0]} rows in one request, the limit is {max_rows}")
    return tuple(shape)


def from_json(data: Any, tensor: Tensor, shape: tuple[int, ...]) -> np.ndarray:
    """simdjson's array (flat, or nested as the shape says) → an array of the tensor's datatype. BadInput."""
    if not isinstance(data, simdjson.Array):
        raise BadInput(f"input {tensor.name!r}: data must be a list of {tensor.datatype} values, not {brief(data)}")
    nested = len(data) > 0 and isinstance(data[0], simdjson.Array)
    if nested and not _nested_as(data, shape):
        raise BadInput(f"input {tensor.name!r}: data is nested otherwise than its shape {list(shape)}")
    try:
        array = numbers(data, tensor, shape)
    except (TypeError, ValueError, RuntimeError):
        raise BadInput(_not_numbers(tensor)) from None
    if not nested and array.size != len(data):  # simdjson flattens whatever it finds
        raise BadInput(f"input {tensor.name!r}: data is nested in part, expected shape {list(shape)}")
    return array


def numbers(data: Any, tensor: Tensor, shape: tuple[int, ...]) -> np.ndarray:
    """simdjson's array of numbers → an array. BadInput; simdjson's TypeError, ValueError and RuntimeError."""
    return _narrowed(_counted(_flat(data, tensor.dtype.kind), tensor, shape), tensor)


def _nested_as(data: Any, shape: tuple[int, ...]) -> bool:
    if len(data) != shape[0]:
        return False
    return len(shape) == 1 or all(isinstance(row, simdjson.Array) and _nested_as(row, shape[1:]) for row in data)


def _flat(data: simdjson.Array, kind: str) -> np.ndarray:
    if kind == "b":
        booleans = np.array(data.as_list()).reshape(-1)
        if booleans.dtype != np.bool_:
            raise ValueError
        return booleans
    code, wide = _BUFFERS[kind]
    return np.frombuffer(data.as_buffer(of_type=code), wide)


def _counted(flat: np.ndarray, tensor: Tensor, shape: tuple[int, ...]) -> np.ndarray:
    try:
        return flat.reshape(shape)
    except ValueError:
        raise BadInput(f"input {tensor.name!r}: {flat.size} values do not fill shape {list(shape)}") from None


def _narrowed(array: np.ndarray, tensor: Tensor) -> np.ndarray:
    """To the tensor's datatype; BadInput for a value that it cannot hold."""
    if array.dtype == tensor.dtype or array.dtype.kind == "f":
        return array.astype(tensor.dtype, copy=False)
    limits = np.iinfo(tensor.dtype)
    if array.size and (array.min() < limits.min or array.max() > limits.max):
        raise BadInput(f"input {tensor.name!r}: a value is outside {tensor.datatype}, {limits.min} to {limits.max}")
    return array.astype(tensor.dtype)


def from_bytes(raw: memoryview, tensor: Tensor, shape: tuple[int, ...]) -> np.ndarray:
    """Little-endian bytes → an array that shares them. BadInput where their number is not the shape's."""
    wanted = int(np.prod(shape)) * tensor.dtype.itemsize
    if len(raw) != wanted:
        raise BadInput(
            f"input {tensor.name!r}: {len(raw)} bytes of binary data,"
            f" shape {list(shape)} of {tensor.datatype} takes {wanted}"
        )
    if tensor.datatype == "BOOL" and np.frombuffer(raw, np.uint8).max(initial=0) > 1:
        raise BadInput(f"input {tensor.name!r}: a BOOL is a byte of 0 or 1, and some are not")
    return np.frombuffer(raw, tensor.dtype.newbyteorder("<")).reshape(shape)


def check_finite(arrays: Sequence[np.ndarray], tensors: Sequence[Tensor]) -> None:
    """BadInput for NaN or infinity."""
    for array, tensor in zip(arrays, tensors, strict=True):
        if tensor.datatype[0] != "F":
            continue
        # A dot product is the cheapest pass over all values; it overflows for huge finite ones, which the rest settles.
        if not isfinite(np.vdot(array, array)) and not np.isfinite(flat := array.reshape(-1)).all():
            at = int(np.flatnonzero(~np.isfinite(flat))[0])
            raise BadInput(f"input {tensor.name!r}: value {at} is {flat[at]}; this model takes finite numbers only")


def _not_numbers(tensor: Tensor) -> str:
    wanted = {"b": "true or false", "f": "numbers"}.get(tensor.dtype.kind, "whole numbers")
    return f"input {tensor.name!r}: data must be {wanted} that fit {tensor.datatype}, flat or nested as its shape"


def brief(value: Any) -> str:
    """A client's value for an error message, never long."""
    if isinstance(value, simdjson.Array | simdjson.Object):
        return "a list" if isinstance(value, simdjson.Array) else "an object"
    words = _SHORT.repr(value)
    return words if len(words) <= 60 else words[:59] + "…"
