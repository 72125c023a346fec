"""XGBoost: a Booster, or one of its scikit-learn classes, as XGBoost's UBJSON."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bentos.contract import Arrays, Model, Signature
from bentos.frameworks import booster

FILE = "model.ubj"
LIBRARIES = ("xgboost",)


def save(fitted: Any, path: Path) -> None:
    """The trees as data. Of a training that was stopped early, those up to the best."""
    _up_to_the_best(_booster(fitted)).save_model(path)


def load(model: Model, path: Path) -> Any:
    """A Booster."""
    from xgboost import Booster

    return _up_to_the_best(Booster(model_file=str(path)))


def run(signature: Signature, fitted: Any, inputs: Arrays) -> Arrays:
    """A value, or label and probabilities; NaN is a value that is missing."""
    from xgboost import DMatrix

    (rows,) = inputs.values()
    return booster.outputs(signature, _booster(fitted).predict(DMatrix(rows)))


def _up_to_the_best(grown: Any) -> Any:
    best = grown.attributes().get("best_iteration")
    return grown if best is None else grown[: int(best) + 1]


def _booster(fitted: Any) -> Any:
    return fitted.get_booster() if hasattr(fitted, "get_booster") else fitted
