"""What may be claimed: MLPerf's early stopping, blocks of time, and intervals over rounds."""

import math

import numpy as np
import pytest
from scipy.stats import binom

from loadtest.measurement import Limit
from loadtest.tune.verdict import Verdict, block_bounds, estimate, least, of_runs, passes
from tests.loadtest.runs import run
from tests.statistics.servers import measured

LIMIT = Limit(0.99, 0.05)


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


def test_a_service_at_the_very_limit_is_seldom_called_good() -> None:
    """1 in 100 times by the rule of independent requests alone; the blocks only make it rarer."""
    random, verdicts = np.random.default_rng(0), []
    for _ in range(600):
        due = np.sort(random.uniform(0, 2, 5000))
        verdicts.append(of_runs([measured(due, np.where(random.random(5000) < 0.01, 0.06, 0.01), LIMIT)], LIMIT))
    assert verdicts.count(Verdict.PASS) / 600 < 0.02 and verdicts.count(Verdict.FAIL) / 600 < 0.04


def test_one_stall_is_one_piece_of_evidence() -> None:
    """200 of 10,000 slow at once: the binomial alone would call p99 missed beyond doubt."""
    due = np.linspace(0, 2, 10_000, endpoint=False)
    stalled = measured(due, np.where((due > 1.0) & (due < 1.04), 0.06, 0.01), LIMIT)
    assert stalled.slow >= 199 and binom.sf(stalled.slow - 1, 10_000, 0.01) < 1e-9
    assert of_runs([stalled], LIMIT) is Verdict.UNDECIDED


def test_slow_requests_all_the_time_fail() -> None:
    due = np.linspace(0, 2, 2000, endpoint=False)
    assert of_runs([measured(due, np.where(np.arange(2000) % 10 == 0, 0.06, 0.01), LIMIT)], LIMIT) is Verdict.FAIL


def test_latencies_that_grow_have_not_passed_though_none_is_slow() -> None:
    due = np.linspace(0, 2, 4000, endpoint=False)
    assert of_runs([measured(due, 0.001 + 0.02 * due, LIMIT)], LIMIT) is Verdict.FAIL
    assert of_runs([measured(due, 0.001 + 0.001 * due, LIMIT)], LIMIT) is Verdict.UNDECIDED
    assert of_runs([measured(due, np.full(4000, 0.001), LIMIT)], LIMIT) is Verdict.PASS


def test_what_was_not_kept_up_with_fails() -> None:
    assert of_runs([run(rate=100.0, achieved=96.0, count=2000, seconds=20.0)], LIMIT) is Verdict.FAIL
    assert of_runs([run(rate=100.0, achieved=97.5, count=2000, seconds=20.0)], LIMIT) is Verdict.PASS


def test_the_bounds_of_blocks_are_students() -> None:
    low, high = block_bounds([0.0, 0.02])  # t(0.99, 1) = 31.82; the mean's deviation is 0.01
    assert (low, high) == (pytest.approx(0.01 - 0.3182, rel=1e-3), pytest.approx(0.01 + 0.3182, rel=1e-3))
    assert block_bounds([0.5]) == (0.0, 1.0)


def test_runs_at_one_rate_count_together_and_those_thrown_away_do_not() -> None:
    half = run(count=300)
    assert of_runs([half], LIMIT) is Verdict.UNDECIDED
    assert of_runs([half, half], LIMIT) is Verdict.PASS
    assert of_runs([half, run(count=300, rejected="late")], LIMIT) is Verdict.UNDECIDED
    assert of_runs([run(count=300, slow=300, rejected="late")], LIMIT) is Verdict.UNMEASURED
    assert of_runs([run(count=300, slow=300, slow_shares=[1.0] * 20)], LIMIT) is Verdict.FAIL


def test_an_interval_is_students_on_logarithms() -> None:
    found = estimate([100.0, 110.0, 121.0])  # ln 1.1 = 0.09531 apart; t(0.975, 2) = 4.3027
    assert found.mean == pytest.approx(110)
    assert found.high / found.mean == pytest.approx(math.exp(4.3027 * 0.09531 / math.sqrt(3)), rel=1e-4)
    assert found.low * found.high == pytest.approx(110**2)


def test_too_few_rounds_have_no_interval_and_say_so() -> None:
    assert not estimate([100.0, 110.0]).known and "no bound" in str(estimate([100.0, 110.0]))
    assert str(estimate([])) == "none" and estimate([100.0, 0.0]).mean == 0


def test_an_interval_holds_the_truth_as_often_as_it_says() -> None:
    random = np.random.default_rng(2)
    found = [estimate(list(5000 * np.exp(random.normal(0, 0.05, 4)))) for _ in range(2000)]
    assert np.mean([each.low <= 5000 <= each.high for each in found]) == pytest.approx(0.95, abs=0.015)
