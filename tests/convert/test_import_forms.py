"""What rows of one's own give an import: native, optimized and 8-bit forms, metrics, drift, examples."""

import csv
import pickle
import zipfile
from pathlib import Path
from typing import Any

import bentoml
import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from bentos import certificate as proof
from bentos import golden
from convert.__main__ import main
from convert.artifacts import ConvertError
from convert.foreign import Network, read
from convert.import_forms import targets_of
from tests.certificates import stored_certificate
from tests.convert import toy


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a trained network as .pt2, and 100 rows that it has not seen."""
    folder = tmp_path_factory.mktemp("program")
    data = toy.load({})
    network = toy.fit(data, 0, lambda steps, what: steps).eval()
    example = (torch.from_numpy(data.train.inputs[:2]),)
    shapes = {"image": {0: torch.export.Dim("batch")}}
    torch.export.save(torch.export.export(network, example, dynamic_shapes=shapes), folder / "shade.pt2")
    np.savez(folder / "rows.npz", image=data.held_out.inputs, target=data.held_out.targets)
    return folder


def certificates(name: str) -> dict[str, Any]:
    """The certificates of a model's forms, which hold."""
    stored = {m.info.labels["form"]: m for m in bentoml.models.list() if m.info.labels["model"] == name}
    assert len({m.tag.version for m in stored.values()}) == 1
    return {form: proof.verify(stored_certificate(model), Path(model.path), form) for form, model in stored.items()}


def test_a_program_of_torch_with_rows_becomes_four_forms(
    program: Path, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["import", str(program / "shade.pt2"), "--sample", str(program / "rows.npz"), "--labels", "upper,lower"]
    assert main(words) == 0
    found = certificates("shade")
    assert set(found) == {"pytorch", "onnx", "optimized", "int8"}
    for form, certificate in found.items():
        assert certificate.metrics["accuracy"] > 0.9 and certificate.intervals["accuracy"].rows == 100, form
        assert set(certificate.reference) == {
            "input:image mean", "input:image spread", "prediction:class", "prediction:confidence",
        }  # fmt: skip
        assert certificate.difference.against == ("pytorch as given" if form == "pytorch" else "pytorch")
        assert certificate.dataset.rows == 100
    assert found["int8"].difference.max > 0 and found["int8"].difference.loss_tolerance == 0.01
    assert found["optimized"].difference.labels_must_equal and found["optimized"].difference.tolerance
    with np.load(program / "rows.npz") as rows:
        inputs, _ = golden.read(Path(bentoml.models.get("shade-int8:latest").path_of("golden.npz")))
        assert (inputs["image"] == rows["image"][:1]).all()
    assert "int8: at most" in capsys.readouterr().out
    assert main(words) == 0
    assert "already in the store" in capsys.readouterr().out


def test_without_rows_there_is_nothing_that_8_bits_could_be_calibrated_with(program: Path, store: Path) -> None:
    assert main(["import", str(program / "shade.pt2")]) == 0
    found = certificates("shade")
    assert set(found) == {"pytorch", "onnx", "optimized"}
    assert not found["onnx"].metrics and not found["onnx"].reference and found["onnx"].dataset.rows == 0


def test_a_table_gives_names_to_what_is_watched(store: Path, tmp_path: Path) -> None:
    import skops.io

    random = np.random.default_rng(0)
    rows = random.standard_normal((150, 2)).astype(np.float32)
    kinds = np.where(rows.sum(1) > 0, "up", "down")
    skops.io.dump(LogisticRegression().fit(rows, kinds), tmp_path / "my.skops")
    with (tmp_path / "rows.csv").open("w", newline="") as file:
        csv.writer(file).writerows(
            [["height", "weight", "target"], *([*row, kind] for row, kind in zip(rows.tolist(), kinds, strict=True))]
        )
    assert main(["import", str(tmp_path / "my.skops"), "--sample", str(tmp_path / "rows.csv")]) == 0
    found = certificates("my")
    assert set(found) == {"sklearn", "onnx"}  # no arithmetic that 8 bits could be about
    assert {"input:height", "input:weight"} < set(found["onnx"].reference)
    assert found["onnx"].metrics["accuracy"] > 0.9 and found["onnx"].difference.against == "sklearn"
    described: Any = bentoml.models.get("my-onnx:latest").info.metadata["model"]
    assert described["columns"] == ["height", "weight"]
    version = bentoml.models.get("my-onnx:latest").tag.version
    assert main(["import", str(tmp_path / "my.skops"), "--sample", str(tmp_path / "rows.csv")]) == 0
    assert bentoml.models.get("my-onnx:latest").tag.version == version


@pytest.mark.parametrize(
    ("values", "labels", "expected"),
    [
        (np.array(["b", "a"]), ("a", "b"), [1, 0]),
        (np.array(["b", "a"], object), ("a", "b"), [1, 0]),
        (np.array([1.0, 0.0]), ("a", "b"), [1, 0]),
        (np.array([7, 3]), ("3", "7"), [1, 0]),
        (np.array([0.5, 2]), (), [0.5, 2]),
    ],
)
def test_targets_are_numbers_or_places_in_the_labels(values: Any, labels: Any, expected: Any) -> None:
    assert targets_of(values, 2, labels).tolist() == expected


@pytest.mark.parametrize(
    ("values", "labels", "words"),
    [
        (np.array(["c", "a"]), ("a", "b"), "has 'c'; the labels are a, b"),
        (np.array([2.0, 0.0]), ("a", "b"), "has '0'|has '2'"),
        (np.array([np.nan, 0.0]), ("a", "b"), "has '"),
        (np.array([np.nan, 0.0]), (), "must be finite numbers"),
        (np.array(["a", "b"]), (), "must be finite numbers; for classes"),
        (np.zeros((2, 1)), (), r"is \[2, 1\], of 2 rows"),
        (np.zeros(3), (), r"is \[3\], of 2 rows"),
    ],
)
def test_what_is_no_target_is_said(values: Any, labels: Any, words: str) -> None:
    with pytest.raises(ConvertError, match=words):
        targets_of(values, 2, labels)


class Trap:
    """What a pickle may make of whoever reads it."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> Any:
        return Path.touch, (self.file,)


def test_a_pickle_in_a_program_of_torch_is_not_run(program: Path, tmp_path: Path) -> None:
    sprung, target = tmp_path / "sprung", tmp_path / "trap.pt2"
    with zipfile.ZipFile(program / "shade.pt2") as source, zipfile.ZipFile(target, "w") as harmed:
        for name in source.namelist():
            inputs = name.endswith("sample_inputs/model.pt")
            harmed.writestr(name, pickle.dumps(Trap(sprung)) if inputs else source.read(name))
    with zipfile.ZipFile(target) as harmed:
        assert any(b"touch" in harmed.read(name) for name in harmed.namelist())
    with pytest.raises(ConvertError, match=r"torch\.export does not load it"):
        read(target, Network(), None)
    assert not sprung.exists()
