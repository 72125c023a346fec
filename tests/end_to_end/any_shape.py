"""`BENTOML_HOME=home python -m tests.end_to_end.any_shape`: models whose tensors are of every kind, put into a store.

Each is its graph, its signature, and the calls that it is certified to compute; they are in `MODELS` by name.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from bentos import golden
from bentos.certificate import Difference
from bentos.contract import BATCH, DATATYPES, Signature, Tensor
from bentos.meaning import Meaning
from convert import store
from convert.certify import identify
from convert.engine import onnx_run
from tests.certificates import certificate

TYPES = {"BYTES": TensorProto.STRING, "FP16": TensorProto.FLOAT16, "BF16": TensorProto.BFLOAT16}
TABLE = np.arange(30, dtype=np.float32).reshape(10, 3)  # of `embed`: ten words, three numbers each


@dataclass(frozen=True)
class Sample:
    """A model: its nodes, and what they need beside their inputs."""

    nodes: list[onnx.NodeProto]
    signature: Signature
    calls: list[dict[str, np.ndarray]]
    stored: dict[str, np.ndarray]
    labels: tuple[str, ...] = ()


def text(*values: str) -> np.ndarray:
    return np.array(values, object)


NODE = helper.make_node
MODELS = {
    # The mean vector of a sentence, of any length; an index above 9 is none.
    "embed": Sample(
        [
            NODE("Gather", ["table", "ids"], ["words"]),
            NODE("Cast", ["mask"], ["weights"], to=TensorProto.FLOAT),
            NODE("Unsqueeze", ["weights", "last"], ["columns"]),
            NODE("Mul", ["words", "columns"], ["weighted"]),
            NODE("ReduceSum", ["weighted", "second"], ["scores"], keepdims=0),
        ],
        Signature(
            (Tensor("ids", "INT64", (BATCH, "sequence")), Tensor("mask", "INT64", (BATCH, "sequence"))),
            (Tensor("scores", "FP32", (BATCH, 3)),),
        ),
        [{"ids": np.arange(n)[None] % 10, "mask": np.ones((1, n), np.int64)} for n in (1, 5, 40)],
        {"table": TABLE, "last": np.array([-1]), "second": np.array([1])},
        labels=("ash", "beech", "cedar"),
    ),
    # A step of a recurrent network: the batch is the state's second dimension, and the rate has none.
    "step": Sample(
        [
            NODE("Cast", ["rate"], ["factor"], to=TensorProto.FLOAT),
            NODE("Mul", ["x", "factor"], ["scaled"]),
            NODE("ReduceSum", ["state", "first"], ["held"], keepdims=0),
            NODE("Add", ["scaled", "held"], ["y"]),
            NODE("Add", ["state", "x"], ["next"]),
        ],
        Signature(
            (Tensor("x", "FP32", (BATCH, 3)), Tensor("state", "FP32", (2, BATCH, 3)), Tensor("rate", "INT64", ())),
            (Tensor("y", "FP32", (BATCH, 3)), Tensor("next", "FP32", (2, BATCH, 3))),
        ),
        [{"x": np.ones((1, 3), np.float32), "state": np.ones((2, 1, 3), np.float32), "rate": np.array(2)}],
        {"first": np.array([0])},
    ),
    # Its mean is of all that comes in one request: nothing may be joined.
    "centre": Sample(
        [NODE("ReduceMean", ["x"], ["mean"], keepdims=0), NODE("Sub", ["x", "mean"], ["y"])],
        Signature(
            (Tensor("x", "FP32", ("length",)),),
            (Tensor("y", "FP32", ("length",)), Tensor("mean", "FP32", ())),
            batched=False,
        ),
        [{"x": np.arange(4, dtype=np.float32)}],
        {},
    ),
    "join": Sample(
        [NODE("StringConcat", ["left", "right"], ["both"]), NODE("Identity", ["left"], ["first"])],
        Signature(
            (Tensor("left", "BYTES", (BATCH, -1)), Tensor("right", "BYTES", (BATCH, 1))),
            (Tensor("both", "BYTES", (BATCH, -1)), Tensor("first", "BYTES", (BATCH, -1))),
        ),
        [{"left": text("a", "é").reshape(1, 2), "right": text("!").reshape(1, 1)}],
        {},
    ),
    "gaps": Sample(
        [NODE("Add", ["x", "x"], ["y"])],
        Signature((Tensor("x", "FP32", (-1, 3)),), (Tensor("y", "FP32", (-1, 3)),), finite=False),
        [{"x": np.array([[1, np.nan, 3]], np.float32)}],
        {},
    ),
    "half": Sample(
        [NODE("Identity", ["x"], ["y"])],
        Signature((Tensor("x", "FP16", (-1, 2)),), (Tensor("y", "FP16", (-1, 2)),)),
        [{"x": np.ones((1, 2), np.float16)}],
        {},
    ),
    "brain": Sample(
        [NODE("Identity", ["x"], ["y"])],
        Signature((Tensor("x", "BF16", (-1, 2)),), (Tensor("y", "BF16", (-1, 2)),)),
        [],
        {},
    ),
}


def graph(sample: Sample) -> onnx.ModelProto:
    def declared(tensors: tuple[Tensor, ...]) -> list[onnx.ValueInfoProto]:
        shapes = [[size if size != -1 else None for size in tensor.shape] for tensor in tensors]
        return [
            helper.make_tensor_value_info(tensor.name, element(tensor), shape)
            for tensor, shape in zip(tensors, shapes, strict=True)
        ]

    stored = [onnx.numpy_helper.from_array(array, name) for name, array in sample.stored.items()]
    signature = sample.signature
    body = helper.make_graph(sample.nodes, "sample", declared(signature.inputs), declared(signature.outputs), stored)
    return helper.make_model(body, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def element(tensor: Tensor) -> int:
    if tensor.datatype in TYPES:
        return TYPES[tensor.datatype]
    return helper.np_dtype_to_tensor_dtype(DATATYPES[tensor.datatype])


def save(name: str, sample: Sample) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.onnx"
        onnx.save(graph(sample), file)
        calls = [(call, onnx_run(file)(call)) for call in sample.calls]
        issued = certificate(
            **identify(name, "onnx", "1", "onnx", file),
            signature=sample.signature,
            meaning=Meaning(payload="None", labels=sample.labels),
            difference=Difference(against="onnx", rows=len(calls)),
            golden=golden.write_calls(file.parent, calls, tolerance=1e-6),
        ).sealed()
        store.save(file, issued, {"title": name.capitalize(), "doc": "A sample."})


if __name__ == "__main__":
    for name, sample in MODELS.items():
        save(name, sample)
