"""Tensors of BYTES on the wire: JSON strings, or each behind its length in four bytes, little-endian. BadInput

Engines take text, so that bytes which are no UTF-8 are refused.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import cache
from itertools import chain
from typing import Any

import msgspec
import numpy as np

from bentos.contract import Tensor
from serving.errors import BadInput

MAX_TEXTS = 2**17  # of one tensor: a Python object each, of some 60 bytes and more
LENGTH_BYTES = 4


def from_json(text: bytes, tensor: Tensor, shape: tuple[int, ...]) -> np.ndarray:
    """A JSON list of strings, flat or nested as the shape says → (shape) of str. Counted before they are read."""
    where, count = f"input {tensor.name!r}", math.prod(shape)
    if text[:1] != b"[":
        raise BadInput(f"{where}: data must be a list of strings")
    _check_number(count, tensor)
    if (strings := _count(text)) != count:
        raise BadInput(f"{where}: {strings} strings do not fill shape {list(shape)}")
    depth = _depth(text)
    if depth not in (1, len(shape)):
        raise BadInput(f"{where}: data is nested otherwise than its shape {list(shape)}")
    try:
        values: list[Any] = _lists(depth)(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadInput(f"{where}: data must be strings, flat or nested as its shape: {error}") from None
    nested = depth == 1 or len(values) == shape[0]
    for size in shape[1:depth]:
        nested = nested and all(len(value) == size for value in values)
        values = list(chain.from_iterable(values))
    if not nested:
        raise BadInput(f"{where}: data is nested otherwise than its shape {list(shape)}")
    return array_of(values, shape)


def shape_of(text: bytes, tensor: Tensor, depth: int) -> tuple[int, ...]:
    """The sizes of nested lists of strings, by the first list of each depth. BadInput where there are too many"""
    _check_number(_count(text), tensor)
    try:
        values: Any = _lists(depth)(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadInput(f"input {tensor.name!r}: data must be strings in lists: {error}") from None
    sizes: list[int] = []
    while isinstance(values, list):
        sizes.append(len(values))
        values = values[0] if values else None
    return (*sizes, *(0 for _ in range(depth - len(sizes))))


def from_bytes(raw: bytes | memoryview, tensor: Tensor, shape: tuple[int, ...]) -> np.ndarray:
    """Each text behind its length → (shape) of str."""
    where, count = f"input {tensor.name!r}", math.prod(shape)
    _check_number(count, tensor)
    if count * LENGTH_BYTES > len(raw):
        raise BadInput(f"{where}: {len(raw)} bytes of binary data hold fewer than {count} texts and their lengths")
    values, at = [], 0
    for place in range(count):
        start = at + LENGTH_BYTES
        at = start + int.from_bytes(raw[at:start], "little")
        if at > len(raw) or start > len(raw):
            raise BadInput(f"{where}: the length of text {place} goes beyond the {len(raw)} bytes of binary data")
        values.append(_text(raw[start:at], place, tensor))
    if at != len(raw):
        raise BadInput(f"{where}: {len(raw) - at} bytes of binary data are left behind {count} texts")
    return array_of(values, shape)


def from_parts(parts: Sequence[bytes], tensor: Tensor, shape: tuple[int, ...]) -> np.ndarray:
    """Texts that are apart already, as many as the shape takes → (shape) of str"""
    _check_number(len(parts), tensor)
    return array_of((_text(part, place, tensor) for place, part in enumerate(parts)), shape)


def to_bytes(array: np.ndarray) -> bytes:
    """The texts of an array, each behind its length."""
    texts = [str(value).encode() for value in array.reshape(-1)]
    return b"".join(part for text in texts for part in (len(text).to_bytes(LENGTH_BYTES, "little"), text))


def array_of(values: Iterable[str], shape: tuple[int, ...]) -> np.ndarray:
    """(shape) of str"""
    array = np.empty(math.prod(shape), object)
    array[:] = list(values)
    return array.reshape(shape)


def _text(octets: bytes | memoryview, place: int, tensor: Tensor) -> str:
    try:
        return str(octets, "utf-8")
    except UnicodeDecodeError as error:
        raise BadInput(f"input {tensor.name!r}: text {place} is not UTF-8: {error.reason}") from None


def _check_number(count: int, tensor: Tensor) -> None:
    if count > MAX_TEXTS:
        raise BadInput(f"input {tensor.name!r}: {count} texts in one request, the limit is {MAX_TEXTS}")


def _count(text: bytes) -> int:
    """How many strings JSON has."""
    plain = text.replace(b"\\\\", b"").replace(b'\\"', b"") if b"\\" in text else text
    return plain.count(b'"') // 2


def _depth(text: bytes) -> int:
    """How many brackets it begins with."""
    depth = 0
    for byte in text[:256]:
        if byte == ord("["):
            depth += 1
        elif byte not in b" \t\r\n":
            break
    return depth


@cache
def _lists(depth: int) -> Any:
    """The decoder of strings in so many lists; there are as many as a shape may have dimensions."""
    kind: Any = str
    for _ in range(depth):
        kind = list[kind]
    return msgspec.json.Decoder(kind).decode
