"""LightGBM's text format, read without LightGBM: https://lightgbm.readthedocs.io, `Booster.save_model`."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from convert.artifacts import ConvertError
from convert.forest import Forest, Tree
from convert.trees import float32_floor

CATEGORICAL, DEFAULT_LEFT, MISSING = 1, 2, 12  # bits of decision_type
NO_MISSING, ZERO_MISSING = 0, 4
# objective → what is made of a row's sum
LINKS = {
    "binary": "logistic",
    "cross_entropy": "sigmoid",
    "cross_entropy_lambda": "log1p_exp",
    "multiclass": "softmax",
    "multiclassova": "logistic_each",
    "poisson": "exp",
    "gamma": "exp",
    "tweedie": "exp",
}
PLAIN = {"regression", "regression_l1", "huber", "fair", "quantile", "mape"}
RANKING = {"lambdarank", "rank_xendcg", "custom", "none"}


def read(path: Path) -> Forest:
    """The forest in a LightGBM text file. ConvertError names what in it has no ONNX operator."""
    head, *trees = path.read_text().partition("\nend of trees")[0].split("\nTree=")
    header = _pairs(head)
    objective, *parameters = header.get("objective", "none").split()
    options = dict(word.split(":", 1) for word in parameters if ":" in word)
    if objective not in {*LINKS, *PLAIN, *RANKING}:
        raise ConvertError(f"its objective is {objective!r}: known are {', '.join(sorted({*LINKS, *PLAIN, *RANKING}))}")
    link = LINKS.get(objective, "signed_square" if "sqrt" in parameters else "identity")
    n_targets = int(header.get("num_tree_per_iteration", "1"))
    scale = float(options.get("sigmoid", 1.0)) if link in ("logistic", "logistic_each") else 1.0
    if "average_output" in head.splitlines():
        scale /= max(1, len(trees) // n_targets)
    return Forest(
        trees=[_tree(_pairs(text), place % n_targets, place, scale) for place, text in enumerate(trees)],
        n_features=int(header["max_feature_idx"]) + 1,
        n_targets=n_targets,
        mode="BRANCH_LEQ",
        link=link,
    )


def _pairs(text: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def _tree(fields: dict[str, str], target: int, place: int, scale: float) -> Tree:
    """LightGBM numbers inner nodes from 0, and leaves as ~leaf; here leaves follow the inner nodes."""

    def numbers(key: str, dtype: type = int) -> np.ndarray:
        return np.array(fields.get(key, "").split(), dtype)

    leaves = numbers("leaf_value", float) * scale
    if fields.get("is_linear", "0") != "0":
        raise ConvertError(f"tree {place} has linear models in its leaves, which no ONNX operator has")
    n_inner = len(leaves) - 1
    kinds = numbers("decision_type")
    if (kinds & CATEGORICAL).any():
        raise ConvertError(f"tree {place} splits on categories: train on numbers, a column a category")
    thresholds = numbers("threshold", float)
    default_left, missing = (kinds & DEFAULT_LEFT) > 0, kinds & MISSING
    zero_left = thresholds >= 0
    if ((missing == ZERO_MISSING) & (default_left != zero_left)).any():
        raise ConvertError(f"tree {place} takes zero for missing (zero_as_missing), which no ONNX operator does")

    def child(key: str) -> np.ndarray:
        places = numbers(key)
        return np.concatenate([np.where(places < 0, n_inner + ~places, places), np.full(n_inner + 1, -1)])

    def inner(values: np.ndarray) -> np.ndarray:
        return np.concatenate([values, np.zeros(n_inner + 1, values.dtype)])

    return Tree(
        feature=inner(numbers("split_feature")),
        threshold=inner(float32_floor(thresholds)),
        left=child("left_child"),
        right=child("right_child"),
        missing_left=inner(np.where(missing == NO_MISSING, zero_left, default_left)),
        value=np.concatenate([np.zeros(n_inner), leaves]),
        target=target,
    )
