"""A V2 request's bytes → its id and form, and, once the form's signature is known, its arrays.

    request = decode(body, header_length)
    inputs, n_rows, outputs = request.bind(signature, finite, max_rows)

A request that is plainly right is decoded into typed structs; every other one is read again by `careful`, which knows
what to say of it. Nothing is kept from one request to the next, and all of this may run in any thread.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

import msgspec
import numpy as np
from msgspec import UNSET

from bentos.contract import Signature, Tensor
from serving.api.depth import MAX_JSON_DEPTH, check_depth
from serving.api.v2 import careful, envelope, numbers, tensors
from serving.api.v2.documents import Document, Input, Output, ShortDocument
from serving.errors import BadInput
from serving.inference import validation
from serving.inference.validation import MAX_DIMENSIONS, brief

# From here decoding takes half a millisecond and more: a thread's work.
LARGE_BODY_BYTES = 256 * 1024
# From here it pays to take the numbers out of the JSON around them.
LONG_BODY_BYTES = 1024
MAX_ENVELOPE_BYTES = 32 * 1024
UNSERVED = {
    "classification": "the classification extension is not supported",
    "shared_memory_region": "shared memory is not served",
}
NO_BYTES = memoryview(b"")
_typed = msgspec.json.Decoder(Document).decode
_short = msgspec.json.Decoder(ShortDocument).decode

Wanted = tuple[tuple[int, bool], ...]  # outputs by their place in the signature, and whether each goes out as raw bytes


def is_large(body: bytes) -> bool:
    """Whether decoding this body would keep an event loop from its other requests."""
    return len(body) >= LARGE_BODY_BYTES


def header_length(value: bytes, body: bytes) -> int:
    """What Inference-Header-Content-Length says: how many bytes of the body are JSON. BadInput"""
    if not value.isdigit() or len(value) > 12 or int(value) > len(body):
        raise BadInput(
            f"Inference-Header-Content-Length is {value[:40].decode('latin-1')!r}, the body has {len(body)} bytes"
        )
    return int(value)


def decode(body: bytes, header_length: int | None = None, max_depth: int = MAX_JSON_DEPTH) -> V2Request:
    """The request of a body: JSON, of `header_length` bytes where raw tensors follow it. BadInput

    JSON that is nested deeper than `max_depth` is refused.
    """
    if header_length is None:
        return V2Request(_document(body, max_depth), NO_BYTES)
    return V2Request(_document(body[:header_length], max_depth), memoryview(body)[header_length:])


class ShortDecoder:
    """Decodes small requests to a signature of one input of floats; what is not plainly such a request is left."""

    def __init__(self, signature: Signature, finite: bool, max_rows: int) -> None:
        (self._tensor,) = signature.inputs
        self._wanted = _every(len(signature.outputs), False)
        self._finite, self._max_rows = finite, max_rows
        self._row = self._tensor.sizes[1:]
        self._row_size = math.prod(self._row)
        self._limit = float(np.finfo(self._tensor.dtype).max)

    @staticmethod
    def suits(signature: Signature) -> bool:
        """Whether a signature is such a one, of rows so short that a list is the quickest way to an array."""
        if len(signature.inputs) != 1 or not signature.rows_alike:
            return False
        row = math.prod(signature.inputs[0].sizes[1:])
        return signature.inputs[0].datatype in ("FP32", "FP64") and 0 < row <= numbers.SHORT

    def decode(self, body: bytes) -> tuple[np.ndarray, int, Wanted, str | None] | None:
        """(array, rows, outputs wanted, id), or None: `decode` takes every request, and has words for what is wrong."""
        try:
            document = _short(body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None
        (item,) = document.inputs
        tensor, shape, values = self._tensor, item.shape, item.data
        if (
            body.count(b":") != document.keys()  # a key twice, or a colon in the id
            or item.name != tensor.name
            or item.datatype != tensor.datatype
            or shape[1:] != self._row
            or not shape  # of no dimension
            or not 0 < shape[0] <= self._max_rows
            or len(values) != shape[0] * self._row_size
            or (self._finite and not (max(values) <= self._limit and min(values) >= -self._limit))
        ):
            return None
        id = None if document.id is UNSET else document.id
        return np.array(values, tensor.dtype).reshape(shape), shape[0], self._wanted, id


def _document(text: bytes, max_depth: int) -> Document:
    if len(text) < LONG_BODY_BYTES:
        return _plain(text, max_depth) or careful.decode(text, *envelope.split(text), max_depth)
    gaps, lists = envelope.split(text)
    return _long_plain(gaps, lists, max_depth) or careful.decode(text, gaps, lists, max_depth)


def _plain(text: bytes, max_depth: int) -> Document | None:
    """The document, where the text is one as the protocol says and no key stands in it twice; else None."""
    try:
        document = _typed(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    # A key twice is one colon more than there are keys; so is one in a string, and a member of no meaning.
    if (excess := text.count(b":") - document.keys()) and not _in_id(excess, document, text):
        return None
    # Only lists of numbers can be nested deeper than 4, each in `inputs` and behind a `shape`.
    if text.count(b"[") >= max_depth:
        check_depth(text, max_depth)
    return document


def _in_id(colons: int, document: Document, text: bytes) -> bool:
    """Whether so many colons stand in the request's id, as in `urn:uuid:…`, and none of them is escaped."""
    return isinstance(document.id, str) and document.id.count(":") == colons and b"\\" not in text


