"""ModelInferRequest → arrays.

What a request says besides its id and the bytes of its tensors, which is a model, names, datatypes and shapes, is what
the requests before it said: it is read by protobuf and held against the signature once. It is known again by all of
its bytes, so that what one client sends never becomes what another has said.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from google.protobuf.message import DecodeError

from bentos.contract import Signature, Tensor
from serving.api.grpc.tensors import from_contents
from serving.api.v2.decode import UNSERVED
from serving.api.v2.tensors import from_bytes
from serving.errors import BadInput
from serving.inference import validation
from serving.inference.onnx_files import varint

ID, RAW_INPUT_CONTENTS = 0x1A, 0x3A  # tags of the fields 3 and 7
MAX_LAYOUTS, MAX_LAYOUT_BYTES = 1024, 512  # that are remembered, and of what a request says
MAX_LENGTH_BYTES = 5  # that protobuf takes before a field
FORM = "form"
# What Triton's clients send to be told which response of a request is the last; here each request has one.
ASKS_FOR_FINAL = "triton_enable_empty_final_response"
MEANT = {FORM, ASKS_FOR_FINAL}
Wanted = tuple[int, ...]  # outputs by their place in the signature


class Layout(NamedTuple):
    """What a request says, as a signature takes it."""

    name: str
    version: str
    form: str | None  # that it picks
    asks_for_final: bool
    signature: Signature
    inputs: list[tuple[int, Tensor, tuple[int, ...]]]  # in the signature's order: its place in the request, its shape
    n_rows: int
    wanted: Wanted


class InferRequest:
    """A decoded request; `bind` gives what it asks of a signature."""

    __slots__ = ("_cache_key", "_decoder", "_layout", "_message", "asks_for_final", "id", "name", "raw", "version")

    def __init__(
        self,
        decoder: RequestDecoder,
        cache_key: bytes,
        request_id: str,
        raw: Sequence[bytes],
        layout: Layout | None = None,
        message: Any = None,
    ) -> None:
        """Of a layout that is known, or else of protobuf's message; `cache_key`, if any, is what to know it by."""
        self._decoder, self._cache_key, self._layout, self._message = decoder, cache_key, layout, message
        self.id, self.raw = request_id, raw
        if layout is not None:
            self.name, self.version, self.asks_for_final = layout.name, layout.version, layout.asks_for_final
        else:
            self.name, self.version = message.model_name, message.model_version
            parameters = message.parameters
            self.asks_for_final = ASKS_FOR_FINAL in parameters and parameters[ASKS_FOR_FINAL].bool_param

    @property
    def form(self) -> str | None:
        """The form that it picks by its parameter `form`. BadInput"""
        return _form(self._message) if self._layout is None else self._layout.form

    def bind(self, signature: Signature, finite: bool, max_rows: int) -> tuple[list[np.ndarray], int, Wanted]:
        """One array per input of the signature in its order, their number of rows, and the outputs wanted.

        Arrays share the request's bytes. `finite` refuses NaN and infinities. BadInput names the tensor, what was sent
        and what is wanted.
        """
        layout, raw = self._layout, self.raw
        if layout is None or layout.signature is not signature:
            layout = self._lay_out(signature, max_rows)
        if not raw:
            items = self._message.inputs
            arrays = [from_contents(items[i].contents, tensor, shape, finite) for i, tensor, shape in layout.inputs]
            return arrays, layout.n_rows, layout.wanted
        if len(raw) != len(layout.inputs):
            raise BadInput(f"{len(raw)} raw_input_contents for {len(layout.inputs)} inputs")
        arrays = [from_bytes(raw[i], tensor, shape, finite) for i, tensor, shape in layout.inputs]
        return arrays, layout.n_rows, layout.wanted

    def _lay_out(self, signature: Signature, max_rows: int) -> Layout:
        if self._message is None:  # it was known, of a version that is not served any more
            self._message = self._decoder.parse(self._cache_key)
        message = self._message
        if self.raw and len(self.raw) != len(message.inputs):
            raise BadInput(f"{len(self.raw)} raw_input_contents for {len(message.inputs)} inputs")
        inputs, n_rows = _inputs(message.inputs, signature, max_rows, bool(self.raw))
        wanted = _wanted(message.outputs, signature.outputs)
        layout = Layout(self.name, self.version, _form(message), self.asks_for_final, signature, inputs, n_rows, wanted)
        # Parameters that mean nothing here may be a request's own, as an id of its user is.
        if self._cache_key and message.parameters.keys() <= MEANT:
            self._decoder.remember(self._cache_key, layout)
        return layout


