"""The pages at `/ui`: what is in the box, and a page to try each model, made from the contract and the examples."""

from __future__ import annotations

import json
import shlex
from math import prod
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from bentos.contract import Tensor
from serving.api.pages import assets
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

ZERO: dict[str, Any] = {"BOOL": False, "BYTES": ""}
INLINE_NUMBERS = 64  # a tensor with more numbers is sent in binary


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
    environment.globals.update(repository=repository, v2_curl=v2_curl, UNKNOWN=UNKNOWN, FILE_FIELD=FILE_FIELD)

    def render(template: str, request: Request, **values: Any) -> bytes:
        root = "../" * (request.path.count("/") - 1) or "./"
        return environment.get_template(template).render(root=root, base=_base(request), **values).encode()

    return render


def _base(request: Request) -> str:
    host = request.headers.get(b"host", b"localhost:3000").decode("latin-1")
    return f"{request.scheme}://{host}"


def v2_curl(name: str, inputs: tuple[Tensor, ...], base: str) -> str:
    """curl of `POST /v2/models/<name>/infer` with one row of zeros."""
    url = shlex.quote(f"{base}/v2/models/{name}/infer")
    if sum(_n_elements(tensor) for tensor in inputs) <= INLINE_NUMBERS:
        rows = [_tensor_head(t) | {"data": [ZERO.get(t.datatype, 0)] * _n_elements(t)} for t in inputs]
        body = json.dumps({"inputs": rows})
        return f"curl {url} \\\n  -H 'Content-Type: application/json' \\\n  -d {shlex.quote(body)}"
    sizes = [_n_elements(t) * t.dtype.itemsize for t in inputs]
    rows = [_tensor_head(t) | {"parameters": {"binary_data_size": s}} for t, s in zip(inputs, sizes, strict=True)]
    body = json.dumps({"inputs": rows})
    return (
        f"(printf %s {shlex.quote(body)}; head -c {sum(sizes)} /dev/zero) |\n"
        f"curl {url} \\\n  -H 'Content-Type: application/octet-stream' \\\n"
        f"  -H 'Inference-Header-Content-Length: {len(body.encode())}' \\\n  --data-binary @-"
    )


def _tensor_head(tensor: Tensor) -> dict[str, Any]:
    return {"name": tensor.name, "shape": list(tensor.shape_of({})), "datatype": tensor.datatype}


def _n_elements(tensor: Tensor) -> int:
    return prod(tensor.shape_of({}))
