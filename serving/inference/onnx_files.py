"""What an ONNX file asks for beyond computing with what is in it, read from its protobuf without the onnx package.

ONNX Runtime itself would open the files that external data names, and knows operators that only its plugins define. A
certificate binds the file, not what the file points at. The field numbers are those of onnx.proto3.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from bentos.certificate import ONNX_DOMAINS
from serving.errors import EngineError

DOMAINS = {domain.encode() for domain in ONNX_DOMAINS}
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
# Message → its fields that hold messages of interest.
FIELDS = {
    "model": {7: "graph", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
}
NODE_OPERATOR, NODE_DOMAIN = 4, 7
FUNCTION_NAME, FUNCTION_DOMAIN = 1, 10
EXTERNAL_DATA, DATA_LOCATION = 13, 14
# An attribute's floats and whole numbers, each with its key: a forest of trees has millions.
NUMBERS = re.compile(rb"(?:\x3d[\s\S]{4})++|(?:\x40[\x80-\xff]{0,9}[\x00-\x7f])++")
MAX_NESTED_GRAPHS = 100  # graphs within each other's nodes; protobuf itself refuses more

Message = tuple[str, dict[int, memoryview | int]]  # its kind, and its last value of each field that holds no message


def check_onnx(file: Path) -> None:
    """EngineError where the file reads other files, or has operators that not every ONNX Runtime knows."""
    data = memoryview(file.read_bytes())
    try:
        messages = list(_messages(data, "model", MAX_NESTED_GRAPHS))
    except (IndexError, ValueError) as error:
        raise EngineError(f"{file.name} is no ONNX file: {error}") from None
    if any(EXTERNAL_DATA in fields or fields.get(DATA_LOCATION) for kind, fields in messages if kind == "tensor"):
        raise EngineError(f"{file.name} keeps weights in another file (external data), which no certificate covers")
    own = {_name(fields, FUNCTION_DOMAIN, FUNCTION_NAME) for kind, fields in messages if kind == "function"}
    used = {_name(fields, NODE_DOMAIN, NODE_OPERATOR) for kind, fields in messages if kind == "node"}
    if foreign := sorted(name for name in used - own if name[0] not in DOMAINS):
        words = ", ".join(b".".join(name).decode(errors="replace")[:60] for name in foreign[:5])
        raise EngineError(f"{file.name} has operators that not every ONNX Runtime knows: {words}")


def _name(fields: dict[int, memoryview | int], domain: int, name: int) -> tuple[bytes, bytes]:
    first, second = fields.get(domain, b""), fields.get(name, b"")
    if isinstance(first, int) or isinstance(second, int):
        raise EngineError("an operator's name in it is a number")
    return bytes(first), bytes(second)


def _messages(data: memoryview, kind: str, deepest: int) -> Iterator[Message]:
    """This message and all of interest within it."""
    if not deepest:
        raise ValueError("graphs within graphs without end")
    inner, fields = FIELDS.get(kind, {}), {}
    for number, value in _fields(data):
        if number in inner and isinstance(value, memoryview):
            yield from _messages(value, inner[number], deepest - 1)
        else:
            fields[number] = value
    yield kind, fields


def _fields(data: memoryview) -> Iterator[tuple[int, memoryview | int]]:
    """(field number, value) of one message. IndexError or ValueError where it is none."""
    at = 0
    while at < len(data):
        if (run := NUMBERS.match(data, at)) is not None:
            at = run.end()
            continue
        key, at = varint(data, at)
        number, wire = key >> 3, key & 7
        if wire == VARINT:
            value, at = varint(data, at)
            yield number, value
            continue
        if wire == BYTES:
            size, at = varint(data, at)
        elif wire in (FIXED32, FIXED64):
            size = 4 if wire == FIXED32 else 8
        else:
            raise ValueError(f"wire type {wire}")
        if at + size > len(data):
            raise ValueError("it is cut off")
        yield number, data[at : at + size]
        at += size


def varint(data: memoryview | bytes, at: int) -> tuple[int, int]:
    """A number of up to ten bytes in protobuf, and where it ends. IndexError, ValueError where there is none"""
    value = 0
    for shift in range(0, 70, 7):
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise ValueError("a number without an end")
