"""What a form is asked under load: V2 requests with realistic values, and the answers that they get alone."""

from __future__ import annotations

import math
import mimetypes
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from loadtest import v2
from loadtest.service import HOST, ServiceProcess

COUNT = 64  # different requests; fewer where they are large
MOST_VALUES = 2**20
END = b"\r\n\r\n"  # of a head


@dataclass
class RequestSet:
    """Requests to one served name, whole as the wire takes them, and the answers expected, head and body."""

    requests: list[bytes]
    expected: list[bytes]


@dataclass
class Workload:
    """Draws the rows of a model once, so that every setting is asked the same."""

    model: str
    binary: bool
    rows: int = 1
    _drawn: list[v2.Tensors] = field(default_factory=list)

    def requests(self, service: ServiceProcess, name: str) -> RequestSet:
        """The requests to `name` at this service, which is asked each of them once. ServiceError"""
        self._drawn = self._drawn or self._draw(service, service.json(f"/v2/models/{name}")["inputs"])
        path = f"/v2/models/{name}/infer"
        bodies = [v2.encode(tensors, self.binary) for tensors in self._drawn]
        expected = [_answer(service, path, headers, body) for headers, body in bodies]
        return RequestSet([http_request(service.port, path, *each) for each in bodies], expected)

    def _draw(self, service: ServiceProcess, inputs: list[dict[str, Any]]) -> list[v2.Tensors]:
        sizes = [self.rows * math.prod(tensor["shape"][1:]) for tensor in inputs]
        count = max(4, min(COUNT, MOST_VALUES // sum(sizes)))
        random = np.random.default_rng(0)
        return [{t["name"]: self._tensor(service, t, random) for t in inputs} for _ in range(count)]

    def _tensor(self, service: ServiceProcess, tensor: dict[str, Any], random: np.random.Generator) -> np.ndarray:
        """Rows of payloads that the service itself finds typical, where those are numbers; else values in [0, 1)."""
        size = math.prod(tensor["shape"][1:])
        rows = [typical_row(service, self.model) for _ in range(self.rows)]
        if not all(len(row) == size for row in rows):
            rows = random.random((self.rows, size)).tolist()
        return np.array(rows, v2.DTYPES[tensor["datatype"]]).reshape(self.rows, *tensor["shape"][1:])


def typical_row(service: ServiceProcess, model: str) -> list[float]:
    """The numbers of a random payload of the model, in their order; empty where its payloads are no numbers."""
    payload = service.json(f"/{model}/random")["payload"]
    values = list(payload.values()) if isinstance(payload, dict) else []
    return [float(value) for value in values] if all(isinstance(v, int | float) for v in values) else []


def http_request(port: int, path: str, headers: dict[str, str], body: bytes) -> bytes:
    """A whole POST."""
    lines = [f"POST {path} HTTP/1.1", f"Host: {HOST}:{port}", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, *(f"{name}: {value}" for name, value in headers.items())]).encode() + END + body


def multipart(
    field: str, files: Iterable[tuple[str, bytes]], boundary: str = "ekiben-load-7d1c"
) -> tuple[dict[str, str], bytes]:
    """Headers and body of a form with files, each with the type that its name tells, if it tells one."""
    body = b""
    for name, content in files:
        lines = [f"--{boundary}", f'Content-Disposition: form-data; name="{field}"; filename="{name}"']
        if kind := mimetypes.guess_type(name)[0]:
            lines.append(f"Content-Type: {kind}")
        body += "\r\n".join([*lines, "", ""]).encode() + content + b"\r\n"
    return {"Content-Type": f"multipart/form-data; boundary={boundary}"}, body + f"--{boundary}--\r\n".encode()


def _answer(service: ServiceProcess, path: str, headers: dict[str, str], body: bytes) -> bytes:
    """The answer as the generator sees it: a head with what its reader needs, and the body."""
    head, text = service.request(path, body, headers)
    length = head.get(v2.LENGTH_HEADER)
    line = f"\r\n{v2.LENGTH_HEADER}: {length}" if length else ""
    return f"HTTP/1.1 200{line}".encode() + END + text
