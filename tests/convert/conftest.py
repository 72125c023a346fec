"""A BentoML store of the test's own, and a toy model where a folder of bentos/ would be."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.convert import toy
from tests.kettle import kettle

__all__ = ["kettle", "store", "toy_model"]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Path]:
    """An empty store: BentoML's own way of being given one, whatever home the process began with."""
    from bentoml._internal.configuration.containers import BentoMLContainer
    from bentoml._internal.models import ModelStore

    folder = tmp_path / "store"
    folder.mkdir()
    BentoMLContainer.model_store.set(ModelStore(folder))
    yield folder
    BentoMLContainer.model_store.reset()


@pytest.fixture
def toy_model(monkeypatch: pytest.MonkeyPatch) -> str:
    toy.install(monkeypatch)
    return "toy"
