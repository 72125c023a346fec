"""What a trained model comes from: digests of its data, its code, and of all that decides what comes out."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from bentos import contract, trained
from bentos.certificate import Dataset, file_sha256
from bentos.contract import Data, ModelError
from bentos.golden import packed
from bentos.record import TrainingRecord


def describe(data: Data) -> Dataset:
    """Where the data came from, and a digest that says whether it is the same data."""
    digest = hashlib.sha256()
    for split in (data.train, data.held_out):
        named = sorted(split.inputs.items()) if isinstance(split.inputs, Mapping) else [("", split.inputs)]
        for name, array in (*named, ("", split.targets)):
            digest.update(f"{name}{array.dtype.str}{array.shape}".encode())
            digest.update(np.ascontiguousarray(packed(array)).tobytes())
    return Dataset(data.source, digest.hexdigest(), len(data.train.targets), len(data.held_out.targets))


def code(name: str) -> str:
    """sha256 over the Python files of a model's folder, also in folders of it: the code that made the model."""
    digest, folder = hashlib.sha256(), contract.folder(name)
    for path in sorted(folder.rglob("*.py")):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def files(options: Mapping[str, str], read: Iterable[Path]) -> list[Path]:
    """Every file that options name, however deep in a folder, and those that `load` said it read; each once."""
    named = [Path(value) for value in options.values()]
    nested = [path for place in named if place.is_dir() for path in place.rglob("*")]
    return sorted({path.absolute() for path in (*named, *nested, *read) if path.is_file()})


def digests(paths: Sequence[Path]) -> dict[str, str]:
    """folder/name → sha256 of each file."""
    return {f"{path.parent.name}/{path.name}": file_sha256(path) for path in paths}


def inputs(name: str, seed: int, options: Mapping[str, str], read: Sequence[Path]) -> str:
    """sha256 over all that decides what comes out: code, seed, options, the files that were read, libraries. OSError"""
    digest = hashlib.sha256(code(name).encode())
    digest.update(json.dumps([seed, sorted(options.items()), libraries(contract.recipe(name).framework)]).encode())
    for path in read:
        digest.update(path.name.encode() + b"\0" + file_sha256(path).encode())
    return digest.hexdigest()


def unchanged(name: str, seed: int, options: Mapping[str, str], out: Path) -> TrainingRecord | None:
    """What `training.json` says, if the artifacts are whole and training again would give the same. ModelError"""
    model, file = contract.model(name), out / name / trained.FILES[contract.recipe(name).framework]
    try:
        record = TrainingRecord.read(out / name)
        read = files(options, map(Path, record.files))
        same = record.inputs == inputs(name, seed, options, read) and [*map(str, read)] == [*record.files]
        return record if same and record.version == trained.version(file, model) else None
    except ModelError:
        raise
    except (OSError, ValueError):
        return None


def libraries(framework: str) -> dict[str, str]:
    """The versions of what trains with a framework."""
    return {"python": platform.python_version()} | {
        name: trained.library_version(name) for name in ("numpy", *trained.libraries(framework))
    }
