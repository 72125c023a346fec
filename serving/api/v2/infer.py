"""POST …/infer: the codec of V2 over the data plane."""

from __future__ import annotations

import asyncio

import numpy as np

from serving.api.content import INFLATE_INLINE_BYTES, inflate, media_type, most_inflated
from serving.api.v2.decode import LARGE_BODY_BYTES, LONG_BODY_BYTES, ShortDecoder, Wanted, decode, header_length
from serving.api.v2.encode import encode
from serving.api.v2.tensors import reading_factor
from serving.errors import ServingError, UnsupportedMedia
from serving.http.messages import Request, Response
from serving.inference.dataplane import DataPlane, LoadedForm, PendingRequest, send_error
from serving.inference.repository import Repository

INTERFACE = "v2"
OCTETS = b"application/octet-stream"
HEADER_LENGTH = b"inference-header-content-length"
# curl sends -d as a form; what it holds is JSON.
MEDIA_TYPES = (b"application/json", OCTETS, b"application/x-www-form-urlencoded")


class V2Responder:
    """Answers one V2 request, as JSON and, where they were asked for, raw tensors behind it."""

    __slots__ = ("_name", "_request", "id", "names_form", "outputs")

    id: str | None
    names_form: bool  # whether the request picked a form, which the response then names
    outputs: Wanted

    def __init__(self, name: str, request: Request) -> None:
        self._name, self._request = name, request

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
        """Send the outputs that were asked for: JSON, and raw tensors behind it."""
        form_name = form.form if self.names_form else None
        tensors = form.signature.outputs
        text, raw = encode(self._name, form.version, tensors, outputs, self.outputs, self.id, form_name)
        if raw is None:
            self._request.respond(Response(text))
        else:
            self._request.respond(Response(text + raw, OCTETS, headers=((HEADER_LENGTH, b"%d" % len(text)),)))

    def send_error(self, error: ServingError) -> None:
        """Send `{"error": "…"}`."""
        self._request.fail(error)


class InferHandler:
    """The requests to one served name; `parameters.form` of a request picks another form of its model."""

    def __init__(self, name: str, default: LoadedForm, repository: Repository, plane: DataPlane) -> None:
        self._name, self._default, self._repository, self._plane = name, default, repository, plane
        settings = repository.settings
        self.max_body_bytes, self._max_depth = settings.max_body_bytes, settings.max_json_depth
        self._max_rows, self._max_seconds = settings.max_request_rows, settings.latency_ms(default.model.name) / 1e3
        signature, self._short = default.signature, None
        self._factor = reading_factor(signature)
        if ShortDecoder.suits(signature):
            self._short = ShortDecoder(signature, default.model.finite, self._max_rows)

    def check(self, request: Request) -> None:
        """Raises UnsupportedMedia, and the Overloaded that the default form would meet now."""
        content_type = request.headers.get(b"content-type", b"application/json")
        if content_type != b"application/json" and media_type(content_type) not in MEDIA_TYPES:
            raise UnsupportedMedia(
                f"content type {content_type[:60].decode('latin-1')!r}:"
                " inference takes application/json or application/octet-stream"
            )
        self._plane.check_admission(self._default)

    def reject(self, request: Request, error: ServingError) -> None:
        """Send the error, counted for the default form."""
        send_error(self._default, INTERFACE, V2Responder(self._name, request), error)

    def handle(self, request: Request) -> None:
        """Decode the arrays and queue them; in a thread where the body is large."""
        responder = V2Responder(self._name, request)
        pending = PendingRequest(self._default, responder, INTERFACE, request.path, request.begun)
        headers, body = request.headers, request.body
        length, coding = headers.get(HEADER_LENGTH), headers.get(b"content-encoding")
        try:
            if length is None and coding is None and self._short is not None and len(body) < LONG_BODY_BYTES:
                short = self._short.decode(body)
                if short is not None:
                    array, n_rows, responder.outputs, responder.id = short
                    responder.names_form = False
                    return self._plane.submit(pending, [array], n_rows)
            if len(body) > (LARGE_BODY_BYTES if coding is None else INFLATE_INLINE_BYTES):
                pending.later(self._decode_in_thread(pending, responder, body, length, coding))
            else:
                inputs, n_rows = self._decode(pending, responder, body, length, coding)
                self._plane.submit(pending, inputs, n_rows)
        except Exception as error:
            pending.set_exception(error)

    async def _decode_in_thread(
        self, pending: PendingRequest, responder: V2Responder, body: bytes, length: bytes | None, coding: bytes | None
    ) -> None:
        n_bytes = self._factor * len(body)
        if coding is not None:
            n_bytes = (self._factor + 1) * most_inflated(body, self.max_body_bytes)
        elif length is not None:  # what is raw is not copied
            n_bytes = self._factor * header_length(length, body)
        async with self._plane.memory.reserved(n_bytes, self._max_seconds):
            inputs, n_rows = await asyncio.to_thread(self._decode, pending, responder, body, length, coding)
        self._plane.submit(pending, inputs, n_rows)

    def _decode(
        self, pending: PendingRequest, responder: V2Responder, body: bytes, length: bytes | None, coding: bytes | None
    ) -> tuple[list[np.ndarray], int]:
        """(inputs in the signature's order, their rows). BadInput, NotFound, NotReady, TooLarge, UnsupportedMedia"""
        if coding is not None:
            body = inflate(body, coding, self.max_body_bytes)
        n_json = None if length is None else header_length(length, body)
        decoded = decode(body, n_json, self._max_depth)
        responder.id, responder.names_form = decoded.id, decoded.form is not None
        if decoded.form is not None:
            pending.form = self._repository.get(self._name, decoded.form)
        form = pending.form
        inputs, n_rows, responder.outputs = decoded.bind(form.signature, form.model.finite, self._max_rows)
        return inputs, n_rows
