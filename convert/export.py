"""The trained object as ONNX, with the tensors of its signature and a batch of any size."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from bentos import trained
from bentos.contract import BATCH, Arrays, Model
from convert import graph

OPSET = 18
OPSET_ML = 3


def export(model: Model, framework: str, fitted: Any, path: Path, rows: Arrays) -> None:
    """Write the ONNX file; `rows` are some that the model computes with."""
    exported = EXPORTERS[framework](model, fitted, rows)
    graph.write(graph.tidy(name_batch(exported)), path)


def from_pytorch(model: Model, network: Any, rows: Arrays) -> onnx.ModelProto:
    """A network in eval mode, by PyTorch's exporter, with the open dimensions of the signature."""
    import torch

    inputs, outputs = model.signature.inputs, model.signature.outputs
    example = tuple(torch.from_numpy(np.ascontiguousarray(rows[t.name][:2])) for t in inputs)
    program = torch.onnx.export(
        network.eval(),
        example,
        input_names=[t.name for t in inputs],
        dynamic_shapes=tuple(
            {axis: BATCH if axis == t.batch_axis else str(d) for axis, d in enumerate(t.shape) if t.sizes[axis] == -1}
            for t in inputs
        ),
        opset_version=OPSET,
        dynamo=True,
        verbose=False,
    )
    assert program is not None
    exported: onnx.ModelProto = program.model_proto
    graph.name_outputs(exported, [t.name for t in outputs])
    return exported


def from_sklearn(model: Model, fitted: Any, rows: Arrays) -> onnx.ModelProto:
    """Classifiers give label and probabilities as tensors (no ZipMap), regressors their value.

    Of several inputs skl2onnx takes the columns side by side, as the estimator was fitted with them.
    """
    import skl2onnx
    from skl2onnx.common import data_types

    from convert import trees

    trees.register()
    types = {
        "FP32": data_types.FloatTensorType,
        "FP64": data_types.DoubleTensorType,
        "INT64": data_types.Int64TensorType,
        "BYTES": data_types.StringTensorType,
    }

    def declared(tensors: Any) -> list[tuple[str, Any]]:
        return [(t.name, types[t.datatype]([None, *t.shape[1:]])) for t in tensors]

    classifier = hasattr(fitted, "predict_proba")
    exported: onnx.ModelProto = skl2onnx.to_onnx(
        fitted,
        initial_types=declared(model.signature.inputs),
        final_types=declared(model.signature.outputs),
        options={id(fitted): {"zipmap": False}} if classifier else None,
        target_opset={"": OPSET, "ai.onnx.ml": OPSET_ML},
    )
    return exported


def name_batch(exported: onnx.ModelProto) -> onnx.ModelProto:
    """The first dimension is called `batch` in every tensor that goes in or out."""
    for value in (*exported.graph.input, *exported.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    return exported


def from_lightgbm(model: Model, fitted: Any, rows: Arrays) -> onnx.ModelProto:
    """The trees that LightGBM's text holds."""
    from convert import lightgbm_text

    return from_forest(model, "lightgbm", fitted, lightgbm_text.read)


def from_xgboost(model: Model, fitted: Any, rows: Arrays) -> onnx.ModelProto:
    """The trees that XGBoost's UBJSON holds."""
    from convert import xgboost_json

    return from_forest(model, "xgboost", fitted, xgboost_json.read)


def from_forest(model: Model, framework: str, fitted: Any, read: Callable[[Path], Any]) -> onnx.ModelProto:
    """A booster's trees with the names of the signature, and those of its outputs that the signature has."""
    from convert.forest import to_onnx

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / trained.FILES[framework]
        trained.save(framework, fitted, file)
        exported: onnx.ModelProto = to_onnx(read(file))
    (tensor,) = model.signature.inputs
    names = {t.name for t in model.signature.outputs}
    renamed = {"features": tensor.name} | ({} if names & {"label", "probabilities"} else {"value": min(names)})
    for node in exported.graph.node:
        node.input[:] = [renamed.get(name, name) for name in node.input]
        node.output[:] = [renamed.get(name, name) for name in node.output]
    for value in (*exported.graph.input, *exported.graph.output):
        value.name = renamed.get(value.name, value.name)
    outputs = [value for value in exported.graph.output if value.name in names]
    del exported.graph.output[:]
    exported.graph.output.extend(outputs)
    return exported


EXPORTERS = {"pytorch": from_pytorch, "sklearn": from_sklearn, "lightgbm": from_lightgbm, "xgboost": from_xgboost}
