"""Histogram gradient boosting as one TreeEnsembleRegressor, exact on float32 inputs.

Of skl2onnx's own converter this differs in three ways: a threshold is rounded down to float32, so that `x ≤ threshold`
holds for the same float32 x as before; a loss with a logarithmic link (gamma, poisson) ends in Exp; flags are integers,
as newer ONNX asks for.
"""

from __future__ import annotations

from typing import Any

import numpy as np

EXPONENTIAL = {"gamma", "poisson"}


def register() -> None:
    """Tell skl2onnx to use this converter."""
    from skl2onnx import update_registered_converter
    from skl2onnx.common.shape_calculator import calculate_linear_regressor_output_shapes
    from sklearn.ensemble import HistGradientBoostingRegressor

    update_registered_converter(
        HistGradientBoostingRegressor,
        "EkibenHistGradientBoostingRegressor",
        calculate_linear_regressor_output_shapes,
        convert,
    )


def convert(scope: Any, operator: Any, container: Any) -> None:
    """Add a booster's nodes to skl2onnx's container. NotImplementedError for categorical splits"""
    booster = operator.raw_operator
    if booster.is_categorical_ is not None:
        raise NotImplementedError("categorical splits have no ONNX operator: encode the categories in the pipeline")
    exponential = booster.loss in EXPONENTIAL
    output = operator.outputs[0].full_name
    raw = scope.get_unique_variable_name("raw") if exponential else output
    container.add_node(
        "TreeEnsembleRegressor",
        [operator.inputs[0].full_name],
        [raw],
        op_domain="ai.onnx.ml",
        op_version=3,
        name=scope.get_unique_operator_name("Trees"),
        n_targets=1,
        aggregate_function="SUM",
        post_transform="NONE",
        base_values=[float(booster._baseline_prediction.item())],
        **attributes([tree for (tree,) in booster._predictors]),
    )
    if exponential:
        container.add_node("Exp", [raw], [output], op_version=13, name=scope.get_unique_operator_name("Link"))


def attributes(trees: list[Any]) -> dict[str, Any]:
    """The node and target lists of all trees, in the words of ONNX."""
    lists: dict[str, list[Any]] = {}

    def extend(**columns: Any) -> None:
        for key, column in columns.items():
            lists.setdefault(key, []).extend(np.asarray(column).tolist())

    for index, tree in enumerate(trees):
        nodes = tree.nodes
        leaf = nodes["is_leaf"].astype(bool)
        extend(
            nodes_treeids=np.full(len(nodes), index),
            nodes_nodeids=np.arange(len(nodes)),
            nodes_featureids=np.where(leaf, 0, nodes["feature_idx"]),
            nodes_modes=np.where(leaf, b"LEAF", b"BRANCH_LEQ"),
            nodes_values=np.where(leaf, 0, float32_floor(nodes["num_threshold"])),
            nodes_truenodeids=np.where(leaf, 0, nodes["left"]),
            nodes_falsenodeids=np.where(leaf, 0, nodes["right"]),
            nodes_missing_value_tracks_true=np.where(leaf, 0, nodes["missing_go_to_left"]).astype(int),
            nodes_hitrates=np.ones(len(nodes)),
            target_treeids=np.full(leaf.sum(), index),
            target_nodeids=np.flatnonzero(leaf),
            target_ids=np.zeros(leaf.sum(), int),
            target_weights=nodes["value"][leaf],
        )
    return lists


def float32_floor(values: np.ndarray) -> np.ndarray:
    """The greatest float32 that is not above each value. (n,) float64 → (n,) float32"""
    with np.errstate(over="ignore"):
        nearest = values.astype(np.float32)
    return np.where(nearest > values, np.nextafter(nearest, np.float32(-np.inf)), nearest)
