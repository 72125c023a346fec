"""Swagger at `/`: the OpenAPI document of every route, made from the contract, the examples and the served forms."""

from __future__ import annotations

from typing import Any

from bentos.contract import Field, Model, Route
from serving import VERSION
from serving.api.operations import ERROR, POST_ERRORS, answer_schema, get_operation, operation
from serving.api.pages.assets import SECURITY
from serving.api.payloads import adapter, tensors
from serving.api.payloads.fields import field_schema
from serving.api.v2 import openapi as v2
from serving.http.endpoint import Endpoint, get
from serving.http.gateway import Routes
from serving.http.messages import HTML, Response
from serving.inference.dataplane import LoadedForm
from serving.inference.faults import KINDS
from serving.inference.repository import Repository

# BentoML ships Swagger UI; its own page would load a tag manager from elsewhere.
PAGE = b"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Ekiben</title><link rel="stylesheet" href="static_content/swagger-ui.css">
<link rel="icon" href="static_content/favicon-light-32x32.png"></head>
<body><div id="swagger-ui"></div><script src="static_content/swagger-ui-bundle.js"></script>
<script>SwaggerUIBundle({url: "docs.json", dom_id: "#swagger-ui", deepLinking: true, tryItOutEnabled: true})</script>
</body></html>"""

DESCRIPTION = """Trained models, boxed. Native routes speak each model's own words; `/v2` is the Open Inference
Protocol, for `tritonclient`, KServe and `perf_analyzer`. Errors are `{"error": "…"}`."""


def routes(repository: Repository) -> Routes:
    """`/`, the page, and `/docs.json`, the document that it shows."""
    document = openapi(repository)
    page = Response(PAGE, HTML, headers=SECURITY)
    return {"/": {"GET": Endpoint(lambda _: page)}, "/docs.json": get(lambda _: document)}


def openapi(repository: Repository) -> dict[str, Any]:
    """OpenAPI 3.0 of what this repository serves."""
    paths: dict[str, Any] = {}
    for name in repository.models:
        forms = repository.forms(name)
        if forms and forms[0].model.payload is not None:
            content = adapter(forms[0].model, repository.settings).openapi_content()
            paths |= _native(forms[0].model, [served.form for served in forms], content)
        elif forms:
            paths |= _tensors(forms)
        if forms:
            paths |= {route.path: _own(route, forms) for route in forms[0].model.routes}
    return {
        "openapi": "3.0.3",
        "info": {
            "title": "Ekiben",
            "version": VERSION,
            "description": DESCRIPTION,
        },
        "servers": [{"url": "."}],
        "paths": paths | _pages(repository) | _faults(repository) | _health() | v2.paths(repository),
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
                "Tensor": v2.TENSOR,
            }
        },
    }


def _pages(repository: Repository) -> dict[str, Any]:
    model = v2.path_parameter("model", repository.models)
    page = {"text/html": {"schema": {"type": "string"}}}
    answers = {"200": {"description": "The page", "content": page}}
    error = {"description": "Unknown model", "content": {"application/json": {"schema": ERROR}}}
    shown, unknown = {"responses": answers, "tags": ["Pages"]}, {"responses": {**answers, "404": error}}
    return {
        "/ui": {"get": {**shown, "summary": "All models, their forms and certificates"}},
        "/ui/{model}": {"get": {**shown, **unknown, "summary": "A page to try the model", "parameters": [model]}},
    }


def _faults(repository: Repository) -> dict[str, Any]:
    if repository.faults is None:
        return {}
    tag, listed = "Faults", {"schema": {"type": "array", "items": {"type": "object"}}}

    def parameter(name: str, kind: str) -> dict[str, Any]:
        return {"name": name, "in": "query", "schema": {"type": kind}}

    common = [parameter("route", "string"), parameter("for", "number"), parameter("distribution", "string")]
    begun = {
        f"/faults/{kind}": {
            "post": operation(
                tag, f"Begin: {kind}", listed, {400: "Bad input"}, parameters=[parameter(amount, "number"), *common]
            )
        }
        for kind, (amount, _, _) in KINDS.items()
    }
    slept = operation(tag, "Sleep", {"schema": {"type": "object"}}, {}, parameters=[parameter("seconds", "number")])
    every = {"get": operation(tag, "Those in force", listed, {}), "delete": operation(tag, "End all", listed, {})}
    return {"/faults": every, "/faults/sleep": {"get": slept}, **begun}


def _native(model: Model, forms: list[str], content: dict[str, Any]) -> dict[str, Any]:
    query = [_form_parameter(forms), *map(_parameter, model.parameters)]
    answer = {"schema": {"oneOf": [answer_schema(model), {"type": "array", "items": answer_schema(model)}]}}
    drawn = {
        "schema": {"type": "object", "properties": {"payload": {"type": "object"}, "prediction": answer_schema(model)}},
    }
    doc = f"{model.doc} {model.synthetic}".strip()
    return {
        f"/{model.name}/{model.verb}": {
            "post": operation(
                model.title,
                f"{model.verb.capitalize()}: one payload or several",
                answer,
                POST_ERRORS,
                description=doc,
                parameters=query,
                requestBody={"required": True, "content": content},
            )
        },
        f"/{model.name}/random": {
            "get": operation(
                model.title,
                "A random payload with its prediction",
                drawn,
                {400: "Bad input", 404: "Unknown form"},
                parameters=query,
            )
        },
    }


def _tensors(forms: list[LoadedForm]) -> dict[str, Any]:
    """The native routes of a model that is spoken to in tensors only."""
    model, example = forms[0].model, tensors.TensorExamples.of(forms[0]).first()
    answer = tensors.answer_schema(model)
    joined = "Rows of several requests share an engine call; one may be sent without its batch dimension."
    post = operation(
        model.title,
        "Predict: named nested lists",
        {"schema": answer},
        POST_ERRORS,
        description=f"{model.doc} {joined if model.signature.batched else 'Each request is an engine call.'}",
        parameters=[_form_parameter([form.form for form in forms])],
        requestBody={"required": True, "content": tensors.openapi_content(model.signature, example)},
    )
    drawn = {"schema": {"type": "object", "properties": {"payload": {"type": "object"}, "prediction": answer}}}
    return {
        f"/{model.name}/{tensors.VERB}": {"post": post},
        f"/{model.name}/random": get_operation(
            model.title,
            "A random payload with its prediction",
            drawn,
            {400: "Bad input", 404: "Unknown form"},
            parameters=[_form_parameter([form.form for form in forms])],
        ),
    }


def _own(route: Route, forms: list[LoadedForm]) -> dict[str, Any]:
    """A route of the folder's own, with errors as it writes them."""
    anything = {"schema": {"type": "object"}}
    post = operation(
        forms[0].model.title,
        route.doc,
        anything,
        POST_ERRORS,
        parameters=[_form_parameter([form.form for form in forms])],
        requestBody={"required": True, "content": {"application/json": {**anything, "example": route.example}}},
    )
    if route.error is not None:
        for status in POST_ERRORS:
            post["responses"][str(status)]["content"] = {"application/json": anything}
    return {"post": post}


def _form_parameter(forms: list[str]) -> dict[str, Any]:
    return {
        "name": "form",
        "in": "query",
        "description": "Which form answers; the best certified one if left out",
        "schema": {"type": "string", "enum": forms},
    }


def _parameter(parameter: Field) -> dict[str, Any]:
    """One of postprocess's, with its bounds."""
    schema = field_schema(parameter)
    if parameter.choices:  # a query has words and codes alike as texts
        schema = {"type": "string", "enum": [*parameter.codes]}
    return {
        "name": parameter.name,
        "in": "query",
        "description": f"{parameter.doc}: {parameter.allowed()}; {parameter.default} if left out",
        "schema": {key: value for key, value in schema.items() if key not in ("description", "title")},
    }


def _health() -> dict[str, Any]:
    tag, report = "Health", {"schema": {"type": "object"}}
    return {
        "/health": get_operation(tag, "Status, models, forms and versions", report, {503: "Not every model is ready"}),
        "/livez": get_operation(tag, "The process lives", None, {}),
        "/readyz": get_operation(tag, "Every model is loaded, verified and warm", None, {503: "Not ready"}),
        "/metrics": get_operation(tag, "Prometheus metrics", None, {}),
    }
