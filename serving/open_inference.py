"""The Open Inference Protocol (V2) over REST, with Triton's binary tensor data, configuration and statistics extensions.

https://github.com/kserve/open-inference-protocol, https://github.com/triton-inference-server/server/tree/main/docs/protocol
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from time import perf_counter
from typing import Any

import numpy as np
import orjson
import simdjson

from serving.errors import BadInput, NotReady, ServingError, TooLarge, UnsupportedMedia
from serving.http import (
    App,
    Header,
    Receive,
    Routes,
    Scope,
    Send,
    answer,
    get,
    hung_up,
    read_body,
    send_json,
)
from serving.repository import Repository, Served
from serving.tensors import check_finite, checked_shape, from_bytes, from_json

VERSION = "0.1.0"
EXTENSIONS = ("binary_tensor_data", "model_configuration", "model_repository", "statistics")
OCTETS: Header = (b"content-type", b"application/octet-stream")
HEADER_LENGTH = b"inference-header-content-length"
SERIALIZE = orjson.OPT_SERIALIZE_NUMPY


def routes(repository: Repository) -> Routes:
    """Every V2 path, exactly."""
    found: Routes = {
        "/v2": get(lambda _: {"name": "ekiben", "version": VERSION, "extensions": EXTENSIONS}),
        "/v2/health/live": get(lambda _: {"live": True}),
        "/v2/health/ready": _readiness(lambda: repository.ready, "not every model is ready; GET /health says why"),
        "/v2/models/stats": get(lambda _: {"model_stats": _all_statistics(repository)}),
        "/v2/repository/index": {"POST": _index(repository)},
    }
    for name, served in repository.served.items():
        for base in (f"/v2/models/{name}", f"/v2/models/{name}/versions/{served.version}"):
            found[base] = get(lambda _, n=name, s=served: _metadata(n, s))
            found[f"{base}/ready"] = get(lambda _, n=name: {"name": n, "ready": True})
            found[f"{base}/config"] = get(lambda _, n=name, s=served: _configuration(n, s, repository))
            found[f"{base}/stats"] = get(lambda _, n=name, s=served: {"model_stats": [_statistics(n, s, repository)]})
            found[f"{base}/infer"] = {"POST": infer(name, served, repository)}
    for name, refused in repository.refused.items():
        for base in (f"/v2/models/{name}", f"/v2/models/{name}/versions/{refused.version}"):
            found[f"{base}/ready"] = _readiness(lambda: False, refused.refusal)
            found[f"{base}/infer"] = {"POST": _unavailable(refused.refusal)}
    return found


def infer(name: str, default: Served, repository: Repository) -> App:
    """POST …/infer for one served name."""
    settings = repository.settings

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        served = default
        try:
            started = perf_counter()
            body, length = await _request_body(scope, receive, settings.max_body_bytes)
            request = Request(body, length)
            if request.form is not None:
                served = repository.get(name, request.form)
            arrays, rows = request.inputs(served, settings.max_request_rows)
            outputs = request.outputs(served)
            parsed = perf_counter()
            results = await served.runner.submit(arrays, rows, hung_up(receive))
            computed = perf_counter()
            written, json_length = request.answer(name, served, outputs, results)
            if json_length is None:
                await answer(receive, send, written)
            else:
                await answer(receive, send, written, OCTETS, (HEADER_LENGTH, b"%d" % json_length))
            ended = perf_counter()
            recorder = served.recorder
            recorder.preprocess.append(parsed - started)
            recorder.postprocess.append(ended - computed)
            recorder.v2.append(ended - started)
        except ServingError as error:
            served.recorder.failed(error.reason)
            raise

    return app


async def _request_body(scope: Scope, receive: Receive, limit: int) -> tuple[bytes, int | None]:
    """The body and, for binary tensor data, the length of its JSON header."""
    length = encoding = None
    kind = b"application/json"
    for key, value in scope["headers"]:
        if key == HEADER_LENGTH:
            length = value
        elif key == b"content-type":
            kind = value
        elif key == b"content-encoding":
            encoding = value
    if not kind.startswith((b"application/json", b"application/octet-stream", b"application/x-www-form-urlencoded")):
        raise UnsupportedMedia(
            f"content type {kind.decode('latin-1')!r}: inference takes application/json or application/octet-stream"
        )
    body = await read_body(scope, receive, limit)
    if encoding is not None:
        body = _decompressed(body, encoding, limit)
    if length is None:
        return body, None
    if not length.isdigit() or int(length) > len(body):
        raise BadInput(
            f"Inference-Header-Content-Length is {length.decode('latin-1')!r}, the body has {len(body)} bytes"
        )
    return body, int(length)


def _decompressed(body: bytes, encoding: bytes, limit: int) -> bytes:
    windows = {b"gzip": 31, b"deflate": 15}
    if encoding == b"identity":
        return body
    if encoding not in windows:
        raise UnsupportedMedia(f"content encoding {encoding.decode('latin-1')!r}: gzip, deflate and identity are taken")
    stream = zlib.decompressobj(windows[encoding])
    try:
        plain = stream.decompress(body, limit + 1)
    except zlib.error as error:
        raise BadInput(f"the body is not {encoding.decode()}: {error}") from None
    if len(plain) > limit:
        raise TooLarge(f"the body inflates to over {limit} bytes, which EKIBEN_MAX_BODY_BYTES sets")
    return plain


class Request:
    """One inference request: its JSON part, and the binary tensors behind it."""

    def __init__(self, body: bytes, header_length: int | None) -> None:
        self._binary = memoryview(body)[len(body) if header_length is None else header_length :]
        text = body if header_length is None else body[:header_length]
        try:
            document = simdjson.Parser().parse(text)
        except (ValueError, UnicodeDecodeError, RuntimeError) as error:
            raise BadInput(f"the request is not JSON: {_first_sentence(error)}") from None
        if not isinstance(document, simdjson.Object):
            raise BadInput("the request must be a JSON object with inputs")
        self._document = document
        self.id = document.get("id")
        if self.id is not None and not isinstance(self.id, str):
            raise BadInput("id must be a string")
        self._parameters = _plain(document.get("parameters")) or {}
        if not isinstance(self._parameters, dict):
            raise BadInput("parameters must be an object")
        self.form = self._parameters.get("form")
        if self.form is not None and not isinstance(self.form, str):
            raise BadInput("parameters.form must be a string")

    def inputs(self, served: Served, max_rows: int) -> tuple[list[np.ndarray], int]:
        """One array per input of the signature, in its order, and their number of rows."""
        tensors = served.signature.inputs
        given = self._document.get("inputs")
        if not isinstance(given, simdjson.Array):
            raise BadInput("inputs must be a list of tensors")
        arrays: dict[str, np.ndarray] = {}
        offset = 0
        for item in given:
            if not isinstance(item, simdjson.Object):
                raise BadInput("every input must be an object with name, shape, datatype and data")
            name = item.get("name")
            tensor = next((t for t in tensors if t.name == name), None)
            if tensor is None or name in arrays:
                problem = "is given twice" if tensor else f"is unknown; the inputs are {_names(tensors)}"
                raise BadInput(f"input {name!r} {problem}")
            datatype = item.get("datatype")
            if datatype != tensor.datatype:
                raise BadInput(f"input {name!r}: datatype is {datatype!r}, expected {tensor.datatype!r}")
            shape = checked_shape(_plain(item.get("shape")), tensor, max_rows)
            size = self._binary_size(item, tensor.name)
            if size is None:
                arrays[name] = from_json(item.get("data"), tensor, shape)
            else:
                arrays[name] = from_bytes(self._binary[offset : offset + size], tensor, shape)
                offset += size
        if missing := [t for t in tensors if t.name not in arrays]:
            raise BadInput(f"input {_names(missing)} is missing")
        if offset != len(self._binary):
            raise BadInput(
                f"the body has {len(self._binary)} bytes of binary data, the inputs' binary_data_size add up to {offset}"
            )
        ordered = [arrays[t.name] for t in tensors]
        rows = len(ordered[0])
        if any(len(array) != rows for array in ordered):
            raise BadInput(f"inputs differ in rows: {', '.join(f'{t.name} {len(arrays[t.name])}' for t in tensors)}")
        if served.model.finite:
            check_finite(ordered, tensors)
        return ordered, rows

    def _binary_size(self, item: simdjson.Object, name: str) -> int | None:
        parameters = item.get("parameters")
        size = parameters.get("binary_data_size") if isinstance(parameters, simdjson.Object) else None
        if size is None:
            return None
        if type(size) is not int or size < 0:
            raise BadInput(f"input {name!r}: binary_data_size must be a whole number of bytes, not {size!r}")
        return size

    def outputs(self, served: Served) -> list[tuple[int, bool]]:
        """Which outputs are asked for, by their place in the signature, and whether each goes out as raw bytes."""
        tensors = served.signature.outputs
        raw_by_default = bool(self._parameters.get("binary_data_output", False))
        asked = _plain(self._document.get("outputs"))
        if not asked:
            return [(place, raw_by_default) for place in range(len(tensors))]
        if not isinstance(asked, list) or not all(isinstance(item, dict) for item in asked):
            raise BadInput("outputs must be a list of objects with a name")
        chosen = []
        for item in asked:
            place = next((i for i, t in enumerate(tensors) if t.name == item.get("name")), None)
            if place is None:
                raise BadInput(f"output {item.get('name')!r} is unknown; the outputs are {_names(tensors)}")
            parameters = item.get("parameters") or {}
            if "classification" in parameters:
                raise BadInput(f"output {item['name']!r}: the classification extension is not supported")
            chosen.append((place, bool(parameters.get("binary_data", raw_by_default))))
        return chosen

    def answer(
        self, name: str, served: Served, outputs: list[tuple[int, bool]], results: list[np.ndarray]
    ) -> tuple[bytes, int | None]:
        """The response's bytes and, if raw tensors follow, the length of its JSON."""
        described: list[dict[str, Any]] = []
        raw: list[bytes] = []
        for place, binary in outputs:
            tensor, array = served.signature.outputs[place], results[place]
            item: dict[str, Any] = {"name": tensor.name, "datatype": tensor.datatype, "shape": array.shape}
            if binary:
                raw.append(array.tobytes())
                item["parameters"] = {"binary_data_size": len(raw[-1])}
            else:
                item["data"] = np.ascontiguousarray(array).reshape(-1)
            described.append(item)
        response: dict[str, Any] = {"model_name": name, "model_version": served.version, "outputs": described}
        if self.id is not None:
            response["id"] = self.id
        if self.form is not None:
            response["parameters"] = {"form": served.form}
        text = orjson.dumps(response, option=SERIALIZE)
        return (b"".join((text, *raw)), len(text)) if raw else (text, None)


