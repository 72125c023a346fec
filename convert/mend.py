"""An ONNX file of somebody else's made fit to be boxed: changes that keep its answers, and what they were, in words.

External data is folded in, ZipMap is cut and its keys become labels, a sequence of one tensor is that tensor, BF16 is
cast to FP32 where it goes in and out, and a whole-number division that would kill the process is an engine's error.
What ONNX Runtime takes and ONNX's checker does not is made valid: weights that are no inputs, inputs without a shape.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import onnx
import onnx.inliner
from onnx import NodeProto, TensorProto, helper

from bentos.contract import Arrays
from convert import graph as graphs
from convert.artifacts import ConvertError
from convert.dataflow import attributes, bodies, constants, element_types

OPSET = 18  # of ONNX's own operators, where a file names none
MAX_BYTES = 2**31 - 1  # of one protobuf file
LFS = b"version https://git-lfs"
RANKS = (2, 4, 3, 1, 5, 0)  # of an input without a shape, the likeliest first
WHOLE = {getattr(TensorProto, f"{sign}INT{bits}") for sign in ("", "U") for bits in (8, 16, 32, 64)}
LOWEST = {getattr(TensorProto, f"INT{bits}"): -(2 ** (bits - 1)) for bits in (8, 16, 32, 64)}


@dataclass
class Mended:
    """A graph as it is boxed, the class names that it holds, and what was changed in it."""

    graph: onnx.ModelProto
    labels: tuple[str, ...] = ()
    notes: list[str] = field(default_factory=list)
    reference: Callable[[Arrays], Arrays] | None = None  # what the library of another format answers
    foreign: bool = False  # made of a file of another format
    framework: str = ""  # of bentos/frameworks/, which runs that file as it is

    @property
    def changed(self) -> bool:
        """Whether anything was mended."""
        return bool(self.notes)


def mend(file: Path) -> Mended:
    """The file's graph, mended. ConvertError where it is no ONNX file, or its weights are not beside it."""
    mended = Mended(load(file))
    fold_external_data(mended, file.parent)
    for step in (raise_ir_version, give_shapes, cut_zipmaps, unpack_sequences, cast_bfloat16, guard_divisions):
        step(mended)
    return mended


def load(file: Path) -> onnx.ModelProto:
    """The graph without the files that it may name. ConvertError"""
    if not file.is_file():
        raise ConvertError("there is no such file")
    if not file.stat().st_size:
        raise ConvertError("the file is empty")
    if file.stat().st_size > MAX_BYTES:
        raise ConvertError(f"it has {file.stat().st_size:,} bytes, at most {MAX_BYTES:,} fit one ONNX file")
    with file.open("rb") as stream:
        if stream.read(len(LFS)) == LFS:
            raise ConvertError("it is a pointer to a file, as Git LFS keeps it: `git lfs pull` fetches the file")
    try:
        return onnx.load(file, load_external_data=False)
    except Exception as error:
        raise ConvertError(f"it is no ONNX file: {error}") from error


def fold_external_data(mended: Mended, folder: Path) -> None:
    """Weights that are in files beside the graph, taken in. ConvertError where one is not there, or is elsewhere."""
    outside = [t for t in graphs.tensors(mended.graph) if t.data_location == TensorProto.EXTERNAL]
    if not outside:
        return
    files = sorted({entry.value for t in outside for entry in t.external_data if entry.key == "location"})
    for name in files:
        place = (folder / name).resolve()
        if place.parent != folder.resolve() and folder.resolve() not in place.parents:
            raise ConvertError(f"its external data {name!r} is outside of the file's folder")
        if not place.is_file():
            raise ConvertError(f"its external data {name!r} is not beside it: put both files into one folder")
    if (size := mended.graph.ByteSize() + sum((folder / name).stat().st_size for name in files)) > MAX_BYTES:
        raise ConvertError(f"with its external data it has {size:,} bytes, at most {MAX_BYTES:,} fit one ONNX file")
    try:
        for tensor in outside:
            onnx.external_data_helper.load_external_data_for_tensor(tensor, str(folder))
            tensor.data_location = TensorProto.DEFAULT
            tensor.ClearField("external_data")
    except Exception as error:
        raise ConvertError(f"its external data cannot be read: {error}") from error
    mended.notes.append(f"external data folded in: {', '.join(files)}")


