"""The page on which one model is tried, with a script or, by plain forms, without one: one class per payload kind."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl

import numpy as np

from bentos import contract
from bentos.certificate import Histogram
from bentos.contract import Fields, Text
from serving.api.pages.answers import ask, picture
from serving.api.pages.assets import SECURITY, asset
from serving.api.pages.controls import complaints_by_field, controls, defaults, submitted
from serving.api.payloads import adapter
from serving.api.payloads.checks import checked_fields
from serving.api.payloads.image import FILE_FIELD
from serving.api.payloads.rows import preprocess_apart, preprocess_batch
from serving.api.payloads.uploads import uploaded_files
from serving.errors import BadInput, ClientGone, ServingError
from serving.http.endpoint import Endpoint
from serving.http.gateway import Routes
from serving.http.messages import HTML, Header, Request, Response
from serving.inference.dataplane import DataPlane, LoadedForm
from serving.settings import Settings

PNG = b"image/png"
NO_STORE: Header = (b"cache-control", b"no-store")
FORM = b"application/x-www-form-urlencoded"
Render = Callable[..., bytes]


def trial(
    forms: list[LoadedForm], settings: Settings, plane: DataPlane, render: Render
) -> FieldsTrial | ImageTrial | TextTrial:
    """The page of a model with these forms, the best first, by the kind of its payload."""
    page = TrialPage(forms, settings, plane, render)
    payload = page.model.payload
    if isinstance(payload, Fields):
        return FieldsTrial(page, payload)
    return TextTrial(page) if isinstance(payload, Text) else ImageTrial(page)


class TrialPage:
    """What the pages of all kinds have in common: a model, its examples, and how its page is rendered."""

    def __init__(self, forms: list[LoadedForm], settings: Settings, plane: DataPlane, render: Render) -> None:
        self.forms, self.plane, self._render = forms, plane, render
        self.model = forms[0].model
        self.name = self.model.name
        self.adapter = adapter(self.model, settings)
        self.max_body_bytes, self.max_seconds = settings.max_body_bytes, settings.latency_ms(self.name) / 1e3
        try:
            self.examples: list[Any] = contract.examples(self.name)
        except FileNotFoundError:
            self.examples = []

    def respond(self, template: str, request: Request, values: Mapping[str, Any], status: int = 200) -> Response:
        """The page with what was sent and what came of it: payload, errors, cards, seen."""
        page: dict[str, Any] = {"trial": self, "model": self.model, "forms": self.forms}
        page |= {"errors": {}, "cards": [], "seen": "", "controls": [], **values}
        page["curl"] = self.adapter.curl(f"{request.scheme}://{_host(request)}", page["payload"])
        return Response(self._render(template, request, **page), HTML, status, (NO_STORE, *SECURITY))


class FieldsTrial:
    """A form of the payload's fields."""

    def __init__(self, page: TrialPage, payload: Fields) -> None:
        self._page, self._payload = page, payload

    def routes(self) -> Routes:
        """The page, and what its form is sent to."""
        submit = Endpoint(self.submitted, self._page.max_body_bytes)
        return {f"/ui/{self._page.name}": {"GET": Endpoint(self.opened), "POST": submit}}

    def opened(self, request: Request) -> Response:
        """The page as a link opens it: with the defaults, with `?example=2`, or with something random."""
        query, examples = request.query, self._page.examples
        if "random" in query:
            return self._shown(request, self._page.adapter.draw(self._reference())[1])
        example = _chosen(examples, query.get("example", ""))
        return self._shown(request, defaults(self._payload) if example is None else example)

    async def submitted(self, request: Request) -> Response:
        """A form posted without a script: the page again, with the answer or with what is wrong."""
        values: Any = None
        shown: dict[str, Any] = {}
        status = 200
        try:
            if not request.headers.get(b"content-type", FORM).startswith(FORM):
                raise BadInput(f"this page takes a form; JSON goes to /{self._page.name}/{self._page.model.verb}")
            values = submitted(_parse_form(request.body), self._payload)
            payload, complaints = checked_fields(values, self._payload)
            shown["errors"] = complaints_by_field(complaints, self._payload)
            status = 400 if complaints else 200
            if status == 200:
                inputs = preprocess_batch(self._page.model, [payload])
                shown["cards"] = await ask(self._page.forms, inputs, self._page.plane, request)
        except ClientGone:
            raise
        except ServingError as error:
            status = error.status
            shown["errors"] = {"": str(error) or HTTPStatus(status).phrase}
        return self._shown(request, values, status, **shown)

    def _reference(self) -> Mapping[str, Histogram]:
        return self._page.forms[0].stored.certificate.reference

    def _shown(self, request: Request, values: Any, status: int = 200, **shown: Any) -> Response:
        values = defaults(self._payload) if values is None else values
        rows = controls(self._payload, values, shown.get("errors", {}), self._reference())
        return self._page.respond("fields.html", request, {**shown, "payload": values, "controls": rows}, status)