def _plain(value: Any) -> Any:
    if isinstance(value, simdjson.Array):
        return value.as_list()
    return value.as_dict() if isinstance(value, simdjson.Object) else value


def _names(tensors: Any) -> str:
    return ", ".join(repr(tensor.name) for tensor in tensors)


def _first_sentence(error: Exception) -> str:
    return str(error).split(". ")[0].split(": ", 1)[-1] or "it is empty"


def _readiness(ready: Callable[[], bool], why: str) -> dict[str, App]:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if not ready():
            raise NotReady(why)
        await send_json(send, {"ready": True})

    return {"GET": app, "HEAD": app}


def _unavailable(why: str) -> App:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise NotReady(why)

    return app


def _index(repository: Repository) -> App:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await read_body(scope, receive, repository.settings.max_body_bytes)
        rows = [{"name": n, "version": s.version, "state": "READY", "reason": ""} for n, s in repository.served.items()]
        rows += [
            {"name": n, "version": s.version, "state": "UNAVAILABLE", "reason": s.refusal}
            for n, s in repository.refused.items()
        ]
        await send_json(send, sorted(rows, key=lambda row: row["name"]))

    return app


def _metadata(name: str, served: Served) -> dict[str, Any]:
    return {
        "name": name,
        "versions": [served.version],
        "platform": _PLATFORMS.get(served.form, "onnxruntime_onnx"),
        **served.signature.as_dict(),
    }


