"""What an ONNX file must be to be boxed: valid, self-contained, of portable operators, and as its signature says."""

from __future__ import annotations

import multiprocessing
import resource
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from bentos.certificate import ONNX_DOMAINS
from bentos.contract import DATATYPES, Arrays, Signature, Tensor
from convert.artifacts import ConvertError

MAX_ELEMENTS = 2**24  # of one row of one tensor
NO_NUMPY = ("BYTES", "BF16")  # datatypes that NumPy has no type of its own for
MAX_INNER = 2**28  # of a tensor within the graph whose shape does not depend on the batch


def check(graph: onnx.ModelProto) -> None:
    """ConvertError with all reasons why this file could not be served anywhere."""
    if reasons := faults(graph):
        raise ConvertError("; ".join(reasons))


def faults(graph: onnx.ModelProto) -> list[str]:
    """What keeps a file from being served, all of it that can be told without running it."""
    reasons = []
    if any(t.data_location == onnx.TensorProto.EXTERNAL for t in tensors(graph)):
        reasons.append("it keeps weights in another file (external data)")
    own = {(f.domain, f.name) for f in graph.functions}
    foreign = {(n.domain, n.op_type) for n in nodes(graph) if n.domain not in ONNX_DOMAINS} - own
    if foreign:
        names = ", ".join(map(".".join, sorted(foreign)))
        reasons.append(f"it has operators that not every ONNX Runtime knows: {names}")
    reasons += type_faults(graph)
    bare = [v.type.tensor_type for v in graph.graph.output if v.type.HasField("tensor_type")]
    bare = [tensor for tensor in bare if not tensor.HasField("shape")]  # running it will tell
    try:
        for tensor in bare:
            tensor.shape.SetInParent()
        onnx.checker.check_model(graph)
    except Exception as error:
        reasons.append(f"it is not valid ONNX: {' '.join(str(error).split())[:400]}")
        return reasons
    finally:
        for tensor in bare:
            tensor.ClearField("shape")
    for name, dims in inner_shapes(graph):
        if np.prod(dims, dtype=object) > MAX_INNER:
            reasons.append(f"it makes a tensor {name!r} of shape {dims}: over {MAX_INNER:,} values")
    return reasons


def type_faults(graph: onnx.ModelProto) -> list[str]:
    """Inputs and outputs that no request can hold."""
    stored = {t.name for t in graph.graph.initializer}
    sides = (
        ("input", [v for v in graph.graph.input if v.name not in stored]),
        ("output", list(graph.graph.output)),
    )
    reasons = [f"it has no {side}" for side, values in sides if not values]
    for side, values in sides:
        for value in values:
            where = f"{side} {value.name!r}"
            if not value.type.HasField("tensor_type"):
                kind = (value.type.WhichOneof("value") or "unknown").removesuffix("_type")
                reasons.append(f"{where} is no tensor: its type is {kind}")
                continue
            try:
                datatype(value)
            except ConvertError as error:
                reasons.append(f"{where} {error}")
            if side == "input" and any(d.HasField("dim_value") and not d.dim_value for d in _dims(value)):
                reasons.append(f"{where} is declared empty: {shape_words(value)}")
            dims = [d.dim_value for d in _dims(value) if d.dim_value > 0]
            if np.prod(dims, dtype=object) > MAX_ELEMENTS:
                reasons.append(f"{where} has shape {shape_words(value)}: over {MAX_ELEMENTS:,} values a row")
    return reasons


def _dims(value: onnx.ValueInfoProto) -> Any:
    return value.type.tensor_type.shape.dim


def shape_words(value: onnx.ValueInfoProto) -> str:
    """`[n, 3, -1]`"""
    dims = value.type.tensor_type.shape.dim
    return f"[{', '.join(str(d.dim_value) if d.HasField('dim_value') else d.dim_param or '-1' for d in dims)}]"


