"""The native routes: what a person sends, in the model's own words, over the same data plane as V2."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import orjson

from bentos import contract
from bentos.contract import Field, Model, ModelError
from serving.api.content import INFLATE_INLINE_BYTES, inflate, media_type, most_inflated
from serving.api.payloads import PayloadAdapter, adapter
from serving.api.payloads.rows import answers, preprocess_apart, preprocess_batch, preprocess_each
from serving.api.refusals import Unavailable
from serving.errors import BadInput, ServingError
from serving.http.endpoint import Endpoint
from serving.http.gateway import Routes
from serving.http.messages import Request, Response, json_response
from serving.inference.dataplane import DataPlane, LoadedForm, PendingRequest, send_error
from serving.inference.repository import Repository

INTERFACE = "native"
READING_FACTOR = 4  # memory for a byte of JSON while it is inflated and read


def routes(repository: Repository, plane: DataPlane) -> Routes:
    """`POST /<model>/<verb>` and `GET /<model>/random` of every model that people can send something to."""
    table: Routes = {}
    for name in repository.models:
        forms = repository.forms(name)
        if forms and forms[0].model.payload is not None:
            payloads = adapter(forms[0].model, repository.settings)
            table[_path(forms[0].model)] = {"POST": PredictHandler(name, payloads, repository, plane)}
            table[f"/{name}/random"] = {"GET": Endpoint(partial(random_prediction, name, payloads, repository, plane))}
        elif not forms and (path := _folder_path(name)):
            table[path] = {"POST": Unavailable(repository.refused_form(name), repository.families)}
    return table


def _path(model: Model) -> str:
    return f"/{model.name}/{model.verb}"


def _folder_path(name: str) -> str:
    """The route of a folder none of whose forms is served; empty where there is none that can be read."""
    try:
        return _path(contract.model(name))
    except (KeyError, ImportError, ModelError):
        return ""


class NativeResponder:
    """Answers one native request in the model's words."""

    __slots__ = ("_request", "parameters", "several")

    def __init__(self, request: Request) -> None:
        self._request = request
        self.parameters: dict[str, Any] = {}  # of postprocess, which the query gives
        self.several = False  # whether a list was sent, so that one goes back

    @property
    def trace_id(self) -> bytes:
        """The request's, 32 hex digits."""
        return self._request.trace_id

    @property
    def disconnected(self) -> bool:
        """Whether nobody is there to read a response."""
        return self._request.disconnected

    @property
    def synthetic(self) -> bool:
        """Whether its rows are kept out of the drift watch."""
        return self._request.synthetic

    def send_outputs(self, form: LoadedForm, outputs: list[np.ndarray]) -> None:
        """Send the model's answer as JSON; a list of them where a list came."""
        rows = answers(form, outputs, self.parameters)
        self._request.respond(Response(orjson.dumps(rows if self.several else rows[0])))

    def send_error(self, error: ServingError) -> None:
        """Send `{"error": "…"}`."""
        self._request.fail(error)


