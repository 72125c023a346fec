"""What is asked: V2 requests of so many rows with realistic values, and the answers that each gets alone."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from loadtest.openloop.answers import KINDS
from loadtest.openloop.connection import END
from loadtest.service.process import HOST, Service

COUNT = 64  # different requests; fewer where they are large
MOST_VALUES = 2**20


@dataclass
class Questions:
    """Requests to one served name, whole as the wire takes them, and the right answers, head and body."""

    requests: list[bytes]
    right: list[bytes]


@dataclass
class Questioner:
    """Draws the rows of a model once, so that every setting is asked the same."""

    model: str
    binary: bool
    rows: int = 1
    _drawn: list[list[np.ndarray]] = field(default_factory=list)

    def of(self, service: Service, name: str) -> Questions:
        """The questions to `name` at this service, which is asked each of them once."""
        inputs = service.json(f"/v2/models/{name}")["inputs"]
        self._drawn = self._drawn or self._draw(service, inputs)
        path = f"/v2/models/{name}/infer"
        bodies = [_body(inputs, tensors, self.binary) for tensors in self._drawn]
        right = [answer(service, path, headers, body) for headers, body in bodies]
        return Questions([request(service.port, path, headers, body) for headers, body in bodies], right)

    def _draw(self, service: Service, inputs: list[dict[str, Any]]) -> list[list[np.ndarray]]:
        sizes = [self.rows * math.prod(tensor["shape"][1:]) for tensor in inputs]
        count = max(4, min(COUNT, MOST_VALUES // sum(sizes)))
        random = np.random.default_rng(0)
        return [[self._tensor(service, tensor, random) for tensor in inputs] for _ in range(count)]

    def _tensor(self, service: Service, tensor: dict[str, Any], random: np.random.Generator) -> np.ndarray:
        """Rows of payloads that the service itself finds typical, where those are numbers; else values in [0, 1)."""
        size, kind = math.prod(tensor["shape"][1:]), KINDS[tensor["datatype"]]
        rows = [_numbers(service, self.model) for _ in range(self.rows)]
        if not all(len(row) == size for row in rows):
            rows = random.random((self.rows, size)).tolist()
        return np.array(rows, kind).reshape(self.rows, *tensor["shape"][1:])


def _numbers(service: Service, model: str) -> list[float]:
    payload = service.json(f"/{model}/random")["payload"]
    values = list(payload.values()) if isinstance(payload, dict) else []
    return [float(value) for value in values] if all(isinstance(v, int | float) for v in values) else []


def _body(inputs: list[dict[str, Any]], tensors: list[np.ndarray], binary: bool) -> tuple[dict[str, str], bytes]:
    """Headers and body, as compact as clients write it. JSON, or the binary tensor data extension both ways."""
    described = [
        {"name": tensor["name"], "datatype": tensor["datatype"], "shape": list(values.shape)}
        for tensor, values in zip(inputs, tensors, strict=True)
    ]
    if not binary:
        for said, values in zip(described, tensors, strict=True):
            # float32 as a client would write it: 0.3764706, not the 0.3764705955982208 that the same bits are as double
            said["data"] = [json.loads(str(value).lower()) for value in values.ravel()]
        body = json.dumps({"inputs": described}, separators=(",", ":")).encode()
        return {"content-type": "application/json"}, body
    for said, values in zip(described, tensors, strict=True):
        said["parameters"] = {"binary_data_size": values.nbytes}
    head = json.dumps({"inputs": described, "parameters": {"binary_data_output": True}}).encode()
    headers = {"content-type": "application/octet-stream", "inference-header-content-length": str(len(head))}
    return headers, head + b"".join(values.tobytes() for values in tensors)


def request(port: int, path: str, headers: dict[str, str], body: bytes) -> bytes:
    lines = [f"POST {path} HTTP/1.1", f"host: {HOST}:{port}", f"content-length: {len(body)}"]
    return "\r\n".join([*lines, *(f"{name}: {value}" for name, value in headers.items())]).encode() + END + body


def answer(service: Service, path: str, headers: dict[str, str], body: bytes) -> bytes:
    """The answer as the generator sees it: a head with what its reader needs, and the body."""
    head, text = service.ask(path, body, headers)
    length = head.get("inference-header-content-length")
    kept = f"\r\ninference-header-content-length: {length}" if length else ""
    return f"HTTP/1.1 200{kept}".encode() + END + text
