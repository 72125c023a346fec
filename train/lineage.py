"""What a trained model comes from: digests of its data, its code, and of all that decides what comes out."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping
from importlib.metadata import version as library
from pathlib import Path

import numpy as np

from bentos import contract, trained
from bentos.certificate import Dataset
from bentos.contract import Data, ModelError
from bentos.record import TrainingRecord


def describe(data: Data) -> Dataset:
    """Where the data came from, and a digest that says whether it is the same data."""
    digest = hashlib.sha256()
    for array in (data.train.inputs, data.train.targets, data.held_out.inputs, data.held_out.targets):
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return Dataset(data.source, digest.hexdigest(), len(data.train.inputs), len(data.held_out.inputs))


def code(name: str) -> str:
    """sha256 over the Python files of a model's folder: the code that made the model."""
    digest = hashlib.sha256()
    for path in sorted(contract.folder(name).glob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def inputs(name: str, seed: int, options: Mapping[str, str]) -> str:
    """sha256 over all that decides what comes out: code, seed, options with the files that they name, libraries."""
    digest = hashlib.sha256(code(name).encode())
    digest.update(json.dumps([seed, sorted(options.items()), libraries(contract.recipe(name).framework)]).encode())
    for path in sorted(file for value in options.values() for file in (Path(value), *Path(value).glob("*"))):
        if path.is_file():
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def unchanged(name: str, seed: int, options: Mapping[str, str], out: Path) -> TrainingRecord | None:
    """What `training.json` says, if the artifacts are whole and training again would give the same. ModelError"""
    model, file = contract.model(name), out / name / trained.FILES[contract.recipe(name).framework]
    try:
        record = TrainingRecord.read(out / name)
        same = record.inputs == inputs(name, seed, options)
        return record if same and record.version == trained.version(file, model) else None
    except ModelError:
        raise
    except (OSError, ValueError):
        return None


def libraries(framework: str) -> dict[str, str]:
    """The versions of what trains with a framework."""
    return {"python": platform.python_version()} | {
        name: library(name) for name in ("numpy", *trained.libraries(framework))
    }