def _long_plain(gaps: list[bytes], lists: list[bytes], max_depth: int) -> Document | None:
    """The same for a long text, whose lists of numbers are skipped rather than scanned."""
    if sum(map(len, gaps)) > MAX_ENVELOPE_BYTES or (max_depth < MAX_DIMENSIONS + 3 and lists):
        return None
    if (document := _plain(b"[]".join(gaps), max_depth)) is None:
        return None
    # Each list was taken from behind a key `data`, and no object but an input has one.
    empty = [item for item in document.inputs if bytes(item.data) == b"[]"]
    if len(empty) != len(lists):
        return None
    for item, values in zip(empty, lists, strict=True):
        item.data = msgspec.Raw(values)
    return document


class V2Request:
    """A decoded request; `bind` gives what it asks of a signature."""

    __slots__ = ("_binary", "_document", "form", "id")

    def __init__(self, document: Document, binary: memoryview) -> None:
        self._document, self._binary = document, binary
        self.id: str | None = None if document.id is UNSET else document.id
        self.form = _form(document)

    def bind(self, signature: Signature, finite: bool, max_rows: int) -> tuple[list[np.ndarray], int, Wanted]:
        """One array per input of the signature in its order, their number of rows, and the outputs wanted.

        `finite` refuses NaN and infinities. BadInput names the tensor, what was sent and what is wanted.
        """
        inputs, n_rows = self._inputs(signature, finite, max_rows)
        return inputs, n_rows, self._outputs(signature.outputs)

    def _inputs(self, signature: Signature, finite: bool, max_rows: int) -> tuple[list[np.ndarray], int]:
        expected, alike = signature.inputs, signature.rows_alike
        items = self._document.inputs
        if not isinstance(items, list):
            raise BadInput(f"inputs must be a list of tensors: {validation.names(expected)}")
        if alike and len(items) == 1 and len(expected) == 1:
            item, tensor = items[0], expected[0]
            if item.name == tensor.name and not item.parameters and not self._binary:  # the usual request
                validation.check_datatype(item.datatype, tensor)
                shape = validation.check_shape(item.shape, tensor, max_rows)
                array = tensors.from_json(bytes(item.data), tensor, shape, finite)
                return [array], len(array)
        arrays: dict[int, np.ndarray] = {}
        sizes: dict[str, tuple[int, str]] = {}
        offset = 0
        for item in items:
            place = validation.input_place(item.name, expected)
            tensor = expected[place]
            if place in arrays:
                raise BadInput(f"input {tensor.name!r} is given twice")
            validation.check_datatype(item.datatype, tensor)
            if alike:
                shape = validation.check_shape(item.shape, tensor, max_rows)
            else:
                axis = signature.input_axes[place]
                shape = validation.check_open_shape(item.shape, tensor, axis, max_rows)
                validation.check_dimensions(shape, tensor, axis, sizes)
            size = _binary_size(item, tensor) if item.parameters else None
            if size is None:
                if not alike:
                    tensors.check_length(bytes(item.data), tensor, shape)
                arrays[place] = tensors.from_json(bytes(item.data), tensor, shape, finite)
            else:
                arrays[place] = tensors.from_bytes(self._binary[offset : offset + size], tensor, shape, finite)
                offset += size
                if bytes(item.data) not in (b"", b"null"):
                    raise BadInput(f"input {tensor.name!r}: data is given twice, as JSON and as binary_data_size bytes")
        if offset != len(self._binary):
            sent = len(self._binary)
            raise BadInput(f"the body has {sent} bytes of binary data, the inputs' binary_data_size add up to {offset}")
        if alike:
            return validation.in_order(arrays, expected)
        inputs = validation.complete(arrays, expected)
        return inputs, signature.n_rows(inputs)

    def _outputs(self, known: Sequence[Tensor]) -> Wanted:
        parameters = self._document.parameters
        binary = _flag(parameters.get("binary_data_output"), "binary_data_output") if parameters else None
        outputs = self._document.outputs or None
        if outputs is None:
            return _every(len(known), bool(binary))
        if len(outputs) > len(known):  # each would be sent once more
            raise BadInput(
                f"{len(outputs)} outputs are asked for; the outputs are {validation.names(known)}, each at most once"
            )
        wanted = [(validation.output_place(output.name, known), _binary_output(output, binary)) for output in outputs]
        if len({place for place, _ in wanted}) < len(wanted):
            raise BadInput(
                f"an output is asked for twice; the outputs are {validation.names(known)}, each at most once"
            )
        return tuple(wanted)


@cache
def _every(count: int, binary: bool) -> Wanted:
    return tuple((place, binary) for place in range(count))


def _form(document: Document) -> str | None:
    form = document.parameters.get("form") if document.parameters else None
    if form is None or isinstance(form, str):
        return form
    raise BadInput(f"parameters.form must be a string, not {brief(form)}")


def _binary_size(item: Input, tensor: Tensor) -> int | None:
    """How many bytes of the binary data are this input's; None where its data is JSON."""
    parameters = item.parameters or {}
    if "shared_memory_region" in parameters:
        raise BadInput(f"input {tensor.name!r}: shared memory is not served")
    size = parameters.get("binary_data_size")
    if size is None:
        return None
    if type(size) is not int or size < 0:
        raise BadInput(f"input {tensor.name!r}: binary_data_size must be a number of bytes, not {brief(size)}")
    return size


def _binary_output(output: Output, default: bool | None) -> bool:
    parameters = output.parameters or {}
    for key, words in UNSERVED.items():
        if key in parameters:
            raise BadInput(f"output {output.name!r}: {words}")
    flag = _flag(parameters.get("binary_data"), f"output {output.name!r}: binary_data")
    return bool(default if flag is None else flag)


def _flag(value: object, key: str) -> bool | None:
    if value is None or isinstance(value, bool):
        return value
    raise BadInput(f"{key} must be true or false, not {brief(value)}")
