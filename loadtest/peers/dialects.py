"""The languages that servers speak: how one sample is written as a body, and where in an answer its outputs are."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from loadtest.peers.samples import Samples

Outputs = dict[str, Any]
SPECIES = ["setosa", "versicolor", "virginica"]


def numbers(row: np.ndarray) -> list[float]:
    """float32 as a client would write it: 0.3764706, not the 0.3764705955982208 that the same bits are as a double."""
    return [float(str(value)) for value in row.ravel()]


class V2:
    """Open Inference Protocol, JSON."""

    @staticmethod
    def body(samples: Samples, row: np.ndarray) -> Any:
        tensor = {"name": samples.input, "shape": [1, *row.shape], "datatype": "FP32", "data": numbers(row)}
        return {"inputs": [tensor]}

    @staticmethod
    def outputs(answer: Any) -> Outputs:
        return {output["name"]: output["data"] for output in answer["outputs"]}


class Plain:
    """One object with the input under its name, one object with the outputs under theirs."""

    @staticmethod
    def body(samples: Samples, row: np.ndarray) -> Any:
        return {samples.input: numbers(row)}

    @staticmethod
    def outputs(answer: Any) -> Outputs:
        return dict(answer)


class BentoML:
    """A batch of one, since a batchable method takes and gives batches."""

    @staticmethod
    def body(samples: Samples, row: np.ndarray) -> Any:
        return {samples.input: [numbers(row)]}

    @staticmethod
    def outputs(answer: Any) -> Outputs:
        return dict(answer[0]) if isinstance(answer[0], dict) else {"logits": answer[0]}


class Fields:
    """Ekiben's native route: a flower's measurements by name, its species by name."""

    NAMES = ("sepal_length", "sepal_width", "petal_length", "petal_width")

    @classmethod
    def body(cls, samples: Samples, row: np.ndarray) -> Any:
        return dict(zip(cls.NAMES, numbers(row), strict=True))

    @staticmethod
    def outputs(answer: Any) -> Outputs:
        given = answer["probabilities"]
        return {"label": SPECIES.index(answer["label"]), "probabilities": [given[name] for name in SPECIES]}


class Constant(Plain):
    """A server that answers the same to everybody: there is nothing to check."""


DIALECTS: dict[str, Any] = {"v2": V2, "plain": Plain, "bentoml": BentoML, "fields": Fields, "constant": Constant}


def bodies(dialect: str, samples: Samples) -> list[bytes]:
    """One body per sample, as compact as clients write it."""
    speak = DIALECTS[dialect]
    return [json.dumps(speak.body(samples, row), separators=(",", ":")).encode() for row in samples.rows]


def fault(dialect: str, samples: Samples, place: int, status: int, answer: bytes, tolerance: float) -> str:
    """What is wrong with the answer to the sample at this place, or nothing."""
    if status != 200:
        return f"{status} {answer[:120].decode(errors='replace')}"
    if dialect == "constant":
        return ""
    try:
        given = DIALECTS[dialect].outputs(json.loads(answer))
        return _difference(given, {name: column[place] for name, column in samples.outputs.items()}, tolerance)
    except (ValueError, KeyError, IndexError, TypeError) as error:
        return f"unreadable ({error!r}): {answer[:120].decode(errors='replace')}"


def _difference(given: Outputs, right: Outputs, tolerance: float) -> str:
    for name, expected in right.items():
        got = np.asarray(given[name], np.float64).reshape(np.shape(expected))
        # A label is right or wrong; everything else may differ by the order in which a batch was summed.
        allowed = 0.0 if name == "label" else tolerance
        if not np.all(np.abs(got - expected) <= allowed):  # written so that NaN is a difference
            return f"{name} {got.tolist()} where ONNX Runtime gives {expected.tolist()}"
    return ""
