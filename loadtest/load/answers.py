"""Answers read and judged: not only a status, but the model's own labels, shapes, numbers and the request's id."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson

from loadtest.load.described import Described, Native
from loadtest.load.tensors import DTYPES

Answer = dict[str, np.ndarray]  # by name, one row per row that was asked
# The same question gets the same answer, whoever shares its batch, up to the order in which floats are summed.
TOLERANCE = 0.01
SUM_TOLERANCE = 1e-3  # of probabilities, which the native routes round to six places
HEADER_LENGTH = "inference-header-content-length"


class WrongAnswer(Exception):
    """A 200 that is not what was asked for; the message says in what."""


def of_native(body: bytes, model: str, native: Native, rows: int) -> Answer:
    """The answer of a native route, each property as its schema says. WrongAnswer"""
    document = orjson.loads(body)
    items = document if rows > 1 else [document]
    if not isinstance(items, list) or len(items) != rows:
        raise WrongAnswer(f"{len(items) if isinstance(items, list) else 'no'} answers to {rows} rows")
    for item in items:
        if item.get("model") != model:
            raise WrongAnswer(f"model is {item.get('model')!r}, not {model!r}")
    found = {
        name: np.array([_value(name, item.get(name), schema) for item in items])
        for name, schema in native.answer["properties"].items()
        if schema["type"] != "string" or "enum" in schema
    }
    return _sane(found)


def _value(name: str, value: Any, schema: Mapping[str, Any]) -> Any:
    if "enum" in schema and value not in schema["enum"]:
        raise WrongAnswer(f"{name} is {value!r}, none of {', '.join(schema['enum'])}")
    if schema["type"] == "object":
        if not isinstance(value, dict) or value.keys() != schema["properties"].keys():
            raise WrongAnswer(f"{name} is {value!r}, not of {', '.join(schema['properties'])}")
        return list(value.values())
    if schema["type"] == "number" and not isinstance(value, int | float):
        raise WrongAnswer(f"{name} is {value!r}, no number")
    return value


def of_v2(body: bytes, headers: Mapping[str, str], model: Described, asked: str, rows: int) -> Answer:
    """The answer of V2, JSON or binary: outputs as the metadata has them. WrongAnswer"""
    length = int(headers.get(HEADER_LENGTH, len(body)))
    document, raw = orjson.loads(body[:length]), memoryview(body)[length:]
    if document.get("id") != asked or document.get("model_name") != model.name:
        raise WrongAnswer(
            f"id {document.get('id')!r} of {document.get('model_name')!r}, not {asked!r} of {model.name!r}"
        )
    given = [(output["name"], output["datatype"]) for output in document["outputs"]]
    if given != [(output["name"], output["datatype"]) for output in model.outputs]:
        raise WrongAnswer(f"outputs are {given}")
    found = {}
    for output, described in zip(document["outputs"], model.outputs, strict=True):
        values, raw = _tensor(output, raw)
        if values.shape != (rows, *described["shape"][1:]):
            raise WrongAnswer(f"{output['name']} has shape {list(values.shape)} for {rows} rows")
        found[output["name"]] = values
    return _sane(found)


def _tensor(output: dict[str, Any], raw: memoryview) -> tuple[np.ndarray, memoryview]:
    """An output's values, and what is left of the bytes after them."""
    dtype, shape = np.dtype(DTYPES[output["datatype"]]), output["shape"]
    if "data" in output:
        return np.array(output["data"], dtype).reshape(shape), raw
    size = output["parameters"]["binary_data_size"]
    return np.frombuffer(raw[:size], dtype).reshape(shape), raw[size:]


def _sane(answer: Answer) -> Answer:
    for name, values in answer.items():
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise WrongAnswer(f"{name} is not finite")
    if "probabilities" in answer:
        off = np.abs(answer["probabilities"].sum(1) - 1).max()
        if off > SUM_TOLERANCE or answer["probabilities"].min() < 0:
            raise WrongAnswer(f"probabilities are {answer['probabilities'].sum(1)[:3]} in sum")
    return answer


def agree(answer: Answer, first: Answer) -> None:
    """WrongAnswer if the same question was answered otherwise before: somebody else's answer, or another model's."""
    for name, values in answer.items():
        before = first[name]
        if values.dtype.kind != "f":
            same = np.array_equal(values, before)
        else:
            same = bool((np.abs(values - before) <= TOLERANCE * (1 + np.abs(before))).all())
        if not same:
            raise WrongAnswer(f"{name} differs from the first answer to the same question")
