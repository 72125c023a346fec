"""What a recipe's `fit` may give, a file for each framework: how it is saved, loaded and run.

Each has FILE (what it is called in artifacts and store), LIBRARIES (whose versions decide what comes out), and the
three functions of `Framework`; a new one is a new file here, and a function in convert/export.py that makes ONNX of it.
Libraries are imported when a function needs one.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any, Protocol, cast

from bentos.contract import FRAMEWORKS, Arrays, Model, Signature


class UnreadableError(Exception):
    """A file that its framework does not read back; the message says what is in the way."""


class Framework(Protocol):
    """The module of a framework."""

    FILE: str
    LIBRARIES: tuple[str, ...]

    def save(self, fitted: Any, path: Path) -> None:
        """Write the trained object; the same weights give the same bytes."""

    def load(self, model: Model, path: Path) -> Any:
        """The trained object, and no code of the file's. UnreadableError"""

    def run(self, signature: Signature, fitted: Any, inputs: Arrays) -> Arrays:
        """Named input tensors → named output tensors as the signature says."""


def framework(name: str) -> Framework:
    """The module of a framework."""
    return cast(Framework, importlib.import_module(f"bentos.frameworks.{name}"))


FILES = {name: framework(name).FILE for name in FRAMEWORKS}
