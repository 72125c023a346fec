"""Universal Binary JSON (draft 12), as far as XGBoost writes it: numbers are big-endian, arrays may have one type."""

from __future__ import annotations

from typing import Any

import numpy as np

NUMBERS = {b"i": ">i1", b"U": ">u1", b"I": ">i2", b"l": ">i4", b"L": ">i8", b"d": ">f4", b"D": ">f8"}
CONSTANTS = {b"Z": None, b"T": True, b"F": False}
MAX_DEPTH = 64


def decode(data: bytes) -> Any:
    """The value in some bytes. ValueError where they are no UBJSON"""
    try:
        return _Reader(data).value(0)
    except (IndexError, KeyError, UnicodeDecodeError) as error:
        raise ValueError(f"it is no UBJSON: {error!r}") from error


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def _bytes(self, count: int) -> bytes:
        chunk = self._data[self._at : self._at + count]
        if count < 0 or len(chunk) < count:
            raise ValueError("it is cut off")
        self._at += count
        return chunk

    def _next_is(self, marker: bytes) -> bool:
        if self._data[self._at : self._at + 1] != marker:
            return False
        self._at += 1
        return True

    def value(self, depth: int, kind: bytes = b"") -> Any:
        if depth > MAX_DEPTH:
            raise ValueError("lists within lists without end")
        kind = kind or self._bytes(1)
        if kind in NUMBERS:
            return np.frombuffer(self._bytes(np.dtype(NUMBERS[kind]).itemsize), NUMBERS[kind])[0].item()
        if kind in CONSTANTS:
            return CONSTANTS[kind]
        if kind == b"S":
            return self._text()
        if kind == b"C":
            return self._bytes(1).decode()
        return {b"[": self._array, b"{": self._object}[kind](depth)

    def _text(self) -> str:
        return self._bytes(int(self.value(0))).decode()

    def _header(self) -> tuple[bytes, int | None]:
        """The type and the number of a container's values, where it says them."""
        kind = self._bytes(1) if self._next_is(b"$") else b""
        return kind, int(self.value(0)) if self._next_is(b"#") else None

    def _array(self, depth: int) -> Any:
        kind, count = self._header()
        if kind in NUMBERS and count is not None:
            dtype = np.dtype(NUMBERS[kind])
            return np.frombuffer(self._bytes(count * dtype.itemsize), dtype)
        values: list[Any] = []
        while len(values) < count if count is not None else not self._next_is(b"]"):
            values.append(self.value(depth + 1, kind))
        return values

    def _object(self, depth: int) -> dict[str, Any]:
        kind, count = self._header()
        pairs: dict[str, Any] = {}
        while len(pairs) < count if count is not None else not self._next_is(b"}"):
            key = self._text()
            pairs[key] = self.value(depth + 1, kind)
        return pairs
