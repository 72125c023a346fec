"""The README's kettle as a folder of its own, as its author wrote it or with a mistake in it."""

import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import bentos
from bentos import contract
from tests.conftest import ROOT


class Kettle:
    """A folder `kettle` beside no other, where bentos/ would be."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.folder = folder / "kettle"
        self.folder.mkdir(parents=True)
        readme = (ROOT / "README.md").read_text()
        for name, code in re.findall(r"```python\n# bentos/kettle/(\w+\.py)\n(.*?)```", readme, re.S):
            (self.folder / name).write_text(code)
        (examples,) = re.findall(r"```json\n(.*?)```", readme, re.S)
        (self.folder / "examples.json").write_text(examples)
        patch.setattr(contract, "BENTOS", folder)
        patch.setattr(bentos, "__path__", [str(folder), *bentos.__path__])
        self.forget()

    def edit(self, file: str, old: str, new: str) -> None:
        """Put one text in the place of another, and read the folder anew."""
        text = (self.folder / file).read_text()
        assert old in text, old
        (self.folder / file).write_text(text.replace(old, new, 1))
        self.forget()

    def forget(self) -> None:
        """The next import reads the files."""
        for module in [name for name in sys.modules if name.startswith("bentos.kettle")]:
            del sys.modules[module]
        importlib.invalidate_caches()
        sys.dont_write_bytecode = True  # two edits within a second are two


@pytest.fixture
def kettle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kettle]:
    """The folder, until the test ends."""
    folder = Kettle(tmp_path / "bentos", monkeypatch)
    yield folder
    folder.forget()