class ImageTrial:
    """A sheet to draw on, and a file to open."""

    def __init__(self, page: TrialPage) -> None:
        self._page = page

    def routes(self) -> Routes:
        """The page, what its form and its canvas are sent to, and its example pictures."""
        base, limit = f"/ui/{self._page.name}", self._page.max_body_bytes
        table: Routes = {
            base: {"GET": Endpoint(self._shown), "POST": Endpoint(self.submitted, limit)},
            f"{base}/seen": {"POST": Endpoint(self.seen, limit)},
        }
        for place, file in enumerate(self._page.examples):
            table[f"{base}/examples/{place}"] = asset(contract.folder(self._page.name) / file)
        return table

    async def submitted(self, request: Request) -> Response:
        """A form posted without a script: the page again, with the answer or with what is wrong."""
        shown: dict[str, Any] = {}
        status = 200
        try:
            inputs = await self._preprocessed(request)
            shown["seen"] = f"data:image/png;base64,{base64.b64encode(picture(inputs[0][0])).decode()}"
            shown["cards"] = await ask(self._page.forms, inputs, self._page.plane, request)
        except ClientGone:
            raise
        except ServingError as error:
            status = error.status
            shown["errors"] = {"": str(error) or HTTPStatus(status).phrase}
        return self._shown(request, status, **shown)

    async def seen(self, request: Request) -> Response:
        """The picture as the model sees it after preprocessing, as PNG."""
        inputs = await self._preprocessed(request)
        return Response(picture(inputs[0][0]), PNG, 200, (NO_STORE, *SECURITY))

    async def _preprocessed(self, request: Request) -> list[np.ndarray]:
        page = self._page
        file, *_ = uploaded_files(request.body, request.headers.get(b"content-type", FORM), FILE_FIELD)
        n_bytes_of, memory = page.adapter.decoding_bytes, page.plane.memory
        return await preprocess_apart(page.model, [file], n_bytes_of, memory, page.max_seconds, request)

    def _shown(self, request: Request, status: int = 200, **shown: Any) -> Response:
        return self._page.respond("image.html", request, {**shown, "payload": "picture.png"}, status)


class TextTrial:
    """A form with a text, which works without a script."""

    def __init__(self, page: TrialPage) -> None:
        self._page = page

    def routes(self) -> Routes:
        """The page, and what its form is sent to."""
        submit = Endpoint(self.submitted, self._page.max_body_bytes)
        return {f"/ui/{self._page.name}": {"GET": Endpoint(self.opened), "POST": submit}}

    def opened(self, request: Request) -> Response:
        """The page with the first example, or with `?example=2`."""
        examples = self._page.examples
        return self._shown(request, (_chosen(examples, request.query.get("example", "")) or examples[0])["text"])

    async def submitted(self, request: Request) -> Response:
        """The page again, with the answer or with what is wrong."""
        page, text, status = self._page, "", 200
        shown: dict[str, Any] = {}
        try:
            if not request.headers.get(b"content-type", FORM).startswith(FORM):
                raise BadInput(f"this page takes a form; JSON goes to /{page.name}/{page.model.verb}")
            text = _parse_form(request.body).get("text", "").replace("\r\n", "\n")
            apart = (page.model, [text], page.adapter.decoding_bytes, page.plane.memory, page.max_seconds, request)
            shown["cards"] = await ask(page.forms, await preprocess_apart(*apart), page.plane, request)
        except ClientGone:
            raise
        except ServingError as error:
            status = error.status
            shown["errors"] = {"": str(error) or HTTPStatus(status).phrase}
        return self._shown(request, text, status, **shown)

    def _shown(self, request: Request, text: str, status: int = 200, **shown: Any) -> Response:
        return self._page.respond("text.html", request, {**shown, "text": text, "payload": {"text": text}}, status)


def _host(request: Request) -> str:
    return request.headers.get(b"host", b"localhost:3000").decode("latin-1")


def _parse_form(body: bytes) -> dict[str, str]:
    try:
        return dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=1000))
    except ValueError as error:
        raise BadInput(f"the form cannot be read: {error}") from None


def _chosen(examples: Sequence[Any], number: str) -> Any:
    """The example of this number; None where there is none, or it is no number."""
    known = number.isdecimal() and len(number) < 4 and int(number) < len(examples)
    return examples[int(number)] if known else None
