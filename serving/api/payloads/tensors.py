"""Named tensors as nested lists, of models that have no payload of their own: `{"x": [[1, 2], [3, 4]]}`.

Of a model whose rows may be joined, one row may be sent without its batch dimension, `{"x": [1, 2]}`, and is answered
without one. No JSON is turned into Python's numbers: each list is read as V2 reads it.
"""

from __future__ import annotations

import asyncio
import json
import random
import shlex
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from typing import Any

import msgspec
import numpy as np
import orjson

from bentos.contract import FLOATS, Model, Signature, Tensor, bfloat16_to_float32
from serving.api.content import JSON_TYPES
from serving.api.depth import check_depth
from serving.api.v2 import tensors, texts
from serving.errors import BadInput, UnsupportedMedia
from serving.inference import validation
from serving.inference.dataplane import DataPlane, LoadedForm
from serving.inference.golden import golden_inputs
from serving.inference.validation import MAX_DIMENSIONS, brief
from serving.settings import Settings

Calls = Sequence[Sequence[np.ndarray]]
VERB = "predict"
LARGE_BODY_BYTES = 256 * 1024  # are read in a thread
MAX_SHOWN = 4096  # elements of an example
_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_ALL_BUT_NESTING = bytes(set(range(256)) - set(b"[],"))


