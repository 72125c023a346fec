"""The trained forms of iris through the real commands, and what a tightened tolerance does."""

import dataclasses
import json
from pathlib import Path

import bentoml
import pytest

from bentos import certificate as proof
from bentos import contract
from bentos.contract import Tolerance
from bentos.meaning import Meaning
from convert.__main__ import main
from tests.certificates import stored_certificate
from train.run import train


def test_iris_end_to_end(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    record = train("iris", 0, {}, tmp_path)
    recipe = contract.recipe("iris")
    strict = {"onnx": Tolerance(difference=0.0, labels_equal=True)}
    monkeypatch.setattr(contract, "recipe", lambda name: dataclasses.replace(recipe, tolerances=strict))
    assert main(["iris", "--artifacts", str(tmp_path), "--forms", "onnx"]) == 1
    assert "refused, not saved: max difference from sklearn is" in capsys.readouterr().err
    assert not bentoml.models.list()

    monkeypatch.setattr(contract, "recipe", lambda name: recipe)
    assert main(["iris", "--artifacts", str(tmp_path)]) == 0
    for form in ("sklearn", "onnx"):
        stored = bentoml.models.get(f"iris-{form}:{record.version}")
        metadata = stored_certificate(stored)
        certificate = proof.verify(metadata, Path(stored.path), form)
        assert certificate.signature == contract.model("iris").signature
        assert certificate.training == record.training
        assert certificate.dataset == record.dataset
        assert certificate.reference == record.reference
        assert certificate.meaning == Meaning.of(contract.model("iris"))
        assert certificate.difference.max <= 1e-5 and certificate.difference.labels_differing == 0
        assert certificate.intervals["accuracy"].rows == 30
        assert json.loads(json.dumps(metadata)) == metadata == certificate.to_dict()
    assert certificate.onnx is not None and set(certificate.onnx.opset) == {"ai.onnx", "ai.onnx.ml"}


def test_help_lists_models_and_their_forms(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    text = capsys.readouterr().out
    assert "iris" in text and "sklearn, onnx" in text and "import my.onnx --name mine" in text and "--force" in text


@pytest.mark.parametrize("wrong", [["tulips"], ["iris", "--forms", "tensorrt"]])
def test_unknown_names_are_told_what_there_is(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(wrong)
    assert "there is" in capsys.readouterr().err
