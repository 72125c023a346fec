"""`/schema.json`, from which BentoML's own clients (`bentoml.SyncHTTPClient`) make a method for every native route."""

from __future__ import annotations

from typing import Any

from bentos.contract import Model
from serving.api.operations import answer_schema
from serving.api.payloads import adapter
from serving.http.endpoint import get
from serving.http.gateway import Routes
from serving.inference.repository import Repository
from serving.settings import Settings


def routes(repository: Repository) -> Routes:
    best = [forms[0].model for name in repository.models if (forms := repository.forms(name))]
    described = {
        "name": "ekiben",
        "type": "service",
        "routes": [_route(model, repository.settings) for model in best if model.payload is not None],
    }
    return {"/schema.json": get(lambda _: described)}


def _route(model: Model, settings: Settings) -> dict[str, Any]:
    return {
        "name": f"{model.name}_{model.verb}",
        "route": f"/{model.name}/{model.verb}",
        "doc": model.doc,
        "batchable": True,
        "input": adapter(model, settings).client_schema(),
        "output": answer_schema(model),
    }
