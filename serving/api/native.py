"""The native routes: what a person sends, in the model's own words, through the same runners as V2."""

from __future__ import annotations

import asyncio
import base64
import math
import random
from collections.abc import Awaitable, Callable
from functools import partial
from time import perf_counter
from typing import Any

import numpy as np
import orjson

from bentos import contract
from bentos.contract import Fields, Model, ModelError, PayloadError
from serving.api.depth import MOST
from serving.api.payloads import field_reader
from serving.api.pictures import check_pictures
from serving.api.refusals import unavailable
from serving.api.uploads import uploaded_files
from serving.errors import BadInput, DeadlineExceeded, UnsupportedMedia
from serving.http.direct import Direct
from serving.http.exchange import Exchange, Peer, Taker, Taking, Written
from serving.http.router import JSON, App, Receive, Routes, Scope, Send, header, query, send_json
from serving.inference.repository import Repository, Served
from serving.inference.sessions import Batch

FILE_FIELD = "image"
# A picture above this many bytes is decoded in a thread, so that nobody else waits for it.
INLINE_FILE_BYTES = 32 * 1024
INLINE_PIXELS = 512 * 512  # a file of 1 KB can hold 25 million
Reader = Callable[[bytes, bytes], tuple[list[Any], bool]]


def routes(repository: Repository) -> Routes:
    """`POST /<model>/<verb>` and `GET /<model>/random` of every model that people can send something to."""
    found: Routes = {}
    for name in repository.models:
        forms = repository.forms(name)
        if forms and forms[0].model.payload is not None:
            read = reader(forms[0].model, repository.settings.max_json_depth)
            found[_path(forms[0].model)] = {"POST": Predict(name, read, repository).app()}
            found[f"/{name}/random"] = {"GET": random_prediction(name, repository)}
        elif not forms and (path := _folder_path(name)):
            refused = next(stored for stored in repository.refused.values() if stored.model == name)
            found[path] = {"POST": unavailable(refused, repository)}
    return found


def _path(model: Model) -> str:
    return f"/{model.name}/{model.verb}"


def _folder_path(name: str) -> str:
    """The route of a folder none of whose forms is served; empty where there is none that can be read."""
    try:
        return _path(contract.model(name))
    except (KeyError, ImportError, ModelError):
        return ""


def reader(model: Model, max_depth: int = MOST) -> Reader:
    """(body, content type) → the payloads it holds and whether they came as several."""
    if isinstance(model.payload, Fields):
        read_fields = field_reader(model.payload, max_depth)

        def read(body: bytes, kind: bytes) -> tuple[list[Any], bool]:
            if not kind.startswith((b"application/json", b"text/json", b"application/x-www-form-urlencoded")):
                raise UnsupportedMedia(f"content type {kind[:60].decode('latin-1')!r}: send application/json")
            return read_fields(body)

        return read

    def read_files(body: bytes, kind: bytes) -> tuple[list[Any], bool]:
        files = uploaded_files(body, kind, FILE_FIELD)
        return list(files), len(files) > 1

    return read_files


class Prediction(Exchange):
    """One native request."""

    __slots__ = ("several",)

    interface = "native"
    several: bool

    def written(self, results: list[np.ndarray]) -> Written:
        found = answers(self._served, results)
        return orjson.dumps(found if self.several else found[0]), JSON, ()


