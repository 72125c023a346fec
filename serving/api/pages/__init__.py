"""The pages at `/ui`: what is in the box, and a page to try each model, made from the contract and the examples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from serving.api.pages import assets, curls
from serving.api.pages.answers import figure, score
from serving.api.pages.controls import UNKNOWN
from serving.api.pages.tensors import TensorsTrial
from serving.api.pages.trial import NO_STORE, Render, trial
from serving.api.payloads.image import FILE_FIELD
from serving.http.endpoint import Endpoint
from serving.http.gateway import Routes
from serving.http.messages import HTML, Request, Response
from serving.inference.dataplane import DataPlane
from serving.inference.repository import Repository


def routes(repository: Repository, plane: DataPlane) -> Routes:
    """`/ui`, `/ui/<model>` of every model that is served, and the files that these need."""
    render = _renderer(repository)

    def index(request: Request) -> Response:
        return Response(render("index.html", request), HTML, headers=(NO_STORE, *assets.SECURITY))

    table = assets.routes() | {"/ui": {"GET": Endpoint(index)}}
    for name in repository.models:
        forms = repository.forms(name)
        if forms and forms[0].model.payload is not None:
            table |= trial(forms, repository.settings, plane, render).routes()
        elif forms:
            table |= TensorsTrial(forms, repository, plane, render).routes()
    return table


def _renderer(repository: Repository) -> Render:
    """A function (template, request, values…) → a page's bytes; `root` leads from the page to `/`, behind any proxy."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["figure"] = figure
    environment.filters["score"] = score
    environment.globals.update(repository=repository, curls=curls, UNKNOWN=UNKNOWN, FILE_FIELD=FILE_FIELD)

    def render(template: str, request: Request, **values: Any) -> bytes:
        root = "../" * (request.path.count("/") - 1) or "./"
        return environment.get_template(template).render(root=root, base=_base(request), **values).encode()

    return render


def _base(request: Request) -> str:
    host = request.headers.get(b"host", b"localhost:3000").decode("latin-1")
    return f"{request.scheme}://{host}"
