"""XGBoost's JSON and UBJSON, read without XGBoost: https://xgboost.readthedocs.io/en/stable/tutorials/saving_model.html"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from convert.artifacts import ConvertError
from convert.forest import Forest, Tree
from convert.ubjson import decode

# objective → what is made of a row's sum, and how base_score is said: as a sum, or as what is made of it
LINKS = {
    "binary:logistic": "logistic",
    "binary:logitraw": "identity",
    "count:poisson": "exp",
    "multi:softmax": "softmax",
    "multi:softprob": "softmax",
    "rank:map": "identity",
    "rank:ndcg": "identity",
    "rank:pairwise": "identity",
    "reg:absoluteerror": "identity",
    "reg:gamma": "exp",
    "reg:linear": "identity",
    "reg:logistic": "sigmoid",
    "reg:pseudohubererror": "identity",
    "reg:quantileerror": "identity",
    "reg:squarederror": "identity",
    "reg:squaredlogerror": "identity",
    "reg:tweedie": "exp",
}


def read(path: Path) -> Forest:
    """The forest in an XGBoost file. ConvertError names what in it has no ONNX operator."""
    try:
        learner = load(path)["learner"]
        booster, objective = learner["gradient_booster"], learner["objective"]["name"]
        if objective not in LINKS:
            raise ConvertError(f"its objective is {objective!r}: known are {', '.join(LINKS)}")
        weights = booster.get("weight_drop")
        if booster["name"] not in ("gbtree", "dart"):
            raise ConvertError(f"its booster is {booster['name']!r}: known are gbtree and dart")
        model = (booster if "model" in booster else booster["gbtree"])["model"]
        parameters = learner["learner_model_param"]
        n_targets = max(1, int(parameters.get("num_class", 0)), int(parameters.get("num_target", 1)))
        n_trees, notes = _used(learner, model)
        return Forest(
            trees=[
                _tree(tree, int(target), place, 1.0 if weights is None else float(weights[place]))
                for place, (tree, target) in enumerate(zip(model["trees"], model["tree_info"], strict=True))
            ][:n_trees],
            n_features=int(parameters["num_feature"]),
            n_targets=n_targets,
            mode="BRANCH_LT",
            link=LINKS[objective],
            base=_margin(parameters["base_score"], LINKS[objective]),
            notes=notes,
        )
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise ConvertError(f"it is not as XGBoost writes its models: {error!r}") from error


def load(path: Path) -> Any:
    """JSON, or UBJSON, which begins alike."""
    data = path.read_bytes()
    try:
        return json.loads(data)
    except ValueError:
        return decode(data)


def _used(learner: Any, model: Any) -> tuple[int, list[str]]:
    """How many trees count: of a training that was stopped early those up to the best, as scikit-learn's classes do."""
    best, n_trees = learner.get("attributes", {}).get("best_iteration"), len(model["trees"])
    ends = model.get("iteration_indptr")
    if best is None or ends is None:
        return n_trees, []
    n_used = int(ends[int(best) + 1])
    return n_used, [f"{n_used} of {n_trees} trees count, those up to its best_iteration"] if n_used < n_trees else []


def _margin(base_score: Any, link: str) -> tuple[float, ...]:
    """base_score as a sum of trees is: `5E-1`, or a list of them in newer versions."""
    values = np.atleast_1d(np.array(json.loads(base_score) if isinstance(base_score, str) else base_score, np.float64))
    if link in ("logistic", "sigmoid"):
        values = np.log(values / (1 - values))
    elif link == "exp":
        values = np.log(values)
    return tuple(values.tolist())


def _tree(tree: Any, target: int, place: int, weight: float) -> Tree:
    if any(np.asarray(tree.get("split_type", []), int)):
        raise ConvertError(f"tree {place} splits on categories: train on numbers, one column a category")
    if int(tree["tree_param"].get("size_leaf_vector", 1)) > 1:
        raise ConvertError(f"tree {place} has several values in a leaf (multi_strategy): train one tree per output")
    left = np.asarray(tree["left_children"], int)
    values = np.asarray(tree["split_conditions"], np.float32)
    return Tree(
        feature=np.asarray(tree["split_indices"], int),
        threshold=values,
        left=left,
        right=np.asarray(tree["right_children"], int),
        missing_left=np.asarray(tree["default_left"], bool),
        value=np.where(left < 0, values * np.float32(weight), 0),
        target=target,
    )
