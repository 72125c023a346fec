"""ONNX made faster without being bound to one machine: constants and BatchNorm folded, operators fused."""

from __future__ import annotations

from pathlib import Path

import onnx
import onnxruntime

from convert import graph
from convert.engine import options


def optimize(source: Path, target: Path) -> None:
    """Write what ONNX Runtime makes of a graph at its `extended` level, short of layouts that one CPU likes."""
    session = options()
    session.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    session.optimized_model_filepath = str(target)
    onnxruntime.InferenceSession(
        str(source),
        session,
        providers=["CPUExecutionProvider"],
        disabled_optimizers=["NchwcTransformer", "NhwcTransformer"],
    )
    graph.write(graph.tidy(onnx.load(target)), target)
