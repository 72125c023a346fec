"""Tensors on the wire: JSON or raw bytes to arrays of their description's datatype and shape. BadInput."""

from __future__ import annotations

import math
import sys

import msgspec
import numpy as np

from bentos.contract import FLOATS, Signature, Tensor, bfloat16_to_float32, float32_to_bfloat16
from serving.api.v2 import numbers, texts
from serving.errors import BadInput
from serving.inference.validation import brief, check_finite

BIG_ENDIAN = sys.byteorder == "big"
_skip = msgspec.json.Decoder(msgspec.Raw).decode
_JSON_FLOAT = np.dtype(np.float32)  # what JSON's numbers are read as, for BF16
_NO_BRACKETS = bytes.maketrans(b"[]", b"  ")
_ALL_BUT_NESTING = bytes(set(range(256)) - set(b"[],"))


def reading_factor(signature: Signature) -> int:
    """Bytes of memory for a byte of JSON while arrays are made of it, beside the body itself.

    A value is two bytes of JSON at least; its text is copied some times on the way. Measured: up to 8.5 of INT64, and
    without simdjson, where Python's numbers come between, 9.4 of FP32.
    """
    copies = 5 if numbers.simdjson is not None else 8
    return copies + max((tensor.dtype.itemsize for tensor in signature.inputs), default=0) // 2


def from_json(text: bytes, tensor: Tensor, shape: tuple[int, ...], finite: bool) -> np.ndarray:
    """A JSON list (flat, or nested as the shape says) → an array. `finite` refuses NaN and infinities.

    No more values are read than the shape takes, and one piece of `numbers`. Where NaN is allowed, null is one.
    """
    if tensor.datatype == "BYTES":
        return texts.from_json(text, tensor, shape)
    if text[:1] != b"[":
        raise BadInput(f"input {tensor.name!r}: data must be a list of {tensor.datatype} values, not {_shown(text)}")
    values = text if text.find(b"[", 1) < 0 else _flat(text, tensor, shape)
    if values is not text and not values.translate(None, b"[], \t\r\n"):  # lists of nothing
        values = b"[]"
    try:
        is_float = tensor.datatype in FLOATS
        dtype = _JSON_FLOAT if tensor.datatype == "BF16" else tensor.dtype
        flat = numbers.read(values, dtype, math.prod(shape), nulls=is_float and not finite)
    except numbers.Miscounted as count:
        raise BadInput(f"input {tensor.name!r}: {count} values do not fill shape {list(shape)}") from None
    except numbers.OutOfRange:
        raise BadInput(f"input {tensor.name!r}: a value is outside {tensor.datatype}{_limits(tensor)}") from None
    except ValueError:
        raise _not_numbers(text, tensor) from None
    if finite:
        check_finite(flat, tensor)
    if tensor.datatype == "BF16":
        flat = float32_to_bfloat16(flat)
    return flat.reshape(shape)


def check_length(text: bytes, tensor: Tensor, shape: tuple[int, ...]) -> None:
    """BadInput where JSON is too short for so many values, before any room is made for them."""
    if math.prod(max(1, size) for size in shape) > len(text) + 1:
        raise BadInput(f"input {tensor.name!r}: {len(text)} bytes of data do not fill shape {list(shape)}")


def from_bytes(raw: bytes | memoryview, tensor: Tensor, shape: tuple[int, ...], finite: bool) -> np.ndarray:
    """Little-endian bytes → an array that shares them. `finite` refuses NaN and infinities."""
    datatype, dtype = tensor.datatype, tensor.dtype
    if datatype == "BYTES":
        return texts.from_bytes(raw, tensor, shape)
    expected = math.prod(shape) * dtype.itemsize
    if len(raw) != expected:
        raise BadInput(
            f"input {tensor.name!r}: {len(raw)} bytes of binary data,"
            f" shape {list(shape)} of {tensor.datatype} takes {expected}"
        )
    if datatype == "BOOL" and np.frombuffer(raw, np.uint8).max(initial=0) > 1:
        raise BadInput(f"input {tensor.name!r}: a BOOL is a byte of 0 or 1, and some are not")
    little = dtype.newbyteorder("<") if BIG_ENDIAN else dtype  # asking costs more than reading a short tensor
    flat = np.frombuffer(raw, little) if expected else np.empty(0, dtype)
    if finite and datatype == "BF16":
        check_finite(bfloat16_to_float32(flat), tensor)
    elif finite:
        check_finite(flat, tensor)
    return flat.reshape(shape)


def _flat(text: bytes, tensor: Tensor, shape: tuple[int, ...]) -> bytes:
    """The list without the lists in it, which must be nested as the shape says."""
    nesting = _nesting(shape)
    marks = text[: numbers.PIECE_BYTES].translate(None, _ALL_BUT_NESTING)
    if len(text) > numbers.PIECE_BYTES and nesting.startswith(marks):
        marks = text.translate(None, _ALL_BUT_NESTING)
    if marks != nesting:
        raise _other_nesting(text, tensor, shape)
    # Blanks take the brackets' places, so that nothing that stood apart is joined.
    return b"[" + text[1:-1].translate(_NO_BRACKETS) + b"]"


def _nesting(shape: tuple[int, ...]) -> bytes:
    """The brackets and commas of a list of this shape: (2, 3) → `[[,,],[,,]]`."""
    inner = b""
    for size in reversed(shape):
        # Not by join, which makes 80 bytes of each item.
        inner = b"[" + (inner + b",") * (size - 1) + inner + b"]" if size else b"[]"
    return inner


def _other_nesting(text: bytes, tensor: Tensor, shape: tuple[int, ...]) -> BadInput:
    if b'"' in text or b"{" in text:  # whose brackets and commas were counted
        return _not_numbers(text, tensor)
    if text[1:200].lstrip()[:1] != b"[":
        return BadInput(f"input {tensor.name!r}: data is nested in part, expected shape {list(shape)}")
    return BadInput(f"input {tensor.name!r}: data is nested otherwise than its shape {list(shape)}")


def _not_numbers(text: bytes, tensor: Tensor) -> BadInput:
    try:
        _skip(text)
    except (msgspec.DecodeError, RecursionError) as error:
        return BadInput(f"the request is not JSON: data of input {tensor.name!r}: {error}")
    kinds = (
        "numbers" if tensor.datatype in FLOATS else "true or false" if tensor.datatype == "BOOL" else "whole numbers"
    )
    return BadInput(
        f"input {tensor.name!r}: data must be {kinds} that fit {tensor.datatype}, flat or nested as its shape"
    )


def _limits(tensor: Tensor) -> str:
    if tensor.datatype in FLOATS:
        return ""
    limits = np.iinfo(tensor.dtype)
    return f", {limits.min} to {limits.max}"


def _shown(text: bytes) -> str:
    """A JSON value that is no list, for an error message."""
    if not text or text == b"null":
        return "None"
    if text[:1] == b"{":
        return "an object"
    return brief(text[1:200].split(b'"')[0].decode(errors="replace")) if text[:1] == b'"' else text[:60].decode()
