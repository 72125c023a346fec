"""ModelInferRequest → arrays, and outputs → ModelInferResponse."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np

from bentos.contract import Signature, Tensor
from serving.api.grpc.tensors import FIELDS, from_contents, length_delimited, set_contents
from serving.api.v2 import texts
from serving.api.v2.decode import UNSERVED
from serving.api.v2.tensors import from_bytes
from serving.errors import BadInput
from serving.inference import validation
from serving.inference.dataplane import LoadedForm

ID, RAW_OUTPUT_CONTENTS = 3, 6  # fields of a ModelInferResponse
MAX_DESCRIPTIONS = 1024  # of responses, by model and shape
Wanted = tuple[int, ...]  # outputs by their place in the signature


def form_of(request: Any) -> str | None:
    """The form that a request picks by its parameter `form`. BadInput"""
    if "form" not in request.parameters:
        return None
    choice = request.parameters["form"]
    if choice.WhichOneof("parameter_choice") != "string_param":
        raise BadInput("parameters.form must be a string")
    form: str = choice.string_param
    return form


def bind(request: Any, signature: Signature, finite: bool, max_rows: int) -> tuple[list[np.ndarray], int, Wanted]:
    """One array per input of the signature in its order, their number of rows, and the outputs wanted.

    Raw tensors share the request's bytes. `finite` refuses NaN and infinities. BadInput names the tensor, what was sent
    and what is wanted.
    """
    raw, expected = request.raw_input_contents, signature.inputs
    if raw and len(raw) != len(request.inputs):
        raise BadInput(f"{len(raw)} raw_input_contents for {len(request.inputs)} inputs")
    arrays: dict[int, np.ndarray] = {}
    sizes: dict[str, tuple[int, str]] = {}
    for index, item in enumerate(request.inputs):
        place = validation.input_place(item.name, expected)
        tensor = expected[place]
        if place in arrays:
            raise BadInput(f"input {item.name!r} is given twice")
        validation.check_datatype(item.datatype, tensor)
        if signature.rows_alike:
            shape = validation.check_shape(tuple(item.shape[:]), tensor, max_rows)
        else:
            axis = signature.input_axes[place]
            shape = validation.check_open_shape(tuple(item.shape[:]), tensor, axis, max_rows)
            validation.check_dimensions(shape, tensor, axis, sizes)
        arrays[place] = _array(item, raw[index] if raw else None, tensor, shape, finite)
    wanted = _wanted(request.outputs, signature.outputs)
    if signature.rows_alike:
        return *validation.in_order(arrays, expected), wanted
    inputs = validation.complete(arrays, expected)
    return inputs, signature.n_rows(inputs), wanted


def _array(item: Any, raw: bytes | None, tensor: Tensor, shape: tuple[int, ...], finite: bool) -> np.ndarray:
    if item.parameters and "shared_memory_region" in item.parameters:
        raise BadInput(f"input {tensor.name!r}: shared memory is not served")
    if raw is None:
        return from_contents(item.contents, tensor, shape, finite)
    if item.HasField("contents"):
        raise BadInput(f"input {tensor.name!r}: data is given twice, in contents and in raw_input_contents")
    return from_bytes(memoryview(raw), tensor, shape, finite)


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


class ResponseEncoder:
    """Outputs → a ModelInferResponse as bytes.

    What it says of names, datatypes and shapes is serialized once for each shape; of messages in protobuf, those that
    are put behind each other are one. It holds nothing that a client sent but a name that is served.
    """

    def __init__(self, new_response: Callable[[], Any]) -> None:
        self._new_response = new_response
        self._descriptions: dict[tuple[Any, ...], bytes] = {}

    def encode(
        self, name: str, request_id: str, form: LoadedForm, outputs: Sequence[np.ndarray], wanted: Wanted, typed: bool
    ) -> bytes:
        """`typed`: whether the request had its inputs in contents, as the outputs then go; else they are raw."""
        tensors = form.signature.outputs
        start = _field(ID, request_id.encode()) if request_id else b""
        if typed and all(tensors[place].datatype in FIELDS for place in wanted):
            return start + self._typed(name, form, outputs, wanted)
        shapes = tuple([outputs[place].shape for place in wanted])
        description = self._descriptions.get(key := (name, form.version, wanted, shapes))
        if description is None:
            if len(self._descriptions) >= MAX_DESCRIPTIONS:
                self._descriptions.clear()
            description = self._describe(name, form, shapes, wanted).SerializeToString()
            self._descriptions[key] = description
        parts = [start, description]
        for place in wanted:
            array = outputs[place]
            octets = texts.to_bytes(array) if tensors[place].datatype == "BYTES" else array.tobytes()
            parts.append(_field(RAW_OUTPUT_CONTENTS, octets))
        return b"".join(parts)

    def parameter(self, name: str, value: str | bool) -> bytes:
        """A parameter of the response, to be put behind it."""
        response = self._new_response()
        if isinstance(value, str):
            response.parameters[name].string_param = value
        else:
            response.parameters[name].bool_param = value
        encoded: bytes = response.SerializeToString()
        return encoded

    def _typed(self, name: str, form: LoadedForm, outputs: Sequence[np.ndarray], wanted: Wanted) -> bytes:
        response = self._describe(name, form, [outputs[place].shape for place in wanted], wanted)
        for place, output in zip(wanted, response.outputs, strict=True):
            set_contents(output.contents, form.signature.outputs[place], outputs[place])
        encoded: bytes = response.SerializeToString()
        return encoded

    def _describe(self, name: str, form: LoadedForm, shapes: Sequence[tuple[int, ...]], wanted: Wanted) -> Any:
        response = self._new_response()
        response.model_name, response.model_version = name, form.version
        for place, shape in zip(wanted, shapes, strict=True):
            tensor = form.signature.outputs[place]
            response.outputs.add(name=tensor.name, datatype=tensor.datatype, shape=shape)
        return response


def _field(number: int, octets: bytes) -> bytes:
    return length_delimited(number, len(octets)) + octets
