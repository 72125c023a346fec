"""What is sent: payloads of a model, by its native route, V2 JSON and V2 binary; and what is taken for an answer.

Of the models it is known what the service says of itself, in its metadata and OpenAPI, and their examples.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from PIL import Image

from loadtest import v2
from loadtest.documents import CHECKOUT
from loadtest.service import ServiceError, request
from loadtest.workload import Codes, columns, fields_row, multipart

BENTOS = CHECKOUT / "bentos"
# The same request gets the same answer, whoever shares its batch, up to the order in which floats are summed.
TOLERANCE = 0.01
SUM_TOLERANCE = 1e-3  # of probabilities, which the native routes round to six places
ID = b"%012d"
Answer = dict[str, np.ndarray]  # by name, one row per row that was sent


class WrongAnswer(Exception):
    """A 200 that is not what was asked for; the message says in what."""


@dataclass(frozen=True)
class Native:
    """A native route: where payloads go and what comes back."""

    path: str
    answer: dict[str, Any]  # JSON schema of one answer
    fields: tuple[str, ...]  # of a JSON payload, in the order of the schema; empty for a file
    file_field: str  # of a multipart body; empty for JSON
    codes: Codes = field(default_factory=dict)
    inputs: Mapping[str, str] = field(default_factory=dict)  # of fields that say so: the input that they are columns of


@dataclass(frozen=True)
class ServedModel:
    """A served model, as anybody can ask about it."""

    name: str
    inputs: tuple[dict[str, Any], ...]  # name, datatype, shape with −1 for the batch
    outputs: tuple[dict[str, Any], ...]
    native: Native | None


def common_headers() -> dict[str, str]:
    """What every request carries: that it is no word of drift, and the key in EKIBEN_API_KEY, if there is one."""
    key = os.environ.get("EKIBEN_API_KEY")
    return {"X-Ekiben-Synthetic": "1", **({"Authorization": f"Bearer {key}"} if key else {})}


def describe(host: str, names: list[str]) -> tuple[ServedModel, ...]:
    """Those of the named models that the service has. ServiceError if it does not answer"""
    served = {entry["name"] for entry in _ask(host, "/v2/repository/index", b"{}") if entry["state"] == "READY"}
    paths = _ask(host, "/docs.json")["paths"]
    return tuple(_served(_ask(host, f"/v2/models/{name}"), paths) for name in names if name in served)


def drawn(host: str, model: ServedModel, number: int) -> list[Any]:
    """So many payloads of named fields, each drawn by the service from training's histograms. ServiceError

    None where the model takes files: there is nothing that they could be drawn from.
    """
    if model.native is None or not model.native.fields:
        return []
    return [_ask(host, f"/{model.name}/random")["payload"] for _ in range(number)]


def _served(metadata: dict[str, Any], paths: dict[str, Any]) -> ServedModel:
    mine = {path: operations for path, operations in paths.items() if path.startswith(f"/{metadata['name']}/")}
    routes = (_native_route(path, operations["post"]) for path, operations in mine.items() if "post" in operations)
    return ServedModel(metadata["name"], tuple(metadata["inputs"]), tuple(metadata["outputs"]), next(routes, None))


def _native_route(path: str, operation: dict[str, Any]) -> Native:
    answer = _one(operation["responses"]["200"]["content"]["application/json"]["schema"])
    content = operation["requestBody"]["content"]
    if "application/json" in content:
        properties = _one(content["application/json"]["schema"])["properties"]
        choices = {name: schema["oneOf"] for name, schema in properties.items() if "oneOf" in schema}
        codes = {n: dict(zip(one["enum"], other["enum"], strict=True)) for n, (one, other, *_) in choices.items()}
        inputs = {name: schema["x-input"] for name, schema in properties.items() if "x-input" in schema}
        return Native(path, answer, tuple(properties), "", codes, inputs)
    (file_field,) = content["multipart/form-data"]["schema"]["properties"]
    return Native(path, answer, (), file_field)


def _one(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of one, where one or a list may come."""
    return dict(schema["oneOf"][0] if "oneOf" in schema else schema)


