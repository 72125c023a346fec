"""How often a form that has lost accuracy gets its certificate, and how often what the certificate says is wrong.

360 rows, as digits' held-out ones. A form is drawn as (worse, better): rows that were right and are wrong now, and rows
that were wrong and are right, each row on its own.
"""

import math

import numpy as np
import pytest

from bentos.certificate import Comparison, Difference
from bentos.statistics import interval, mcnemar, upper_bound

ROWS, DRAWS = 360, 4000
TOLERANCE = 0.005  # of accuracy, as digits' recipe has it for int8
POINT = 0.01


def drawn(worse: float, better: float = 0.0, rows: int = ROWS) -> np.ndarray:
    """Forms whose rows turn with these chances. (DRAWS, 2)"""
    return np.random.default_rng(6).multinomial(rows, [worse, better, 1 - worse - better], DRAWS)[:, :2]


def saved(worse: int, better: int) -> bool:
    """Whether convert would save a form that was measured so."""
    lost = {"metric": "accuracy", "loss": (worse - better) / ROWS, "loss_tolerance": TOLERANCE}
    gaps = {"max": 0.1, "relative": False, "tolerance": None, "single_rows_max": 0.0}
    labels = {"labels_must_equal": False, "labels_differing": worse + better}
    return not Difference(against="pytorch", rows=ROWS, **gaps, **labels, **lost).failures()  # type: ignore[arg-type]


def bounds(forms: np.ndarray) -> np.ndarray:
    """What their certificates say that fewer rows change than. (DRAWS,)"""
    changed = forms.sum(1)
    return np.array([upper_bound(int(count), ROWS) for count in range(changed.max() + 1)])[changed]


@pytest.mark.parametrize("better", [0.0, 0.005, 0.02])
def test_a_true_loss_of_a_point_is_not_certified_as_less_though_the_tolerance_lets_it_pass(better: float) -> None:
    """The tolerance is of the loss that was seen: half a point of 360 rows is one. The bound is what is claimed."""
    forms = drawn(POINT + better, better)
    assert 0.1 < np.mean([saved(*map(int, form)) for form in forms]) < 0.35  # "tolerance kept" says no more than that
    assert np.mean(bounds(forms) < POINT) <= 0.05


@pytest.mark.parametrize("changing", [0.001, 0.005, 0.01, 0.03])
def test_the_share_of_rows_that_change_is_below_its_bound_as_often_as_it_says(changing: float) -> None:
    forms = drawn(changing / 2, changing / 2)
    assert np.mean(bounds(forms) > changing) >= 0.95


def test_a_normal_interval_would_not_hold() -> None:
    """Its bound of 0 changed rows is 0, whatever the truth."""
    shares = drawn(0.005).sum(1) / ROWS
    below = shares + 1.645 * np.sqrt(shares * (1 - shares) / ROWS)
    assert np.mean(below > 0.005) < 0.9


def test_no_row_changed_is_said_with_what_so_many_rows_can_tell() -> None:
    assert upper_bound(0, 30) == pytest.approx(0.095, abs=5e-4)
    words = Comparison("labels", ROWS, 0, upper_bound(0, ROWS)).words()
    assert words == "0 of 360 labels changed; 95 %: fewer than 0.83 points"


@pytest.mark.parametrize("turning", [0.005, 0.01, 0.02, 0.1])
def test_mcnemar_calls_a_form_that_is_as_good_other_no_oftener_than_it_says(turning: float) -> None:
    forms = drawn(turning, turning)
    assert np.mean([mcnemar(int(worse), int(better)) <= 0.05 for worse, better in forms]) <= 0.05


def test_mcnemar_by_chi_square_would_where_few_rows_turn() -> None:
    """Of forms with four changed rows one in eight has turned them all one way: p is 0.125, and 0.046 by χ²."""
    forms = [form for form in drawn(0.0075, 0.0075).tolist() if sum(form) == 4]
    by_chi_square = [(worse - better) ** 2 / 4 > 1.96**2 for worse, better in forms]
    assert len(forms) > 500 and np.mean(by_chi_square) == pytest.approx(0.125, abs=0.03)
    assert not any(mcnemar(worse, better) <= 0.05 for worse, better in forms)


@pytest.mark.parametrize("points", [2, 3, 5])
def test_mcnemar_sees_a_loss_that_is_large(points: int) -> None:
    """Of 360 rows: a loss of five points nearly always, of two in a part of the cases."""
    seen = np.mean([mcnemar(int(worse), int(better)) <= 0.05 for worse, better in drawn(points * POINT)])
    expected = {2: 0.72, 3: 0.95, 5: 1.0}[points]
    assert seen == pytest.approx(expected, abs=0.05)


@pytest.mark.parametrize("accuracy", [0.95, 0.99, 0.9972])
def test_the_interval_of_an_accuracy_holds_as_often_as_it_says(accuracy: float) -> None:
    right = np.random.default_rng(7).binomial(ROWS, accuracy, DRAWS)
    exact = {int(count): interval(int(count), ROWS) for count in np.unique(right)}
    assert np.mean([exact[count].low <= accuracy <= exact[count].high for count in right.tolist()]) >= 0.95
    normal = [1.96 * math.sqrt(count * (ROWS - count) / ROWS) / ROWS for count in right.tolist()]
    assert np.mean(np.abs(right / ROWS - accuracy) <= normal) < 0.95
