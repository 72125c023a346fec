"""ModelStreamInfer: requests on one stream, answered in their order. An error is in its answer, and ends nothing."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np

from serving.api.grpc.infer import INFER_PATH, GrpcResponder, Inference
from serving.api.grpc.request import InferRequest
from serving.api.grpc.response import ResponseEncoder
from serving.api.grpc.schema import Schema
from serving.api.grpc.tensors import length_delimited
from serving.errors import NotReady, Overloaded, ServingError
from serving.grpc.call import Call, Method, reserved_bytes
from serving.inference.dataplane import LoadedForm, PendingRequest

INFER_RESPONSE = 2  # field of a ModelStreamInferResponse
MAX_WAITING = 1024  # requests of one stream that are not answered yet; with so many no more are read
IS_FINAL = "triton_final_response"  # for who asks for it


class Turn:
    """One request's place among the answers of its stream."""

    __slots__ = ("answer", "pending", "reserved")

    def __init__(self, reserved: int) -> None:
        self.reserved = reserved  # bytes that the budget of bodies holds for it
        self.answer: bytes | None = None
        self.pending: PendingRequest | None = None


class OpenStream:
    """The requests of one stream that are not answered yet, in their order."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self.turns: deque[Turn] = deque()
        self.ended = self.leaving = False

    def answered(self) -> None:
        """Send what is next, as far as it is there."""
        turns, call = self.turns, self._call
        while turns and (answer := turns[0].answer) is not None:
            call.give_back(turns.popleft().reserved)
            call.send(answer)
        if call.paused and len(turns) <= MAX_WAITING // 2 and not self.leaving:
            call.resume()
        if not turns and self.ended:
            call.finish()
        elif not turns and self.leaving:
            call.fail(NotReady("this process ends; what it has accepted is answered"))

    def cancelled(self, error: ServingError) -> None:
        """Nobody waits for any of them."""
        for turn in tuple(self.turns):
            if turn.pending is not None:
                turn.pending.set_exception(error)


class StreamResponder(GrpcResponder):
    """Answers one request of a stream."""

    __slots__ = ("_asks_for_final", "_new_answer", "_stream", "_turn")

    def __init__(
        self,
        call: Call,
        request: InferRequest,
        encoder: ResponseEncoder,
        new_answer: Any,
        stream: OpenStream,
        turn: Turn,
    ) -> None:
        super().__init__(call, request, encoder)
        self._new_answer, self._stream, self._turn = new_answer, stream, turn
        self._asks_for_final = request.asks_for_final

    def attach(self, pending: PendingRequest) -> None:
        """Have its turn know the pending request, which is ended where the stream is."""
        self._turn.pending = pending

    def send_outputs(self, form: LoadedForm, outputs: list[np.ndarray]) -> None:
        """Put a ModelInferResponse into its turn."""
        response = self.encode(form, outputs)
        if self._asks_for_final:
            response += self.encoder.parameter(IS_FINAL, True)
        self._turn.answer = length_delimited(INFER_RESPONSE, len(response)) + response
        self._stream.answered()

    def send_error(self, error: ServingError) -> None:
        """Put the error into its turn; the stream goes on."""
        answer = self._new_answer(error_message=str(error))
        answer.infer_response.model_name, answer.infer_response.id = self.name, self.id
        self._turn.answer = answer.SerializeToString()
        self._stream.answered()


class ModelStreamInfer(Method):
    """Any number of requests, to any models."""

    path, streams = INFER_PATH, True

    def __init__(self, inference: Inference, schema: Schema) -> None:
        self._inference, self._new_answer = inference, schema["inference.ModelStreamInferResponse"]

    def count(self, error: ServingError, message: bytes) -> tuple[str, str, str, str] | None:
        """Count it for the model that the message names, as far as it has come."""
        return self._inference.count(error, message)

    def handle(self, call: Call, message: bytes, compressed: bool) -> None:
        """Give a request its turn and queue it."""
        stream = self._stream(call)
        turn, inference, new_answer = Turn(reserved_bytes(message)), self._inference, self._new_answer
        stream.turns.append(turn)
        if len(stream.turns) >= MAX_WAITING:
            call.pause()

        request_id = ""

        def fail(error: Exception, message: bytes, compressed: bool) -> None:
            if call.done:
                return
            answer = new_answer(error_message=str(call.log(error, message, compressed)))
            answer.infer_response.id = request_id
            turn.answer = answer.SerializeToString()
            stream.answered()

        def begin(request: InferRequest) -> StreamResponder:
            nonlocal request_id
            request_id = request.id
            return StreamResponder(call, request, inference.encoder, new_answer, stream, turn)

        try:
            call.spend()
        except Overloaded as error:
            return fail(error, b"", False)
        inference.infer(call, message, compressed, begin, fail)

    def end(self, call: Call) -> None:
        """End the call once every turn is answered."""
        stream = self._stream(call)
        stream.ended = True
        stream.answered()

    def leave(self, call: Call) -> None:
        """End the call with UNAVAILABLE once every turn is answered."""
        stream = self._stream(call)
        stream.leaving = True
        stream.answered()

    def _stream(self, call: Call) -> OpenStream:
        if call.state is None:
            call.state = OpenStream(call)
            call.on_end = call.state.cancelled
        state: OpenStream = call.state
        return state
