"""The table of a model's forms."""

from typing import Any

import pytest

from bentos.statistics import interval
from loadtest.forms import BATCHES, Form, markdown
from tests.loadtest.runs import run


@pytest.mark.parametrize(
    ("intervals", "told"),
    [
        ({"accuracy": vars(interval(359, 360))}, "0.9972 (0.9846–0.9999, n = 360) |"),
        ({}, "| 0.9972 |"),
    ],
)
def test_an_accuracy_has_its_interval_and_rows_beside_it(intervals: dict[str, Any], told: str) -> None:
    form = Form("onnx", {"metrics": {"accuracy": 359 / 360}, "intervals": intervals, "file": {"bytes": 1024}})
    form.busy = form.alone = {batch: [run()] for batch in BATCHES}
    assert told in markdown("digits", [form], "a machine", "f.png")
