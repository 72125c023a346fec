"""A boosted forest, whoever grew it, as an ONNX graph: trees, and what their sums mean."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from convert.export import OPSET, OPSET_ML

IR_VERSION = 10


@dataclass(frozen=True)
class Tree:
    """One tree: a node sends `feature` by `threshold` to `left` or `right`; a leaf has −1 there, and a value."""

    feature: np.ndarray
    threshold: np.ndarray  # float32
    left: np.ndarray
    right: np.ndarray
    missing_left: np.ndarray  # where NaN goes
    value: np.ndarray  # of leaves
    target: int = 0  # the class that it is of


@dataclass(frozen=True)
class Forest:
    """Trees over `features` columns, their sums by target, and the function that makes an answer of a sum.

    link: identity, sigmoid, exp, log1p_exp, signed_square of a value; logistic of two classes, softmax, logistic_each.
    """

    trees: list[Tree]
    n_features: int
    n_targets: int
    mode: str  # BRANCH_LEQ or BRANCH_LT: how a value goes left
    link: str = "identity"
    base: tuple[float, ...] = (0.0,)
    notes: list[str] = field(default_factory=list)

    @property
    def classifies(self) -> bool:
        """Whether its scores become probabilities of labels."""
        return self.link in ("logistic", "softmax", "logistic_each")


def to_onnx(forest: Forest) -> onnx.ModelProto:
    """`features` FP32 [batch, n] → `label` INT64 and `probabilities` FP32, or `value` FP32 [batch, targets]."""
    nodes = [
        helper.make_node(
            "TreeEnsembleRegressor",
            ["features"],
            ["raw"],
            domain="ai.onnx.ml",
            n_targets=forest.n_targets,
            aggregate_function="SUM",
            post_transform="NONE",
            base_values=list(np.broadcast_to(np.asarray(forest.base, np.float32), forest.n_targets).astype(float)),
            **attributes(forest),
        )
    ]
    outputs: list[tuple[str, int, list[Any]]] = [("value", TensorProto.FLOAT, ["batch", forest.n_targets])]
    if forest.classifies:
        n_classes = max(2, forest.n_targets)
        outputs = [
            ("label", TensorProto.INT64, ["batch"]),
            ("probabilities", TensorProto.FLOAT, ["batch", n_classes]),
        ]
    nodes += _link(forest.link)
    graph = helper.make_graph(
        nodes,
        "forest",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", forest.n_features])],
        [helper.make_tensor_value_info(name, kind, dims) for name, kind, dims in outputs],
        [helper.make_tensor("one", TensorProto.FLOAT, [], [1.0])] if forest.link in ("logistic", "log1p_exp") else [],
    )
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", OPSET_ML)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)


def _link(link: str) -> list[onnx.NodeProto]:
    node = helper.make_node
    label = node("ArgMax", ["probabilities"], ["label"], axis=1, keepdims=0)
    links = {
        "identity": [node("Identity", ["raw"], ["value"])],
        "exp": [node("Exp", ["raw"], ["value"])],
        "log1p_exp": [
            node("Exp", ["raw"], ["grown"]),
            node("Add", ["grown", "one"], ["more"]),
            node("Log", ["more"], ["value"]),
        ],
        "signed_square": [node("Abs", ["raw"], ["size"]), node("Mul", ["raw", "size"], ["value"])],
        "sigmoid": [node("Sigmoid", ["raw"], ["value"])],
        "logistic": [
            node("Sigmoid", ["raw"], ["second"]),
            node("Sub", ["one", "second"], ["first"]),
            node("Concat", ["first", "second"], ["probabilities"], axis=1),
            label,
        ],
        "softmax": [node("Softmax", ["raw"], ["probabilities"], axis=1), label],
        "logistic_each": [node("Sigmoid", ["raw"], ["probabilities"]), label],
    }
    return links[link]


def attributes(forest: Forest) -> dict[str, Any]:
    """The node and target lists of all trees, in the words of ONNX."""
    lists: dict[str, list[Any]] = {}

    def extend(**columns: Any) -> None:
        for key, column in columns.items():
            lists.setdefault(key, []).extend(np.asarray(column).tolist())

    for index, tree in enumerate(forest.trees):
        leaf = tree.left < 0
        extend(
            nodes_treeids=np.full(len(leaf), index),
            nodes_nodeids=np.arange(len(leaf)),
            nodes_featureids=np.where(leaf, 0, tree.feature),
            nodes_modes=np.where(leaf, b"LEAF", forest.mode.encode()),
            nodes_values=np.where(leaf, 0, tree.threshold).astype(np.float32),
            nodes_truenodeids=np.where(leaf, 0, tree.left),
            nodes_falsenodeids=np.where(leaf, 0, tree.right),
            nodes_missing_value_tracks_true=np.where(leaf, 0, tree.missing_left).astype(int),
            target_treeids=np.full(leaf.sum(), index),
            target_nodeids=np.flatnonzero(leaf),
            target_ids=np.full(leaf.sum(), tree.target),
            target_weights=tree.value[leaf].astype(np.float32),
        )
    return lists
