"""The OpenAPI part of V2."""

from __future__ import annotations

from typing import Any

import numpy as np

from bentos import contract
from bentos.contract import Tensor
from serving.api.operations import POST_ERRORS, get_operation, operation
from serving.api.payloads import adapter
from serving.inference.repository import Repository

TENSOR = {
    "type": "object",
    "required": ["name", "shape", "datatype"],
    "properties": {
        "name": {"type": "string"},
        "shape": {"type": "array", "items": {"type": "integer"}},
        "datatype": {"type": "string", "enum": list(contract.DATATYPES)},
        "parameters": {"type": "object"},
        "data": {"type": "array", "items": {}},
    },
}
TENSORS = {"type": "array", "items": {"$ref": "#/components/schemas/Tensor"}}
REQUEST = {
    "type": "object",
    "required": ["inputs"],
    "properties": {
        "id": {"type": "string"},
        "parameters": {"type": "object"},
        "inputs": TENSORS,
        "outputs": {"type": "array", "items": {"type": "object"}},
    },
}
RESPONSE = {
    "type": "object",
    "properties": {
        "model_name": {"type": "string"},
        "model_version": {"type": "string"},
        "id": {"type": "string"},
        "outputs": TENSORS,
    },
}
STATES = {"schema": {"type": "array", "items": {"type": "object"}}}
V2_GETS = {"": "Model metadata", "/ready": "Model ready", "/config": "Configuration", "/stats": "Statistics"}


def paths(repository: Repository) -> dict[str, Any]:
    """V2's routes as OpenAPI paths, with the names and versions that are served."""
    tag = "Open Inference Protocol (V2)"
    model = path_parameter("model", sorted(repository.served))
    version = path_parameter("version", sorted({served.version for served in repository.served.values()}))
    anything, not_found = {"schema": {"type": "object"}}, {404: "Unknown model or version"}
    body = {
        "required": True,
        "content": {"application/json": {"schema": REQUEST, "examples": _examples(repository)}},
    }
    table: dict[str, Any] = {
        "/v2": get_operation(tag, "Server metadata", anything, {}),
        "/v2/health/live": get_operation(tag, "Server live", anything, {}),
        "/v2/health/ready": get_operation(tag, "Server ready", anything, {503: "Not ready"}),
        "/v2/models/stats": get_operation(tag, "Statistics of all models", anything, {}),
        "/v2/repository/index": {"post": operation(tag, "Models and their states", STATES, {})},
    }
    for base, parameters in (
        ("/v2/models/{model}", [model]),
        ("/v2/models/{model}/versions/{version}", [model, version]),
    ):
        for path, summary in V2_GETS.items():
            table[base + path] = get_operation(tag, summary, anything, not_found, parameters=parameters)
        errors = {**POST_ERRORS, **not_found}
        inference = operation(tag, "Inference", {"schema": RESPONSE}, errors, parameters=parameters, requestBody=body)
        table[f"{base}/infer"] = {"post": inference}
    return table


def path_parameter(name: str, values: list[str]) -> dict[str, Any]:
    """A part of the path that is one of these."""
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string", "enum": values}}


def _examples(repository: Repository) -> dict[str, Any]:
    """A true request for each model whose rows are small enough to show."""
    examples = {}
    for name in repository.models:
        served = repository.served.get(name)
        if served is None or served.model.payload is None:
            continue
        payload = adapter(served.model, repository.settings).small_example()
        if payload is None:
            continue
        rows = served.model.rows(payload)
        if all(row.dtype == object or np.isfinite(row).all() for row in rows):
            inputs = [_tensor(tensor, row) for tensor, row in zip(served.signature.inputs, rows, strict=True)]
            examples[name] = {"value": {"inputs": inputs}}
    return examples


def _tensor(tensor: Tensor, row: np.ndarray) -> dict[str, Any]:
    data = row.reshape(-1).tolist()
    rounded = [round(value, 4) for value in data] if row.dtype.kind == "f" else data
    return {"name": tensor.name, "shape": [1, *row.shape], "datatype": tensor.datatype, "data": rounded}
