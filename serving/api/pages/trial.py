"""The page on which one model is tried, with a script or, by plain forms, without one."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl

from bentos import contract
from bentos.contract import Fields, Model
from serving.api import native
from serving.api.pages.answers import ask, picture
from serving.api.pages.assets import SECURITY
from serving.api.pages.controls import complaints_by_field, controls, defaults, submitted
from serving.api.payloads import checked_fields
from serving.errors import BadInput, ClientGone, ServingError
from serving.http.router import Receive, Scope, Send, client_of, header, query, read_body, send_bytes
from serving.inference.repository import Repository

HTML = (b"content-type", b"text/html; charset=utf-8")
PNG = (b"content-type", b"image/png")
FRESH = (b"cache-control", b"no-store")
FORM = b"application/x-www-form-urlencoded"
Render = Callable[..., bytes]


class Trial:
    """One model's page, what it is posted and what it answers."""

    def __init__(self, name: str, model: Model, repository: Repository, render: Render) -> None:
        self.name = name
        self.model = model
        self.repository = repository
        self.examples = _examples(name)
        self._render = render

    def opened(self, scope: Scope) -> bytes:
        """The page as a link opens it: with the defaults, with `?example=2`, or with something random."""
        asked = query(scope)
        if not isinstance(self.model.payload, Fields):
            return self._shown(scope)
        if "random" in asked:
            return self._shown(scope, native.random_payload(self.repository.get(self.name))[1])
        place = asked.get("example", "")
        if place.isdecimal() and int(place) < len(self.examples):
            return self._shown(scope, self.examples[int(place)])
        return self._shown(scope, defaults(self.model.payload))

    async def submitted(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A form posted without a script: the page again, with the answer or with what is wrong."""
        values: Any = None
        shown: dict[str, Any] = {}
        status = 200
        try:
            payload = values = await self._payload(scope, receive)
            if isinstance(self.model.payload, Fields):
                payload, complaints = checked_fields(values, self.model.payload)
                shown["errors"] = complaints_by_field(complaints, self.model.payload)
                status = 400 if complaints else 200
            else:
                shown["seen"] = await self._picture(payload)
            if status == 200:
                shown["cards"] = await ask(self.name, payload, self.repository, client_of(receive))
        except ClientGone:
            raise
        except ServingError as error:
            status = error.status
            shown["errors"] = {"": str(error) or HTTPStatus(status).phrase}
        await send_bytes(send, self._shown(scope, values, **shown), HTML, status, FRESH, *SECURITY)

    async def _payload(self, scope: Scope, receive: Receive) -> Any:
        """What the form holds: a dict of values, unchecked, or a file's bytes."""
        body = await read_body(scope, receive, self.repository.settings.max_body_bytes)
        kind = header(scope, b"content-type") or FORM
        if isinstance(self.model.payload, Fields):
            if not kind.startswith(FORM):
                raise BadInput(f"this page takes a form; JSON goes to /{self.name}/{self.model.verb}")
            return submitted(_form(body), self.model.payload)
        files, _ = native.reader(self.model)(body, kind)
        return files[0]

    async def seen(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The picture as the model sees it after preprocessing, as PNG."""
        png = await self._picture(await self._payload(scope, receive))
        await send_bytes(send, png, PNG, 200, FRESH, *SECURITY)

    async def _picture(self, data: bytes) -> bytes:
        def work() -> bytes:
            return picture(native.rows(self.model, [data])[0][0])

        return await asyncio.get_running_loop().run_in_executor(None, work)

    def _shown(self, scope: Scope, values: Any = None, **shown: Any) -> bytes:
        """Render the page with what was sent and what came of it: errors, cards, seen."""
        errors: Mapping[str, str] = shown.get("errors", {})
        page = {"trial": self, "model": self.model, "forms": self.repository.forms(self.name), "errors": errors}
        page |= {"cards": shown.get("cards", []), "seen": "", "controls": [], "payload": values}
        if "seen" in shown:
            page["seen"] = f"data:image/png;base64,{base64.b64encode(shown['seen']).decode()}"
        if not isinstance(self.model.payload, Fields):
            return self._render("image.html", scope, **page | {"payload": "picture.png"})
        reference = self.repository.get(self.name).stored.certificate.reference
        page["payload"] = values = defaults(self.model.payload) if values is None else values
        page["controls"] = controls(self.model.payload, values, errors, reference)
        return self._render("fields.html", scope, **page)


def _examples(name: str) -> list[Any]:
    try:
        return contract.examples(name)
    except FileNotFoundError:
        return []


def _form(body: bytes) -> dict[str, str]:
    try:
        return dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=1000))
    except ValueError as error:
        raise BadInput(f"the form cannot be read: {error}") from None
