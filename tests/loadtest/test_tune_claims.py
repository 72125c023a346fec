"""What may be claimed: MLPerf's early stopping, the design effect, and intervals over rounds."""

import math

import numpy as np
import pytest
from scipy.stats import binom

from loadtest.service.run import design_effect
from loadtest.tune.interval import estimate
from loadtest.tune.verdict import Verdict, fails, least, of_runs, passes, verdict
from tests.loadtest.figures import run


@pytest.mark.parametrize(("slow", "requests"), [(0, 90), (10, 398), (50, 1372), (100, 2504)])
def test_p95_is_claimed_from_mlperfs_numbers_on(slow: int, requests: int) -> None:
    assert least(slow, 0.95) == requests
    assert passes(requests, slow, 0.95) and not passes(requests - 1, slow, 0.95)


@pytest.mark.parametrize(("percentile", "requests"), [(0.9, 44), (0.97, 152), (0.99, 459), (0.999, 4603)])
def test_without_a_slow_request_it_takes_so_many(percentile: float, requests: int) -> None:
    assert least(0, percentile) == requests == math.ceil(math.log(0.01) / math.log(percentile))


@pytest.mark.parametrize("percentile", [0.5, 0.9, 0.99])
@pytest.mark.parametrize("count", [2, 7, 200, 3000])
def test_the_rule_is_the_binomials_on_both_sides(percentile: float, count: int) -> None:
    for slow in {0, 1, count // 100, count // 20, count // 2, count} - {count + 1}:
        assert passes(count, slow, percentile) == (binom.cdf(slow, count, 1 - percentile) <= 0.01)
        assert fails(count, slow, percentile) == (binom.sf(slow - 1, count, 1 - percentile) <= 0.01)


def test_a_service_at_the_very_limit_is_called_good_once_in_a_hundred_times() -> None:
    slow = np.random.default_rng(0).binomial(2000, 0.05, 20_000)
    verdicts = [verdict(2000, int(number), 0.95) for number in slow]
    assert verdicts.count(Verdict.PASS) / len(verdicts) == pytest.approx(0.008, abs=0.004)
    assert verdicts.count(Verdict.FAIL) / len(verdicts) == pytest.approx(0.008, abs=0.004)


def test_slow_requests_that_come_by_themselves_have_no_design_effect() -> None:
    random = np.random.default_rng(1)
    due = np.sort(random.uniform(0, 2, 10_000))
    assert design_effect(due, random.random(10_000) < 0.02, 2.0) < 3
    assert design_effect(due, np.zeros(10_000, bool), 2.0) == 1
    assert design_effect(due, np.ones(10_000, bool), 2.0) == 1
    assert design_effect(np.array([]), np.array([], bool), 2.0) == 1


def test_one_stall_is_one_piece_of_evidence() -> None:
    """200 of 10,000 slow at once: the binomial alone would call p99 missed beyond doubt."""
    due = np.linspace(0, 2, 10_000, endpoint=False)
    slow = (due > 1.0) & (due < 1.04)
    effect = design_effect(due, slow, 2.0)
    assert fails(10_000, int(slow.sum()), 0.99)
    assert effect > 50
    assert of_runs([run(count=10_000, slow=int(slow.sum()), effect=effect)], 0.99) is Verdict.UNDECIDED


def test_runs_at_one_rate_count_together_and_those_thrown_away_do_not() -> None:
    half = run(count=300)
    assert of_runs([half], 0.99) is Verdict.UNDECIDED
    assert of_runs([half, half], 0.99) is Verdict.PASS
    assert of_runs([half, run(count=300, rejected="late")], 0.99) is Verdict.UNDECIDED
    assert of_runs([run(count=300, slow=300, rejected="late")], 0.99) is Verdict.UNMEASURED
    assert of_runs([run(count=300, slow=300)], 0.99) is Verdict.FAIL


def test_an_interval_is_students_on_logarithms() -> None:
    found = estimate([100.0, 110.0, 121.0])  # ln 1.1 = 0.09531 apart; t(0.975, 2) = 4.3027
    assert found.mean == pytest.approx(110)
    assert found.high / found.mean == pytest.approx(math.exp(4.3027 * 0.09531 / math.sqrt(3)), rel=1e-4)
    assert found.low * found.high == pytest.approx(110**2)


def test_too_few_rounds_have_no_interval_and_say_so() -> None:
    assert not estimate([100.0, 110.0]).known and "no interval" in str(estimate([100.0, 110.0]))
    assert str(estimate([])) == "none" and estimate([100.0, 0.0]).mean == 0


def test_an_interval_holds_the_truth_as_often_as_it_says() -> None:
    random = np.random.default_rng(2)
    found = [estimate(list(5000 * np.exp(random.normal(0, 0.05, 4)))) for _ in range(2000)]
    assert np.mean([each.low <= 5000 <= each.high for each in found]) == pytest.approx(0.95, abs=0.015)
