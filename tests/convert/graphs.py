"""Small ONNX files, as other people's exporters write them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64
Ports = Mapping[str, tuple[int, Sequence[int | str | None] | None]]  # element type, shape if it has one


def node(operator: str, inputs: str, outputs: str, **attributes: Any) -> onnx.NodeProto:
    """An operator on names with blanks between them."""
    return helper.make_node(operator, inputs.split(), outputs.split(), **attributes)


def constant(name: str, value: Any) -> onnx.NodeProto:
    return helper.make_node("Constant", [], [name], value=onnx.numpy_helper.from_array(np.array(value)))


def model(nodes: Sequence[onnx.NodeProto], inputs: Ports, outputs: Ports, **stored: Any) -> onnx.ModelProto:
    """A graph; `stored` are its weights."""
    sides = [[helper.make_tensor_value_info(n, *port) for n, port in side.items()] for side in (inputs, outputs)]
    weights = [onnx.numpy_helper.from_array(np.asarray(array), name) for name, array in stored.items()]
    graph = helper.make_graph(list(nodes), "mine", sides[0], sides[1], weights)
    opsets = [("", 18), ("ai.onnx.ml", 3), ("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=[helper.make_opsetid(*o) for o in opsets], ir_version=10)


def saved(path: Path, graph: onnx.ModelProto) -> Path:
    path.write_bytes(graph.SerializeToString())
    return path