_PLATFORMS = {"pytorch": "pytorch", "sklearn": "sklearn"}


def _configuration(name: str, served: Served, repository: Repository) -> dict[str, Any]:
    def tensors(described: Any) -> list[dict[str, Any]]:
        return [
            {
                "name": t.name,
                "data_type": f"TYPE_{t.datatype}",
                "dims": list(t.shape[1:]) or [1],
                **({} if t.shape[1:] else {"reshape": {"shape": []}}),
            }
            for t in described
        ]

    settings = repository.settings
    return {
        "name": name,
        "platform": _PLATFORMS.get(served.form, "onnxruntime_onnx"),
        "backend": "onnxruntime" if served.form not in _PLATFORMS else served.form,
        "max_batch_size": settings.max_batch_size,
        "input": tensors(served.signature.inputs),
        "output": tensors(served.signature.outputs),
        "dynamic_batching": {
            "max_queue_delay_microseconds": 0,
            "default_queue_policy": {
                "timeout_action": "REJECT",
                "default_timeout_microseconds": int(settings.max_latency_ms * 1000),
                "max_queue_size": settings.max_queue_rows,
            },
        },
        "instance_group": [{"kind": "KIND_CPU", "count": settings.workers}],
        "parameters": {"form": {"string_value": served.form}, "tag": {"string_value": served.stored.tag}},
    }


