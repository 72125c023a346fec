"""What the service says of itself: the tensors, routes and answers of its models, from its metadata and OpenAPI."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any

from loadtest.service import ServiceError

TIMEOUT = 10.0  # seconds


@dataclass(frozen=True)
class Native:
    """A native route: where payloads go and what comes back."""

    path: str
    answer: dict[str, Any]  # JSON schema of one answer
    fields: tuple[str, ...]  # of a JSON payload, in the order of the schema; empty for a file
    file_field: str  # of a multipart body; empty for JSON


@dataclass(frozen=True)
class ServedModel:
    """A served model, as anybody can ask about it."""

    name: str
    inputs: tuple[dict[str, Any], ...]  # name, datatype, shape with −1 for the batch
    outputs: tuple[dict[str, Any], ...]
    native: Native | None


def headers() -> dict[str, str]:
    """What every request carries: that it is no word of drift, and the key in EKIBEN_API_KEY, if there is one."""
    key = os.environ.get("EKIBEN_API_KEY")
    return {"X-Ekiben-Synthetic": "1", **({"Authorization": f"Bearer {key}"} if key else {})}


def describe(host: str, names: list[str]) -> tuple[ServedModel, ...]:
    """Those of the named models that the service has. ServiceError if it does not answer."""
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
    routes = [path for path in paths if path.startswith(f"/{metadata['name']}/") and "post" in paths[path]]
    native = _native(routes[0], paths[routes[0]]["post"]) if routes else None
    return ServedModel(metadata["name"], tuple(metadata["inputs"]), tuple(metadata["outputs"]), native)


def _native(path: str, operation: dict[str, Any]) -> Native:
    answer = _one(operation["responses"]["200"]["content"]["application/json"]["schema"])
    content = operation["requestBody"]["content"]
    if "application/json" in content:
        return Native(path, answer, tuple(_one(content["application/json"]["schema"])["properties"]), "")
    (field,) = content["multipart/form-data"]["schema"]["properties"]
    return Native(path, answer, (), field)


def _one(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of one, where one or a list may come."""
    return dict(schema["oneOf"][0] if "oneOf" in schema else schema)


def _ask(host: str, path: str, body: bytes | None = None) -> Any:
    request = urllib.request.Request(f"{host}{path}", body, headers())  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as response:  # noqa: S310
            return json.load(response)
    except urllib.error.HTTPError as error:
        text = error.read(200).decode(errors="replace")
        raise ServiceError(f"{host}{path} answers {error.code}: {text}") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise ServiceError(f"no service at {host} ({reason}): start it with make serve") from None
