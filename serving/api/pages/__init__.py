"""The pages at `/ui`: what is in the box, and a page to try each model, made from the contract and the examples."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from bentos import contract
from bentos.contract import Image
from serving.api.native import FILE_FIELD
from serving.api.pages import assets, curls
from serving.api.pages.answers import figure
from serving.api.pages.controls import UNKNOWN
from serving.api.pages.trial import FRESH, HTML, Render, Trial
from serving.http.router import App, Receive, Routes, Scope, Send, header, send_bytes
from serving.inference.repository import Repository


def routes(repository: Repository) -> Routes:
    """`/ui`, `/ui/<model>` of every model that people can send something to, and the files that these need."""
    render = _renderer(repository)
    found = assets.routes() | {"/ui": _page(lambda scope: render("index.html", scope))}
    for name in repository.models:
        served = next(iter(repository.forms(name)), None)
        if served is None or served.model.payload is None:
            continue
        trial = Trial(name, served.model, repository, render)
        found[f"/ui/{name}"] = {**_page(trial.opened), "POST": trial.submitted}
        if isinstance(served.model.payload, Image):
            found[f"/ui/{name}/seen"] = {"POST": trial.seen}
            for place, file in enumerate(trial.examples):
                found[f"/ui/{name}/examples/{place}"] = assets.asset(contract.BENTOS / name / file)
    return found


def _renderer(repository: Repository) -> Render:
    """A function (template, scope, values…) → a page's bytes; `root` leads from the page to `/`, behind any proxy."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["figure"] = figure
    environment.globals.update(repository=repository, curls=curls, UNKNOWN=UNKNOWN, FILE_FIELD=FILE_FIELD)

    def render(template: str, scope: Scope, **values: Any) -> bytes:
        root = "../" * (scope["path"].count("/") - 1) or "./"
        return environment.get_template(template).render(root=root, base=_base(scope), **values).encode()

    return render


def _base(scope: Scope) -> str:
    host = (header(scope, b"host") or b"localhost:3000").decode("latin-1")
    return f"{scope.get('scheme', 'http')}://{host}"


def _page(render: Callable[[Scope], bytes]) -> dict[str, App]:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send_bytes(send, render(scope), HTML, 200, FRESH, *assets.SECURITY)

    return {"GET": app, "HEAD": app}