def raise_ir_version(mended: Mended) -> None:
    """Since version 4 weights need not be inputs. ONNX Runtime takes files of version 3 whose weights are none."""
    graph = mended.graph
    if graph.ir_version < 4 and {t.name for t in graph.graph.initializer} - {v.name for v in graph.graph.input}:
        mended.notes.append(f"it is of ONNX's file version 4, not {graph.ir_version}: its weights are no inputs")
        graph.ir_version = 4


def give_shapes(mended: Mended) -> None:
    """Inputs without a shape have as many open dimensions as the graph can be of."""
    bare = [v for v in mended.graph.graph.input if v.type.HasField("tensor_type") and not _shaped(v)]
    for rank in RANKS if bare else ():
        for value in bare:
            value.type.tensor_type.ClearField("shape")
            value.type.tensor_type.shape.dim.extend([onnx.TensorShapeProto.Dimension()] * rank)
            value.type.tensor_type.shape.SetInParent()
        try:
            graphs.infer_shapes(mended.graph, strict_mode=True)
        except ValueError:
            continue
        names = ", ".join(value.name for value in bare)
        mended.notes.append(f"input {names} has no shape: taken to have {rank} dimensions, as the first that fit")
        return


def cut_zipmaps(mended: Mended) -> None:
    """Probabilities as a tensor with a column a class, instead of a list of dictionaries; the keys are the labels."""
    body = mended.graph.graph
    zipmaps = [n for n in body.node if n.op_type == "ZipMap" and n.domain == "ai.onnx.ml"]
    types = element_types(mended.graph) if zipmaps else {}
    for node in zipmaps:
        keys = attributes(node).get("classlabels_strings") or attributes(node).get("classlabels_int64s") or []
        labels = tuple(key.decode() if isinstance(key, bytes) else str(key) for key in keys)
        node.CopyFrom(helper.make_node("Identity", node.input, node.output))
        for value in [v for v in body.output if v.name == node.output[0]]:
            kind = types.get(node.input[0], TensorProto.FLOAT)
            value.CopyFrom(helper.make_tensor_value_info(value.name, kind, [None, len(labels)]))
        mended.labels = mended.labels or labels
        if not any(opset.domain in ("", "ai.onnx") for opset in mended.graph.opset_import):  # CatBoost names ML's alone
            mended.graph.opset_import.append(helper.make_opsetid("", OPSET))
        mended.notes.append(f"ZipMap cut: {node.output[0]} is a tensor, its columns are {', '.join(labels)}")


def unpack_sequences(mended: Mended) -> None:
    """Outputs that are sequences of one tensor, and inputs that are, as that tensor."""
    body = mended.graph.graph
    for value in [v for v in body.output if v.type.WhichOneof("value") == "sequence_type"]:
        element = value.type.sequence_type.elem_type
        if element.WhichOneof("value") != "tensor_type":
            continue  # told as a fault by its name
        inner = f"{value.name}/sequence"
        _rename(body, value.name, inner)
        body.node.add(op_type="Constant", output=[f"{inner}/0"]).attribute.append(helper.make_attribute("value_int", 0))
        body.node.add(op_type="SequenceAt", input=[inner, f"{inner}/0"], output=[value.name])
        value.type.CopyFrom(onnx.TypeProto(tensor_type=element.tensor_type))
        mended.notes.append(f"output {value.name} is the first tensor of its sequence")
    for value in [v for v in body.input if v.type.WhichOneof("value") == "sequence_type"]:
        element = value.type.sequence_type.elem_type
        if element.WhichOneof("value") != "tensor_type":
            continue
        inner = f"{value.name}/sequence"
        _rename_uses(body, value.name, inner)
        body.node.insert(0, NodeProto(op_type="SequenceConstruct", input=[value.name], output=[inner]))
        value.type.CopyFrom(onnx.TypeProto(tensor_type=element.tensor_type))
        mended.notes.append(f"input {value.name} is the one tensor of its sequence")


