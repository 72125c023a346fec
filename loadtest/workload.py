"""What a form is asked under load: V2 requests with realistic values, and the answers that they get alone."""

from __future__ import annotations

import math
import mimetypes
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np

from loadtest import v2
from loadtest.service import HOST, ServiceProcess

COUNT = 64  # different requests; fewer where they are large
MAX_VALUES = 2**20
END = b"\r\n\r\n"  # of a head
Inputs = Sequence[Mapping[str, Any]]  # as a model's metadata has them: name, datatype, shape
Columns = Mapping[str, Sequence[str]]  # of each input, by its name: fields
Codes = Mapping[str, Mapping[str, float]]  # of fields with choices: word → code


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

    def _draw(self, service: ServiceProcess, inputs: Inputs) -> list[v2.Tensors]:
        """Rows of payloads that the service itself finds typical, where they say what is in each input; else one that
        its OpenAPI shows, or values in [0, 1).
        """
        sizes = [self.rows * abs(math.prod(tensor["shape"][1:])) for tensor in inputs]
        count = max(4, min(COUNT, MAX_VALUES // sum(sizes)))
        typical = typical_rows(service, self.model, inputs)
        batches = [list(islice(typical, self.rows)) for _ in range(count)]
        return [{t["name"]: np.stack([row[t["name"]] for row in rows]) for t in inputs} for rows in batches]


def typical_rows(service: ServiceProcess, model: str, inputs: Inputs) -> Iterator[v2.Tensors]:
    """Rows of one model without end, each with all its inputs by name, without a batch. ServiceError

    Each is one of its own, but for models of which the service knows one alone.
    """
    paths, random = service.json("/docs.json")["paths"], np.random.default_rng(0)
    examples = paths["/v2/models/{model}/infer"]["post"]["requestBody"]["content"]["application/json"]["examples"]
    ranks = {tensor["name"]: len(tensor["shape"]) - 1 for tensor in inputs}
    while True:
        payload = service.json(f"/{model}/random")["payload"]
        if {name: np.ndim(value) for name, value in payload.items()} == ranks:  # it is of tensors
            yield {t["name"]: np.array(payload[t["name"]], v2.DTYPES[t["datatype"]]) for t in inputs}
        elif by_input := columns(inputs, tuple(payload), _says(paths, model)):
            yield fields_row(payload, inputs, by_input, {})
        elif model in examples:
            shown = examples[model]["value"]["inputs"]
            yield {t["name"]: np.array(t["data"], v2.DTYPES[t["datatype"]]).reshape(t["shape"])[0] for t in shown}
        else:
            yield {t["name"]: random.random(t["shape"][1:]).astype(v2.DTYPES[t["datatype"]]) for t in inputs}


def _says(paths: Mapping[str, Any], model: str) -> dict[str, str]:
    """The inputs that the OpenAPI document says fields are columns of, by field."""
    for path, operations in paths.items():
        if path.startswith(f"/{model}/") and "post" in operations:
            schema = operations["post"]["requestBody"]["content"].get("application/json", {}).get("schema", {})
            properties = schema.get("oneOf", [schema])[0].get("properties", {})
            return {name: field["x-input"] for name, field in properties.items() if "x-input" in field}
    return {}


def columns(inputs: Inputs, fields: Sequence[str], says: Mapping[str, str]) -> dict[str, list[str]]:
    """Which fields are the columns of each input, the first one where nothing is said; empty where they do not fit."""
    first = inputs[0]["name"] if inputs else ""
    by_input = {t["name"]: [name for name in fields if says.get(name, first) == t["name"]] for t in inputs}
    fits = all(t["shape"][1:] == [len(names)] for t, names in zip(inputs, by_input.values(), strict=True))
    return by_input if fits else {}


def fields_row(payload: Mapping[str, Any], inputs: Inputs, names: Columns, codes: Codes) -> v2.Tensors:
    """A payload of fields as a row of each input: NaN for null, of a word its code, texts as they are."""
    row = {}
    for tensor in inputs:
        values = [payload.get(name) for name in names[tensor["name"]]]
        if tensor["datatype"] != "BYTES":
            coded = zip(values, names[tensor["name"]], strict=True)
            values = [codes[name][value] if isinstance(value, str) else value for value, name in coded]
            values = [float("nan") if value is None else float(value) for value in values]
        row[tensor["name"]] = np.array(values, v2.DTYPES[tensor["datatype"]])
    return row


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
