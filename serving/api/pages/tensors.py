"""The page of a model that is spoken to in tensors: its tensors, a payload as JSON, and what each form answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from time import perf_counter
from typing import Any
from urllib.parse import parse_qsl

from serving.api.pages.assets import SECURITY
from serving.api.payloads.tensors import VERB, TensorExamples, curl, predict
from serving.errors import BadInput, ClientGone, ServingError
from serving.http.endpoint import Endpoint
from serving.http.gateway import Routes
from serving.http.messages import HTML, Header, Request, Response
from serving.inference.dataplane import DataPlane, LoadedForm
from serving.inference.repository import Repository

NO_STORE: Header = (b"cache-control", b"no-store")
FORM = b"application/x-www-form-urlencoded"


class TensorsTrial:
    """A form with one text, which works without a script."""

    def __init__(
        self, forms: list[LoadedForm], repository: Repository, plane: DataPlane, render: Callable[..., bytes]
    ) -> None:
        self._forms, self._repository, self._plane, self._render = forms, repository, plane, render
        self._examples = TensorExamples.of(forms[0])
        self._name = forms[0].model.name

    def routes(self) -> Routes:
        """The page, and what its form is sent to."""
        submit = Endpoint(self.submitted, self._repository.settings.max_body_bytes)
        return {f"/ui/{self._name}": {"GET": Endpoint(self.opened), "POST": submit}}

    def opened(self, request: Request) -> Response:
        """The page with a payload of the golden rows; `?random` takes any of them."""
        payload = self._examples.draw() if "random" in request.query else self._examples.first()
        return self._shown(request, json.dumps(payload, ensure_ascii=False))

    async def submitted(self, request: Request) -> Response:
        """The page with what each form answers, or with what is wrong."""
        text, error, status = "", "", 200
        answers: list[dict[str, Any]] = []
        try:
            if not request.headers.get(b"content-type", FORM).startswith(FORM):
                raise BadInput(f"this page takes a form; JSON goes to /{self._name}/{VERB}")
            try:
                fields = dict(parse_qsl(request.body.decode(), keep_blank_values=True, max_num_fields=10))
            except ValueError as wrong:
                raise BadInput(f"the form cannot be read: {wrong}") from None
            text = fields.get("payload", "")
            for form in self._forms:
                started = perf_counter()
                answer = json.loads(await predict(form, text.encode(), self._repository.settings, self._plane))
                took = (perf_counter() - started) * 1e3
                shown = {key: value for key, value in answer.items() if key not in ("model", "form", "version")}
                answers.append({"form": form.form, "milliseconds": took, "text": json.dumps(shown, ensure_ascii=False)})
        except ClientGone:
            raise
        except ServingError as wrong:
            error, status = str(wrong), wrong.status
        return self._shown(request, text, status, answers=answers, error=error)

    def _shown(
        self,
        request: Request,
        text: str,
        status: int = 200,
        answers: list[dict[str, Any]] | None = None,
        error: str = "",
    ) -> Response:
        host = request.headers.get(b"host", b"localhost:3000").decode("latin-1")
        command = curl(f"{request.scheme}://{host}", self._name, text)
        page = {"model": self._forms[0].model, "forms": self._forms, "payload": text, "curl": command}
        body = self._render("tensors.html", request, answers=answers or [], error=error, **page)
        return Response(body, HTML, status, (NO_STORE, *SECURITY))
