"""What an ONNX file must be to be boxed: valid, self-contained, of portable operators, and as its signature says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from bentos.certificate import ONNX_DOMAINS
from bentos.contract import DATATYPES, Arrays, Signature, Tensor
from convert.artifacts import ConvertError

MAX_ELEMENTS = 2**24  # of one row of one tensor
MAX_INNER = 2**28  # of a tensor within the graph whose shape does not depend on the batch


def check(graph: onnx.ModelProto) -> None:
    """ConvertError with the reason why this file could not be served anywhere."""
    if any(t.data_location == onnx.TensorProto.EXTERNAL for t in tensors(graph)):
        raise ConvertError("it keeps weights in another file (external data): save it as one file")
    own = {(f.domain, f.name) for f in graph.functions}
    foreign = {(n.domain, n.op_type) for n in nodes(graph) if n.domain not in ONNX_DOMAINS} - own
    if foreign:
        raise ConvertError(
            f"it has operators that not every ONNX Runtime knows: {', '.join(map('.'.join, sorted(foreign)))}"
        )
    try:
        onnx.checker.check_model(graph, full_check=True)
    except Exception as error:
        raise ConvertError(f"it is not valid ONNX: {error}") from error
    for name, dims in inner_shapes(graph):
        if np.prod(dims, dtype=object) > MAX_INNER:
            raise ConvertError(f"it makes a tensor {name!r} of shape {dims}: over {MAX_INNER:,} values")


def inner_shapes(graph: onnx.ModelProto) -> Iterator[tuple[str, list[int]]]:
    """The shapes within the graph, as far as they can be told without running it; an open dimension counts as 1."""
    inferred = onnx.shape_inference.infer_shapes(graph, data_prop=True)
    for value in inferred.graph.value_info:
        yield value.name, [d.dim_value if d.HasField("dim_value") else 1 for d in value.type.tensor_type.shape.dim]


def nodes(graph: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    """Every node, also of functions and of the branches and bodies of If, Loop and Scan."""
    yield from _nodes(graph.graph.node)
    for function in graph.functions:
        yield from _nodes(function.node)


def _nodes(sequence: Any) -> Iterator[onnx.NodeProto]:
    for node in sequence:
        yield node
        for inner in subgraphs(node):
            yield from _nodes(inner.node)


def subgraphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """The graphs in a node's attributes."""
    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.GRAPH:
            yield attribute.g
        yield from attribute.graphs


def tensors(graph: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Every stored tensor, also of constants, branches and functions."""
    yield from graph.graph.initializer
    for node in nodes(graph):
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)
        for inner in subgraphs(node):
            yield from inner.initializer


def signature(graph: onnx.ModelProto) -> Signature:
    """The tensors that the file takes and gives. ConvertError where a shape or a type cannot be served."""
    stored = {t.name for t in graph.graph.initializer}
    inputs = tuple(_tensor(v, "input") for v in graph.graph.input if v.name not in stored)
    outputs = tuple(_tensor(v, "output") for v in graph.graph.output)
    if not inputs or not outputs:
        raise ConvertError("it has no input or no output")
    return Signature(inputs, outputs)


def _tensor(value: onnx.ValueInfoProto, kind: str) -> Tensor:
    where = f"{kind} {value.name!r}"
    if not value.type.HasField("tensor_type"):
        kind = value.type.WhichOneof("value")
        raise ConvertError(f"{where} is no tensor but a {kind} (of scikit-learn: export it with zipmap off)")
    datatype = _datatype(value.type.tensor_type.elem_type, where)
    if not value.type.tensor_type.HasField("shape"):
        raise ConvertError(f"{where} has no shape: only the batch may be left open")
    dims = [d.dim_value if d.HasField("dim_value") else -1 for d in value.type.tensor_type.shape.dim]
    if not dims:
        raise ConvertError(f"{where} is a scalar: the first dimension must be the batch")
    if dims[0] != -1:
        raise ConvertError(f"{where} is for batches of {dims[0]} only: export it with a dynamic first dimension")
    if any(d < 1 for d in dims[1:]):
        raise ConvertError(f"{where} has shape {dims}: all dimensions but the first must be fixed, and at least 1")
    if np.prod(dims[1:], dtype=object) > MAX_ELEMENTS:
        raise ConvertError(f"{where} has shape {dims}: over {MAX_ELEMENTS:,} values a row")
    return Tensor(value.name, datatype, tuple(dims))


def _datatype(element: int, where: str) -> str:
    if element == onnx.TensorProto.STRING:
        raise ConvertError(f"{where} is of strings: only numbers and booleans are served")
    try:
        dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(element))
        return next(name for name, known in DATATYPES.items() if known == dtype)
    except (KeyError, StopIteration):
        name = onnx.TensorProto.DataType.Name(element)
        raise ConvertError(f"{where} is of {name}: served are {', '.join(DATATYPES)}") from None


def as_promised(graph: onnx.ModelProto, promised: Signature) -> None:
    """ConvertError unless the file's tensors are those that the model's signature promises, in name, type and shape."""
    if (actual := signature(graph)) != promised:
        raise ConvertError(f"its tensors are {words(actual)}; the signature promises {words(promised)}")


def words(of: Signature) -> str:
    """`x FP32 [-1, 3] → y FP32 [-1, 2]`"""
    return f"{listed(of.inputs)} → {listed(of.outputs)}"


def listed(tensors: tuple[Tensor, ...]) -> str:
    """`x FP32 [-1, 3], y INT64 [-1]`"""
    return ", ".join(f"{t.name} {t.datatype} {list(t.shape)}" for t in tensors)


def opset(graph: onnx.ModelProto) -> dict[str, int]:
    """The operator sets that a graph is of: domain → version."""
    return {o.domain or "ai.onnx": o.version for o in graph.opset_import}


def tidy(graph: onnx.ModelProto) -> onnx.ModelProto:
    """Without what only its exporter needed: stack traces, file paths, versions of domains that no node is of."""
    used = {"", *(n.domain for n in nodes(graph))}
    kept = [o for o in graph.opset_import if o.domain in used]
    del graph.opset_import[:]
    graph.opset_import.extend(kept)
    for part in (graph, graph.graph, *nodes(graph), *graph.graph.input, *graph.graph.output, *graph.graph.initializer):
        part.ClearField("doc_string")
        part.ClearField("metadata_props")
    del graph.graph.value_info[:]
    return graph


def write(graph: onnx.ModelProto, path: Path) -> None:
    """Write a graph; the same graph gives the same bytes."""
    path.write_bytes(graph.SerializeToString(deterministic=True))


def random_rows(of: Signature, count: int, seed: int = 0) -> Arrays:
    """Rows of the right shape and type, for checking that a file runs. name → (count, …)"""
    random = np.random.default_rng(seed)
    drawn: Arrays = {}
    for tensor in of.inputs:
        shape = (count, *tensor.sizes[1:])
        whole = tensor.dtype.kind in "iub"
        drawn[tensor.name] = (random.integers(0, 2, shape) if whole else random.standard_normal(shape)).astype(
            tensor.dtype
        )
    return drawn
