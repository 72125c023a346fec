"""The model of cost: its queue against a simulation and textbook values, its fit against known costs, its answers."""

import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from loadtest.capacity import __main__ as cli
from loadtest.capacity.__main__ import FITTED, HELD_OUT, Measured, Round, Study, draw
from loadtest.capacity.fit import Cost, Point, SetupQueue, fit
from loadtest.measurement import Limit, Run
from loadtest.openloop import Load
from loadtest.tune.verdict import estimate
from tests.loadtest.runs import run


def simulate(queue: SetupQueue, rate: float, requests: int = 200_000) -> tuple[float, float]:
    """Mean latency and share of busy time of a server that wakes for whoever finds it asleep, and serves in order."""
    random = np.random.default_rng(0)
    arrivals = np.cumsum(random.exponential(1 / rate, requests))
    takes = np.full(requests, queue.a)
    if queue.variation:
        takes = random.gamma(1 / queue.variation, queue.a * queue.variation, requests)
    free, waited, busy = 0.0, 0.0, 0.0
    for came, work in zip(arrivals.tolist(), takes.tolist(), strict=True):
        woken = work if came < free else work + queue.c
        free = max(free, came) + woken
        waited += free - came
        busy += woken
    return waited / requests, busy / free


@pytest.mark.parametrize("load", [0.1, 0.5, 0.8])
@pytest.mark.parametrize("queue", [SetupQueue(60e-6, 150e-6), SetupQueue(60e-6, 150e-6, 3.0), SetupQueue(1e-3, 0.0)])
def test_the_formulas_are_those_of_the_simulated_queue(queue: SetupQueue, load: float) -> None:
    latency, busy = simulate(queue, load / queue.a)
    assert queue.latency(load / queue.a) == pytest.approx(latency, rel=0.06)
    assert queue.utilisation(load / queue.a) == pytest.approx(busy, rel=0.02)


def test_without_waking_it_is_pollaczek_khinchine() -> None:
    assert SetupQueue(1.0, 0.0).latency(0.5) == pytest.approx(1.5)  # M/D/1 at half load: a wait of half a service
    assert SetupQueue(1.0, 0.0, 1.0).latency(0.5) == pytest.approx(2.0)  # M/M/1: 1/(μ − λ)


def test_more_than_it_can_do_takes_for_ever() -> None:
    queue = SetupQueue(1e-3, 1e-3)
    assert math.isinf(queue.latency(1000)) and queue.utilisation(2000) == 1 and queue.saturation == 1000


def test_the_rate_at_a_utilisation_is_the_inverse() -> None:
    queue = SetupQueue(60e-6, 150e-6)
    assert queue.utilisation(queue.rate_at(0.8)) == pytest.approx(0.8)


TRUE = Cost(0.01, SetupQueue(60e-6, 150e-6, 3.0), 40e-6)
TOP = 1 / 60e-6


def points(shares: tuple[float, ...], noise: float = 0.0) -> list[Point]:
    random = np.random.default_rng(1)

    def noisy(value: float) -> float:
        return value * (1 + random.normal(0, noise))

    rates = [share * TOP for share in shares]
    return [Point(rate, rate, noisy(TRUE.cores(rate)), noisy(TRUE.latency(rate)), 1.0) for rate in rates]


def rounds(spread: float = 0.05, count: int = 5, seed: int = 0) -> list[Round]:
    """Rounds in which the worker is faster or slower at everything, and each rate by a little more by itself."""
    random, whole = np.random.default_rng(seed), []
    for _ in range(count):
        slower = math.exp(random.normal(0, spread))
        true = Cost(0.01, SetupQueue(60e-6 * slower, 150e-6 * slower, 3.0), 40e-6)
        at = [share * TOP for share in FITTED]
        errors = 1 + random.normal(0, 0.01, (2, len(at)))
        cores, latencies = errors * [[true.cores(rate) for rate in at], [true.latency(rate) for rate in at]]
        fitted = [
            Point(rate, rate, used, latency, 1.0) for rate, used, latency in zip(at, cores, latencies, strict=True)
        ]
        whole.append(Round(fitted, TOP / slower))
    return whole


def study(cost: Cost = TRUE, noise: float = 0.0, background_cores: float = 0.0) -> Study:
    measured = Measured(0.01, TOP, points(FITTED, noise), points(HELD_OUT, noise), 150.0, background_cores, rounds())
    return Study("iris-onnx", "a machine", measured, cost)


