"""Routes that a model's folder hands in (`Route`): the words of another service, over the same data plane as ours."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import orjson

from bentos import contract
from bentos.contract import ModelError, PayloadError, Route, UnknownError
from serving.api.content import JSON_TYPES, inflate, media_type, most_inflated
from serving.api.depth import check_depth
from serving.api.native import INTERFACE, NativeResponder, requested_form
from serving.api.payloads.rows import preprocess_each
from serving.api.refusals import Unavailable
from serving.errors import BadInput, ClientGone, NotFound, ServingError, UnsupportedMedia
from serving.http.endpoint import reject
from serving.http.gateway import Routes
from serving.http.messages import Request, Response
from serving.inference.dataplane import DataPlane, LoadedForm, PendingRequest, send_error
from serving.inference.repository import Repository
from serving.inference.store import RefusedForm
from serving.telemetry.metrics import Metrics

log = logging.getLogger("bentoml.ekiben")
INLINE_BODY_BYTES = 4096  # what is longer is read and preprocessed in a thread
MAX_COMMAS = 2**19  # in a body: each may be a value, and so an object, and prose has far fewer
READING_FACTOR = 24  # memory for a byte of JSON as Python's objects: an empty list takes 64 bytes for its three
Batches = list[list[np.ndarray]]


def routes(repository: Repository, plane: DataPlane) -> Routes:
    """The routes of every model's folder, also of those that are refused."""
    table: Routes = {}
    for name in repository.models:
        if forms := repository.forms(name):
            for route in forms[0].model.routes:
                table[route.path] = {"POST": OwnRouteHandler(route, name, repository, plane)}
        else:
            refused = repository.refused_form(name)
            for route in _folder_routes(name):
                handler = UnavailableRoute(route, refused, repository.families)
                table.setdefault(route.path, {"POST": handler})
    return table


def _folder_routes(name: str) -> Sequence[Route]:
    try:
        return contract.model(name).routes
    except (KeyError, ImportError, ModelError):
        return ()


def error_body(route: Route, error: ServingError) -> bytes:
    """An error as the route's clients expect it."""
    if route.error is None:
        return error.body
    try:
        return orjson.dumps(route.error(error.status, str(error)))
    except Exception:
        log.exception("the error of %s cannot be written", route.path)
        return error.body


class OwnResponder(NativeResponder):
    """Answers one request in the route's words."""

    __slots__ = ("_route", "asked", "batches")

    def __init__(self, request: Request, route: Route) -> None:
        super().__init__(request)
        self._route = route
        self.asked: Any = None
        self.batches: Batches = []

    def send_outputs(self, form: LoadedForm, outputs: list[np.ndarray]) -> None:
        """Send what the route's own `answer` makes of them, as JSON."""
        named = {t.name: array for t, array in zip(form.signature.outputs, outputs, strict=True)}
        answer = self._route.answer(self.asked, self.batches, named)
        self._request.respond(Response(orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)))


class OwnRouteHandler:
    """The requests to one such route."""

    def __init__(self, route: Route, name: str, repository: Repository, plane: DataPlane) -> None:
        self._route, self._name, self._repository, self._plane = route, name, repository, plane
        self._default = repository.get(name)
        settings = repository.settings
        self.max_body_bytes, self._max_rows = settings.max_body_bytes, settings.max_request_rows
        self._max_depth, self._max_seconds = settings.max_json_depth, settings.latency_ms(name) / 1e3
        self.error_body = partial(error_body, route)

    def check(self, request: Request) -> None:
        """Raises BadInput, NotFound or NotReady for the form that is asked for, and Overloaded."""
        self._plane.check_admission(self._form(request))

    def reject(self, request: Request, error: ServingError) -> None:
        """Send the error as the route's clients expect it, counted for the model."""
        request.error_body = self.error_body
        send_error(self._default, INTERFACE, NativeResponder(request), error)

    def handle(self, request: Request) -> None:
        """Have the route read the request, and queue its rows."""
        request.error_body = self.error_body
        responder = OwnResponder(request, self._route)
        pending = PendingRequest(self._default, responder, INTERFACE, request.path, request.begun)
        try:
            pending.form = self._form(request)
            if len(request.body) > INLINE_BODY_BYTES or b"content-encoding" in request.headers:
                pending.later(self._read_in_thread(pending, responder, request))
            else:
                self._submit(pending, self._read(responder, request, pending.form))
        except Exception as error:
            pending.set_exception(error)

    def _form(self, request: Request) -> LoadedForm:
        return requested_form(self._name, request, self._repository) if request.query_string else self._default

    async def _read_in_thread(self, pending: PendingRequest, responder: OwnResponder, request: Request) -> None:
        n_bytes = READING_FACTOR * most_inflated(request.body, self.max_body_bytes)
        if b"content-encoding" not in request.headers:
            n_bytes = READING_FACTOR * len(request.body)
        latest = request.begun + self._max_seconds
        async with self._plane.memory.reserved(n_bytes, self._max_seconds):
            if responder.disconnected:
                raise ClientGone("the client hung up")
            batches = await asyncio.to_thread(self._read, responder, request, pending.form, latest)
        self._submit(pending, batches)

    def _read(
        self, responder: OwnResponder, request: Request, form: LoadedForm, latest: float = float("inf")
    ) -> Batches:
        """Each payload's arrays. BadInput, NotFound, TooLarge, UnsupportedMedia, DeadlineExceeded"""
        document = self._document(request)
        try:
            payloads, responder.asked = self._route.read(document)
        except UnknownError as error:
            raise NotFound(str(error)) from None
        except PayloadError as error:
            raise BadInput(str(error)) from None
        if not payloads:
            raise BadInput("there is nothing in it to answer")
        if len(payloads) > self._max_rows:
            raise BadInput(f"{len(payloads)} rows in one request, the limit is {self._max_rows}")
        responder.batches = preprocess_each(form.model, payloads, latest)
        return responder.batches

    def _document(self, request: Request) -> Any:
        content_type = request.headers.get(b"content-type", b"application/json")
        if media_type(content_type) not in JSON_TYPES:
            raise UnsupportedMedia(f"content type {content_type[:60].decode('latin-1')!r}: send application/json")
        body = inflate(request.body, request.headers.get(b"content-encoding", b""), self.max_body_bytes)
        if body.count(b",") > MAX_COMMAS:
            raise BadInput(f"the body holds more values than {MAX_COMMAS:,}, or as many commas")
        check_depth(body, self._max_depth)
        try:
            return orjson.loads(body)
        except ValueError as error:
            raise BadInput(f"the body is not JSON: {error}") from None

    def _submit(self, pending: PendingRequest, batches: Batches) -> None:
        if len(batches) == 1:
            self._plane.submit(pending, batches[0], 1)
        elif pending.form.signature.rows_alike:
            joined = [np.concatenate(arrays) for arrays in zip(*batches, strict=True)]
            self._plane.submit(pending, joined, len(batches))
        else:
            self._plane.submit_each(pending, batches)


class UnavailableRoute(Unavailable):
    """The same where the model is refused."""

    def __init__(self, route: Route, refused: RefusedForm, families: Metrics) -> None:
        super().__init__(refused, families)
        self.error_body = partial(error_body, route)

    def reject(self, request: Request, error: ServingError) -> None:
        """Send the error as the route's clients expect it."""
        request.error_body = self.error_body
        reject(request, error)
