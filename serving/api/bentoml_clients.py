"""`/schema.json`, from which BentoML's own clients (`bentoml.SyncHTTPClient`) make a method for every native route."""

from __future__ import annotations

from typing import Any

from bentos.contract import Fields, Model
from serving.api.native import FILE_FIELD
from serving.api.schemas import answer_schema, fields_schema
from serving.http.router import Routes, get
from serving.inference.repository import Repository


def routes(repository: Repository) -> Routes:
    best = [forms[0].model for name in repository.models if (forms := repository.forms(name))]
    described = {
        "name": "ekiben",
        "type": "service",
        "routes": [_route(model) for model in best if model.payload is not None],
    }
    return {"/schema.json": get(lambda _: described)}


def _route(model: Model) -> dict[str, Any]:
    picture = {"type": "array", "items": {"type": "file", "format": "image"}}
    files = {"type": "object", "required": [FILE_FIELD], "properties": {FILE_FIELD: picture}}
    return {
        "name": f"{model.name}_{model.verb}",
        "route": f"/{model.name}/{model.verb}",
        "doc": model.doc,
        "batchable": True,
        "input": fields_schema(model.payload) if isinstance(model.payload, Fields) else files,
        "output": answer_schema(model),
    }
