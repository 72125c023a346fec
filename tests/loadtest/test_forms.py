"""The table of all models' forms."""

from typing import Any

import pytest

from bentos.statistics import interval
from loadtest.forms import CATALOGUE_BATCHES, Form, catalogue, conversion, scored
from tests.loadtest.runs import run


def certificate(**further: Any) -> dict[str, Any]:
    difference = {"rows": 360, "against": "pytorch", "metric": "accuracy", "loss": 0.0}
    return {"metrics": {"accuracy": 359 / 360}, "difference": difference, "file": {"bytes": 1024}, **further}


def form(model: str, name: str, **further: Any) -> Form:
    comparison = {"what": "labels", "rows": 360, "changed": 1, "below": 0.0131}
    made = Form(model, name, certificate(comparison=comparison, **further))
    made.alone = {batch: [run()] for batch in CATALOGUE_BATCHES}
    return made


@pytest.mark.parametrize(
    ("intervals", "told"),
    [
        ({"accuracy": vars(interval(359, 360))}, "accuracy 0.9972 (0.9846–0.9999), n = 360"),
        ({}, "accuracy 0.9972, n = 360"),
    ],
)
def test_an_accuracy_has_its_interval_and_rows_beside_it(intervals: dict[str, Any], told: str) -> None:
    assert scored(certificate(intervals=intervals)) == told


@pytest.mark.parametrize(("loss", "told"), [(0.0028, "−0.0028"), (-0.0028, "+0.0028"), (-1e-9, "+0.0000")])
def test_conversion_says_what_changed_and_whether_the_metric_rose_or_fell(loss: float, told: str) -> None:
    of = form("digits", "int8").certificate
    of["difference"]["loss"] = loss
    assert conversion(of) == f"1 of 360 labels (< 1.3 %), accuracy {told}"


def test_the_table_has_a_row_for_each_form() -> None:
    forms = [form("digits", "onnx"), form("digits", "int8"), form("iris", "onnx")]
    lines = catalogue(forms, "a machine").splitlines()[2:5]
    assert [line.split(" | ")[:2] for line in lines] == [
        ["| digits", "`onnx`"], ["| digits", "`int8`"], ["| iris", "`onnx`"],
    ]  # fmt: skip
    assert all("1.00 / 3.00" in line and line.endswith("accuracy +0.0000 |") for line in lines)
