"""What a recipe's `fit` gave, on disk and in use, by whichever framework: saved, loaded, run; and its version."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

from bentos.certificate import plain
from bentos.contract import Arrays, Model
from bentos.frameworks import FILES, UnreadableError, framework
from bentos.meaning import Meaning

__all__ = [
    "FILES",
    "UnreadableError",
    "libraries",
    "library_version",
    "load",
    "numbered",
    "predictor",
    "save",
    "version",
]


def save(name: str, fitted: Any, path: Path) -> None:
    """Write the trained object of a framework; the same weights give the same bytes."""
    framework(name).save(fitted, path)


def load(model: Model, name: str, path: Path) -> Any:
    """The trained object of a framework; never from a pickle. UnreadableError where it does not trust the file."""
    return framework(name).load(model, path)


def predictor(model: Model, name: str, fitted: Any) -> Callable[[Arrays], Arrays]:
    """Named input tensors → named output tensors as the signature says, from a trained object."""
    run = framework(name).run
    return lambda inputs: run(model.signature, fitted, inputs)


def libraries(name: str) -> tuple[str, ...]:
    """The libraries of a framework, as they are called where they are installed from."""
    return framework(name).LIBRARIES


def library_version(name: str) -> str:
    """The version of a library that is installed, XGBoost's also where it is the build without GPUs."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return metadata.version(f"{name}-cpu")


def version(path: Path, model: Model) -> str:
    """A number that follows from the weights, the signature and the meaning: all forms of one training run share it.

    A number since Triton's clients take versions for numbers: perf_analyzer finds no statistics of another.
    """
    digest = hashlib.sha256(path.read_bytes())
    digest.update(json.dumps(plain([model.signature, Meaning.of(model)]), sort_keys=True).encode())
    return numbered(digest.digest())


def numbered(digest: bytes) -> str:
    """A version from a digest: its first 48 bits in decimal."""
    return str(int.from_bytes(digest[:6]))
