"""Values that a model's inputs may have, read from its graph: a vocabulary's range for indices, what is compared."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto

from convert.dataflow import Stored, attributes, uses

MASK = re.compile(r"mask", re.IGNORECASE)
MOST_CHOICES = 64
TEXTS = ("", "a", "b", "red", "a few words", "straße")


@dataclass(frozen=True)
class Draw:
    """One way to draw an input's values: numbers of a distribution, whole numbers below `high`, some of `choices`."""

    how: str  # normal, uniform, whole, choice, mask
    high: int = 2
    choices: tuple[Any, ...] = ()

    def values(self, shape: tuple[int, ...], dtype: np.dtype[Any], random: np.random.Generator) -> np.ndarray:
        """An array of a shape and a type."""
        array: np.ndarray
        if self.how == "choice":
            array = np.array(self.choices, dtype)[random.integers(0, len(self.choices), shape)]
        elif self.how == "whole":
            array = random.integers(0, self.high, shape)
        elif self.how == "mask":
            array = np.ones(shape)
            if len(shape) == 2 and shape[1] > 1:  # each row a length of its own
                array = np.arange(shape[1]) < random.integers(1, shape[1] + 1, (shape[0], 1))
        elif self.how == "uniform":
            array = random.random(shape)
        else:
            array = random.standard_normal(shape)
        return np.asarray(array).astype(dtype)


def draws(model: ModelProto, name: str, dtype: np.dtype[Any]) -> list[Draw]:
    """The ways to draw an input's values, the likeliest first."""
    if dtype.kind == "f":
        return [Draw("normal"), Draw("uniform"), Draw("whole", 10)]
    if dtype.kind == "b":
        return [Draw("whole", 2)]
    used = list(uses(model, name))
    stored = Stored(model)
    if dtype.kind == "O":
        texts = sorted({text for node, _ in used for text in _texts(node)})
        return [Draw("choice", choices=tuple(texts[:MOST_CHOICES] or TEXTS))]
    compared = sorted({int(v) for node, place in used for v in _compared(stored, node, place)})
    limits = [limit for node, place in used for limit in _limits(stored, node, place)]
    ways = [Draw("choice", choices=(value,)) for value in reversed(compared)]
    if limits:
        ways.append(Draw("whole", max(1, min(limits))))
    if MASK.search(name):
        ways.insert(0, Draw("mask"))
    whole = [Draw("whole", 256)] if dtype == np.uint8 else [Draw("whole", 10), Draw("whole", 2)]
    return [*ways, *whole, Draw("choice", choices=(1,)), Draw("choice", choices=(0,)), Draw("choice", choices=(16,))]


def _limits(stored: Stored, node: onnx.NodeProto, place: int) -> Iterator[int]:
    """How many rows there are in a table that the values are indices of."""
    if node.op_type == "Gather" and place == 1 and (shape := stored.shape(node.input[0])):
        yield shape[int(attributes(node).get("axis", 0))]
    elif node.op_type == "OneHot" and place == 0 and (depth := stored.values(node.input[1])) is not None:
        yield int(depth.reshape(-1)[0])
    elif node.op_type == "EmbedLayerNormalization" and place < 2 and (shape := stored.shape(node.input[2 + 2 * place])):
        yield shape[0]


def _compared(stored: Stored, node: onnx.NodeProto, place: int) -> Iterator[int]:
    """The whole numbers that the values are compared with."""
    if node.op_type == "Equal":
        values = stored.values(node.input[1 - place])
        if values is not None and values.size == 1 and values.dtype.kind in "iu":
            yield int(values.reshape(-1)[0])


def _texts(node: onnx.NodeProto) -> Iterator[str]:
    """The texts that a node of ONNX-ML knows."""
    for key in ("keys_strings", "cats_strings", "classes_strings", "string_vocabulary"):
        for text in attributes(node).get(key, ()):
            yield text.decode(errors="replace")
