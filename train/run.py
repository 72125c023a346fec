"""One training run: data → fit → held-out metrics → `artifacts/<model>/`, which is all that convert reads."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from bentos import contract, trained
from bentos.contract import Arrays, Data, Model, Recipe
from train.lineage import code, describe, inputs, libraries
from train.progress import progress
from train.reference import reference

CALIBRATION_ROWS = 256


class TrainingError(Exception):
    """A run whose model is not good enough to keep; the message names the figure."""


def train(name: str, seed: int, options: Mapping[str, str], out: Path) -> dict[str, Any]:
    """Train one model, write its artifacts, and return what `training.json` says."""
    model, recipe = contract.model(name), contract.recipe(name)
    begun = time.monotonic()
    seed_everything(recipe.framework, seed)
    data = recipe.load(options)
    with one_thread(recipe.framework):
        fitted = recipe.fit(data, seed, progress(name))
    outputs = trained.predictor(model, recipe.framework, fitted)(rows(model, data.held_out.inputs))
    metrics = judge(recipe, data, outputs)
    record = {
        "model": name,
        "framework": recipe.framework,
        "seed": seed,
        "options": dict(options),
        "dataset": describe(data),
        "metrics": metrics,
        "floor": recipe.floor,
        "code": code(name),
        "inputs": inputs(name, seed, options),
        "libraries": libraries(recipe.framework),
        "signature": model.signature.as_dict(),
        "reference": reference(model, rows(model, data.train.inputs), outputs),
        "seconds": round(time.monotonic() - begun, 2),
    }
    return write(out / name, data, fitted, outputs, record)


def seed_everything(framework: str, seed: int) -> None:
    """Also what a recipe may draw from without saying so, so that one seed gives one set of weights."""
    random.seed(seed)
    np.random.seed(seed)
    if framework == "pytorch":
        import torch

        torch.manual_seed(seed)
        torch.use_deterministic_algorithms(True)


def one_thread(framework: str) -> AbstractContextManager[Any]:
    """Sums depend on their order, and that on how many cores there are. A recipe of PyTorch sees to it by itself."""
    if framework != "sklearn":
        return nullcontext()
    from threadpoolctl import threadpool_limits

    limits: AbstractContextManager[Any] = threadpool_limits(1)
    return limits


def judge(recipe: Recipe, data: Data, outputs: Arrays) -> dict[str, float]:
    """The held-out metrics; TrainingError if the headline is below the recipe's floor."""
    metrics = recipe.score(data.held_out.targets, outputs)
    headline, figure = next(iter(metrics.items()))
    if recipe.floor is not None and not figure >= recipe.floor:
        raise TrainingError(f"held-out {headline} is {figure:.4g}, the floor is {recipe.floor:g}: nothing was written")
    return {key: float(value) for key, value in metrics.items()}


def rows(model: Model, inputs: np.ndarray) -> Arrays:
    return {model.signature.inputs[0].name: inputs}


def write(folder: Path, data: Data, fitted: Any, outputs: Arrays, record: dict[str, Any]) -> dict[str, Any]:
    """The artifacts; `training.json` last, as it vouches for the others."""
    model, recipe = contract.model(record["model"]), contract.recipe(record["model"])
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / trained.FILES[recipe.framework]
    trained.save(recipe.framework, fitted, file)
    np.savez_compressed(folder / "data.npz", **arrays(data, outputs, record["seed"]))
    if recipe.report is not None:
        recipe.report(data, outputs, folder)
    record["version"] = trained.version(file, model.signature)
    (folder / "training.json").write_text(json.dumps(record, indent=2) + "\n")
    return record


def arrays(data: Data, outputs: Arrays, seed: int) -> dict[str, Any]:
    """What certificates are judged on: held-out rows, what the model gave for them, and rows to calibrate with."""
    chosen = np.random.default_rng(seed).permutation(len(data.train.inputs))[:CALIBRATION_ROWS]
    kept = {"inputs": data.held_out.inputs, "targets": data.held_out.targets, "calibration": data.train.inputs[chosen]}
    return kept | {f"output:{name}": array for name, array in outputs.items()}
