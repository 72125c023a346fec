"""ModelInfer: the codec of V2 over gRPC over the data plane."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import numpy as np

from serving.api.content import INFLATE_INLINE_BYTES, inflate, most_inflated
from serving.api.grpc.reading import model_name, reading_bytes
from serving.api.grpc.request import InferRequest, RequestDecoder, Wanted
from serving.api.grpc.response import ResponseEncoder
from serving.api.grpc.schema import Schema
from serving.api.v2.decode import LARGE_BODY_BYTES
from serving.errors import NotFound, NotReady, ServingError
from serving.grpc.call import Call, Method
from serving.inference.dataplane import DataPlane, LoadedForm, PendingRequest
from serving.inference.repository import Repository

INTERFACE = "grpc"
INFER_PATH = "/v2/models"
INFLATING_FACTOR = 2  # memory for a byte that a message inflates to, before it is parsed
Begin = Callable[[InferRequest], "GrpcResponder"]
Fail = Callable[[Exception, bytes, bool], None]


def served(repository: Repository, name: str, version: str) -> LoadedForm:
    """The served form of a name and, where one is asked for, of this version. NotFound, NotReady"""
    form = repository.get(name[:100])
    if version and version != form.version:
        raise NotFound(f"model {name!r} has no version {version[:60]!r}: there is {form.version}")
    return form


class GrpcResponder:
    """Answers one ModelInfer call."""

    __slots__ = ("call", "encoder", "id", "name", "names_form", "typed", "wanted")

    wanted: Wanted

    def __init__(self, call: Call, request: InferRequest, encoder: ResponseEncoder) -> None:
        self.call, self.encoder = call, encoder
        self.name, self.id = request.name, request.id
        self.names_form = False  # whether the request picked a form, which the response then names
        self.typed = not request.raw

    @property
    def trace_id(self) -> bytes:
        """The call's, 32 hex digits."""
        return self.call.trace_id

    @property
    def disconnected(self) -> bool:
        """Whether the call has ended, or its client is gone."""
        return self.call.disconnected

    @property
    def synthetic(self) -> bool:
        """Whether its rows are kept out of the drift watch."""
        return self.call.synthetic

    def attach(self, pending: PendingRequest) -> None:
        """What is told where the client or its deadline ends the call."""
        self.call.on_end = pending.set_exception

    def send_outputs(self, form: LoadedForm, outputs: list[np.ndarray]) -> None:
        """Answer the call with a ModelInferResponse."""
        self.call.respond(self.encode(form, outputs))

    def encode(self, form: LoadedForm, outputs: list[np.ndarray]) -> bytes:
        """The ModelInferResponse."""
        response = self.encoder.encode(self.name, self.id, form, outputs, self.wanted, self.typed)
        return response + self.encoder.parameter("form", form.form) if self.names_form else response

    def send_error(self, error: ServingError) -> None:
        """End the call with the error's status."""
        self.call.fail(error)


