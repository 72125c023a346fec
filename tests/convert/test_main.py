"""A model or a form that cannot be converted is refused in its row, and the others go on."""

from pathlib import Path

import bentoml
import pytest

from convert.__main__ import main
from tests.conftest import ROOT
from tests.kettle import Kettle
from train.__main__ import main as train


@pytest.fixture
def artifacts(kettle: Kettle, tmp_path: Path) -> Path:
    """A kettle and irises, trained."""
    (kettle.folder.parent / "iris").symlink_to(ROOT / "bentos" / "iris")
    assert train(["--out", str(tmp_path / "artifacts"), "--strict"]) == 0
    return tmp_path / "artifacts"


def refused(printed: str) -> list[str]:
    return [line for line in printed.splitlines() if " refused: " in line]


def stored() -> set[str]:
    return {model.tag.name for model in bentoml.models.list()}


def test_a_folders_mistake_refuses_that_model_alone(
    kettle: Kettle, artifacts: Path, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["--artifacts", str(artifacts)]
    kettle.edit("examples.json", "litres", "liters")
    assert main(command) == 0
    (line,) = refused(capsys.readouterr().out)
    assert line.startswith("kettle") and "examples.json, payload 0: 'liters' is no field" in line
    assert stored() == {"iris-sklearn", "iris-onnx"}
    assert main([*command, "--strict"]) == 1
    assert main([*command, "kettle"]) == 1
    (kettle.folder / "examples.json").unlink()
    assert main(command) == 0
    assert "examples.json is missing" in refused(capsys.readouterr().out)[-1]


def test_an_optional_form_that_is_refused_stops_nothing(
    kettle: Kettle, artifacts: Path, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kettle.edit("recipe.py", 'tolerances={"onnx"', 'tolerances={"int8": Tolerance(difference=0.0), "onnx"')
    assert main(["kettle", "--artifacts", str(artifacts)]) == 0
    (line,) = refused(capsys.readouterr().out)
    assert line.split()[:2] == ["kettle", "int8"]
    assert stored() == {"kettle-sklearn", "kettle-onnx"}
    assert main(["kettle", "--artifacts", str(artifacts), "--strict"]) == 1


def test_a_meaning_that_changed_since_training_is_named(
    kettle: Kettle, artifacts: Path, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kettle.edit("model.py", '2200, "W"', '2200, "kW"')
    assert main(["kettle", "--artifacts", str(artifacts)]) == 1
    printed = capsys.readouterr().err
    assert "bentos/kettle/model.py changed since it was trained: fields: certified is 2 power (float, W)" in printed
    assert "run `python -m train kettle`" in printed