class TensorReader:
    """Reads requests to one signature."""

    @classmethod
    def of(cls, form: LoadedForm, settings: Settings) -> TensorReader:
        """The reader of a loaded form's inputs, within these settings' limits."""
        return cls(form.signature, form.model.finite, settings.max_request_rows, settings.max_json_depth)

    def __init__(self, signature: Signature, finite: bool, max_rows: int, max_json_depth: int) -> None:
        self._signature, self._finite = signature, finite
        self._max_rows, self._max_depth = max_rows, max_json_depth

    def read(self, body: bytes, media_type: bytes) -> tuple[list[np.ndarray], int, bool]:
        """(inputs in the signature's order, their rows, whether it is one row without its batch). BadInput"""
        if media_type not in JSON_TYPES:
            raise UnsupportedMedia("named tensors are sent as application/json")
        signature = self._signature
        values = self._values(body)
        depths = [_depth(raw) for raw in values]
        single = signature.batched and all(
            axis is None or depth == len(tensor.shape) - 1
            for tensor, axis, depth in zip(signature.inputs, signature.input_axes, depths, strict=True)
        )
        sizes: dict[str, tuple[int, str]] = {}
        arrays = []
        for tensor, axis, raw, depth in zip(signature.inputs, signature.input_axes, values, depths, strict=True):
            dropped = axis if single else None
            if depth != (rank := len(tensor.shape) - (dropped is not None)):
                words = _words(tensor, dropped)
                raise BadInput(f"input {tensor.name!r}: lists are {depth} deep, expected {rank} for {words}")
            text = raw if depth else b"[%b]" % raw
            shape = _with_batch(_shape(text, tensor, depth), dropped)
            shape = validation.check_open_shape(shape, tensor, axis, self._max_rows)
            validation.check_dimensions(shape, tensor, axis, sizes)
            plain = _without(shape, dropped)
            arrays.append(tensors.from_json(text, tensor, plain, self._finite).reshape(shape))
        return arrays, signature.n_rows(arrays), single

    def _values(self, body: bytes) -> list[bytes]:
        """The JSON of each input."""
        check_depth(body, self._max_depth)
        names = [tensor.name for tensor in self._signature.inputs]
        try:
            members = _members(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise BadInput(f"the body must be a JSON object of {', '.join(names)}: {error}") from None
        if body.count(b":") != len(members) and not any(
            t.datatype == "BYTES" or ":" in t.name for t in self._signature.inputs
        ):
            raise BadInput("the body has a key twice")
        if unknown := members.keys() - set(names):
            raise BadInput(f"input {brief(min(unknown))} is unknown; the inputs are {', '.join(names)}")
        if missing := [name for name in names if name not in members]:
            raise BadInput(f"input {', '.join(missing)} is missing")
        return [bytes(members[name]).strip() for name in names]


def _depth(raw: bytes) -> int:
    """How many brackets a value begins with."""
    depth = 0
    for byte in raw[:256]:
        if byte == ord("["):
            depth += 1
        elif byte not in b" \t\r\n":
            break
    return depth


def _shape(text: bytes, tensor: Tensor, depth: int) -> tuple[int, ...]:
    """The sizes of nested lists, by the first list of each depth; whether all are so is checked where they are read."""
    if depth > MAX_DIMENSIONS:
        raise BadInput(f"input {tensor.name!r}: lists are {depth} deep")
    if depth == 0:
        return ()
    if tensor.datatype == "BYTES":
        return texts.shape_of(text, tensor, depth)
    marks = text.translate(None, _ALL_BUT_NESTING)
    empty = text.lstrip(b"[ \t\r\n")[:1] == b"]"
    sizes: list[int] = []
    below = 1
    for level in range(1, depth + 1):
        end = marks.find(b"]" * level)
        together = marks.count(b",", 0, max(0, end)) + 1
        sizes.append(together // below)
        below = together
    if empty:
        sizes[0] = 0
    return tuple(reversed(sizes))


def _with_batch(shape: tuple[int, ...], axis: int | None) -> tuple[int, ...]:
    return shape if axis is None else (*shape[:axis], 1, *shape[axis:])


def _without(shape: tuple[int, ...], axis: int | None) -> tuple[int, ...]:
    return shape if axis is None else shape[:axis] + shape[axis + 1 :]


def _words(tensor: Tensor, dropped: int | None) -> str:
    shape = [str(size) for place, size in enumerate(tensor.shape) if place != dropped]
    return f"shape [{', '.join(shape)}]"


def answer(form: LoadedForm, outputs: Sequence[np.ndarray], single: bool) -> bytes:
    """The outputs by name as JSON, with the labels of a classifier, and who gave them. NaN is null, and counted."""
    signature, labels = form.signature, form.model.labels
    named: dict[str, Any] = {}
    for tensor, axis, array in zip(signature.outputs, signature.output_axes, outputs, strict=True):
        row = np.take(array, 0, axis) if single and axis is not None else array
        named[tensor.name] = bfloat16_to_float32(row) if tensor.datatype == "BF16" else np.asarray(row)
    shown = {
        name: array.tolist() if array.dtype == object or not array.ndim else array for name, array in named.items()
    }
    if labels and (scores := _scores(form, named)) is not None:
        best = named[scores].argmax(-1)
        if named.get("label", best).dtype != object:  # text is a label already
            shown["label"] = [labels[place] for place in best] if best.ndim else labels[int(best)]
        if single:
            shown[scores] = dict(zip(labels, named[scores].tolist(), strict=True))
    shown |= {"model": form.model.name, "form": form.form, "version": form.version}
    text = orjson.dumps({k: _contiguous(v) for k, v in shown.items()}, option=orjson.OPT_SERIALIZE_NUMPY)
    if b"null" not in text:
        return text
    floats = {name: array for name, array in named.items() if array.dtype.kind == "f"}
    if counts := {name: n for name, a in floats.items() if (n := int(np.isnan(a).sum()))}:
        shown["nan"] = counts
    return orjson.dumps({k: _contiguous(v) for k, v in shown.items()}, option=orjson.OPT_SERIALIZE_NUMPY)


def _contiguous(value: Any) -> Any:
    return np.ascontiguousarray(value) if isinstance(value, np.ndarray) else value


def _scores(form: LoadedForm, named: dict[str, np.ndarray]) -> str | None:
    """The output that has a number for each label, `probabilities` before others."""
    fits = [
        name
        for name, array in named.items()
        if array.dtype.kind == "f" and 0 < array.ndim <= 2 and array.shape[-1] == len(form.model.labels)
    ]
    return "probabilities" if "probabilities" in fits else fits[0] if fits else None


class TensorExamples:
    """Payloads that the model is certified to compute with, or zeros where none travels with it."""

    def __init__(self, signature: Signature, read_calls: Callable[[], Calls]) -> None:
        self._signature, self._read_calls = signature, read_calls

    @classmethod
    def of(cls, form: LoadedForm) -> TensorExamples:
        """Those of a form, which are in its golden rows."""
        stored, signature = form.stored, form.signature
        return cls(signature, lambda: golden_inputs(signature, stored.certificate, stored.folder))

    @cached_property
    def _calls(self) -> Calls:
        calls = self._read_calls()
        small = [call for call in calls if sum(array.size for array in call) <= MAX_SHOWN * max(1, self._rows(call))]
        return small or [[_zeros(tensor.shape_of({}, 1, 4), tensor) for tensor in self._signature.inputs]]

    def _rows(self, call: Sequence[np.ndarray]) -> int:
        return self._signature.n_rows(call)

    def draw(self) -> dict[str, Any]:
        """One of them by chance: a row without its batch where rows may be joined, else a whole call."""
        call = random.choice(self._calls)  # noqa: S311
        return self.shown(call, random.randrange(max(1, self._rows(call))))  # noqa: S311

    def first(self) -> dict[str, Any]:
        """The first example, as JSON shows it."""
        return self.shown(self._calls[0], 0)

    def shown(self, call: Sequence[np.ndarray], place: int) -> dict[str, Any]:
        """A payload as JSON has it."""
        payload = {}
        for tensor, axis, array in zip(self._signature.inputs, self._signature.input_axes, call, strict=True):
            row = array if axis is None else np.take(array, place, axis)
            row = bfloat16_to_float32(row) if tensor.datatype == "BF16" else np.asarray(row)
            payload[tensor.name] = row.tolist() if row.dtype.kind != "f" else _rounded(row)
        return payload


async def predict(form: LoadedForm, payload: bytes, settings: Settings, plane: DataPlane) -> bytes:
    """What the route answers to a payload, for who can wait. Raises what runners raise, and BadInput"""
    read = partial(TensorReader.of(form, settings).read, payload, b"application/json")
    if len(payload) > LARGE_BODY_BYTES:
        n_bytes = tensors.reading_factor(form.signature) * len(payload)
        async with plane.memory.reserved(n_bytes, settings.latency_ms(form.model.name) / 1e3):
            inputs, n_rows, single = await asyncio.to_thread(read)
    else:
        inputs, n_rows, single = read()
    return answer(form, await plane.infer(form, inputs, n_rows), single)


def curl(base: str, name: str, payload: str) -> str:
    """The command that sends a payload to the native route at this base URL."""
    url = shlex.quote(f"{base}/{name}/{VERB}")
    return f"curl {url} \\\n  -H 'Content-Type: application/json' \\\n  -d {shlex.quote(payload)}"


def _rounded(row: np.ndarray) -> Any:
    """Nested lists of floats as people write them; NaN is null."""
    return json.loads(orjson.dumps(np.ascontiguousarray(row).tolist()))


def _zeros(shape: tuple[int, ...], tensor: Tensor) -> np.ndarray:
    return np.full(shape, "", object) if tensor.dtype == object else np.zeros(shape, tensor.dtype)


def openapi_content(signature: Signature, example: dict[str, Any]) -> dict[str, Any]:
    """The request body: an object of nested lists."""
    properties = {tensor.name: tensor_schema(tensor) for tensor in signature.inputs}
    schema = {
        "type": "object",
        "required": list(properties),
        "additionalProperties": False,
        "properties": properties,
    }
    return {"application/json": {"schema": schema, "example": example}}


def answer_schema(model: Model) -> dict[str, Any]:
    """The outputs by name, the label where there are labels, and who gave them."""
    label = {"label": {"description": f"one of {', '.join(model.labels)}"}} if model.labels else {}
    who = {key: {"type": "string"} for key in ("model", "form", "version")}
    outputs = {tensor.name: tensor_schema(tensor) for tensor in model.signature.outputs}
    return {"type": "object", "properties": {**label, **outputs, **who}}


def tensor_schema(tensor: Tensor) -> dict[str, Any]:
    """The JSON schema of a tensor's nested lists: datatype and shape in words."""
    words = f"{tensor.datatype}, {_words(tensor, None)}"
    kind = {"BYTES": "string", "BOOL": "boolean"}.get(
        tensor.datatype, "number" if tensor.datatype in FLOATS else "integer"
    )
    return {"description": words, **({"type": "array", "items": {}} if tensor.shape else {"type": kind})}
