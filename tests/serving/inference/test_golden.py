"""What every start tries where it will answer; a form that is not as certified, or not of its folder, is refused."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from bentos import contract, folders, golden
from bentos.certificate import file_sha256, seal
from bentos.contract import Field, Fields, Model
from serving.api import interface
from serving.errors import EngineError
from serving.inference.golden import check_golden, check_payloads
from serving.inference.repository import Repository
from serving.lifecycle import Lifecycle
from serving.settings import Settings
from serving.telemetry.metrics import Metrics
from tests.certificates import certificate
from tests.conftest import copied_home

IRIS = contract.model("iris")
Load = Callable[[], Repository]


class Engine:
    """Twice its input, and a little more."""

    def __init__(self, more: float = 0.0, columns: int = 1) -> None:
        self.more, self.columns = more, columns

    def run(self, inputs: Any) -> list[np.ndarray]:
        total = 2 * inputs[0].sum(1, keepdims=True) + self.more
        return [np.repeat(total, self.columns, 1).astype(np.float32)]


def test_golden_rows_are_run_and_a_difference_is_said_with_its_figure(tmp_path: Path) -> None:
    rows = np.arange(20, dtype=np.float32).reshape(10, 2)
    issued = certificate()
    difference = replace(issued.difference, tolerance=0.01)
    written = golden.write(tmp_path, {"x": rows}, {"y": 2 * rows.sum(1, keepdims=True)}, difference)
    issued = replace(issued, golden=written)
    check_golden(Engine(), issued.signature, issued, tmp_path)
    check_golden(Engine(0.009), issued.signature, issued, tmp_path)
    with pytest.raises(EngineError, match=r"otherwise on this machine: max difference .* is 0.5, the tolerance 0.01"):
        check_golden(Engine(0.5), issued.signature, issued, tmp_path)
    with pytest.raises(EngineError, match=r"otherwise on this machine: max difference .* is nan"):
        check_golden(Engine(np.nan), issued.signature, issued, tmp_path)
    with pytest.raises(EngineError, match=r"gave y as float32 \[10, 2\]"):
        check_golden(Engine(columns=2), issued.signature, issued, tmp_path)
    check_golden(Engine(0.5), issued.signature, replace(issued, golden=replace(written, rows=0)), tmp_path)


def test_a_payload_is_pushed_through_and_all_examples_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    payload = Fields((Field("a", "", 0, 9, 1), Field("b", "", 0, 9, 1)))
    model = Model("m", "M", "", "v", payload, certificate().signature)
    monkeypatch.setattr(contract, "examples", lambda name: [{"a": 1, "b": 2}])
    check_payloads(Engine(), model)
    check_payloads(Engine(), replace(model, payload=None))
    with pytest.raises(contract.ModelError, match=r"payload 0 is not answered: the engine gives y as float32 \[3\] a"):
        check_payloads(Engine(columns=3), model)
    monkeypatch.setattr(contract, "examples", lambda name: [{"a": 1, "b": 2}, {"a": 1, "c": 2}])
    with pytest.raises(contract.ModelError, match="payload 1: 'c' is no field: there is a, b"):
        check_payloads(Engine(), model)


@pytest.fixture
def home(store: Path, tmp_path: Path) -> Path:
    return copied_home(store, tmp_path, "iris-onnx", "wine-onnx")


@pytest.fixture
def load(home: Path) -> Iterator[Load]:
    """Loads the forms of `home`, as a worker does at its start."""
    from bentoml._internal.configuration.containers import BentoMLContainer
    from bentoml._internal.models import ModelStore

    def loaded() -> Repository:
        repository = Repository(Settings(), Metrics())
        repository.load()
        return repository

    BentoMLContainer.model_store.set(ModelStore(home / "models"))
    yield loaded
    BentoMLContainer.model_store.reset()


def reissue(home: Path, change: Callable[[dict[str, Any], Path], None]) -> None:
    """Change the certificate of iris-onnx and seal it anew: who can write the store can issue one."""
    (described,) = (home / "models" / "iris-onnx").glob("*/model.yaml")
    metadata = yaml.safe_load(described.read_text())
    issued = metadata["metadata"]["certificate"]
    change(issued, described.parent)
    issued["seal"] = seal(issued)
    described.write_text(yaml.safe_dump(metadata))


def of_folder(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder bentos/iris as it would be after an edit."""
    original = contract.model
    monkeypatch.setattr(contract, "model", lambda name: model if name == "iris" else original(name))