def infer_shapes(graph: onnx.ModelProto, **how: bool) -> onnx.ModelProto:
    """The graph with the types and shapes that ONNX infers. ValueError where it cannot

    In a process of its own, since some graphs end the one that infers them.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["convert.probing"])
    ours, theirs = context.Pipe()
    process = context.Process(target=_infer, args=(theirs, how), daemon=True)
    process.start()
    theirs.close()
    try:
        ours.send_bytes(graph.SerializeToString())
        answer = ours.recv_bytes()
    except (EOFError, OSError):
        raise ValueError("ONNX ends the process that infers its shapes") from None
    finally:
        process.kill()
        process.join()
    if not answer:
        raise ValueError("ONNX cannot infer its shapes")
    inferred: onnx.ModelProto = onnx.ModelProto.FromString(answer)
    return inferred


def _infer(pipe: Connection, how: dict[str, bool]) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    graph = onnx.ModelProto.FromString(pipe.recv_bytes())
    try:
        answer = onnx.shape_inference.infer_shapes(graph, **how).SerializeToString()
    except Exception:
        answer = b""
    pipe.send_bytes(answer)


def inner_shapes(graph: onnx.ModelProto) -> Iterator[tuple[str, list[int]]]:
    """The shapes within the graph, as far as they can be told without running it; an open dimension counts as 1."""
    try:
        inferred = infer_shapes(graph, data_prop=True)
    except ValueError:  # what ONNX cannot infer, ONNX Runtime may still run
        return
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


def datatype(value: onnx.ValueInfoProto) -> str:
    """The datatype of a tensor in V2's words. ConvertError where V2 has no word for it"""
    element = value.type.tensor_type.elem_type
    numbers = {name: dtype for name, dtype in DATATYPES.items() if name not in NO_NUMPY}
    datatypes: dict[int, str] = {onnx.helper.np_dtype_to_tensor_dtype(dtype): name for name, dtype in numbers.items()}
    datatypes |= {onnx.TensorProto.STRING: "BYTES", onnx.TensorProto.BFLOAT16: "BF16"}
    if element not in datatypes:
        name = onnx.TensorProto.DataType.Name(element)
        raise ConvertError(f"is of {name}: served are {', '.join(DATATYPES)}")
    return datatypes[element]


def as_promised(graph: onnx.ModelProto, promised: Signature) -> None:
    """ConvertError unless the file's tensors are those that the model's signature promises.

    Name, datatype and sizes must be equal; where the signature has a name or −1, the file must be open.
    """
    stored = {t.name for t in graph.graph.initializer}
    inputs = [v for v in graph.graph.input if v.name not in stored]
    pairs = ((inputs, promised.inputs), (graph.graph.output, promised.outputs))
    if not all(len(values) == len(side) and all(map(_fits, values, side)) for values, side in pairs):
        actual = " → ".join(
            ", ".join(f"{v.name} {datatype(v)} {shape_words(v)}" for v in values) for values, _ in pairs
        )
        raise ConvertError(f"its tensors are {actual}; the signature promises {words(promised)}")


def _fits(value: onnx.ValueInfoProto, tensor: Tensor) -> bool:
    dims = [d.dim_value if d.HasField("dim_value") else -1 for d in value.type.tensor_type.shape.dim]
    return (value.name, datatype(value), tuple(dims)) == (tensor.name, tensor.datatype, tensor.sizes)


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
    opsets = [o for o in graph.opset_import if o.domain in used]
    del graph.opset_import[:]
    graph.opset_import.extend(opsets)
    for part in (graph, graph.graph, *nodes(graph), *graph.graph.input, *graph.graph.output, *graph.graph.initializer):
        part.ClearField("doc_string")
        part.ClearField("metadata_props")
    del graph.graph.value_info[:]
    return graph


def name_outputs(graph: onnx.ModelProto, names: Sequence[str]) -> None:
    """Call the outputs so, and any other value of such a name otherwise: PyTorch's exporter would have two of one."""
    new_names = dict(zip((value.name for value in graph.graph.output), names, strict=True))
    renamed = {name: f"{name}_inner" for name in names if name not in new_names} | new_names
    for node in nodes(graph):
        node.input[:] = [renamed.get(name, name) for name in node.input]
        node.output[:] = [renamed.get(name, name) for name in node.output]
    for part in (*graph.graph.output, *graph.graph.initializer, *graph.graph.value_info):
        part.name = renamed.get(part.name, part.name)


def write(graph: onnx.ModelProto, path: Path) -> None:
    """Write a graph; the same graph gives the same bytes."""
    path.write_bytes(graph.SerializeToString(deterministic=True))


def random_rows(of: Signature, count: int, seed: int = 0) -> Arrays:
    """Rows of the right shape and type, for checking that a file runs. name → (count, …)"""
    random = np.random.default_rng(seed)
    rows: Arrays = {}
    for tensor in of.inputs:
        shape = (count, *tensor.sizes[1:])
        whole = tensor.dtype.kind in "iub"
        rows[tensor.name] = (random.integers(0, 2, shape) if whole else random.standard_normal(shape)).astype(
            tensor.dtype
        )
    return rows
