"""One inference request: its JSON part, the binary tensors behind it, and every way in which either can be wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import simdjson

from bentos.contract import Tensor
from serving.api.depth import MOST, check_depth
from serving.api.v2.tensors import brief, check_finite, checked_shape, from_bytes, from_json
from serving.errors import BadInput
from serving.inference.repository import LoadedForm

MEMBERS = ("name", "datatype", "shape", "data", "parameters")
PLAIN = set(MEMBERS[:4])
Asked = list[tuple[int, bool]]  # outputs by their place in the signature, and whether each goes out as raw bytes


def parse(body: bytes, header_length: int | None, max_depth: int = MOST) -> Request:
    """The request's JSON. BadInput where it is none, not an object, or nested deeper than `max_depth`."""
    text = body if header_length is None else body[:header_length]
    try:
        document = simdjson.Parser().parse(text)
    except (ValueError, RuntimeError) as error:  # a UnicodeDecodeError is a ValueError
        raise BadInput(f"the request is not JSON: {_reason(error)}") from None
    check_depth(text, max_depth)
    if not isinstance(document, simdjson.Object):
        raise BadInput("the request must be a JSON object with inputs")
    binary = memoryview(b"") if header_length is None else memoryview(body)[header_length:]
    return Request(document, binary)


class Request:
    """A parsed request; `read` gives what it asks of one served form."""

    __slots__ = ("_binary", "_document", "_keys", "_parameters", "form", "id")

    def __init__(self, document: simdjson.Object, binary: memoryview) -> None:
        self._document, self._binary = document, binary
        self._keys = keys = _keys(document, "the request")
        self.id = _text(document["id"], "id") if "id" in keys else None
        self._parameters = _object(document["parameters"], "parameters") if "parameters" in keys else {}
        self.form = _text(self._parameters.get("form"), "parameters.form") if self._parameters else None

    def read(self, served: LoadedForm, max_rows: int) -> tuple[list[np.ndarray], int, Asked]:
        """One array per input of the signature in its order, their number of rows, and the outputs asked for.

        BadInput names the tensor, what was sent and what is wanted.
        """
        inputs, rows = self._inputs(served.signature.inputs, max_rows)
        if served.model.finite:
            check_finite(inputs, served.signature.inputs)
        return inputs, rows, self._outputs(served.signature.outputs)

    def _inputs(self, tensors: tuple[Tensor, ...], max_rows: int) -> tuple[list[np.ndarray], int]:
        given = self._document["inputs"] if "inputs" in self._keys else None
        if not isinstance(given, simdjson.Array):
            raise BadInput(f"inputs must be a list of tensors: {_names(tensors)}")
        found: dict[str, np.ndarray] = {}
        offset = 0
        for item in given:
            if not isinstance(item, simdjson.Object):
                raise BadInput("every input must be an object with name, shape, datatype and data")
            name, datatype, shape, data, parameters = _members(item)
            tensor = _named(name, tensors, found)
            if datatype != tensor.datatype:
                raise BadInput(f"input {tensor.name!r}: datatype is {brief(datatype)}, expected {tensor.datatype!r}")
            sizes = checked_shape(shape, tensor, max_rows)
            size = None if parameters is None else _binary_size(parameters, tensor)
            if size is None:
                found[tensor.name] = from_json(data, tensor, sizes)
            else:
                found[tensor.name] = from_bytes(self._binary[offset : offset + size], tensor, sizes)
                offset += size
        if offset != len(self._binary):
            sent = len(self._binary)
            raise BadInput(f"the body has {sent} bytes of binary data, the inputs' binary_data_size add up to {offset}")
        return _aligned(tensors, found)

    def _outputs(self, tensors: tuple[Tensor, ...]) -> Asked:
        binary = bool(self._parameters.get("binary_data_output")) if self._parameters else False
        if "outputs" not in self._keys:
            return [(place, binary) for place in range(len(tensors))]
        asked = self._document["outputs"]
        rows = asked.as_list() if isinstance(asked, simdjson.Array) else None
        if rows is None or not all(isinstance(row, dict) for row in rows):
            raise BadInput("outputs must be a list of objects with a name")
        if len(rows) > len(tensors):  # each would be sent once more
            raise BadInput(f"{len(rows)} outputs are asked for; the outputs are {_names(tensors)}, each at most once")
        found = [_asked(row, tensors, binary) for row in rows] or [(place, binary) for place in range(len(tensors))]
        if len({place for place, _ in found}) < len(found):
            raise BadInput(f"an output is asked for twice; the outputs are {_names(tensors)}, each at most once")
        return found


