"""How wrong a quantile is that Prometheus reads from the buckets of ekiben_request_seconds."""

import numpy as np
import pytest

from serving.telemetry.metrics import REQUEST_SECONDS, STAGE_SECONDS

MAX_ERROR = 0.15
LOWEST, HIGHEST = 1e-4, 1.0  # s, of the quantiles that are to be read
QUANTILES = (0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999)


def histogram_quantile(quantile: float, values: np.ndarray, bounds: tuple[float, ...]) -> float:
    """What PromQL's function of that name makes of the values' buckets: the rank, and between two bounds a line."""
    edges = np.array((0.0, *bounds))
    cumulative = np.array([np.count_nonzero(values <= bound) for bound in bounds])
    rank = quantile * len(values)
    place = int(np.argmax(cumulative >= rank))
    below = cumulative[place - 1] if place else 0
    return edges[place] + (edges[place + 1] - edges[place]) * (rank - below) / (cumulative[place] - below)


def worst_error(values: np.ndarray, bounds: tuple[float, ...]) -> float:
    """The largest relative error of the quantiles that lie in the range."""
    true = {quantile: float(np.quantile(values, quantile, method="inverted_cdf")) for quantile in QUANTILES}
    within = {quantile: value for quantile, value in true.items() if LOWEST <= value <= HIGHEST}
    return max((abs(histogram_quantile(q, values, bounds) / value - 1) for q, value in within.items()), default=0.0)


def distributions() -> dict[str, np.ndarray]:
    """Latencies as they come, and the ones that are read worst: all alike, just above a bound."""
    random = np.random.default_rng(18)
    alike = {f"all {bound * 1.0001:g}": np.full(1000, bound * 1.0001) for bound in REQUEST_SECONDS if bound < HIGHEST}
    fast = {f"median {median:g}, sigma {sigma:g}": np.exp(random.normal(np.log(median), sigma, 5000))
            for median in (1.2e-4, 1.5e-4, 3.5e-4, 4.1e-3, 0.05, 0.4) for sigma in (0.05, 0.3, 0.9)}  # fmt: skip
    two = np.where(random.random(5000) < 0.97, random.normal(2e-4, 1e-5, 5000), random.normal(0.3, 0.02, 5000))
    return alike | fast | {"two kinds": two}


@pytest.mark.parametrize("values", [pytest.param(values, id=name) for name, values in distributions().items()])
def test_any_quantile_between_a_tenth_of_a_millisecond_and_a_second_is_read_within_15_percent(values):
    assert worst_error(values, REQUEST_SECONDS) < MAX_ERROR


def test_the_coarser_buckets_would_not_do():
    assert worst_error(np.full(1000, 1.2e-4), STAGE_SECONDS) > 1


def test_neighbours_differ_by_less_than_that_and_there_are_no_more_than_a_scrape_can_bear():
    bounds = np.array([bound for bound in REQUEST_SECONDS if LOWEST <= bound <= HIGHEST])
    assert (bounds[0], bounds[-1], REQUEST_SECONDS[0]) == (LOWEST, HIGHEST, 5e-5)
    assert (bounds[1:] / bounds[:-1] - 1).max() < MAX_ERROR
    assert len(REQUEST_SECONDS) <= 90
