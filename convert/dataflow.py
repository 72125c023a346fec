"""What flows where in an ONNX graph: the types of its values, which are constants, and what an input is used for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, helper, numpy_helper

from convert import graph as graphs

# Operators whose output holds the values of their first input, at most in another shape, order or type.
CARRIERS = frozenset(
    ("Cast", "CastLike", "Identity", "Reshape", "Unsqueeze", "Squeeze", "Flatten", "Transpose", "Slice", "Expand")
) | {"Concat", "Tile", "Where"}


def bodies(model: ModelProto) -> Iterator[GraphProto]:
    """The graph, and those within its nodes."""
    yield model.graph
    for node in graphs.nodes(model):
        yield from graphs.subgraphs(node)


def element_types(model: ModelProto) -> dict[str, int]:
    """The element type of every value whose type can be told without running the graph, by its name."""
    try:
        inferred = graphs.infer_shapes(model)
    except ValueError:  # what ONNX cannot infer, ONNX Runtime may still run
        inferred = model
    types: dict[str, int] = {}
    for body in bodies(inferred):
        types |= {t.name: t.data_type for t in body.initializer}
        for value in (*body.input, *body.output, *body.value_info):
            if value.type.HasField("tensor_type") and value.type.tensor_type.elem_type:
                types[value.name] = value.type.tensor_type.elem_type
    return types


def constants(model: ModelProto) -> set[str]:
    """The names of values that no input decides: initializers, constants, and what is computed of them alone."""
    stored = {value.name for value in model.graph.input}
    names = {t.name for body in bodies(model) for t in body.initializer} | {""}
    for node in graphs.nodes(model):
        if node.op_type == "Constant" or (
            node.input
            and set(node.input) <= names
            and not list(graphs.subgraphs(node))
            and "Random" not in node.op_type
        ):
            names |= set(node.output)
    return names - (stored - {t.name for t in model.graph.initializer})


def uses(model: ModelProto, name: str) -> Iterator[tuple[NodeProto, int]]:
    """(node, place among its inputs) of all that an input's values go into, also through operators that carry them."""
    pending, seen = [name], set()
    consumers: dict[str, list[tuple[NodeProto, int]]] = {}
    for node in graphs.nodes(model):
        for place, input_name in enumerate(node.input):
            consumers.setdefault(input_name, []).append((node, place))
    while pending:
        if (value := pending.pop()) in seen:
            continue
        seen.add(value)
        for node, place in consumers.get(value, []):
            yield node, place
            if node.op_type in CARRIERS and (place == 0 or node.op_type == "Concat"):
                pending += node.output


class Stored:
    """The arrays in a graph: its initializers and constants, and what is cast or dequantised from them."""

    def __init__(self, model: ModelProto) -> None:
        self._tensors = {t.name: t for body in bodies(model) for t in body.initializer}
        self._carried: dict[str, str] = {}
        for node in graphs.nodes(model):
            if node.op_type == "Constant":
                self._tensors.update((node.output[0], a.t) for a in node.attribute if a.name == "value")
            elif node.op_type in ("Cast", "Identity", "DequantizeLinear") and node.input:
                self._carried[node.output[0]] = node.input[0]

    def shape(self, name: str) -> tuple[int, ...] | None:
        """The shape of a stored array; None for what is not stored."""
        while name in self._carried:
            name = self._carried[name]
        return tuple(self._tensors[name].dims) if name in self._tensors else None

    def values(self, name: str) -> np.ndarray | None:
        """A stored array; None for what is not stored."""
        while name in self._carried:
            name = self._carried[name]
        return numpy_helper.to_array(self._tensors[name]) if name in self._tensors else None


def attributes(node: NodeProto) -> Mapping[str, Any]:
    """A node's attributes by name."""
    return {a.name: helper.get_attribute_value(a) for a in node.attribute}
