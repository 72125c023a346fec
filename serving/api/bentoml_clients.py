"""`/schema.json`, from which BentoML's own clients (`bentoml.SyncHTTPClient`) make a method for every native route."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from bentos import contract
from bentos.contract import Model, ModelError
from serving.api.operations import answer_schema
from serving.api.payloads import adapter
from serving.http.endpoint import get
from serving.http.gateway import Routes
from serving.inference.repository import Repository
from serving.settings import Settings


def routes(repository: Repository) -> Routes:
    """`/schema.json`, by which BentoML's own clients find a model's route."""
    best = [forms[0].model for name in repository.models if (forms := repository.forms(name))]
    described = {
        "name": "ekiben",
        "type": "service",
        "routes": [_route(model, repository.settings) for model in best if model.payload is not None],
    }
    return {"/schema.json": get(lambda _: described)}


def of_folders(names: Iterable[str], settings: Settings) -> list[dict[str, Any]]:
    """The same routes of models by name, before any is loaded; a model without a folder that can be read has none."""
    routes_found = []
    for name in sorted(set(names)):
        try:
            model = contract.model(name)
        except (KeyError, ImportError, ModelError):
            continue
        if model.payload is not None:
            routes_found.append(_route(model, settings))
    return routes_found


def _route(model: Model, settings: Settings) -> dict[str, Any]:
    return {
        "name": f"{model.name}_{model.verb}",
        "route": f"/{model.name}/{model.verb}",
        "doc": model.doc,
        "batchable": True,
        "input": adapter(model, settings).client_schema(),
        # These clients keep what is named and drop the rest: nothing is, where the author's postprocess decides.
        "output": answer_schema(model) if model.postprocess is None else {"type": "object"},
    }
