"""What a training run says of itself in artifacts/<model>/training.json: written by train, read by convert."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import msgspec

from bentos.certificate import Dataset, Histogram, Training, plain
from bentos.contract import Model, Signature
from bentos.meaning import Meaning

NAME = "training.json"
ROWS = "data.npz"  # the rows that certificates are judged on


def rows_key(model: Model, part: str, tensor: str) -> str:
    """What an input's rows are called in data.npz: `inputs` or `calibration`, with its name unless it is the first."""
    return part if tensor == model.signature.inputs[0].name else f"{part}:{tensor}"


@dataclass(frozen=True)
class TrainingRecord:
    """One training run."""

    model: str
    version: str
    framework: str
    dataset: Dataset
    training: Training
    inputs: str  # sha256 of all that decides what comes out
    signature: Signature
    meaning: Meaning
    reference: dict[str, Histogram]
    floor: float | None = None
    files: tuple[str, ...] = ()  # paths of all that were read

    def write(self, folder: Path) -> None:
        """Write folder/training.json."""
        (folder / NAME).write_text(json.dumps(plain(self), indent=2) + "\n")

    @classmethod
    def read(cls, folder: Path) -> TrainingRecord:
        """Read folder/training.json. OSError if it is not there, ValueError if it is not as this class says."""
        return msgspec.convert(json.loads((folder / NAME).read_text()), cls)
