"""What a training run left in artifacts/<model>/, checked before anything is made of it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bentos import contract, trained
from bentos.contract import Arrays, Model, Recipe


class ConvertError(Exception):
    """A form that was not made or not saved; the message names the figure, the file or the tensor at fault."""


@dataclass(frozen=True)
class Artifacts:
    """One training run. `inputs`, `calibration` and `outputs` are rows by tensor name; `outputs` are as at training."""

    model: Model
    recipe: Recipe
    record: dict[str, Any]  # training.json
    file: Path
    inputs: Arrays
    targets: np.ndarray
    outputs: Arrays
    calibration: Arrays

    @property
    def version(self) -> str:
        return str(self.record["version"])


def read(name: str, folder: Path) -> Artifacts:
    """The artifacts of one model. ConvertError says what to run if there are none or they do not belong together."""
    model, recipe = contract.model(name), contract.recipe(name)
    again = f"run `python -m train {name}`"
    if not (folder / "training.json").is_file():
        raise ConvertError(f"{folder} holds no trained model: {again}")
    record = json.loads((folder / "training.json").read_text())
    file = folder / trained.FILES[recipe.framework]
    if not file.is_file() or trained.version(file, model.signature) != record["version"]:
        raise ConvertError(f"{file} or the signature of {name} changed since training.json was written: {again}")
    with np.load(folder / "data.npz") as data:
        arrays = {key: data[key] for key in data.files}
    first = model.signature.inputs[0].name
    return Artifacts(
        model=model,
        recipe=recipe,
        record=record,
        file=file,
        inputs={first: arrays["inputs"]},
        targets=arrays["targets"],
        outputs={t.name: arrays[f"output:{t.name}"] for t in model.signature.outputs},
        calibration={first: arrays["calibration"]},
    )
