"""Boosters' own files as ONNX: what LightGBM 4.7 and XGBoost 3.2 answered, for rows with values missing."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import skops.io
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from convert.__main__ import main
from convert.artifacts import ConvertError
from convert.foreign import Network, read
from convert.ubjson import decode

DATA = Path(__file__).parent / "data"
ANSWERS = np.load(DATA / "answers.npz")
FILES = [file for file in sorted(DATA.iterdir()) if file.suffix != ".npz"]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_a_forest_answers_as_its_library_does(file: Path) -> None:
    mended = read(file, Network(), None)
    session = onnxruntime.InferenceSession(mended.graph.SerializeToString())
    outputs = session.run(None, {"features": ANSWERS["rows"]})
    expected = ANSWERS[file.stem]
    if len(outputs) == 2:
        assert (
            outputs[0].tolist() == (expected.argmax(1) if expected.ndim == 2 else expected > 0.5).astype(int).tolist()
        )
        expected = expected if expected.ndim == 2 else np.stack([1 - expected, expected], 1)
    np.testing.assert_allclose(outputs[-1], expected.reshape(outputs[-1].shape), rtol=2e-6, atol=1e-6)
    assert np.isnan(ANSWERS["rows"]).any()


@pytest.mark.parametrize(
    ("name", "old", "new", "words"),
    [
        ("lightgbm_binary.txt", "objective=binary", "objective=mystery", "its objective is 'mystery'"),
        ("lightgbm_binary.txt", "decision_type=", "decision_type=1 ", "splits on categories"),
        ("lightgbm_binary.txt", "is_linear=0", "is_linear=1", "linear models in its leaves"),
        ("xgboost_binary.json", "binary:logistic", "survival:cox", "its objective is 'survival:cox'"),
        ("xgboost_binary.json", '"name":"gbtree"', '"name":"gblinear"', "its booster is 'gblinear'"),
        ("xgboost_binary.json", '"split_type":[0', '"split_type":[1', "splits on categories"),
        ("xgboost_binary.json", '"tree_info"', '"no_info"', "not as XGBoost writes"),
    ],
)
def test_what_has_no_operator_is_named(name: str, old: str, new: str, words: str, tmp_path: Path) -> None:
    text = (DATA / name).read_text()
    assert old in text
    (tmp_path / name).write_text(text.replace(old, new, 1))
    with pytest.raises(ConvertError, match=words):
        read(tmp_path / name, Network(), None)


@pytest.mark.parametrize("data", [b"", b"[$d#L", b"{U\x01a", b"[" * 200, b"q", b"S" + b"L" + b"\x7f" * 8])
def test_broken_ubjson_is_an_error_and_nothing_worse(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"UBJSON|cut off|without end"):
        decode(data)


def test_a_pipeline_of_scikit_learn_is_boxed_with_its_labels(store: Path, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    rows = random.standard_normal((50, 3)).astype(np.float32)
    words = np.where(rows.sum(1) > 0, "up", "down")
    skops.io.dump(make_pipeline(StandardScaler(), LogisticRegression()).fit(rows, words), tmp_path / "my.skops")
    np.savetxt(tmp_path / "rows.csv", rows, delimiter=",", header="a,b,c", comments="")
    assert main(["import", str(tmp_path / "my.skops"), "--sample", str(tmp_path / "rows.csv")]) == 0
    import bentoml

    certificate: Any = bentoml.models.get("my-onnx:latest").info.metadata["certificate"]
    assert certificate["meaning"]["labels"] == ["down", "up"]
    assert [t["datatype"] for t in certificate["signature"]["outputs"]] == ["BYTES", "FP32"]


def test_another_answer_than_its_librarys_is_refused(tmp_path: Path) -> None:
    from convert.import_onnx import hold_against
    from convert.probing import Findings

    mended = read(DATA / "lightgbm_binary.txt", Network(), None)
    answer = np.array([[0.4, 0.6]], np.float32)
    findings = Findings({}, {}, {}, True, "", True, 0.0, [({}, {"probabilities": answer})])
    mended.reference = lambda inputs: {"probabilities": answer}
    hold_against(mended, findings)
    mended.reference = lambda inputs: {"probabilities": answer + 1e-3}
    with pytest.raises(ConvertError, match=r"differs by 0\.001"):
        hold_against(mended, findings)
