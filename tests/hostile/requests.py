"""Requests that are right, as bytes, for others to spoil; and the one whose answer is known."""

from __future__ import annotations

import gzip
import json
from typing import Any

import numpy as np

from tests.conftest import ROOT

JSON = b"application/json"
BOUNDARY = b"ekibenboundary"
FORM = b"multipart/form-data; boundary=" + BOUNDARY
NATIVE, PICTURE = "/iris/classify", "/digits/classify"
TENSORS, IMAGES = "/v2/models/iris/infer", "/v2/models/digits/infer"

FLOWER = {"sepal_length": 5.1, "sepal_width": 3.5, "petal_length": 1.4, "petal_width": 0.2}
TENSOR = {"name": "features", "shape": [1, 4], "datatype": "FP32", "data": [5.1, 3.5, 1.4, 0.2]}
DOCUMENT = {"id": "1", "inputs": [TENSOR], "outputs": [{"name": "label"}, {"name": "probabilities"}]}


def dumped(value: Any) -> bytes:
    return json.dumps(value).encode()


def request(method: str, path: str, body: bytes = b"", kind: bytes = JSON, *lines: bytes) -> bytes:
    """One request with a true content-length; `lines` are further header lines."""
    head = [f"{method} {path} HTTP/1.1".encode("utf-8", "surrogateescape"), b"host: x", b"content-type: " + kind]
    head += [b"content-length: %d" % len(body), *lines]
    return b"\r\n".join(head) + b"\r\n\r\n" + body


def post(path: str, body: bytes, kind: bytes = JSON, *lines: bytes) -> bytes:
    return request("POST", path, body, kind, *lines)


def part(data: bytes, disposition: bytes = b'form-data; name="image"; filename="a.png"', *lines: bytes) -> bytes:
    head = [b"--" + BOUNDARY, b"content-disposition: " + disposition, *lines]
    return b"\r\n".join(head) + b"\r\n\r\n" + data + b"\r\n"


def form(*parts: bytes) -> bytes:
    return b"".join(parts) + b"--" + BOUNDARY + b"--\r\n"


def binary(values: np.ndarray, **change: Any) -> tuple[bytes, bytes]:
    """A V2 request with raw tensor data: (body, header line)."""
    tensor: dict[str, Any] = {"name": "features", "shape": list(values.shape), "datatype": "FP32"}
    tensor["parameters"] = {"binary_data_size": values.nbytes}
    head = dumped({"inputs": [{**tensor, **change}]})
    return head + values.tobytes(), b"inference-header-content-length: %d" % len(head)


def seven() -> bytes:
    return (ROOT / "bentos" / "digits" / "examples" / "seven.png").read_bytes()


FEATURES = np.array([[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3]], np.float32)
KNOWN = post(TENSORS, dumped({"inputs": [{**TENSOR, "shape": [2, 4], "data": FEATURES.reshape(-1).tolist()}]}))


def right(body: bytes) -> bool:
    """Whether this is the answer to KNOWN."""
    return bool(json.loads(body)["outputs"][0]["data"] == [0, 2])


def several() -> list[bytes]:
    """One right request of every kind."""
    raw, length = binary(FEATURES)
    return [
        KNOWN,
        post(NATIVE, dumped(FLOWER)),
        post(NATIVE, dumped([FLOWER, FLOWER])),
        post(TENSORS, dumped(DOCUMENT)),
        post(TENSORS, raw, b"application/octet-stream", length),
        post(TENSORS, gzip.compress(dumped(DOCUMENT)), JSON, b"content-encoding: gzip"),
        post(PICTURE, form(part(seven())), FORM),
        post(PICTURE, seven(), b"image/png"),
        request("GET", "/health"),
        request("GET", "/v2/models/iris"),
        request("GET", "/iris/random?form=onnx"),
    ]
