"""Open Inference Protocol, V2: requests and answers as JSON or binary tensor extension, and how they differ."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson

DTYPES = {
    "BOOL": "?", "UINT8": "u1", "UINT16": "<u2", "UINT32": "<u4", "UINT64": "<u8", "INT8": "i1", "INT16": "<i2",
    "INT32": "<i4", "INT64": "<i8", "FP16": "<f2", "FP32": "<f4", "FP64": "<f8", "BYTES": "O",
}  # fmt: skip
DATATYPES = {np.dtype(dtype): name for name, dtype in DTYPES.items()}
LENGTH_HEADER = "inference-header-content-length"
JSON, OCTETS = "application/json", "application/octet-stream"
Tensors = dict[str, np.ndarray]


def encode(tensors: Mapping[str, np.ndarray], binary: bool, request_id: str = "") -> tuple[dict[str, str], bytes]:
    """Headers and body of an inference request; binary asks for a binary answer too.

    Numbers are as short as clients write them: orjson gives float32 0.3764706, not 0.3764705955982208.
    """
    inputs: list[dict[str, Any]] = []
    raw: list[bytes] = []
    for name, values in tensors.items():
        tensor: dict[str, Any] = {"name": name, "datatype": DATATYPES[values.dtype], "shape": list(values.shape)}
        raw.append(octets(values) if binary else b"")
        shown = values.ravel().tolist() if values.dtype == object else values.ravel()
        inputs.append(tensor | ({"parameters": {"binary_data_size": len(raw[-1])}} if binary else {"data": shown}))
    request: dict[str, Any] = {"id": request_id} if request_id else {}
    request |= {"inputs": inputs} | ({"parameters": {"binary_data_output": True}} if binary else {})
    head = orjson.dumps(request, option=orjson.OPT_SERIALIZE_NUMPY)
    if not binary:
        return {"Content-Type": JSON}, head
    headers = {"Content-Type": OCTETS, "Inference-Header-Content-Length": str(len(head))}
    return headers, head + b"".join(raw)


def octets(values: np.ndarray) -> bytes:
    """A tensor as the binary extension has it: of texts, four bytes of length before each."""
    if values.dtype != object:
        return np.ascontiguousarray(values).tobytes()
    texts = [str(text).encode() for text in values.ravel()]
    return b"".join(len(text).to_bytes(4, "little") + text for text in texts)


def texts(raw: bytes) -> np.ndarray:
    """The texts of a tensor of the binary extension. (n,) object"""
    texts, start = [], 0
    while start < len(raw):
        end = start + 4 + int.from_bytes(raw[start : start + 4], "little")
        texts.append(raw[start + 4 : end].decode())
        start = end
    return np.array(texts, object)


def decode(body: bytes, headers: Mapping[str, str]) -> tuple[dict[str, Any], Tensors]:
    """The JSON of an answer, and its outputs by name in their shapes. ValueError, KeyError, TypeError

    headers: names in lower case, or a mapping that does not care.
    """
    length = int(headers.get(LENGTH_HEADER, len(body)))
    document, raw, start = orjson.loads(body[:length]), body[length:], 0
    tensors: Tensors = {}
    for output in document["outputs"]:
        dtype, size = np.dtype(DTYPES[output["datatype"]]), (output.get("parameters") or {}).get("binary_data_size")
        if size is None:
            values = np.array(output["data"], dtype)
        else:
            part, start = raw[start : start + size], start + size
            values = texts(part) if dtype.hasobject else np.frombuffer(part, dtype)
        tensors[output["name"]] = values.reshape(output["shape"])
    return document, tensors


def difference(actual: Mapping[str, Any], expected: Mapping[str, np.ndarray], tolerance: float) -> str:
    """What differs by more than a relative and absolute tolerance (floats) or at all (others); empty if nothing."""
    if actual.keys() != expected.keys():
        return f"outputs are {sorted(actual)}, not {sorted(expected)}"
    for name, array in expected.items():
        values = np.asarray(actual[name])
        same = values.shape == array.shape and (
            np.allclose(values, array, rtol=tolerance, atol=tolerance)
            if array.dtype.kind == "f"
            else np.array_equal(values, array)
        )
        if not same:
            return f"{name} is {values.ravel()[:10].tolist()}, not {array.ravel()[:10].tolist()}"
    return ""
