"""A certificate goes through the store's metadata and back, and every way in which it does not hold has its words."""

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bentos.certificate import (
    Certificate,
    CertificateError,
    Comparison,
    Difference,
    FormFile,
    Histogram,
    Interval,
    Onnx,
    file_sha256,
    seal,
    verify,
)  # fmt: skip
from bentos.contract import BATCH, Signature, Tensor
from tests.certificates import certificate


@pytest.fixture
def issued(tmp_path: Path) -> Certificate:
    """One of a file in tmp_path."""
    (tmp_path / "model.onnx").write_bytes(b"weights")
    return certificate(
        file=FormFile("model.onnx", file_sha256(tmp_path / "model.onnx"), 7),
        reference={
            "input:a": Histogram((0.5, 0.5), edges=(1.0,)),
            "prediction:class": Histogram((1.0,), classes=("a",)),
        },
        comparison=Comparison("labels", 360, 0, 0.00829),
        intervals={"accuracy": Interval(360, 0.98, 1.0)},
        onnx=Onnx({"ai.onnx": 18}, 10),
    ).sealed()


def test_it_comes_back_from_json_as_it_was(issued: Certificate, tmp_path: Path) -> None:
    metadata = json.loads(json.dumps(issued.to_dict()))
    assert Certificate.from_dict(metadata) == issued == verify(metadata, tmp_path, "onnx")
    assert "tolerance" not in metadata["difference"], "the store's metadata holds no None"


def test_a_signature_of_any_kind_comes_back(issued: Certificate) -> None:
    tensors = (
        Tensor("x", "FP32", (BATCH, "sequence", -1, 3)),
        Tensor("state", "BF16", (2, BATCH, 128)),
        Tensor("rate", "INT64", ()),
        Tensor("words", "BYTES", ("sequence",)),
    )
    for signature in (Signature(tensors, tensors, finite=False), Signature(tensors, tensors, batched=False)):
        back = Certificate.from_dict(json.loads(json.dumps(replace(issued, signature=signature).to_dict())))
        assert back.signature == signature
    assert signature.input_axes == (None,) * 4 and replace(signature, batched=True).input_axes == (0, 1, None, None)


def test_a_certificate_of_before_is_of_rows_that_may_be_joined_and_are_finite(issued: Certificate) -> None:
    metadata = json.loads(json.dumps(issued.to_dict()))
    del metadata["signature"]["batched"], metadata["signature"]["finite"]
    signature = Certificate.from_dict(metadata).signature
    assert signature == issued.signature and signature.rows_alike and signature.batched and signature.finite


def edited(metadata: dict[str, Any], *path: str, value: Any = None) -> dict[str, Any]:
    """A copy with one value changed, or taken out, and sealed anew."""
    metadata = copy.deepcopy(metadata)
    inner = metadata
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    if value is None:
        del inner[path[-1]]
    if "seal" in metadata:
        metadata["seal"] = seal(metadata)
    return metadata


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("seal",), None, "lacks seal"),
        (("meaning",), None, "lacks meaning"),
        (("schema",), 1, "has schema 1, this service reads 2: train and convert again"),
        (("difference", "max"), "much", r"cannot be read: .*max"),
        (("signature", "inputs"), 3, r"cannot be read: .*inputs"),
        (("form",), "int8", "is of form 'int8', not 'onnx'"),
        (("difference",), {"against": "x", "rows": 9, "max": 2.0, "tolerance": 1.0}, "failed: max difference from x"),
        (("file", "name"), "other.onnx", "of other.onnx, which is not there"),
        (("file", "name"), "../model.onnx", "which is not there"),
        (("file", "sha256"), "0" * 64, "model.onnx does not match its certificate: sha256 .*certified 000000000000"),
        (("golden", "rows"), 3, "of golden.npz, which is not there"),
    ],
)  # fmt: skip
def test_what_does_not_hold_is_said(
    path: tuple[str, ...], value: Any, words: str, issued: Certificate, tmp_path: Path
) -> None:
    with pytest.raises(CertificateError, match=words):
        verify(edited(issued.to_dict(), *path, value=value), tmp_path, "onnx")


def test_an_edit_breaks_the_seal_whatever_it_is(issued: Certificate, tmp_path: Path) -> None:
    for key in issued.to_dict():
        metadata = (
            {**issued.to_dict(), key: "edited"} if key not in ("seal", "schema") else issued.to_dict() | {"new": 1}
        )
        with pytest.raises(CertificateError, match="edited after it was issued"):
            verify(metadata, tmp_path, "onnx")


@pytest.mark.parametrize("nothing", [None, {}])
def test_none_is_none(nothing: Any, tmp_path: Path) -> None:
    with pytest.raises(CertificateError, match="it has no certificate"):
        verify(nothing, tmp_path, "onnx")


def test_golden_rows_that_were_changed_are_seen(issued: Certificate, tmp_path: Path) -> None:
    golden = tmp_path / "golden.npz"
    golden.write_bytes(b"rows")
    whole = replace(issued, golden=replace(issued.golden, rows=3, sha256=file_sha256(golden))).sealed()
    assert verify(whole.to_dict(), tmp_path, "onnx") == whole
    golden.write_bytes(b"others")
    with pytest.raises(CertificateError, match=r"golden.npz does not match"):
        verify(whole.to_dict(), tmp_path, "onnx")


NAN = float("nan")


@pytest.mark.parametrize(
    ("difference", "words"),
    [
        (Difference("sklearn", 9, max=1e-3, tolerance=1e-2), []),
        (Difference("sklearn", 9, max=NAN), []),
        (Difference("sklearn", 9, max=NAN, tolerance=1.0), ["max difference from sklearn is nan, the tolerance 1"]),
        (
            Difference(
                "sklearn", 9, max=0.1, tolerance=0.01, relative=True, labels_must_equal=True, labels_differing=2
            ),
            ["max relative difference from sklearn is 0.1, the tolerance 0.01", "2 of 9 labels differ from sklearn"],
        ),
        (
            Difference("pytorch", 9, metric="accuracy", loss=0.02, loss_tolerance=0.005),
            ["accuracy lost is 0.02, the tolerance 0.005"],
        ),
    ],
)
def test_figures_above_their_tolerance_are_failures(difference: Difference, words: list[str]) -> None:
    assert difference.failures() == words


@pytest.mark.parametrize(
    ("comparison", "words"),
    [
        (Comparison("labels", 360, 0, 0.008287), "0 of 360 labels changed; 95 %: fewer than 0.83 points"),
        (
            Comparison("labels", 360, 3, 0.0214, worse=2, better=1, p_value=1.0),
            "3 of 360 labels changed (2 for the worse, 1 for the better, McNemar p = 1); 95 %: fewer than 2.14 points",
        ),
        (Comparison("labels", 5, 0, 0.4507), "0 of 5 labels changed; 95 %: fewer than 45.1 points"),
        (
            Comparison("values", 4000, 0, 0.00075),
            "0 of 4,000 values differ by more than the tolerance; 95 %: fewer than 0.07 %",
        ),
    ],
)
def test_a_comparison_says_what_so_many_rows_can_tell(comparison: Comparison, words: str) -> None:
    assert comparison.words() == words