class RequestDecoder:
    """Messages → requests, and the layouts of those that were right."""

    def __init__(self, parse: Callable[[bytes], Any]) -> None:
        self._parse = parse
        self._layouts: dict[bytes, Layout] = {}

    def decode(self, message: bytes) -> InferRequest:
        """A request of a message. BadInput"""
        parts = _split(message)
        if parts is None:
            parsed = self.parse(message)
            return InferRequest(self, b"", parsed.id, parsed.raw_input_contents, message=parsed)
        cache_key, request_id, raw = parts
        layout = self._layouts.get(cache_key)
        return InferRequest(self, cache_key, request_id, raw, layout, None if layout else self.parse(cache_key))

    def parse(self, message: bytes) -> Any:
        """The ModelInferRequest of protobuf. BadInput"""
        try:
            return self._parse(message)
        except DecodeError:
            raise BadInput("the message is not a ModelInferRequest") from None

    def remember(self, cache_key: bytes, layout: Layout) -> None:
        """Know a request again that says the same."""
        if len(self._layouts) >= MAX_LAYOUTS:
            self._layouts.clear()
        self._layouts[cache_key] = layout


def _split(message: bytes) -> tuple[bytes, str, list[bytes]] | None:
    """A message without its id and its raw contents, and these two; None where it has no raw contents, says more than
    is remembered, or is not of fields as clients write them, which all have a tag of one byte and a length.
    """
    rest, request_id, raw = b"", b"", []
    at = start = 0
    end = len(message)
    try:
        for _ in range(MAX_LAYOUT_BYTES):  # what is remembered has no more fields: each takes 2 bytes, or is an input's
            if at >= end:
                break
            tag, length, value = message[at], message[at + 1], at + 2
            if tag & 0x87 != 2:  # another wire type, or a tag of several bytes
                return None
            if length > 0x7F:
                length, value = varint(message, at + 1)
                if value > at + 1 + MAX_LENGTH_BYTES:
                    return None
            if tag == RAW_INPUT_CONTENTS:
                rest += message[start:at]
                start = value + length
                raw.append(message[value:start])
            elif tag == ID:
                if request_id:  # which protobuf holds against UTF-8 as well, though the second counts
                    return None
                rest += message[start:at]
                start = value + length
                request_id = message[value:start]
            elif length > MAX_LAYOUT_BYTES:
                return None
            at = value + length
        if at != end or not raw:
            return None
        rest += message[start:]
        return (rest, request_id.decode(), raw) if len(rest) <= MAX_LAYOUT_BYTES else None
    except (IndexError, ValueError):  # UnicodeDecodeError is one
        return None


def _inputs(
    items: Any, signature: Signature, max_rows: int, raw: bool
) -> tuple[list[tuple[int, Tensor, tuple[int, ...]]], int]:
    """The inputs of a Layout, and its rows."""
    expected = signature.inputs
    places: dict[int, tuple[int, Tensor, tuple[int, ...]]] = {}
    sizes: dict[str, tuple[int, str]] = {}
    for index, item in enumerate(items):
        place = validation.input_place(item.name, expected)
        tensor = expected[place]
        if place in places:
            raise BadInput(f"input {tensor.name!r} is given twice")
        validation.check_datatype(item.datatype, tensor)
        given = tuple(item.shape[: validation.MAX_DIMENSIONS + 1])  # there may be millions, and too many are refused
        if signature.rows_alike:
            shape = validation.check_shape(given, tensor, max_rows)
        else:
            axis = signature.input_axes[place]
            shape = validation.check_open_shape(given, tensor, axis, max_rows)
            validation.check_dimensions(shape, tensor, axis, sizes)
        if "shared_memory_region" in item.parameters:
            raise BadInput(f"input {tensor.name!r}: shared memory is not served")
        if raw and item.HasField("contents"):
            raise BadInput(f"input {tensor.name!r}: data is given twice, in contents and in raw_input_contents")
        places[place] = index, tensor, shape
    inputs = validation.complete(places, expected)
    rows = [shape[axis] for (_, _, shape), axis in zip(inputs, signature.input_axes, strict=True) if axis is not None]
    if signature.rows_alike:
        validation.check_rows(rows, expected)
    return inputs, rows[0] if rows else 1


def _wanted(outputs: Any, known: Sequence[Tensor]) -> Wanted:
    if not outputs:
        return _every(len(known))
    if len(outputs) > len(known):
        raise BadInput(
            f"{len(outputs)} outputs are asked for; the outputs are {validation.names(known)}, each at most once"
        )
    for output in outputs:
        for key, words in UNSERVED.items():
            if key in output.parameters:
                raise BadInput(f"output {output.name!r}: {words}")
    wanted = tuple(validation.output_place(output.name, known) for output in outputs)
    if len(set(wanted)) < len(wanted):
        raise BadInput(f"an output is asked for twice; the outputs are {validation.names(known)}, each at most once")
    return wanted


@cache
def _every(count: int) -> Wanted:
    return tuple(range(count))


def _form(message: Any) -> str | None:
    """The form that a request picks by its parameter `form`. BadInput"""
    if FORM not in message.parameters:
        return None
    choice = message.parameters[FORM]
    if choice.WhichOneof("parameter_choice") != "string_param":
        raise BadInput("parameters.form must be a string")
    form: str = choice.string_param
    return form
