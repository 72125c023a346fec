"""Intervals and tests, against SciPy's and against what they promise."""

import numpy as np
import pytest
from scipy import stats

from bentos.statistics import interval, mcnemar, upper_bound


@pytest.mark.parametrize(("successes", "rows"), [(0, 360), (359, 360), (360, 360), (3, 10), (0, 1)])
def test_intervals_are_clopper_and_pearsons(successes: int, rows: int) -> None:
    expected = stats.binomtest(successes, rows).proportion_ci(0.95, "exact")
    actual = interval(successes, rows)
    assert (actual.low, actual.high) == pytest.approx((expected.low, expected.high), abs=1e-9)
    one_sided = stats.binomtest(successes, rows, alternative="less").proportion_ci(0.95, "exact")
    assert upper_bound(successes, rows) == pytest.approx(one_sided.high, abs=1e-9)


@pytest.mark.parametrize(("worse", "better"), [(0, 0), (2, 1), (0, 6), (7, 7), (30, 12)])
def test_mcnemar_is_a_sign_test(worse: int, better: int) -> None:
    expected = stats.binomtest(worse, worse + better).pvalue if worse + better else 1.0
    assert mcnemar(worse, better) == pytest.approx(expected, abs=1e-9)


def test_the_bound_holds_as_often_as_it_says() -> None:
    seen = np.random.default_rng(0).binomial(360, 0.02, 2000)
    assert np.mean([upper_bound(int(count), 360) >= 0.02 for count in seen]) >= 0.95
