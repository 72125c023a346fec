"""LightGBM: a Booster, or one of its scikit-learn classes, as LightGBM's text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bentos.contract import Arrays, Model, Signature
from bentos.frameworks import booster

FILE = "model.txt"
LIBRARIES = ("lightgbm",)


def save(fitted: Any, path: Path) -> None:
    """The trees as text."""
    getattr(fitted, "booster_", fitted).save_model(path)


def load(model: Model, path: Path) -> Any:
    """A Booster."""
    from lightgbm import Booster

    return Booster(model_file=str(path))


def run(signature: Signature, fitted: Any, inputs: Arrays) -> Arrays:
    """A value, or label and probabilities."""
    (rows,) = inputs.values()
    return booster.outputs(signature, getattr(fitted, "booster_", fitted).predict(rows))