def _named(name: Any, tensors: tuple[Tensor, ...], found: dict[str, np.ndarray]) -> Tensor:
    for tensor in tensors:
        if tensor.name == name:
            if name in found:
                raise BadInput(f"input {name!r} is given twice")
            return tensor
    raise BadInput(f"input {brief(name)} is unknown; the inputs are {_names(tensors)}")


def _members(item: simdjson.Object) -> tuple[Any, Any, Any, Any, Any]:
    """name, datatype, shape, data and parameters of an input.

    Asking simdjson for a key that is not there costs a C++ exception, more than all the rest of a small request.
    """
    there = _keys(item, "an input")
    if there == PLAIN:
        return item["name"], item["datatype"], item["shape"], item["data"], None
    name, datatype, shape, data, parameters = (item[key] if key in there else None for key in MEMBERS)
    return name, datatype, shape, data, parameters


def _keys(item: simdjson.Object, what: str) -> set[str]:
    """Its keys, each of which must be there once: parsers differ in which of two counts."""
    keys = set(item)
    if len(keys) < len(item):
        raise BadInput(f"{what} has a key twice")
    return keys


def _binary_size(parameters: Any, tensor: Tensor) -> int | None:
    size = _object(parameters, f"input {tensor.name!r}: parameters").get("binary_data_size")
    if size is not None and (type(size) is not int or size < 0):
        raise BadInput(f"input {tensor.name!r}: binary_data_size must be a number of bytes, not {brief(size)}")
    return size


def _aligned(tensors: tuple[Tensor, ...], found: dict[str, np.ndarray]) -> tuple[list[np.ndarray], int]:
    """The arrays in the signature's order, which must all be there with the same number of rows."""
    if len(found) != len(tensors):
        raise BadInput(f"input {_names(tuple(t for t in tensors if t.name not in found))} is missing")
    ordered = list(found.values()) if len(tensors) == 1 else [found[tensor.name] for tensor in tensors]
    rows = len(ordered[0])
    if len(ordered) == 1:
        return ordered, rows
    if any(len(array) != rows for array in ordered):
        raise BadInput(f"inputs differ in rows: {', '.join(f'{t.name} {len(found[t.name])}' for t in tensors)}")
    return ordered, rows


def _asked(item: Any, tensors: tuple[Tensor, ...], binary: bool) -> tuple[int, bool]:
    name = item.get("name")
    place = next((place for place, tensor in enumerate(tensors) if tensor.name == name), None)
    if place is None:
        raise BadInput(f"output {brief(name)} is unknown; the outputs are {_names(tensors)}")
    parameters = item.get("parameters") or {}
    if not isinstance(parameters, dict):
        raise BadInput(f"output {name!r}: parameters must be an object")
    if "classification" in parameters:
        raise BadInput(f"output {name!r}: the classification extension is not supported")
    return place, bool(parameters.get("binary_data", binary))


def _text(value: Any, key: str) -> str | None:
    if value is not None and not isinstance(value, str):
        raise BadInput(f"{key} must be a string, not {brief(value)}")
    return value


def _object(value: Any, key: str) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, simdjson.Object):
        raise BadInput(f"{key} must be an object, not {brief(value)}")
    return dict(value.as_dict())


def _names(tensors: tuple[Tensor, ...]) -> str:
    return ", ".join(repr(tensor.name) for tensor in tensors)


def _reason(error: Exception) -> str:
    """simdjson's message without its code: `TAPE_ERROR: The JSON document has …`."""
    return str(error).split(": ", 1)[-1].split(". ")[0] or "it is empty"