def _ask(host: str, path: str, body: bytes | None = None) -> Any:
    try:
        return json.loads(request(f"{host.rstrip('/')}{path}", body, common_headers())[1])
    except (ServiceError, ValueError) as error:
        raise ServiceError(f"{error} (is a service there? make serve starts one)") from None


def places(bentos: Path = BENTOS) -> list[Path]:
    """Where models' folders are: there, and in the folders that EKIBEN_BENTOS names."""
    return [bentos, *(Path(p).resolve() for p in os.environ.get("EKIBEN_BENTOS", "").split(os.pathsep) if p)]


def folders(bentos: Path = BENTOS) -> list[str]:
    """The models that have examples, in alphabetical order."""
    return sorted(path.parent.name for place in places(bentos) for path in place.glob("*/examples.json"))


def examples(model: str, bentos: Path = BENTOS) -> list[Any]:
    """The payloads of a model: objects, or the paths of files."""
    bentos = next((place for place in places(bentos) if (place / model / "examples.json").is_file()), bentos)
    payloads = json.loads((bentos / model / "examples.json").read_text())
    return [bentos / model / payload if isinstance(payload, str) else payload for payload in payloads]


class Request:
    """One that can be sent again and again, under a new id each time, and knows the first answer to itself."""

    def __init__(self, model: ServedModel, interface: str, rows: int, headers: dict[str, str], body: bytes):
        self.model, self.interface, self.rows, self.headers = model, interface, rows, headers
        self._native = model.native if interface == "native" else None
        self.path = self._native.path if self._native else f"/v2/models/{model.name}/infer"
        self._before, _, self._after = (body, b"", b"") if self._native else body.partition(ID % 0)
        self._first: Answer | None = None

    @property
    def kind(self) -> tuple[str, str]:
        """Model and interface."""
        return self.model.name, self.interface

    def body(self, number: int) -> bytes:
        """The body of the nth request; V2's has an id of fixed length."""
        return self._before if self._native else self._before + ID % number + self._after

    def judge(self, number: int, body: bytes, headers: Mapping[str, str]) -> None:
        """WrongAnswer says what is wrong with a 200's body."""
        try:
            if self._native:
                answer = read_native(body, self.model.name, self._native, self.rows)
            else:
                answer = read_v2(body, headers, self.model, (ID % number).decode(), self.rows)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise WrongAnswer(f"unreadable ({error!r}): {body[:80]!r}") from None
        self._first = self._first or answer
        if text := v2.difference(answer, self._first, TOLERANCE):
            raise WrongAnswer(f"{text} as in the first answer to the same request")


def requests(model: ServedModel, payloads: list[Any], rows: int) -> list[Request]:
    """Every example as a request through every interface; with rows > 1 each begins at another example."""
    result = [_native(model, window) for window in _windows(payloads, rows)] if model.native else []
    if (each := tensor_rows(model, payloads)) is not None:
        finite = [row for row in each if all(a.dtype == object or np.isfinite(a).all() for a in row.values())]
        result += [_v2(model, window, binary=True) for window in _windows(each, rows)]
        result += [_v2(model, window, binary=False) for window in _windows(finite, rows)]  # JSON has no NaN
    return result


def _windows(items: list[Any], size: int) -> list[list[Any]]:
    return [[items[(start + i) % len(items)] for i in range(size)] for start in range(len(items))]


def _v2(model: ServedModel, rows: list[v2.Tensors], binary: bool) -> Request:
    batch = {tensor["name"]: np.stack([row[tensor["name"]] for row in rows]) for tensor in model.inputs}
    headers, body = v2.encode(batch, binary, (ID % 0).decode())
    return Request(model, "binary" if binary else "v2", len(rows), headers, body)


def _native(model: ServedModel, payloads: list[Any]) -> Request:
    assert model.native
    if not model.native.file_field:
        body = orjson.dumps(payloads if len(payloads) > 1 else payloads[0])
        return Request(model, "native", len(payloads), {"Content-Type": v2.JSON}, body)
    headers, body = multipart(model.native.file_field, [(file.name, file.read_bytes()) for file in payloads])
    return Request(model, "native", len(payloads), headers, body)


