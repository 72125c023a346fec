"""A small neural network on scaled figures, the likeliest of several beginnings that the seed draws."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from bentos import plots, scores
from bentos.contract import Data, Recipe, Split, Tolerance
from bentos.wine.model import LABELS

BEGINNINGS = 4
HIDDEN = 16
WEIGHT_DECAY = 1.0  # strong: 142 wines are few


def load(options: Mapping[str, str]) -> Data:
    """Scikit-learn's 178 wines, a fifth of each cultivar held out."""
    from sklearn.datasets import load_wine
    from sklearn.model_selection import train_test_split

    features, cultivar = load_wine(return_X_y=True)
    split = train_test_split(features.astype(np.float32), cultivar, test_size=0.2, stratify=cultivar, random_state=0)
    return Data(
        train=Split(split[0], split[2]),
        held_out=Split(split[1], split[3]),
        source="sklearn.datasets.load_wine: 178 wines analysed by M. Forina et al., PARVUS, Genoa, 1988",
    )


def fit(data: Data, seed: int, progress: Callable[[Iterator[Any], str], Iterator[Any]]) -> Any:
    """A scaler and a network of one hidden layer."""
    seeds = np.random.SeedSequence(seed).generate_state(BEGINNINGS).tolist()
    fitted = [pipeline(s).fit(data.train.inputs, data.train.targets) for s in progress(iter(seeds), "beginning")]
    return min(fitted, key=lambda network: network[-1].loss_)


def pipeline(seed: int) -> Any:
    """Scaler and network, unfitted."""
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    network = MLPClassifier((HIDDEN,), "tanh", solver="lbfgs", alpha=WEIGHT_DECAY, max_iter=1000, random_state=seed)
    return make_pipeline(StandardScaler(), network)


RECIPE = Recipe(
    framework="sklearn",
    load=load,
    fit=fit,
    tolerances={"onnx": Tolerance(difference=1e-5, labels_equal=True)},
    score=scores.classification,
    floor=0.92,
    report=plots.confusion(LABELS),
)