def cast_bfloat16(mended: Mended) -> None:
    """BF16 goes in and out as FP32, which holds each of its values; in between it stays what it is."""
    body = mended.graph.graph
    stored = {t.name for t in body.initializer}
    for value in [v for v in body.input if v.name not in stored and _element(v) == TensorProto.BFLOAT16]:
        inner = f"{value.name}/bfloat16"
        _rename_uses(body, value.name, inner)
        cast = helper.make_node("Cast", [value.name], [inner], to=TensorProto.BFLOAT16)
        body.node.insert(0, cast)
        value.type.tensor_type.elem_type = TensorProto.FLOAT
        mended.notes.append(f"input {value.name} is FP32, cast to BF16")
    for value in [v for v in body.output if _element(v) == TensorProto.BFLOAT16]:
        inner = f"{value.name}/bfloat16"
        _rename(body, value.name, inner)
        body.node.append(helper.make_node("Cast", [inner], [value.name], to=TensorProto.FLOAT))
        value.type.tensor_type.elem_type = TensorProto.FLOAT
        mended.notes.append(f"output {value.name} is FP32, cast from BF16")


def guard_divisions(mended: Mended) -> None:
    """Whole-number Div and Mod by what a request decides: a zero is an index out of range, which the engine refuses.

    Unguarded it is SIGFPE, which ends the worker; so is the lowest number divided by −1.
    """
    if any(_kills(node, {}) or node.op_type == "Div" for function in mended.graph.functions for node in function.node):
        mended.graph = onnx.inliner.inline_local_functions(mended.graph)
    types, stored = element_types(mended.graph), constants(mended.graph)
    guarded = 0
    for body in bodies(mended.graph):
        for place in reversed(range(len(body.node))):
            node = body.node[place]
            if not _kills(node, types) or node.input[1] in stored:
                continue
            kind = types.get(node.input[1]) or types.get(node.input[0]) or TensorProto.INT64
            node.input[1], nodes = _guarded(node, kind, f"{node.output[0]}/guard")
            for added in reversed(nodes):
                body.node.insert(place, added)
            guarded += 1
    if guarded:
        mended.notes.append(f"{guarded} whole-number divisions by what a request says: a zero is refused")


def _kills(node: NodeProto, types: dict[str, int]) -> bool:
    """Whether the node divides whole numbers."""
    if node.domain not in ("", "ai.onnx") or node.op_type not in ("Div", "Mod"):
        return False
    if node.op_type == "Mod" and any(a.name == "fmod" and a.i for a in node.attribute):
        return False
    kinds = [types[name] for name in node.input if name in types]
    return (node.op_type == "Mod" and not kinds) or any(kind in WHOLE for kind in kinds)


def _guarded(node: NodeProto, kind: int, prefix: str) -> tuple[str, list[NodeProto]]:
    """The divisor's new name, and nodes that give it: divisor + Cast(Gather([0], is there a zero in it?))."""
    dividend, divisor = node.input
    nodes: list[NodeProto] = []

    def add(operator: str, inputs: list[str], **attributes: Any) -> str:
        name = f"{prefix}/{len(nodes)}"
        nodes.append(helper.make_node(operator, inputs, [name], **attributes))
        return name

    def constant(value: int, element: int = kind, shape: tuple[int, ...] = ()) -> str:
        return add("Constant", [], value=helper.make_tensor("value", element, shape, [value]))

    wrong = add("Cast", [add("Equal", [divisor, constant(0)])], to=TensorProto.INT64)
    if kind in LOWEST:
        both = add("And", [add("Equal", [divisor, constant(-1)]), add("Equal", [dividend, constant(LOWEST[kind])])])
        wrong = add("Add", [wrong, add("Cast", [both], to=TensorProto.INT64)])
    wrong = add("ReduceMax", [wrong], keepdims=0)
    nothing = add("Gather", [constant(0, TensorProto.INT64, (1,)), wrong], axis=0)
    return add("Add", [divisor, add("Cast", [nothing], to=kind)]), nodes


def _shaped(value: onnx.ValueInfoProto) -> bool:
    return bool(value.type.tensor_type.HasField("shape"))


def _element(value: onnx.ValueInfoProto) -> int:
    """The element type of a tensor; 0 for what is no tensor."""
    return value.type.tensor_type.elem_type if value.type.HasField("tensor_type") else 0


def _rename(body: onnx.GraphProto, old: str, new: str) -> None:
    """Another name for a value that the graph makes, wherever it is made or used."""
    for node in body.node:
        node.output[:] = [new if name == old else name for name in node.output]
    _rename_uses(body, old, new)


def _rename_uses(body: onnx.GraphProto, old: str, new: str) -> None:
    """Another name for a value, wherever it is used; also in the graphs within nodes."""
    for node in body.node:
        node.input[:] = [new if name == old else name for name in node.input]
        for inner in graphs.subgraphs(node):
            _rename_uses(inner, old, new)
