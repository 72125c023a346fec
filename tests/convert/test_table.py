"""The convert table: figures, and reasons in their row."""

from typing import Any

from bentos.certificate import Comparison, Difference
from convert.forms import Outcome
from convert.table import row, table
from tests.certificates import certificate


def outcome(**difference: Any) -> Outcome:
    issued = certificate(
        metrics={"accuracy": 0.9972},
        difference=Difference("pytorch", 360, metric="accuracy", **difference),
        comparison=Comparison("labels", 360, 0, 0.00829),
    )
    return Outcome("digits", "int8", "digits-int8:1", issued)


def test_a_loss_of_nothing_is_not_below_zero() -> None:
    assert row(outcome(loss=-1e-17))[6] == "0.0000"
    assert row(outcome(loss=-0.0028))[6] == "-0.0028"


def test_a_row_has_figures_or_the_reason() -> None:
    assert row(outcome(max=2e-6, tolerance=1e-4)) == (
        "digits", "int8", "1 KiB", "2.0e-06", "1e-04", "accuracy 0.9972", "0.0000", "digits-int8:1", "saved"
    )  # fmt: skip
    assert row(outcome())[4] == "none"
    refused = Outcome("kettle", "", "", refusal="bentos/kettle/recipe.py is missing")
    printed = table([outcome(), refused]).splitlines()
    assert "refused: bentos/kettle/recipe.py is missing" in next(line for line in printed if line.startswith("kettle"))
    assert printed[-1] == "digits-int8: 0 of 360 labels changed; 95 %: fewer than 0.83 points"