class Predict:
    """The route that answers one payload with one answer, and several with a list."""

    def __init__(self, name: str, read: Reader, repository: Repository) -> None:
        self._name, self._read, self._repository = name, read, repository
        self._default = repository.get(name)
        settings = repository.settings
        self._most_rows, self._most_pixels = settings.max_request_rows, settings.max_request_pixels
        self._most_seconds = settings.max_latency_ms / 1e3

    def app(self) -> Direct:
        return Direct(self.opened, self._default.recorder.failed, self._repository.settings.max_body_bytes)

    def opened(self, scope: Scope) -> Taker:
        """What takes the bodies of requests with this head. BadInput, NotFound, NotReady"""
        served = _asked_form(self._name, scope, self._repository) if scope["query_string"] else self._default
        kind = header(scope, b"content-type") or b"application/json"
        return Taking(Prediction.interface, served, partial(self._take, scope["path"], served, kind))

    def _take(self, path: str, served: Served, kind: bytes, body: bytes, peer: Peer) -> None:
        prediction = Prediction(peer, served)
        try:
            payloads, prediction.several = self._read(body, kind)
            if len(payloads) > self._most_rows:
                raise BadInput(f"{len(payloads)} rows in one request, the limit is {self._most_rows}")
            ask = partial(prediction.ask, served, len(payloads))
            if self._repository.faults is not None:
                faulty = partial(self._repository.faults.befall, path, then=ask)
                prediction.later(self._made(served.model, payloads, faulty))
            elif isinstance(served.model.payload, Fields):
                ask(rows(served.model, payloads))
            elif len(body) > INLINE_FILE_BYTES or check_pictures(payloads, self._most_pixels) > INLINE_PIXELS:
                prediction.later(self._made(served.model, payloads, ask))
            else:
                ask(rows(served.model, payloads))
        except Exception as error:
            prediction.set_exception(error)

    async def _made(self, model: Model, payloads: list[Any], then: Callable[[Batch], Awaitable[None] | None]) -> None:
        """Make the rows in a thread, unless it comes to them too late."""
        latest = perf_counter() + self._most_seconds

        def made() -> list[np.ndarray]:
            if perf_counter() > latest:
                raise DeadlineExceeded("waited too long for a picture's decoder")
            if not isinstance(model.payload, Fields):
                check_pictures(payloads, self._most_pixels)
            return rows(model, payloads, latest)

        inputs = await asyncio.get_running_loop().run_in_executor(None, made)
        if (further := then(inputs)) is not None:
            await further


def _asked_form(name: str, scope: Scope, repository: Repository) -> Served:
    asked = query(scope)
    if unknown := asked.keys() - {"form"}:
        raise BadInput(f"query parameter {min(unknown)[:60]!r} is unknown; there is form")
    return repository.get(name, asked.get("form"))


def rows(model: Model, payloads: list[Any], latest: float = math.inf) -> list[np.ndarray]:
    """Payloads → one batch per input tensor. BadInput says which payload it is about, where there are several."""
    made = []
    for place, payload in enumerate(payloads):
        if place and perf_counter() > latest:
            raise DeadlineExceeded(f"{place} of {len(payloads)} pictures were decoded in the time allowed")
        try:
            made.append(model.rows(payload))
        except PayloadError as error:
            raise BadInput(f"[{place}] {error}" if len(payloads) > 1 else str(error)) from None
    return [np.stack(arrays) for arrays in zip(*made, strict=True)]


def answers(served: Served, results: list[np.ndarray]) -> list[dict[str, Any]]:
    """One answer per row, each saying which model, form and version gave it."""
    outputs = {t.name: array for t, array in zip(served.signature.outputs, results, strict=True)}
    who = {"model": served.model.name, "form": served.form, "version": served.version}
    return [{**found, **who} for found in served.model.answers(outputs)]


def random_prediction(name: str, repository: Repository) -> App:
    """`GET /<model>/random`: a payload like those it was trained on, with its prediction."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        served = _asked_form(name, scope, repository) if scope["query_string"] else repository.get(name)
        shown, payload = random_payload(served)
        results = await served.runner.submit(rows(served.model, [payload]), 1)
        await send_json(send, {"payload": shown, "prediction": answers(served, results)[0]})

    return app


def random_payload(served: Served) -> tuple[Any, Any]:
    """(as JSON shows it, as the model takes it): an example's picture, or fields drawn between the training deciles."""
    model = served.model
    if not isinstance(model.payload, Fields):
        data = (contract.BENTOS / model.name / random.choice(contract.examples(model.name))).read_bytes()  # noqa: S311
        return {FILE_FIELD: f"data:image/png;base64,{base64.b64encode(data).decode()}"}, data
    reference = served.stored.certificate.reference
    payload: dict[str, Any] = {}
    for field in model.payload.fields:
        histogram = reference.get(f"input:{field.name}")
        edges = (histogram.edges if histogram else ()) or (field.low, field.high)
        low, high = max(field.low, edges[0]), min(field.high, edges[-1])
        drawn = random.uniform(low, high)  # noqa: S311
        payload[field.name] = (
            bool(round(drawn)) if field.type is bool else round(drawn) if field.type is int else round(drawn, 3)
        )
    for lesser, greater in model.payload.at_most:
        if payload[lesser] is not None and payload[lesser] > payload[greater]:
            payload[lesser] = payload[greater]
    return payload, payload