def text(study: Study) -> str:
    return cli.markdown(study, 100_000, 0.04, "c.png")


def held_table(study: Study) -> list[str]:
    lines = text(study).splitlines()
    return lines[2 + next(place for place, line in enumerate(lines) if line.startswith("| held out")) :]


def test_the_fit_finds_the_costs_that_made_the_points() -> None:
    cost = fit(points(FITTED), TOP, 0.01)
    assert cost.queue.a == pytest.approx(60e-6, rel=0.01) and cost.queue.c == pytest.approx(150e-6, rel=0.01)
    assert cost.queue.variation == pytest.approx(3, rel=0.02) and cost.around == pytest.approx(40e-6, rel=0.05)


def test_the_fit_stands_noise_and_one_rate_that_was_disturbed() -> None:
    given = points(FITTED, 0.02)
    given[2] = replace(given[2], cores=1.3 * given[2].cores, latency=5 * given[2].latency)
    cost = fit(given, 0.95 * TOP, 0.01)
    assert cost.queue.a == pytest.approx(60e-6, rel=0.1) and cost.queue.c == pytest.approx(150e-6, rel=0.2)
    for held in points(HELD_OUT):
        assert cost.cores(held.rate) == pytest.approx(held.cores, rel=0.05)
        assert cost.latency(held.rate) == pytest.approx(held.latency, rel=0.35)


def test_rates_far_below_saturation_do_not_let_the_fit_run_away() -> None:
    given = [replace(p, cores=p.cores * (1.1 if p.rate < 0.15 * TOP else 0.97)) for p in points((0.1, 0.2, 0.3, 0.4))]
    assert fit(given, 0.9 * TOP, 0.01).queue.a == pytest.approx(60e-6, rel=0.2)


def test_a_negative_time_around_the_queue_is_found_too() -> None:
    shifted = [replace(point, latency=point.latency - 80e-6) for point in points(FITTED)]
    assert fit(shifted, TOP, 0.01).around == pytest.approx(-40e-6, rel=0.1)


def test_what_was_not_fitted_is_told_with_its_errors() -> None:
    off = Cost(TRUE.idle, SetupQueue(60e-6, 150e-6, 3.0), TRUE.around + 0.1 * TRUE.latency(0.6 * TOP))
    rows = held_table(study(off))
    assert rows[0].startswith("| 833/s (below all fitted) |") and rows[1].startswith("| 10,000/s |")
    assert rows[2].startswith("| 14,167/s (beyond all fitted) |")
    cells = [cell.strip() for cell in rows[1].strip("|").split("|")]
    assert cells[3].endswith("0 %") and cells[7] == "+10 %"


def test_replicas_and_their_price_follow_from_the_rate_measured() -> None:
    found = study()
    replicas = math.ceil(100_000 / (0.7 * TOP))
    section = cli.markdown(found, 100_000, 0.04, "c.png")
    assert f"need {replicas} (9 to 10) replicas" in section and "assumed" in section
    assert f"{replicas * 0.04:,.2f} an hour" in section and "of 5 rounds alone, 1/a is 1" in section
    assert "a = 60.0 µs" in section and "c = 150 µs" in section and "measure again" not in section
    assert "measure again" in cli.markdown(study(background_cores=0.5), 100_000, 0.04, "c.png")


@pytest.mark.parametrize("a", [60e-6, 40e-6])  # the worker measured, and one of which the fit thinks too well
def test_no_answer_is_beyond_what_was_measured(a: float) -> None:
    found = study(Cost(0.01, SetupQueue(a, 150e-6), 0.0))
    highest = found.measured.highest
    for target in (10.0, 100_000.0):
        answers = [cli.Answer.of(found, load, target) for load in cli.LOADS]
        assert all(answer.rate <= min(highest, answer.load / a) for answer in answers)
        assert all(answer.rate * answer.number == pytest.approx(target) for answer in answers)


def test_rates_held_out_lie_below_between_and_beyond_the_fitted_and_below_saturation() -> None:
    assert HELD_OUT[0] < min(FITTED) < HELD_OUT[1] < max(FITTED) < HELD_OUT[2] < 1
    assert max(FITTED) > cli.CHOSEN and max(HELD_OUT) > max(cli.LOADS)


