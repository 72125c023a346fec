"""The verdict over promises, and what it says of a machine that others use as well."""

import pytest

from loadtest import others
from loadtest.others import Others
from loadtest.promises import Promise, verdict

KEPT, BROKEN = Promise("recovery", "≤ 2 s", "0.1 s", True), Promise("goodput", "≥ 90%", "12%", False)


def test_the_verdict_names_what_is_broken_and_has_a_row_for_each_promise() -> None:
    said, table = verdict([KEPT, BROKEN], "At 3 times its capacity", "a machine").split("\n\n")
    assert said == "At 3 times its capacity (open loop). Broken: goodput. a machine."
    assert table.splitlines()[2:] == ["| recovery | ≤ 2 s | 0.1 s | yes |", "| goodput | ≥ 90% | 12% | **no** |"]
    assert "Every promise is kept." in verdict([KEPT], "", "")


def clocks(monkeypatch: pytest.MonkeyPatch, machine: float, clients: float, seconds: float) -> None:
    """What passes on each clock between its two readings."""
    for name, passed in (("_machine_seconds", machine), ("_clients_seconds", clients), ("monotonic", seconds)):
        monkeypatch.setattr(others, name, iter([100.0, 100.0 + passed]).__next__)


def test_others_took_what_neither_the_measured_nor_its_clients_did(monkeypatch: pytest.MonkeyPatch) -> None:
    clocks(monkeypatch, machine=10, clients=2, seconds=4)
    assert Others().cores(measured=6) == pytest.approx((10 - 2 - 6) / 4)


def test_others_never_took_less_than_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    clocks(monkeypatch, machine=5, clients=0, seconds=4)  # the clocks are not read at the same moment
    assert Others().cores(measured=5.1) == 0


def test_a_busy_machine_is_told() -> None:
    assert others.warning(others.BUSY) == "" and "0.6 cores" in others.warning(0.6)
