"""Training: the same twice, judged, described, and told to its author."""

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bentos import contract, trained
from tests.convert import toy
from train.__main__ import main
from train.check import TrainingError
from train.lineage import code
from train.run import train


@pytest.fixture(scope="module")
def iris(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The artifacts of iris."""
    folder = tmp_path_factory.mktemp("artifacts")
    assert main(["iris", "--out", str(folder), "--seed", "3"]) == 0
    return folder / "iris"


def test_a_seed_decides_the_version_and_the_bytes(tmp_path: Path) -> None:
    first, again = train("wine", 0, {}, tmp_path / "a"), train("wine", 0, {}, tmp_path / "b")
    other = train("wine", 1, {}, tmp_path / "c")
    assert first.version == again.version != other.version
    assert first.version.isdigit()
    assert (tmp_path / "a/wine/model.skops").read_bytes() == (tmp_path / "b/wine/model.skops").read_bytes()
    assert first.dataset == other.dataset


def test_a_network_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    toy.install(monkeypatch)
    first, again, other = (train("toy", seed, {}, tmp_path / f"{i}") for i, seed in enumerate((0, 0, 1)))
    assert first.version == again.version != other.version
    other_rows = train("toy", 0, {"rows-seed": "1"}, tmp_path / "rows")
    assert other_rows.dataset.sha256 != first.dataset.sha256
    assert other_rows.training.options == {"rows-seed": "1"}


def test_the_artifacts_lead_back_to_data_and_code(iris: Path) -> None:
    record = json.loads((iris / "training.json").read_text())
    assert record["dataset"]["rows"] == 120 and record["dataset"]["held_out_rows"] == 30
    assert record["training"]["code"] == code("iris") != code("wine")
    assert record["version"] == trained.version(iris / "model.skops", contract.model("iris"))
    with np.load(iris / "data.npz") as data:
        assert data["inputs"].shape == (30, 4) and data["calibration"].shape == (120, 4)
        assert data["output:probabilities"].shape == (30, 3)
    assert (iris / "confusion.png").read_bytes()[1:4] == b"PNG"


def test_what_is_saved_is_read_back_the_same(iris: Path) -> None:
    model = contract.model("iris")
    loaded = trained.load(model, "sklearn", iris / "model.skops")
    with np.load(iris / "data.npz") as data:
        outputs = trained.predictor(model, "sklearn", loaded)({"features": data["inputs"]})
        assert (outputs["probabilities"] == data["output:probabilities"]).all()
        assert outputs["label"].dtype == np.int64


def test_skops_files_with_other_types_are_not_loaded(tmp_path: Path) -> None:
    from skops.io import dump

    dump({"a": np.random.default_rng, "path": Path("/")}, tmp_path / "model.skops")
    with pytest.raises(trained.UnreadableError, match=r"model.skops holds .*, which skops does not trust"):
        trained.load(contract.model("iris"), "sklearn", tmp_path / "model.skops")


def test_a_model_below_its_floor_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    demanding = dataclasses.replace(contract.recipe("iris"), floor=1.01)
    monkeypatch.setattr(contract, "recipe", lambda name: demanding)
    with pytest.raises(TrainingError, match=r"held-out accuracy is .*, the floor is 1\.01"):
        train("iris", 0, {}, tmp_path)
    assert not list(tmp_path.iterdir())


def test_help_lists_models_and_the_recipes_options(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "--seed" in text and "--csv" in text and "homes: train on a real file" in text
    for name in contract.names():
        assert name in text


@pytest.mark.parametrize(
    ("wrong", "said"), [(["tulips"], "there is"), (["iris", "--csv", "x.csv"], "--csv is no option of iris")]
)
def test_what_cannot_be_meant_is_refused(wrong: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(wrong)
    assert said in capsys.readouterr().err


def test_if_changed_trains_only_what_would_come_out_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["iris", "--out", str(tmp_path), "--if-changed"]
    assert main(command) == 0
    assert re.search(
        r"accuracy .* 30 held-out rows of 150\niris: accuracy .* at 95 %, 30 rows\niris: version [0-9]+ in",
        capsys.readouterr().out,
    )
    assert main(command) == 0
    assert "up to date" in capsys.readouterr().out
    assert main([*command, "--seed", "1"]) == 0
    assert "held-out" in capsys.readouterr().out
    monkeypatch.setattr("train.lineage.code", lambda name: "edited")
    assert main([*command, "--seed", "1"]) == 0
    assert "held-out" in capsys.readouterr().out
    (tmp_path / "iris/model.skops").write_bytes(b"damaged")
    assert main([*command, "--seed", "1"]) == 0
    assert "held-out" in capsys.readouterr().out


def test_files_that_load_read_or_an_option_names_are_in_the_lineage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    toy.install(monkeypatch)
    nested, weights, fitted = tmp_path / "given/deep/er/rows.txt", tmp_path / "weights.bin", {}
    nested.parent.mkdir(parents=True)
    nested.write_text("1")
    weights.write_text("1")

    def fit(data: Any, seed: int, progress: Any) -> Any:
        fitted.update(data.options)
        return toy.fit(data, seed, progress)

    recipe = dataclasses.replace(
        toy.RECIPE,
        load=lambda options: dataclasses.replace(toy.load({}), files=(weights,)),
        fit=fit,
        options={"rows": "a folder"},
    )
    monkeypatch.setattr(contract, "recipe", lambda name: recipe)
    monkeypatch.setattr("train.lineage.code", lambda name: "code")
    monkeypatch.setattr("train.run.code", lambda name: "code")
    command = ["toy", "--out", str(tmp_path / "out"), "--if-changed", "--rows", str(tmp_path / "given")]
    assert main(command) == 0
    assert fitted == {"rows": str(tmp_path / "given")}
    record = json.loads((tmp_path / "out/toy/training.json").read_text())
    assert set(record["training"]["files"]) == {f"{tmp_path.name}/weights.bin", "er/rows.txt"}
    for change, expected in (
        (lambda: None, "up to date"),
        (lambda: nested.write_text("2"), "held-out"),
        (lambda: weights.write_text("2"), "held-out"),
        (lambda: (nested.parent / "more.txt").touch(), "held-out"),
        (lambda: None, "up to date"),
        (nested.unlink, "held-out"),
    ):
        change()
        capsys.readouterr()
        assert main(command) == 0
        assert expected in capsys.readouterr().out


def test_progress_in_a_log_is_lines(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    import time

    from train import progress

    clock = iter(range(0, 100, 3))
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    items: list[Any] = list(progress.progress("toy")(iter("abcdef"), "epoch"))
    assert items == list("abcdef")
    assert "toy: epoch" in capsys.readouterr().out
