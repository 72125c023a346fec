"""A model's folder for a test to make mistakes in."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kettle import Kettle


@pytest.fixture
def kettle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kettle]:
    folder = Kettle(tmp_path / "bentos", monkeypatch)
    yield folder
    folder.forget()
