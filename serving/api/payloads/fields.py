"""JSON objects of named fields."""

from __future__ import annotations

import json
import random
import re
import shlex
from collections.abc import Mapping
from math import floor
from typing import Any

from bentos import contract
from bentos.certificate import Histogram
from bentos.contract import Field, Fields, Model
from serving.api.content import JSON_TYPES
from serving.api.payloads.checks import checked_fields, field_reader
from serving.errors import BadInput, UnsupportedMedia

LARGE_BODY_BYTES = 64 * 1024
TEXTS = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?', re.DOTALL)  # of JSON; the last one need not end


class FieldsAdapter:
    """One object, or a list of them."""

    def __init__(self, model: Model, payload: Fields, max_json_depth: int, max_rows: int) -> None:
        self._model, self._payload, self._max_rows = model, payload, max_rows
        self._read = field_reader(payload, max_json_depth)
        self._has_texts = any(field.type is str for field in payload.fields)

    def read(self, body: bytes, media_type: bytes, content_type: bytes) -> tuple[list[Any], bool]:
        """One object, or a list of them, each checked. BadInput, UnsupportedMedia"""
        if media_type not in JSON_TYPES:
            raise UnsupportedMedia(f"content type {content_type[:60].decode('latin-1')!r}: send application/json")
        if len(body) > LARGE_BODY_BYTES:
            self._check_count(body)
        return self._read(body)

    def _check_count(self, body: bytes) -> None:
        """BadInput for twice as many values as all rows have: each would be an object of many bytes first."""
        most = 2 * self._max_rows * len(self._payload.fields)
        if body.count(b",") > most and (not self._has_texts or TEXTS.sub(b"", body).count(b",") > most):
            raise BadInput(f"the body holds over {most} values; the limit is {self._max_rows} rows in one request")

    def needs_thread(self, payloads: list[Any], body_bytes: int) -> bool:
        """Never: all that is left is to make numbers of fields."""
        return False

    def decoding_bytes(self, payloads: list[Any]) -> int:
        """None: nothing is unpacked."""
        return 0

    def draw(self, reference: Mapping[str, Histogram]) -> tuple[Any, Any]:
        """A value of each field, drawn from the histograms of training."""
        payload = {field.name: self._draw(field, reference) for field in self._payload.fields}
        for lesser, greater in self._payload.at_most:
            if payload[lesser] is not None and payload[lesser] > payload[greater]:
                payload[lesser] = payload[greater]
        return payload, payload

    def _draw(self, field: Field, reference: Mapping[str, Histogram]) -> Any:
        histogram = reference.get(f"input:{field.name}")
        if field.type is str and (histogram is None or not histogram.classes):
            return random.choice(contract.examples(self._model.name))[field.name]  # noqa: S311
        return _draw_value(field, reference)

    def curl(self, base: str, payload: Any) -> str:
        """The command that sends it as JSON."""
        url = shlex.quote(f"{base}/{self._model.name}/{self._model.verb}")
        return f"curl {url} \\\n  -H 'Content-Type: application/json' \\\n  -d {shlex.quote(json.dumps(payload))}"

    def openapi_content(self) -> dict[str, Any]:
        """JSON: one object or a list, with the folder's examples."""
        one, payloads = fields_schema(self._payload), contract.examples(self._model.name)
        if len(self._model.signature.inputs) > 1 and self._model.preprocess is None:
            for tensor, fields in self._model.columns_by_input:
                for field in fields:  # for clients that know the one and want to send the other: the load test
                    one["properties"][field.name]["x-input"] = tensor.name
        examples = {f"example {i + 1}": {"value": value} for i, value in enumerate(payloads)}
        if len(examples) > 1:
            examples["several"] = {"value": payloads[:2]}
        schema = {"oneOf": [one, {"type": "array", "items": one, "minItems": 1}]}
        return {"application/json": {"schema": schema, "examples": examples}}

    def small_example(self) -> Any:
        """The first example's values, checked."""
        return checked_fields(contract.examples(self._model.name)[0], self._payload)[0]

    def client_schema(self) -> dict[str, Any]:
        """The schema of one object."""
        return fields_schema(self._payload)


def _draw_value(field: Field, reference: Mapping[str, Histogram]) -> Any:
    """A value within the field's bounds, which falls into training's bins as often as training's values did."""
    histogram = reference.get(f"input:{field.name}")
    if histogram is not None and histogram.classes:
        return _draw_category(field, histogram)
    if histogram is None or not histogram.edges:
        low, high = field.low - (field.type is not float), field.high
    elif field.nullable and random.random() < histogram.missing:  # noqa: S311
        return None
    else:
        low, high = _draw_bin(field, histogram)
    if field.type is float:
        value = random.uniform(low, high)  # noqa: S311
        return short if low < (short := round(value, 3)) <= high else value
    whole = [code for code in field.choices if low < code <= high] or range(floor(low) + 1, floor(high) + 1)
    return field.type(random.choice(whole) if whole else round(high))  # noqa: S311


def _draw_category(field: Field, histogram: Histogram) -> Any:
    """A code, or a text that training had, as often as it had it; of texts that are not told apart there is none."""
    if field.nullable and random.random() < histogram.missing:  # noqa: S311
        return None
    named = histogram.classes
    others = [code for code, word in field.choices.items() if word not in named]
    shares = histogram.shares[: len(named) + bool(others)]
    (place,) = random.choices(range(len(shares)), shares)  # noqa: S311
    if place == len(named):
        return random.choice(others)  # noqa: S311
    return named[place] if field.type is str else field.codes[named[place]]


def _draw_bin(field: Field, histogram: Histogram) -> tuple[float, float]:
    """(low, high] of a bin; one that is open to a side is as wide as the one beside it, within the bounds.

    Codes lie as they lie: with choices such a bin is all that there is on that side.
    """
    edges, (place,) = histogram.edges, random.choices(range(len(histogram.shares)), histogram.shares)  # noqa: S311
    span = field.high - field.low if field.choices else 1
    if place == 0:
        width = edges[1] - edges[0] if len(edges) > 1 and not field.choices else span
        return max(field.low, edges[0] - width) - (field.type is not float), edges[0]
    if place == len(edges):
        width = edges[-1] - edges[-2] if len(edges) > 1 and not field.choices else span
        return edges[-1], min(field.high, edges[-1] + width)
    return edges[place - 1], edges[place]


def fields_schema(payload: Fields) -> dict[str, Any]:
    """The JSON schema of one object."""
    return {
        "type": "object",
        "additionalProperties": False,
        "required": [f.name for f in payload.fields if not f.nullable],
        "properties": {f.name: field_schema(f) for f in payload.fields},
    }


def field_schema(field: Field) -> dict[str, Any]:
    """One field, with its bounds."""
    schema: dict[str, Any] = {"description": f"{field.doc}: {field.allowed()}"}
    if field.label:
        schema["title"] = field.label
    if field.choices:
        words, codes = {"type": "string", "enum": [*field.codes]}, {"type": "integer", "enum": [*field.choices]}
        null = [{"type": "string", "nullable": True, "enum": [None]}] if field.nullable else []
        schema["oneOf"] = [words, codes, *null]  # words and codes in one order
    elif field.type is bool:
        schema["type"] = "boolean"
    elif field.type is str:
        schema |= {"type": "string", "minLength": field.low, "maxLength": field.high}
    else:
        schema |= {"type": "integer" if field.type is int else "number", "minimum": field.low, "maximum": field.high}
    if field.nullable and not field.choices:
        schema["nullable"] = True
    if field.default is not None:
        schema["example"] = field.choices[int(field.default)] if field.choices else field.default
    return schema