def tensor_rows(model: ServedModel, payloads: list[Any]) -> list[v2.Tensors] | None:
    """One row of each input per example, by the input's name; NaN for null. None where that cannot be told.

    Fields go into flat inputs of their number in the order of the service's schema, a picture into one of shape
    (channels, height, width) in [0, 1], light on dark.
    """
    native = model.native
    if native is None or not all(tensor["datatype"] in v2.DTYPES for tensor in model.inputs):
        return None
    if native.fields:
        by_input = columns(model.inputs, native.fields, native.inputs)
        return [fields_row(payload, model.inputs, by_input, native.codes) for payload in payloads] if by_input else None
    (tensor, *more) = model.inputs
    name, dtype, shape = tensor["name"], v2.DTYPES[tensor["datatype"]], tuple(tensor["shape"][1:])
    if more or len(shape) != 3 or shape[0] not in (1, 3):
        return None
    return [{name: _picture(payload, shape).astype(dtype)} for payload in payloads]


def _picture(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    channels, height, width = shape
    with Image.open(path) as image:
        resized = image.convert("L" if channels == 1 else "RGB").resize((width, height))
    pixels = np.asarray(resized, np.float32).reshape(height, width, channels).transpose(2, 0, 1) / 255
    edge = np.concatenate([pixels[:, 0].ravel(), pixels[:, -1].ravel()])
    return 1 - pixels if np.median(edge) > 0.5 else pixels


def read_native(body: bytes, model: str, native: Native, rows: int) -> Answer:
    """The answer of a native route, each property as its schema says. WrongAnswer"""
    document = orjson.loads(body)
    items = document if rows > 1 else [document]
    if not isinstance(items, list) or len(items) != rows:
        raise WrongAnswer(f"{len(items) if isinstance(items, list) else 'no'} answers to {rows} rows")
    for item in items:
        if item.get("model") != model:
            raise WrongAnswer(f"model is {item.get('model')!r}, not {model!r}")
    properties = native.answer["properties"].items()
    schemas = {name: schema for name, schema in properties if schema["type"] != "string" or "enum" in schema}
    return _sane({n: np.array([_value(n, item.get(n), schema) for item in items]) for n, schema in schemas.items()})


def _value(name: str, value: Any, schema: Mapping[str, Any]) -> Any:
    if "enum" in schema and value not in schema["enum"]:
        raise WrongAnswer(f"{name} is {value!r}, none of {', '.join(schema['enum'])}")
    if schema["type"] == "object":
        if not isinstance(value, dict) or value.keys() != schema["properties"].keys():
            raise WrongAnswer(f"{name} is {value!r}, not of {', '.join(schema['properties'])}")
        return list(value.values())
    if schema["type"] == "number" and not isinstance(value, int | float):
        raise WrongAnswer(f"{name} is {value!r}, no number")
    return value


def read_v2(body: bytes, headers: Mapping[str, str], model: ServedModel, own_id: str, rows: int) -> Answer:
    """The answer of V2, JSON or binary: outputs as the metadata has them. WrongAnswer"""
    document, answer = v2.decode(body, headers)
    actual = document.get("id"), document.get("model_name")
    if actual != (own_id, model.name):
        raise WrongAnswer(f"id {actual[0]!r} of {actual[1]!r}, not {own_id!r} of {model.name!r}")
    outputs = [(output["name"], output["datatype"]) for output in document["outputs"]]
    if outputs != [(output["name"], output["datatype"]) for output in model.outputs]:
        raise WrongAnswer(f"outputs are {outputs}")
    for output in model.outputs:
        if (shape := answer[output["name"]].shape) != (rows, *output["shape"][1:]):
            raise WrongAnswer(f"{output['name']} has shape {list(shape)} for {rows} rows")
    return _sane(answer)


def _sane(answer: Answer) -> Answer:
    for name, values in answer.items():
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise WrongAnswer(f"{name} is not finite")
    if "probabilities" in answer:
        off = np.abs(answer["probabilities"].sum(1) - 1).max()
        if off > SUM_TOLERANCE or answer["probabilities"].min() < 0:
            raise WrongAnswer(f"probabilities are {answer['probabilities'].sum(1)[:3]} in sum")
    return answer
