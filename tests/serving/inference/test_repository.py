"""Which models must answer for the process to be ready: EKIBEN_READY."""

from types import SimpleNamespace

import pytest

from serving.errors import SettingsError
from serving.inference.repository import Repository
from serving.settings import Settings
from serving.telemetry.metrics import Metrics


def repository(ready):
    """One in which iris answers and wine is refused."""
    box = Repository(Settings(ready=ready), Metrics())
    box.served["iris"] = SimpleNamespace(model=SimpleNamespace(name="iris"))
    box.refused["wine-onnx"] = SimpleNamespace(model="wine")
    return box


@pytest.mark.parametrize(
    ("setting", "ready"), [("all", False), ("any", True), ("iris", True), ("wine", False), ("iris, wine", False)]
)
def test_a_refused_model_counts_as_is_set(setting, ready):
    assert repository(setting).ready is ready


def test_nothing_served_is_never_ready():
    box = repository("any")
    box.served.clear()
    assert not box.ready


def test_a_model_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setattr("serving.inference.repository.stored_forms", lambda *_: [])
    with pytest.raises(SettingsError, match="EKIBEN_READY names digit; there is all, any, iris, wine"):
        repository("digit").load()
