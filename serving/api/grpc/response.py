"""Outputs → ModelInferResponse."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from serving.api.grpc.tensors import FIELDS, length_delimited, set_contents
from serving.api.v2 import texts
from serving.inference.dataplane import LoadedForm

ID, RAW_OUTPUT_CONTENTS = 3, 6  # fields of a ModelInferResponse
MAX_DESCRIPTIONS = 1024  # of responses, by model and shape


class ResponseEncoder:
    """Outputs → a ModelInferResponse as bytes.

    What it says of names, datatypes and shapes is serialized once for each shape; of messages in protobuf, those that
    are put behind each other are one. It holds nothing that a client sent but a name that is served.
    """

    def __init__(self, new_response: Callable[[], Any]) -> None:
        self._new_response = new_response
        self._descriptions: dict[tuple[Any, ...], bytes] = {}

    def encode(
        self,
        name: str,
        request_id: str,
        form: LoadedForm,
        outputs: Sequence[np.ndarray],
        wanted: tuple[int, ...],
        typed: bool,
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

    def _typed(self, name: str, form: LoadedForm, outputs: Sequence[np.ndarray], wanted: tuple[int, ...]) -> bytes:
        response = self._describe(name, form, [outputs[place].shape for place in wanted], wanted)
        for place, output in zip(wanted, response.outputs, strict=True):
            set_contents(output.contents, form.signature.outputs[place], outputs[place])
        encoded: bytes = response.SerializeToString()
        return encoded

    def _describe(self, name: str, form: LoadedForm, shapes: Sequence[tuple[int, ...]], wanted: tuple[int, ...]) -> Any:
        response = self._new_response()
        response.model_name, response.model_version = name, form.version
        for place, shape in zip(wanted, shapes, strict=True):
            tensor = form.signature.outputs[place]
            response.outputs.add(name=tensor.name, datatype=tensor.datatype, shape=shape)
        return response


def _field(number: int, octets: bytes) -> bytes:
    return length_delimited(number, len(octets)) + octets