def test_a_worker_that_cannot_keep_up_is_still_reported(tmp_path: Path) -> None:
    slow = study(Cost(0.01, SetupQueue(80e-6, 150e-6), 0.0))  # by which 0.85 of the measured saturation is too much
    assert "inf" in text(slow)
    draw(slow, tmp_path / "c.png")
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")


def test_a_rate_that_was_not_kept_up_with_is_named_and_no_answer() -> None:
    found = study()
    beyond = replace(found.measured.held_out[-1], offered=15_500.0)
    assert not beyond.kept_up
    fell = replace(found, measured=replace(found.measured, held_out=[*found.measured.held_out[:-1], beyond]))
    assert "14,167/s of 15,500/s offered" in text(fell)
    assert fell.measured.highest == max(FITTED) * TOP


def test_a_point_is_the_median_of_its_rounds() -> None:
    given = ((99.0, 1.0), (101.0, 9.0), (100.0, 2.0))
    point = Point.of([run(rate=102.0, achieved=rate, p50=half) for rate, half in given])
    assert (point.offered, point.rate, point.latency) == (102, 100, 0.002) and point.kept_up


def measured_rounds(each: list[Round]) -> Measured:
    return replace(study().measured, rounds=each)


def test_an_interval_of_replicas_has_an_end_for_each_end_of_the_speeds() -> None:
    spread = replace(study(), measured=measured_rounds(rounds(0.1)))
    sure = spread.measured.sure
    assert sure.known and sure.low < TOP < sure.high
    answer = cli.Answer.of(spread, 0.7, 100_000)
    assert (answer.low, answer.number, answer.high) == (
        math.ceil(100_000 / (0.7 * TOP * sure.high / sure.mean)),
        9,
        math.ceil(100_000 / (0.7 * TOP * sure.low / sure.mean)),
    )
    assert answer.low < 9 < answer.high
    highest = math.ceil(100_000 / spread.measured.highest)
    assert cli.Answer.of(spread, 0.99, 100_000).low == highest  # on no speed that nobody has measured is counted


def test_two_rounds_have_no_interval() -> None:
    two = replace(study(), measured=measured_rounds(rounds(count=2)))
    assert not two.measured.sure.known and cli.Answer.of(two, 0.7, 100_000).replicas == "9"
    assert cli.Answer(0.7, 8, 7, 9, 1.0).replicas == "8 (7 to 9)"
    assert "no interval, of 2 rounds" in text(two)


def test_the_interval_holds_the_true_speed_as_often_as_it_says_and_that_of_single_rates_does_not() -> None:
    """The rates of a round share its speed; who takes their errors for independent is far too sure."""
    held = []
    for seed in range(24):
        each = rounds(0.1, seed=seed)
        sure = measured_rounds(each).sure
        single = estimate([speed.saturation for speed in each for _ in FITTED])
        held.append((sure.low <= TOP <= sure.high, single.low <= TOP <= single.high))
    by_round, by_rate = np.mean(held, axis=0)
    assert by_round >= 0.87 and by_rate < 0.75


def test_every_round_is_kept_with_its_own_saturation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "IDLE_SECONDS", 0.01)
    closed = run(achieved=1000.0)
    tops = iter([1000.0, 1010.0, 990.0, 900.0, 950.0, 1000.0, 1050.0, 1100.0])  # before all others, and of each round

    def answer(load: Load, limit: Limit) -> Run:
        if not load.rate:
            return closed
        if load.rate > 1000:
            return run(rate=load.rate, achieved=next(tops))
        late = load.seed == 1 and load.rate == 350
        return run(rate=load.rate, achieved=load.rate, cpu_cores=load.rate / 1000, rejected="late" if late else "")

    service = SimpleNamespace(port=1, cpu_seconds=lambda: 0.0)
    measured = cli.measure(SimpleNamespace(service=service, run=answer), 0.1)  # type: ignore[arg-type]
    assert [each.saturation for each in measured.rounds] == [900, 950, 1000, 1050, 1100] and measured.saturation == 1000
    assert [len(each.points) for each in measured.rounds] == [6, 5, 6, 6, 6]
    assert [point.offered for point in measured.rounds[0].points] == [share * 1000 for share in FITTED]
    assert len(measured.fitted) == 6 and len(measured.held_out) == 3 and measured.sure.rounds == 5