class PredictHandler:
    """The route that answers one payload with one answer, and several with a list."""

    def __init__(self, name: str, payloads: PayloadAdapter, repository: Repository, plane: DataPlane) -> None:
        self._name, self._payloads, self._repository, self._plane = name, payloads, repository, plane
        self._default = repository.get(name)
        settings = repository.settings
        self.max_body_bytes, self._max_rows = settings.max_body_bytes, settings.max_request_rows
        self._max_seconds = settings.latency_ms(name) / 1e3

    def check(self, request: Request) -> None:
        """Raises BadInput, NotFound or NotReady for the form that is asked for, and Overloaded."""
        self._plane.check_admission(self._form(request))

    def reject(self, request: Request, error: ServingError) -> None:
        """Send the error, counted for the model's best form."""
        send_error(self._default, INTERFACE, NativeResponder(request), error)

    def handle(self, request: Request) -> None:
        """Read the payloads, preprocess and queue them; in a thread where that takes long."""
        responder = NativeResponder(request)
        pending = PendingRequest(self._default, responder, INTERFACE, request.path, request.begun)
        try:
            pending.form = self._form(request)
            if request.query_string:
                responder.parameters = query_parameters(pending.form.model, request.query)
            body, content_type = request.body, request.headers.get(b"content-type", b"application/json")
            if (coding := request.headers.get(b"content-encoding")) is not None:
                if len(body) > INFLATE_INLINE_BYTES:
                    return pending.later(self._inflate(pending, body, coding, content_type))
                body = inflate(body, coding, self.max_body_bytes)
            self._predict(pending, responder, body, content_type)
        except Exception as error:
            pending.set_exception(error)

    def _form(self, request: Request) -> LoadedForm:
        if not request.query_string:
            return self._default
        return requested_form(self._name, request, self._repository, self._default.model.parameters)

    async def _inflate(self, pending: PendingRequest, body: bytes, coding: bytes, content_type: bytes) -> None:
        assert isinstance(pending.responder, NativeResponder)
        n_bytes = READING_FACTOR * most_inflated(body, self.max_body_bytes)
        async with self._plane.memory.reserved(n_bytes, self._max_seconds):
            plain = await asyncio.to_thread(inflate, body, coding, self.max_body_bytes)
            self._predict(pending, pending.responder, plain, content_type)

    def _predict(self, pending: PendingRequest, responder: NativeResponder, body: bytes, content_type: bytes) -> None:
        payloads, responder.several = self._payloads.read(body, media_type(content_type), content_type)
        if len(payloads) > self._max_rows:
            raise BadInput(f"{len(payloads)} rows in one request, the limit is {self._max_rows}")
        if self._payloads.needs_thread(payloads, len(body)):
            pending.later(self._preprocess_in_thread(pending, payloads))
        elif len(payloads) > 1 and not pending.form.signature.rows_alike:
            self._plane.submit_each(pending, preprocess_each(pending.form.model, payloads))
        else:
            self._plane.submit(pending, preprocess_batch(pending.form.model, payloads), len(payloads))

    async def _preprocess_in_thread(self, pending: PendingRequest, payloads: list[Any]) -> None:
        model, alike = pending.form.model, len(payloads) == 1 or pending.form.signature.rows_alike
        n_bytes_of, memory = self._payloads.decoding_bytes, self._plane.memory
        apart = (model, payloads, n_bytes_of, memory, self._max_seconds, pending.responder)
        if alike:
            self._plane.submit(pending, await preprocess_apart(*apart), len(payloads))
        else:
            self._plane.submit_each(pending, await preprocess_apart(*apart, preprocess_each))


def requested_form(name: str, request: Request, repository: Repository, parameters: Sequence[Field] = ()) -> LoadedForm:
    """The form that `?form=` names, or the default one; `parameters` may be beside it. BadInput, NotFound, NotReady"""
    query, known = request.query, ["form", *(parameter.name for parameter in parameters)]
    if unknown := query.keys() - set(known):
        raise BadInput(f"query parameter {min(unknown)[:60]!r} is unknown; there is {', '.join(known)}")
    return repository.get(name, query.get("form"))


def query_parameters(model: Model, query: Mapping[str, str]) -> dict[str, Any]:
    """The parameters of postprocess that a query gives, by name. BadInput"""
    values = {}
    for parameter in model.parameters:
        if (text := query.get(parameter.name)) is not None:
            value = parameter_value(parameter, text)
            if not parameter.allows(value):
                raise BadInput(f"{parameter.name} is {text[:40]!r}: it must be {parameter.allowed()}")
            values[parameter.name] = parameter.encode(value)
    return values


def parameter_value(parameter: Field, text: str) -> Any:
    """What a text in a query says as JSON would."""
    if parameter.type is str or text in parameter.codes:
        return text
    if parameter.type is bool:
        return {"true": True, "false": False}.get(text, text)
    try:
        return float(text)
    except ValueError:
        return text


async def random_prediction(
    name: str, payloads: PayloadAdapter, repository: Repository, plane: DataPlane, request: Request
) -> Response:
    """A payload like those it was trained on, with its prediction."""
    model = repository.get(name).model
    form = requested_form(name, request, repository, model.parameters)
    values = query_parameters(model, request.query)
    shown, payload = payloads.draw(form.stored.certificate.reference)
    outputs = await plane.infer(form, preprocess_batch(form.model, [payload]), 1, request)
    return json_response({"payload": shown, "prediction": answers(form, outputs, values)[0]})