def _all_statistics(repository: Repository) -> list[dict[str, Any]]:
    return [_statistics(name, served, repository) for name, served in sorted(repository.served.items())]


def _statistics(name: str, served: Served, repository: Repository) -> dict[str, Any]:
    """What Triton's statistics extension counts, over all workers; durations in nanoseconds."""
    repository.flush()
    totals = repository.families.totals()
    key = (served.stored.model, served.form, served.version)

    def total(sample: str, *further: str) -> float:
        return totals.get((sample, (*key, *further)), 0.0)

    def duration(family: str, *further: str) -> dict[str, int]:
        return {
            "count": int(sum(total(f"{family}_count", *f) for f in _each(further))),
            "ns": int(sum(total(f"{family}_sum", *f) for f in _each(further)) * 1e9),
        }

    failed = sum(v for (sample, labels), v in totals.items() if sample == "ekiben_failures_total" and labels[:3] == key)
    return {
        "name": name,
        "version": served.version,
        "last_inference": 0,
        "inference_count": int(total("ekiben_batch_rows_sum")),
        "execution_count": int(total("ekiben_batch_rows_count")),
        "inference_stats": {
            "success": duration("ekiben_request_seconds", "v2", "native"),
            "fail": {"count": int(failed), "ns": 0},
            "queue": duration("ekiben_queue_seconds"),
            "compute_input": duration("ekiben_preprocess_seconds"),
            "compute_infer": duration("ekiben_infer_seconds"),
            "compute_output": duration("ekiben_postprocess_seconds"),
            "cache_hit": {"count": 0, "ns": 0},
            "cache_miss": {"count": 0, "ns": 0},
        },
        "batch_stats": [],
    }


def _each(further: tuple[str, ...]) -> list[tuple[str, ...]]:
    return [(label,) for label in further] or [()]
