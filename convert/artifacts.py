"""What a training run left in artifacts/<model>/, checked before anything is made of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bentos import contract, folders, trained
from bentos.contract import Arrays, Model, Recipe
from bentos.golden import unpacked
from bentos.meaning import Meaning
from bentos.record import NAME, ROWS, TrainingRecord, rows_key


class ConvertError(Exception):
    """A form that was not made or not saved; the message names the figure, the file or the tensor at fault."""


@dataclass(frozen=True)
class Artifacts:
    """One training run. `inputs`, `calibration` and `outputs` are rows by tensor name; `outputs` are as at training."""

    model: Model
    recipe: Recipe
    record: TrainingRecord
    file: Path
    inputs: Arrays
    targets: np.ndarray
    outputs: Arrays
    calibration: Arrays
    payloads: list[Any]  # the examples, as Model.rows takes them

    @property
    def version(self) -> str:
        """The number that all forms of this run share."""
        return self.record.version


def read(name: str, folder: Path) -> Artifacts:
    """The artifacts of one model. ConvertError says what to run if there are none or they do not belong together.

    ModelError where the model's folder is at fault.
    """
    model, recipe = contract.model(name), contract.recipe(name)
    payloads = folders.payloads(model)
    again = f"run `python -m train {name}`"
    if not (folder / NAME).is_file():
        raise ConvertError(f"{folder} holds no trained model: {again}")
    try:
        record = TrainingRecord.read(folder)
    except ValueError as error:
        raise ConvertError(f"{folder / NAME} cannot be read ({error}): {again}") from error
    if changed := record.meaning.differences(Meaning.of(model)):
        where = f"{contract.shown(name)}/model.py"
        raise ConvertError(f"{where} changed since it was trained: {'; '.join(changed)}: {again}")
    file = folder / trained.FILES[recipe.framework]
    if not file.is_file() or trained.version(file, model) != record.version:
        raise ConvertError(f"{file} or the signature of {name} changed since {NAME} was written: {again}")
    with np.load(folder / ROWS) as data:
        arrays = {key: unpacked(data[key]) for key in data.files}
    return Artifacts(
        model=model,
        recipe=recipe,
        record=record,
        file=file,
        inputs={t.name: arrays[rows_key(model, "inputs", t.name)] for t in model.signature.inputs},
        targets=arrays["targets"],
        outputs={t.name: arrays[f"output:{t.name}"] for t in model.signature.outputs},
        calibration={t.name: arrays[rows_key(model, "calibration", t.name)] for t in model.signature.inputs},
        payloads=payloads,
    )
