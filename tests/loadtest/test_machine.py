"""What other programs take of the machine, and who runs on which core."""

import pytest

from loadtest import machine
from loadtest.machine import BackgroundLoad, Cores


def clocks(monkeypatch: pytest.MonkeyPatch, all_programs: float, clients: float, seconds: float) -> None:
    """What passes on each clock between its two readings."""
    for name, passed in (("_machine_seconds", all_programs), ("client_seconds", clients), ("monotonic", seconds)):
        monkeypatch.setattr(machine, name, iter([100.0, 100.0 + passed]).__next__)


def test_others_took_what_neither_the_measured_nor_its_clients_did(monkeypatch: pytest.MonkeyPatch) -> None:
    clocks(monkeypatch, all_programs=10, clients=2, seconds=4)
    assert BackgroundLoad().cores(6) == pytest.approx((10 - 2 - 6) / 4)


def test_others_never_took_less_than_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    clocks(monkeypatch, all_programs=5, clients=0, seconds=4)  # the clocks are not read at the same moment
    assert BackgroundLoad().cores(5.1) == 0


def test_a_busy_machine_is_told() -> None:
    assert machine.busy_warning(machine.BUSY_CORES) == "" and "0.6 cores" in machine.busy_warning(0.6)


def test_who_runs_where_is_told() -> None:
    assert str(Cores((0,), (1,))) == "service pinned to core 0, generator to core 1"
    assert "share the only core" in str(Cores((0,), (0,))) and "cannot pin" in str(Cores((), ()))
    assert str(Cores((0, 1), (2,))) == "service pinned to cores 0, 1 (2), generator to core 2"
