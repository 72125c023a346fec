"""The table of what drift alarms tell: current, and what the rules promise of rows that have not moved."""

import re

import pytest

from deploy import drift_power
from deploy.drift_power import ALIKE, DOCUMENT, MARKED, TRAINED, WINDOWS, Looks, shares, table


@pytest.mark.long
def test_the_table_is_current() -> None:
    (written,) = MARKED.findall(DOCUMENT.read_text())
    assert written.split("\n\n", 1)[1] == "\n".join(table()) + "\n"


def test_a_shift_leaves_nothing_out() -> None:
    assert shares(0.0) == pytest.approx([0.1] * 10) and shares(0.5).sum() == pytest.approx(1)
    assert shares(0.5)[9] > 0.2 > shares(0.5)[0] * 2


@pytest.mark.parametrize("trained", TRAINED)
def test_rows_that_are_alike_are_no_alarm_once_requests_are_counted(trained: int) -> None:
    rows = WINDOWS[0]
    alike = Looks(rows, trained, 0.0, ALIKE)
    assert alike.alarms(rows)[0] > 0.2 and max(alike.alarms(rows // ALIKE)) < 5e-4
    assert max(Looks(rows, trained, 0.0).alarms(rows)) < 5e-4


def test_significance_sees_what_is_too_small_for_a_ticket() -> None:
    effect, significance = Looks(10_000, 16_154, 0.25).alarms(10_000)
    assert effect == 0 and significance == 1


def test_the_document_has_its_marks() -> None:
    assert len(MARKED.findall(DOCUMENT.read_text())) == 1
    assert re.search(r"in 45 % of the looks at 500 rows", DOCUMENT.read_text())
    assert f"{drift_power.LOOKS:,} looks" in DOCUMENT.read_text()
