"""`POST /<model>/predict` and `GET /<model>/random` of models without a payload of their own: named nested lists."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np
import orjson

from bentos import contract
from serving.api.content import INFLATE_INLINE_BYTES, inflate, media_type, most_inflated
from serving.api.native import INTERFACE, NativeResponder, requested_form
from serving.api.payloads.tensors import LARGE_BODY_BYTES, VERB, TensorExamples, TensorReader, answer, predict
from serving.api.refusals import Unavailable
from serving.api.v2.tensors import reading_factor
from serving.errors import ServingError
from serving.http.endpoint import Endpoint
from serving.http.gateway import Routes
from serving.http.messages import Request, Response
from serving.inference.dataplane import DataPlane, LoadedForm, PendingRequest, send_error
from serving.inference.repository import Repository


def routes(repository: Repository, plane: DataPlane) -> Routes:
    """The routes of every model that is spoken to in tensors only."""
    table: Routes = {}
    for name in repository.models:
        forms = repository.forms(name)
        if forms and forms[0].model.payload is None:
            table[f"/{name}/{VERB}"] = {"POST": TensorHandler(name, repository, plane)}
            table[f"/{name}/random"] = {"GET": _random(name, repository, plane)}
        elif not forms and name not in contract.names():
            table[f"/{name}/{VERB}"] = {"POST": Unavailable(repository.refused_form(name), repository.families)}
    return table


class TensorResponder(NativeResponder):
    """Answers one request of named nested lists in kind."""

    __slots__ = ("single",)

    def __init__(self, request: Request) -> None:
        super().__init__(request)
        self.single = False  # whether one row was sent without its batch

    def send_outputs(self, form: LoadedForm, outputs: list[np.ndarray]) -> None:
        """Send them as named nested lists."""
        self._request.respond(Response(answer(form, outputs, self.single)))


class TensorHandler:
    """The requests to one model; `?form=` picks another form of it."""

    def __init__(self, name: str, repository: Repository, plane: DataPlane) -> None:
        self._name, self._repository, self._plane = name, repository, plane
        self._default = repository.get(name)
        settings = repository.settings
        self.max_body_bytes, self._max_seconds = settings.max_body_bytes, settings.latency_ms(name) / 1e3
        self._factor = reading_factor(self._default.signature)

    def check(self, request: Request) -> None:
        """Raises BadInput, NotFound or NotReady for the form that is asked for, and Overloaded."""
        self._plane.check_admission(self._form(request))

    def reject(self, request: Request, error: ServingError) -> None:
        """Send the error, counted for the model's best form."""
        send_error(self._default, INTERFACE, TensorResponder(request), error)

    def handle(self, request: Request) -> None:
        """Read the nested lists and queue them; in a thread where the body is large."""
        responder = TensorResponder(request)
        pending = PendingRequest(self._default, responder, INTERFACE, request.path, request.begun)
        try:
            pending.form = self._form(request)
            coding = request.headers.get(b"content-encoding")
            if len(request.body) > (LARGE_BODY_BYTES if coding is None else INFLATE_INLINE_BYTES):
                pending.later(self._read_in_thread(pending, responder, request, coding))
            else:
                inputs, n_rows = self._read(pending.form, responder, request, coding)
                self._plane.submit(pending, inputs, n_rows)
        except Exception as error:
            pending.set_exception(error)

    def _form(self, request: Request) -> LoadedForm:
        return requested_form(self._name, request, self._repository) if request.query_string else self._default

    async def _read_in_thread(
        self, pending: PendingRequest, responder: TensorResponder, request: Request, coding: bytes | None
    ) -> None:
        n_bytes = self._factor * len(request.body)
        if coding is not None:
            n_bytes = (self._factor + 1) * most_inflated(request.body, self.max_body_bytes)
        async with self._plane.memory.reserved(n_bytes, self._max_seconds):
            inputs, n_rows = await asyncio.to_thread(self._read, pending.form, responder, request, coding)
        self._plane.submit(pending, inputs, n_rows)

    def _read(
        self, form: LoadedForm, responder: TensorResponder, request: Request, coding: bytes | None
    ) -> tuple[Sequence[np.ndarray], int]:
        """(inputs in the signature's order, their rows). BadInput, TooLarge, UnsupportedMedia"""
        body = request.body if coding is None else inflate(request.body, coding, self.max_body_bytes)
        content_type = request.headers.get(b"content-type", b"application/json")
        inputs, n_rows, responder.single = TensorReader.of(form, self._repository.settings).read(
            body, media_type(content_type)
        )
        return inputs, n_rows


def _random(name: str, repository: Repository, plane: DataPlane) -> Endpoint:
    examples = TensorExamples.of(repository.get(name))

    async def random(request: Request) -> Response:
        """A payload that the model is known to compute with, and its prediction."""
        form = requested_form(name, request, repository)
        payload = orjson.dumps(examples.draw())
        prediction = await predict(form, payload, repository.settings, plane)
        return Response(b'{"payload":%b,"prediction":%b}' % (payload, prediction))

    return Endpoint(random)
