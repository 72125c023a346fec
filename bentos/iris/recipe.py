"""Multinomial logistic regression on scaled measurements, as strongly regularised as cross-validation asks for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from bentos import plots, scores
from bentos.contract import Data, Recipe, Split, Tolerance
from bentos.iris.model import LABELS

INVERSE_STRENGTHS = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0)


def load(options: Mapping[str, str]) -> Data:
    """Scikit-learn's 150 irises, a fifth of each species held out."""
    from sklearn.datasets import load_iris
    from sklearn.model_selection import train_test_split

    features, species = load_iris(return_X_y=True)
    split = train_test_split(features.astype(np.float32), species, test_size=0.2, stratify=species, random_state=0)
    return Data(
        train=Split(split[0], split[2]),
        held_out=Split(split[1], split[3]),
        source="sklearn.datasets.load_iris: 150 irises measured by Edgar Anderson, published by R. A. Fisher, 1936",
    )


def fit(data: Data, seed: int, progress: Callable[[Iterator[Any], str], Iterator[Any]]) -> Any:
    """A scaler and a classifier. The seed shuffles the folds; the fit itself has one optimum whatever the seed."""
    from sklearn.model_selection import StratifiedKFold, cross_val_score

    folds = StratifiedKFold(5, shuffle=True, random_state=seed)

    def likelihood(c: float) -> float:
        score = cross_val_score(pipeline(c), data.train.inputs, data.train.targets, cv=folds, scoring="neg_log_loss")
        return float(score.mean())

    best = max(progress(iter(INVERSE_STRENGTHS), "regularisation"), key=likelihood)
    return pipeline(best).fit(data.train.inputs, data.train.targets)


def pipeline(c: float) -> Any:
    """Scaler and classifier, unfitted; `c` is the inverse of the regularisation."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=1000))


RECIPE = Recipe(
    framework="sklearn",
    load=load,
    fit=fit,
    tolerances={"onnx": Tolerance(difference=1e-5, labels_equal=True)},
    score=scores.classification,
    floor=0.9,
    report=plots.confusion(LABELS),
)
