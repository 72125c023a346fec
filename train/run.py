"""One training run: data → fit → held-out metrics → `artifacts/<model>/`, which is all that convert reads."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from bentos import contract, folders, trained
from bentos.certificate import Interval, Training
from bentos.contract import Arrays, Data, Model, Recipe
from bentos.golden import packed
from bentos.meaning import Meaning
from bentos.record import ROWS, TrainingRecord, rows_key
from bentos.reference import reference
from bentos.rehearsal import Run, rehearse
from bentos.scores import accuracy_interval
from train.check import TrainingError, check_data, check_outputs
from train.lineage import code, describe, digests, files, inputs, libraries
from train.progress import progress

CALIBRATION_ROWS = 256


def train(name: str, seed: int, options: Mapping[str, str], out: Path) -> TrainingRecord:
    """Train one model, write its artifacts, and return what `training.json` says. ModelError, TrainingError"""
    model, recipe = contract.model(name), contract.recipe(name)
    payloads = folders.payloads(model)
    begun = time.monotonic()
    seed_everything(recipe.framework, seed)
    data = replace(recipe.load(options), options=dict(options))
    read = files(options, data.files)
    origin, read_digests = inputs(name, seed, options, read), digests(read)  # as they were when they were read
    check_data(model, data)
    with one_thread(recipe.framework):
        fitted = recipe.fit(data, seed, progress(name))
    run = trained.predictor(model, recipe.framework, fitted)
    outputs = predict(run, data.held_out.tensors(model.signature))
    check_outputs(outputs)
    rehearse(model, run, payloads)
    metrics = judge(recipe, data, outputs)
    training = Training(
        metrics=metrics,
        intervals=intervals(data.held_out.targets, outputs, metrics),
        seed=seed,
        options=dict(options),
        files=read_digests,
        code=code(name),
        seconds=round(time.monotonic() - begun, 2),
        libraries=libraries(recipe.framework),
    )
    save(out / name, model, recipe, fitted)
    record = TrainingRecord(
        model=name,
        version=trained.version(out / name / trained.FILES[recipe.framework], model),
        framework=recipe.framework,
        dataset=describe(data),
        training=training,
        inputs=origin,
        signature=model.signature,
        meaning=Meaning.of(model),
        reference=reference(model, data.train.tensors(model.signature), outputs),
        floor=recipe.floor,
        files=tuple(map(str, read)),
    )
    write(out / name, model, recipe, data, outputs, record)
    return record


def predict(run: Run, inputs: Arrays) -> Arrays:
    """What the fitted object gives. TrainingError where it does not give what the signature says"""
    try:
        return run(inputs)
    except Exception as error:
        raise TrainingError(f"what fit() gives does not answer the held-out rows: {error}") from error


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


def intervals(targets: np.ndarray, outputs: Arrays, metrics: Mapping[str, float]) -> dict[str, Interval]:
    """The confidence intervals of those metrics that are shares of rows."""
    interval = accuracy_interval(targets, outputs) if "accuracy" in metrics else None
    return {} if interval is None else {"accuracy": interval}


def save(folder: Path, model: Model, recipe: Recipe, fitted: Any) -> None:
    """The trained object's file, which is read back. TrainingError, and no file, where its framework cannot."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / trained.FILES[recipe.framework]
    draft = folder / f"draft-{file.name}"
    try:
        trained.save(recipe.framework, fitted, draft)
        trained.load(model, recipe.framework, draft)
        draft.replace(file)
    except Exception as error:
        draft.unlink(missing_ok=True)
        raise TrainingError(
            f"what fit() gives cannot be kept as {file.name}: {' '.join(str(error).split())}"
        ) from error


def write(folder: Path, model: Model, recipe: Recipe, data: Data, outputs: Arrays, record: TrainingRecord) -> None:
    """The other artifacts; `training.json` last, as it vouches for all."""
    rows = arrays(model, data, outputs, record.training.seed)
    np.savez_compressed(folder / ROWS, **{name: packed(array) for name, array in rows.items()})  # type: ignore[arg-type]
    if recipe.report is not None:
        recipe.report(data, outputs, folder)
    record.write(folder)


def arrays(model: Model, data: Data, outputs: Arrays, seed: int) -> dict[str, Any]:
    """What certificates are judged on: held-out rows, what the model gave for them, and rows to calibrate with."""
    sample = np.random.default_rng(seed).permutation(len(data.train.targets))[:CALIBRATION_ROWS]
    held_out, trained_on = (split.tensors(model.signature) for split in (data.held_out, data.train))
    rows = {rows_key(model, "inputs", name): array for name, array in held_out.items()}
    rows |= {rows_key(model, "calibration", name): array[sample] for name, array in trained_on.items()}
    rows["targets"] = data.held_out.targets
    return rows | {f"output:{name}": array for name, array in outputs.items()}
