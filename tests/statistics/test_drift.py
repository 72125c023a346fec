"""The table of what drift alarms tell: current, and what the rules promise of rows that have not moved."""

import re
from dataclasses import dataclass

import numpy as np
import pytest

from deploy import drift_power
from deploy.drift_power import ALIKE, BINS, DOCUMENT, MARKED, TRAINED, WINDOWS, Looks, shares, table


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


# Without a Dirichlet distribution: normal numbers, cut at the deciles of training's


@dataclass(frozen=True)
class Real(Looks):
    """Windows of real samples, that many trainings."""

    def observed(self) -> np.ndarray:
        random, looks = np.random.default_rng(7), []
        for _ in range(1000):
            edges = np.quantile(random.normal(size=self.trained), np.arange(1, BINS) / BINS, method="inverted_cdf")
            requests = random.normal(self.shift, size=self.rows // self.alike)
            looks.append(np.bincount(np.searchsorted(edges, requests), minlength=BINS) / len(requests))
        return np.array(looks)


def test_real_samples_of_ten_rows_alike_are_an_alarm_if_rows_are_counted_and_none_if_requests_are() -> None:
    alike = Real(500, 1_437, 0.0, ALIKE)
    effect, significance = alike.alarms(500)
    assert effect == pytest.approx(0.47, abs=0.06) and significance == pytest.approx(0.82, abs=0.06)
    assert max(alike.alarms(500 // ALIKE)) <= 0.003
    assert max(Real(500, 1_437, 0.0).alarms(500)) <= 0.003


def test_psi_is_blind_below_its_limit_at_any_number_of_rows_and_chi_square_is_not() -> None:
    """PSI of 0.2 is a shift by 0.46 σ of ten bins; below, more rows make an alarm by effect only rarer. So it is
    with a spread that is 1.5 times as wide.
    """

    def psi(shift: float, spread: float = 1.0) -> float:
        p = shares(shift, spread)
        return float(((p - 0.1) * np.log(p / 0.1)).sum())

    assert psi(0.45) < 0.2 < psi(0.47) and psi(0.0, 1.5) < 0.2 < psi(0.0, 1.52)
    assert Looks(10_000, 16_154, 0.4).alarms(10_000)[0] < 0.01 < Looks(500, 16_154, 0.4).alarms(500)[0]
    assert Looks(10_000, 16_154, 0.1).alarms(10_000)[1] > 0.95
    wider = Looks(10_000, 16_154, 0.0, spread=1.25).alarms(10_000)
    assert wider[0] == 0 and wider[1] == 1
