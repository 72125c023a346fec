"""The model of cost: its queue against a simulation of it, its fit against known costs, and its answers."""

import math
from pathlib import Path

import numpy as np
import pytest

from loadtest.capacity import report
from loadtest.capacity.fit import Cost, Point, fit
from loadtest.capacity.queue import BatchQueue
from loadtest.capacity.report import Study
from tests.loadtest.figures import run


def simulate(queue: BatchQueue, rate: float, requests: int = 50_000) -> tuple[float, float]:
    """Mean latency and mean batch of a server that takes all who wait."""
    arrivals = np.cumsum(np.random.default_rng(0).exponential(1 / rate, requests))
    first, free, waited, batches = 0, 0.0, 0.0, 0
    while first < requests:
        start = max(free, float(arrivals[first]))
        last = int(np.searchsorted(arrivals, start, side="right"))
        free = start + queue.a * (last - first) + queue.b
        waited += float((free - arrivals[first:last]).sum())
        first, batches = last, batches + 1
    return waited / requests, requests / batches


@pytest.mark.parametrize("load", [0.1, 0.5, 0.8])
@pytest.mark.parametrize(("a", "b"), [(40e-6, 20e-6), (10e-6, 100e-6), (50e-6, 1e-6)])
def test_the_formulas_are_those_of_the_simulated_queue(a: float, b: float, load: float) -> None:
    queue = BatchQueue(a, b)
    latency, batch = simulate(queue, load / a)
    assert 0.95 * latency < queue.latency(load / a) < 1.1 * latency  # an upper bound, and a close one
    assert queue.batch(load / a) == pytest.approx(batch, rel=0.05)


def test_without_a_cost_of_a_batch_it_is_md1() -> None:
    a, rate = 1e-3, 100.0
    md1 = a + rate * a * a / (2 * (1 - rate * a))  # Pollaczek–Khinchine
    assert BatchQueue(a, 1e-9).latency(rate) == pytest.approx(md1, rel=0.02)


def test_more_than_it_can_do_takes_for_ever() -> None:
    assert math.isinf(BatchQueue(1e-3, 1e-3).latency(1000))


def test_the_rate_at_a_utilisation_is_the_inverse() -> None:
    queue = BatchQueue(40e-6, 20e-6)
    assert queue.utilisation(queue.rate_at(0.8)) == pytest.approx(0.8, abs=1e-4)


TRUE = Cost(0.01, BatchQueue(45e-6, 15e-6), 300e-6)


def points(rates: list[float], noise: float = 0.0) -> list[Point]:
    random = np.random.default_rng(1)
    return [
        Point(rate, rate / TRUE.queue.batch(rate), TRUE.cores(rate) * (1 + random.normal(0, noise)), TRUE.latency(rate))
        for rate in rates
    ]


def test_the_fit_finds_the_costs_that_made_the_points() -> None:
    cost = fit(points([1000, 3000, 6000, 10_000, 14_000, 18_000]))
    assert cost.queue.a == pytest.approx(45e-6, rel=0.02) and cost.queue.b == pytest.approx(15e-6, rel=0.05)
    assert cost.idle == pytest.approx(0.01, abs=0.002) and cost.around == pytest.approx(300e-6, rel=0.02)


def test_what_was_not_fitted_is_predicted_and_its_error_told() -> None:
    study = Study("iris-onnx", fit(points([1000, 3000, 6000, 10_000], 0.02)), points([1000, 10_000]),
                  points([8000, 15_000]), 150.0, 0.0, "a machine")  # fmt: skip
    assert study.cost.cores(15_000) == pytest.approx(TRUE.cores(15_000), rel=0.15)
    rows = report.held_table(study).splitlines()[2:]
    assert rows[0].startswith("| 8,000/s |") and rows[1].startswith("| 15,000/s (beyond all fitted) |")
    assert all(row.count("%") == 2 for row in rows)


def test_replicas_and_their_price_follow_from_the_costs(tmp_path: Path) -> None:
    study = Study("iris-onnx", TRUE, points([1000]), points([8000]), 150.0, 0.0, "a machine")
    replicas = math.ceil(100_000 / TRUE.rate_at(0.8))
    text = report.markdown(study, 100_000, 0.04, "c.png")
    assert f"need {replicas} replicas" in text and f"{replicas * 0.04:,.2f} an hour" in text and "assumed" in text
    assert TRUE.cores(100_000 / replicas) <= 0.8 + 1e-3
    report.draw(study, tmp_path / "c.png")
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")


def test_a_point_is_the_median_of_its_rounds() -> None:
    point = Point.of([run(achieved=rate, mean=mean) for rate, mean in ((99.0, 1.0), (101.0, 9.0), (100.0, 2.0))])
    assert (point.rate, point.latency) == (100, 0.002)