class Inference:
    """What ModelInfer and ModelStreamInfer share: message → request → arrays → data plane."""

    def __init__(self, repository: Repository, plane: DataPlane, schema: Schema) -> None:
        self._repository, self._plane = repository, plane
        self.decoder = RequestDecoder(schema["inference.ModelInferRequest"].FromString)
        self.encoder = ResponseEncoder(schema["inference.ModelInferResponse"])
        settings = repository.settings
        self._max_bytes, self._max_rows = settings.max_body_bytes, settings.max_request_rows
        self._max_seconds = settings.max_latency_ms / 1e3  # for memory: which model is asked is not read yet
        self._tasks: set[asyncio.Task[None]] = set()  # the loop itself would let them be collected

    def infer(self, call: Call, message: bytes, compressed: bool, begin: Begin, fail: Fail) -> None:
        """Submit the request of a message, which may be compressed; in a thread where that may take a while.

        `begin` makes the responder of a request; `fail` is told what is wrong with a message that was not read.
        """
        coding, begun = call.coding if compressed else None, call.begun
        try:
            if coding is not None and len(message) <= INFLATE_INLINE_BYTES:
                message, coding = inflate(message, coding, self._max_bytes), None
            if coding is None and len(message) <= LARGE_BODY_BYTES:
                request = self.decoder.decode(message)
                return self.submit(request, begin(request), begun)
        except Exception as error:
            return fail(error, message, coding is not None)
        task = asyncio.get_running_loop().create_task(self._infer_in_thread(call, message, coding, begun, begin, fail))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _infer_in_thread(
        self, call: Call, message: bytes, coding: bytes | None, begun: float, begin: Begin, fail: Fail
    ) -> None:
        if call.on_end is None:  # until there is a pending request; a stream has its own
            call.on_end = lambda error: fail(error, message, coding is not None)
        try:
            if coding is None:
                return await self._parse_in_thread(call, message, begun, begin)
            n_bytes = INFLATING_FACTOR * most_inflated(message, self._max_bytes)
            async with self._plane.memory.reserved(n_bytes, self._max_seconds):
                if call.disconnected:
                    return
                message, coding = await asyncio.to_thread(inflate, message, coding, self._max_bytes), None
                await self._parse_in_thread(call, message, begun, begin)
        except Exception as error:
            fail(error, message, coding is not None)

    async def _parse_in_thread(self, call: Call, message: bytes, begun: float, begin: Begin) -> None:
        async with self._plane.memory.reserved(reading_bytes(message), self._max_seconds):
            if call.disconnected:
                return
            request = await asyncio.to_thread(self.decoder.decode, message)
            if not call.disconnected:
                await self._submit_in_thread(request, begin(request), begun)

    def form(self, request: InferRequest) -> LoadedForm:
        """The form that a request names. NotFound, NotReady (counted: the form is refused)"""
        repository, name, version = self._repository, request.name, request.version
        form = repository.served.get(name)
        if form is not None and (not version or version == form.version):
            return form
        if form is None and (refused := repository.refused.get(name)) is not None:
            labels = (refused.model, refused.form, refused.version, NotReady.reason)
            repository.families.failures.labels(*labels).inc()
            raise NotReady(refused.refusal)
        return served(repository, name, version)

    def count(self, error: ServingError, message: bytes) -> tuple[str, str, str, str] | None:
        """As `Method.count`, of the model that a message names. A version that there is not is no model's failure."""
        form = None if isinstance(error, NotFound) else self._repository.served.get(model_name(message))
        if form is None:
            return None
        form.recorder.failed(error)
        return (*form.recorder.labels, INTERFACE)

    def submit(self, request: InferRequest, responder: GrpcResponder, begun: float) -> None:
        """Queue a request's arrays. NotFound, NotReady"""
        pending = self._pending(request, responder, begun)
        try:
            self._plane.check_admission(pending.form, responder.call.deadline)
            self._plane.submit(pending, *self._bind(pending, request, responder))
        except Exception as error:
            pending.set_exception(error.with_traceback(None) if isinstance(error, ServingError) else error)

    async def _submit_in_thread(self, request: InferRequest, responder: GrpcResponder, begun: float) -> None:
        pending = self._pending(request, responder, begun)
        try:
            self._plane.check_admission(pending.form, responder.call.deadline)
            inputs, n_rows = await asyncio.to_thread(self._bind, pending, request, responder)
            self._plane.submit(pending, inputs, n_rows)
        except Exception as error:
            pending.set_exception(error)

    def _pending(self, request: InferRequest, responder: GrpcResponder, begun: float) -> PendingRequest:
        route = f"{INFER_PATH}/{responder.name}/infer"
        pending = PendingRequest(self.form(request), responder, INTERFACE, route, begun)
        responder.attach(pending)
        return pending

    def _bind(
        self, pending: PendingRequest, request: InferRequest, responder: GrpcResponder
    ) -> tuple[list[np.ndarray], int]:
        if (choice := request.form) is not None:
            responder.names_form = True
            pending.form = self._repository.get(request.name, choice)
        form = pending.form
        inputs, n_rows, responder.wanted = request.bind(form.signature, form.model.finite, self._max_rows)
        return inputs, n_rows


class ModelInfer(Method):
    """One request, one response."""

    path = INFER_PATH

    def __init__(self, inference: Inference) -> None:
        self._inference = inference

    def count(self, error: ServingError, message: bytes) -> tuple[str, str, str, str] | None:
        """Count it for the model that the message names, as far as it has come."""
        return self._inference.count(error, message)

    def handle(self, call: Call, message: bytes, compressed: bool) -> None:
        """Queue a ModelInferRequest; its responder ends the call."""
        inference = self._inference
        encoder = inference.encoder
        inference.infer(call, message, compressed, lambda request: GrpcResponder(call, request, encoder), call.reject)
