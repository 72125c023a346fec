"""Tensors in protobuf: typed contents to arrays and back, as the bytes that they are on the wire. BadInput."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from bentos.contract import Tensor
from serving.api.v2 import texts
from serving.errors import BadInput
from serving.inference.validation import check_finite

# The field of InferTensorContents that holds a datatype, and its number; FP16 and BF16 have none and go raw.
FIELDS = {
    "BOOL": ("bool_contents", 1),
    "INT8": ("int_contents", 2),
    "INT16": ("int_contents", 2),
    "INT32": ("int_contents", 2),
    "INT64": ("int64_contents", 3),
    "UINT8": ("uint_contents", 4),
    "UINT16": ("uint_contents", 4),
    "UINT32": ("uint_contents", 4),
    "UINT64": ("uint64_contents", 5),
    "FP32": ("fp32_contents", 6),
    "FP64": ("fp64_contents", 7),
    "BYTES": ("bytes_contents", 8),
}
PACKED_AS_THEY_ARE = ("BOOL", "FP32", "FP64")
LENGTH_DELIMITED = 2


def from_contents(contents: Any, tensor: Tensor, shape: tuple[int, ...], finite: bool) -> np.ndarray:
    """InferTensorContents → an array. `finite` refuses NaN and infinities."""
    name, number = FIELDS.get(tensor.datatype, (None, 0))
    if name is None:
        raise BadInput(f"input {tensor.name!r}: {tensor.datatype} goes in raw_input_contents")
    values, count = getattr(contents, name), math.prod(shape)
    if len(values) != count:
        raise BadInput(f"input {tensor.name!r}: {len(values)} values in {name} do not fill shape {list(shape)}")
    if any(field.number != number for field, _ in contents.ListFields()):
        raise BadInput(f"input {tensor.name!r}: there are values in other fields than {name}")
    if tensor.datatype == "BYTES":
        return texts.from_parts(values, tensor, shape)
    if not count:
        return np.empty(shape, tensor.dtype)
    if tensor.datatype in PACKED_AS_THEY_ARE:
        # A packed field is its tag, its length and its values, which end it, unless fields follow that nobody knows.
        contents.DiscardUnknownFields()
        packed = contents.SerializeToString()
        flat = np.frombuffer(packed, tensor.dtype.newbyteorder("<"), count, len(packed) - count * tensor.dtype.itemsize)
    else:
        flat = _integers(values, tensor, count)
    if finite:
        check_finite(flat, tensor)
    return flat.reshape(shape)


def _integers(values: Any, tensor: Tensor, count: int) -> np.ndarray:
    wide = np.fromiter(values, np.uint64 if tensor.dtype.kind == "u" else np.int64, count)
    limits = np.iinfo(tensor.dtype)
    if wide.dtype != tensor.dtype and (wide.min() < limits.min or wide.max() > limits.max):
        raise BadInput(f"input {tensor.name!r}: a value is outside {tensor.datatype}, {limits.min} to {limits.max}")
    return wide.astype(tensor.dtype, copy=False)


def set_contents(contents: Any, tensor: Tensor, array: np.ndarray) -> None:
    """An array → InferTensorContents."""
    name, number = FIELDS[tensor.datatype]
    if tensor.datatype in PACKED_AS_THEY_ARE:
        values = array.tobytes()
        contents.MergeFromString(length_delimited(number, len(values)) + values)
    elif tensor.datatype == "BYTES":
        contents.bytes_contents.extend(str(value).encode() for value in array.reshape(-1))
    else:
        getattr(contents, name).extend(array.reshape(-1))


def length_delimited(number: int, length: int) -> bytes:
    """What stands before `length` bytes that are the field of a number below 16."""
    tag = number << 3 | LENGTH_DELIMITED
    if length <= 0x7F:
        return bytes((tag, length))
    octets = bytearray((tag,))
    while length > 0x7F:
        octets.append(length & 0x7F | 0x80)
        length >>= 7
    octets.append(length)
    return bytes(octets)
