"""Swagger at `/`: the OpenAPI document of every route, made from the contract, the examples and the served forms."""

from __future__ import annotations

from typing import Any

import numpy as np

from bentos import contract
from bentos.contract import Field, Fields, Model
from serving.http import Receive, Routes, Scope, Send, get, send_bytes
from serving.native import FILE_FIELD
from serving.repository import Repository

HTML = (b"content-type", b"text/html; charset=utf-8")
# BentoML ships Swagger UI; its own page would load a tag manager from elsewhere.
PAGE = b"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Ekiben</title><link rel="stylesheet" href="static_content/swagger-ui.css">
<link rel="icon" href="static_content/favicon-light-32x32.png"></head>
<body><div id="swagger-ui"></div><script src="static_content/swagger-ui-bundle.js"></script>
<script>SwaggerUIBundle({url: "docs.json", dom_id: "#swagger-ui", deepLinking: true, tryItOutEnabled: true})</script>
</body></html>"""
ERROR = {"$ref": "#/components/schemas/Error"}
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
DESCRIPTION = """Trained models, boxed. Native routes speak each model's own words; `/v2` is the Open Inference
Protocol, for `tritonclient`, KServe and `perf_analyzer`. Errors are `{"error": "…"}`."""


def routes(repository: Repository) -> Routes:
    async def page(scope: Scope, receive: Receive, send: Send) -> None:
        await send_bytes(send, PAGE, HTML)

    document = openapi(repository)
    return {"/": {"GET": page, "HEAD": page}, "/docs.json": get(lambda _: document)}


def openapi(repository: Repository) -> dict[str, Any]:
    """OpenAPI 3.0 of what this repository serves."""
    paths: dict[str, Any] = {}
    for name in repository.models:
        forms = repository.forms(name)
        if forms and forms[0].model.payload is not None:
            paths |= _native(forms[0].model, [served.form for served in forms])
    return {
        "openapi": "3.0.3",
        "info": {
            "title": "Ekiben",
            "version": "0.1.0",
            "description": DESCRIPTION,
        },
        "servers": [{"url": "."}],
        "paths": paths | _health() | _v2(repository),
        "components": {
            "schemas": {
                "Error": {
                    "type": "object",
                    "required": ["error"],
                    "properties": {
                        "error": {
                            "type": "string",
                            "example": "sepal_length is -1: it must be a number from 0.1 to 20 cm",
                        }
                    },
                },
                "Tensor": TENSOR,
            }
        },
    }


def _operation(
    tag: str, summary: str, answer: dict[str, Any] | None, errors: dict[int, str], **further: Any
) -> dict[str, Any]:
    content = {"content": {"application/json": answer}} if answer else {}
    return {
        "tags": [tag],
        "summary": summary,
        "responses": {
            "200": {"description": "The answer", **content},
            **{
                str(c): {"description": d, "content": {"application/json": {"schema": ERROR}}}
                for c, d in errors.items()
            },
        },
        **further,
    }


POST_ERRORS = {
    400: "Bad input; the message names what is wrong and what is allowed",
    404: "Unknown form",
    413: "Body too large",
    415: "Unsupported content type",
    429: "The queue is full; Retry-After says when to come back",
    503: "Not answered in time, or the form is refused",
}


def _native(model: Model, forms: list[str]) -> dict[str, Any]:
    form = {
        "name": "form",
        "in": "query",
        "description": "Which form answers; the best certified one if left out",
        "schema": {"type": "string", "enum": forms},
    }
    answer = {"schema": {"oneOf": [_answer(model), {"type": "array", "items": _answer(model)}]}}
    drawn = {
        "schema": {"type": "object", "properties": {"payload": {"type": "object"}, "prediction": _answer(model)}},
    }
    doc = f"{model.doc} {model.synthetic}".strip()
    return {
        f"/{model.name}/{model.verb}": {
            "post": _operation(
                model.title,
                f"{model.verb.capitalize()}: one payload or several",
                answer,
                POST_ERRORS,
                description=doc,
                parameters=[form],
                requestBody={"required": True, "content": _body(model)},
            )
        },
        f"/{model.name}/random": {
            "get": _operation(
                model.title, "A random payload with its prediction", drawn, {404: "Unknown form"}, parameters=[form]
            )
        },
    }


def _body(model: Model) -> dict[str, Any]:
    if not isinstance(model.payload, Fields):
        files = {
            "type": "array",
            "items": {"type": "string", "format": "binary"},
            "description": "One picture or several",
        }
        schema = {"type": "object", "required": [FILE_FIELD], "properties": {FILE_FIELD: files}}
        return {
            "multipart/form-data": {"schema": schema},
            "image/png": {"schema": {"type": "string", "format": "binary"}},
        }
    one = {
        "type": "object",
        "additionalProperties": False,
        "required": [f.name for f in model.payload.fields if not f.nullable],
        "properties": {f.name: _field(f) for f in model.payload.fields},
    }
    examples = {f"example {i + 1}": {"value": value} for i, value in enumerate(contract.examples(model.name))}
    if len(examples) > 1:
        examples["several"] = {"value": contract.examples(model.name)[:2]}
    return {
        "application/json": {
            "schema": {"oneOf": [one, {"type": "array", "items": one, "minItems": 1}]},
            "examples": examples,
        }
    }


def _field(field: Field) -> dict[str, Any]:
    schema: dict[str, Any] = {"description": f"{field.doc}: {field.allowed()}"}
    if field.type is bool:
        schema["type"] = "boolean"
    else:
        schema |= {"type": "integer" if field.type is int else "number", "minimum": field.low, "maximum": field.high}
    if field.nullable:
        schema["nullable"] = True
    if field.default is not None:
        schema["example"] = field.default
    return schema


def _answer(model: Model) -> dict[str, Any]:
    who = {key: {"type": "string"} for key in ("model", "form", "version")}
    number = {"type": "number"}
    if not model.labels:
        value = {"type": "number", "description": model.unit}
        return {"type": "object", "properties": {model.signature.outputs[0].name: value, **who}}
    probabilities = {"type": "object", "properties": dict.fromkeys(model.labels, number)}
    label = {"type": "string", "enum": list(model.labels)}
    return {"type": "object", "properties": {"label": label, "probabilities": probabilities, **who}}


def _health() -> dict[str, Any]:
    tag, report = "Health", {"schema": {"type": "object"}}
    return {
        "/health": _get(tag, "Status, models, forms and versions", report, {503: "Not every model is ready"}),
        "/livez": _get(tag, "The process lives", None, {}),
        "/readyz": _get(tag, "Every model is loaded, verified and warm", None, {503: "Not ready"}),
        "/metrics": _get(tag, "Prometheus metrics", None, {}),
    }


def _v2(repository: Repository) -> dict[str, Any]:
    tag = "Open Inference Protocol (V2)"
    model = _path_parameter("model", sorted(repository.served))
    version = _path_parameter("version", sorted({served.version for served in repository.served.values()}))
    anything, gone = {"schema": {"type": "object"}}, {404: "Unknown model or version"}
    body = {
        "required": True,
        "content": {"application/json": {"schema": REQUEST, "examples": _v2_examples(repository)}},
    }
    found: dict[str, Any] = {
        "/v2": _get(tag, "Server metadata", anything, {}),
        "/v2/health/live": _get(tag, "Server live", anything, {}),
        "/v2/health/ready": _get(tag, "Server ready", anything, {503: "Not ready"}),
        "/v2/models/stats": _get(tag, "Statistics of all models", anything, {}),
        "/v2/repository/index": {"post": _operation(tag, "Models and their states", STATES, {})},
    }
    for base, parameters in (
        ("/v2/models/{model}", [model]),
        ("/v2/models/{model}/versions/{version}", [model, version]),
    ):
        for path, summary in V2_GETS.items():
            found[base + path] = _get(tag, summary, anything, gone, parameters=parameters)
        errors = {**POST_ERRORS, **gone}
        operation = _operation(tag, "Inference", {"schema": RESPONSE}, errors, parameters=parameters, requestBody=body)
        found[f"{base}/infer"] = {"post": operation}
    return found


def _get(
    tag: str, summary: str, answer: dict[str, Any] | None, errors: dict[int, str], **further: Any
) -> dict[str, Any]:
    return {"get": _operation(tag, summary, answer, errors, **further)}


def _path_parameter(name: str, values: list[str]) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string", "enum": values}}


def _v2_examples(repository: Repository) -> dict[str, Any]:
    """A true request for each model whose rows are small enough to show."""
    found = {}
    for name in repository.models:
        served = repository.served.get(name)
        if served is None or not isinstance(served.model.payload, Fields):
            continue
        row = served.model.rows(contract.examples(name)[0])[0]
        if np.isfinite(row).all():
            tensor = served.signature.inputs[0]
            data = [round(float(value), 4) for value in row]
            request = {"name": tensor.name, "shape": [1, len(data)], "datatype": tensor.datatype, "data": data}
            found[name] = {"value": {"inputs": [request]}}
    return found