async def test_what_is_as_it_was_is_served(load: Load) -> None:
    repository = load()
    assert {"iris", "iris-onnx", "wine"} <= set(repository.served) and not repository.refused


FIELDS = IRIS.payload.fields if isinstance(IRIS.payload, Fields) else ()


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (replace(IRIS, labels=IRIS.labels[::-1]), "labels: certified is 0 setosa, 2 virginica, the folder says 0 virg"),
        (
            replace(IRIS, payload=Fields((FIELDS[1], FIELDS[0], *FIELDS[2:]))),
            "fields: certified is 0 sepal_length (float, cm), 1 sepal_width (float, cm), the folder says 0 sepal_width",
        ),
        (replace(IRIS, postprocess=lambda outputs: []), "the source of postprocess changed"),
    ],
)
async def test_a_form_of_another_folder_is_refused_with_what_differs(
    changed: Model, words: str, load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_folder(changed, monkeypatch)
    repository = load()
    assert set(repository.refused) == {"iris", "iris-onnx"} and {"wine", "wine-onnx"} <= set(repository.served)
    refusal = repository.refused["iris-onnx"].refusal
    assert refusal.startswith("iris-onnx:") and words in refusal and "Train and convert again" in refusal


async def test_a_form_whose_golden_rows_differ_here_is_refused_with_the_figure(home: Path, load: Load) -> None:
    def other_outputs(issued: dict[str, Any], folder: Path) -> None:
        file = folder / "golden.npz"
        inputs, outputs = golden.read(file)
        outputs["probabilities"] += np.float32(0.25)
        named: dict[str, Any] = {f"input:{k}": v for k, v in inputs.items()} | {
            f"output:{k}": v for k, v in outputs.items()
        }
        np.savez_compressed(file, **named)
        issued["golden"]["sha256"] = file_sha256(file)

    reissue(home, other_outputs)
    repository = load()
    assert "golden rows are answered otherwise on this machine: max difference from what is certified is 0.25" in (
        repository.refused["iris-onnx"].refusal
    )
    assert "wine" in repository.served


async def test_a_certificate_of_another_model_is_refused(home: Path, load: Load) -> None:
    reissue(home, lambda issued, _: issued.update(model="wine"))
    assert "its certificate is of wine" in load().refused["iris-onnx"].refusal


async def test_a_certificate_of_before_is_refused_with_what_to_do(home: Path, load: Load) -> None:
    reissue(home, lambda issued, _: issued.update(schema=1))
    assert "has schema 1, this service reads 2: train and convert again" in load().refused["iris-onnx"].refusal


async def test_a_folders_mistake_refuses_that_model_alone(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    original = contract.examples
    monkeypatch.setattr(contract, "examples", lambda name: [{"petal": 1}] if name == "iris" else original(name))
    repository = load()
    assert "bentos/iris/examples.json, payload 0: 'petal' is no field" in repository.refused["iris-onnx"].refusal
    assert "wine" in repository.served
    monkeypatch.setattr(contract, "examples", original)

    read = folders.model

    def broken(name: str) -> Model:
        if name == "iris":
            raise contract.ModelError("bentos/iris/model.py, line 3: field a: low=3 is above high=1")
        return read(name)

    monkeypatch.setattr(folders, "model", broken)
    repository = load()
    assert "line 3: field a: low=3 is above high=1" in repository.refused["iris-onnx"].refusal
    assert "wine" in repository.served
    paths = interface.routes(repository, Lifecycle())
    assert "/wine/classify" in paths and "/iris/classify" not in paths
