"""Gradient boosted trees on the logarithm of the price, judged on buildings that they have not seen."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bentos import scores
from bentos.contract import Arrays, Data, Recipe, Split, Tolerance
from bentos.homes import listings, table
from bentos.homes.model import BUILDING_TYPES, FIELDS, MODEL

TREES = 400
STEP = 20  # trees between two lines of progress
GENERATOR_SEED = 2026
NAMES = [f.name for f in FIELDS]


def load(options: Mapping[str, str]) -> Data:
    """Made-up listings, or those of `--csv`. The listings of a fifth of the buildings are held out."""
    if path := options.get("csv"):
        features, prices, building = table.read(Path(path))
        source = f"{Path(path).name}: {len(prices)} listings"
    else:
        features, prices, building = listings.listings(GENERATOR_SEED)
        source = f"bentos/homes/listings.py, seed {GENERATOR_SEED}: {len(prices)} made-up listings"
    held_out = split(building)
    return Data(Split(features[~held_out], prices[~held_out]), Split(features[held_out], prices[held_out]), source)


def split(building: np.ndarray) -> np.ndarray:
    """Which listings are held out: all of a building or none, as they resemble each other. (n,) bool"""
    every = np.unique(building)
    if len(every) < 5:
        raise ValueError(f"the listings are of {len(every)} buildings; holding a fifth out needs 5")
    held_out = np.random.default_rng(0).permutation(every)[: len(every) // 5]
    return np.isin(building, held_out)


def fit(data: Data, seed: int, progress: Callable[[Iterator[Any], str], Iterator[Any]]) -> Any:
    """Encoder and trees. Gamma loss has a logarithmic link: errors count by their share of the price."""
    from sklearn.ensemble import HistGradientBoostingRegressor
    from sklearn.pipeline import make_pipeline

    encode = encoder().fit(data.train.inputs)
    booster = HistGradientBoostingRegressor(
        loss="gamma", learning_rate=0.08, max_leaf_nodes=24, l2_regularization=1.0, max_features=0.6,
        early_stopping=False, warm_start=True, random_state=seed,
    )  # fmt: skip
    encoded = encode.transform(data.train.inputs)
    for trees in progress(iter(range(STEP, TREES + 1, STEP)), f"× {STEP} trees"):
        booster.set_params(max_iter=trees).fit(encoded, data.train.targets)
    return make_pipeline(encode, booster)


def encoder() -> Any:
    """The building's type one-hot; its number left out, as it says nothing of buildings not seen; the rest as it is."""
    from sklearn.compose import make_column_transformer
    from sklearn.preprocessing import OneHotEncoder

    kind, number = NAMES.index("building_type_int"), NAMES.index("building_id")
    rest = [i for i in range(len(NAMES)) if i not in (kind, number)]
    types = OneHotEncoder(categories=[np.arange(len(BUILDING_TYPES))], handle_unknown="ignore", sparse_output=False)
    return make_column_transformer(("passthrough", rest), (types, [kind]))


def report(data: Data, outputs: Arrays, folder: Path) -> None:
    """`errors.png`: predicted against listed price, and how the errors spread."""
    from matplotlib.figure import Figure

    price, predicted = data.held_out.targets / 1e6, outputs["price"].reshape(-1) / 1e6
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.loglog(price, predicted, ".", markersize=2, alpha=0.5)
    left.loglog([price.min(), price.max()], [price.min(), price.max()], "k-", linewidth=0.8)
    left.set(xlabel=f"listed, million {MODEL.unit}", ylabel=f"predicted, million {MODEL.unit}")
    right.hist((100 * (predicted / price - 1)).clip(-60, 100), bins=80)
    right.set(xlabel="error, % of the listed price", ylabel="held-out listings")
    figure.suptitle("Held-out buildings" + ("" if "made-up" not in data.source else ", made-up listings"))
    figure.savefig(folder / "errors.png", dpi=120)


RECIPE = Recipe(
    framework="sklearn",
    load=load,
    fit=fit,
    tolerances={"onnx": Tolerance(difference=1e-4, relative=True)},
    score=scores.regression,
    floor=0.8,
    options={"csv": "train on a real file of listings: the fields of bentos/homes/model.py and price, in roubles"},
    report=report,
)
