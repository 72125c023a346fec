"""Golden rows: what is written, how much, and what is above the tolerance."""

from pathlib import Path

import numpy as np
import pytest

from bentos import golden
from bentos.certificate import Difference, Golden

N = 100
INPUTS = {"x": np.arange(2 * N, dtype=np.float32).reshape(N, 2)}
OUTPUTS: dict[str, np.ndarray] = {
    "label": np.arange(N) % 3,
    "probabilities": np.random.default_rng(0).random((N, 3), np.float32),
}


def test_rows_are_spread_over_all_and_come_back(tmp_path: Path) -> None:
    written = golden.write(tmp_path, INPUTS, OUTPUTS, Difference("sklearn", N, tolerance=1e-5, labels_must_equal=True))
    inputs, outputs = golden.read(tmp_path / written.name)
    assert written == Golden("golden.npz", written.sha256, 32, 1e-5, labels_must_equal=True)
    assert inputs["x"][0].tolist() == [0, 1] and inputs["x"][-1].tolist() == [198, 199] and len(inputs["x"]) == 32
    assert (outputs["label"] == inputs["x"][:, 0] // 2 % 3).all() and outputs["probabilities"].shape == (32, 3)
    again = golden.write(tmp_path, INPUTS, OUTPUTS, Difference("sklearn", N))
    assert again.sha256 == written.sha256, "the same rows are the same bytes"


def test_a_form_without_a_tolerance_of_difference_may_differ_twice_as_much_as_it_did(tmp_path: Path) -> None:
    assert golden.write(tmp_path, INPUTS, OUTPUTS, Difference("pytorch", N, max=0.2)).tolerance == pytest.approx(0.4)
    assert golden.write(tmp_path, INPUTS, OUTPUTS, Difference("onnx", N), tolerance=0.1).tolerance == 0.1


@pytest.mark.parametrize(("side", "rows"), [(64, 15), (160, 2), (300, 0)])
def test_at_most_256_kib_travel(side: int, rows: int, tmp_path: Path) -> None:
    pictures = {"image": np.random.default_rng(0).random((40, side, side), np.float32)}
    written = golden.write(tmp_path, pictures, {"logits": np.zeros((40, 2), np.float32)}, Difference("pytorch", 40))
    assert rows <= written.rows <= 2 * rows
    assert not rows or (tmp_path / "golden.npz").stat().st_size <= golden.MAX_BYTES


TERMS = Golden("golden.npz", "", 4, tolerance=0.01)


@pytest.mark.parametrize(
    ("change", "terms", "words"),
    [
        (0.009, TERMS, ""),
        (0.011, TERMS, "max difference from what is certified is 0.011, the tolerance 0.01"),
        (np.nan, TERMS, "max difference from what is certified is nan"),
        (0.011, Golden("", "", 4, 0.01, relative=True), ""),
        (0.021, Golden("", "", 4, 0.01, relative=True), "max relative difference from what is certified is 0.01"),
        (1.5, Golden("", "", 4, 2.0), ""),
        (1.5, Golden("", "", 4, 2.0, labels_must_equal=True), "1 of 4 labels differ from those certified"),
    ],
)
def test_what_is_above_the_tolerance_is_said(change: float, terms: Golden, words: str) -> None:
    certified = {"logits": np.array([[3, 2]] * 4, np.float32)}
    here = {"logits": certified["logits"] + np.array([[0, change]] + [[0, 0]] * 3, np.float32)}
    assert golden.mismatch(here, certified, terms).startswith(words) and bool(words) == bool(
        golden.mismatch(here, certified, terms)
    )


def test_nan_where_nan_is_certified_is_no_difference() -> None:
    outputs = {"y": np.array([[np.nan], [np.inf]], np.float32)}
    assert golden.mismatch(outputs, outputs, TERMS) == ""


def floats(values: object) -> np.ndarray:
    return np.array(values, np.float32)


def test_calls_of_any_shape_come_back_strings_and_scalars_among_them(tmp_path: Path) -> None:
    words = np.array([["a\0", "é"], ["", "long"]], object)
    calls = [
        ({"x:0": floats([[1, 2]]), "rate": np.array(16000)}, {"y": floats(3)}),
        ({"x:0": floats([[1, 2, 3]]), "rate": np.array(8000)}, {"y": floats(6)}),
        ({"words": words}, {"y": floats(0)}),
    ]
    written = golden.write_calls(tmp_path, calls, tolerance=0.01)
    assert written.rows == 3 and written.tolerance == 0.01
    back = golden.read_calls(tmp_path / written.name)
    assert [list(inputs) for inputs, _ in back] == [["x:0", "rate"], ["x:0", "rate"], ["words"]]
    assert back[1][0]["x:0"].tolist() == [[1, 2, 3]] and back[1][0]["rate"].shape == ()
    assert back[2][0]["words"].tolist() == words.tolist() and back[2][0]["words"].dtype == object
    assert golden.mismatch({"y": floats(3.02)}, back[0][1], written).startswith("max difference")
