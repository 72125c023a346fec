"""The search on simulated services: brackets, rounds, the journal and the budget."""

import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from loadtest.documents import Progress
from loadtest.measurement import Limit, Run
from loadtest.openloop import Load
from loadtest.service import ServiceError
from loadtest.tune import space
from loadtest.tune.search import (
    ATTEMPTS,
    LOWEST,
    Bracket,
    Journal,
    OutOfBudget,
    Results,
    Trials,
    highest,
    play_rounds,
)  # fmt: skip
from loadtest.tune.space import Setting, candidates, combine
from loadtest.tune.verdict import Verdict
from tests.loadtest.runs import run

AXES = {"workers": [1, 2, 4], "max_batch_size": [64, 256]}


# One search


@pytest.mark.parametrize("capacity", [3.0, 480.0, 5123.0, 90_000.0])
@pytest.mark.parametrize("start", [10.0, 4000.0, 60_000.0])
@pytest.mark.parametrize("step", [1.1, 2.0])
def test_the_highest_rate_is_found_within_the_tolerance(capacity: float, start: float, step: float) -> None:
    asked = []

    def ask(rate: float) -> Verdict:
        asked.append(rate)
        return Verdict.PASS if rate <= capacity else Verdict.FAIL

    found = highest(Bracket(), ask, start, step, 1.05)
    assert found.finished and found.passed <= capacity < found.failed
    assert found.failed / found.passed <= 1.05 or len(f"{found.passed:g}") <= 3
    assert len(asked) == len(set(asked)) <= 30


def test_what_is_undecided_has_not_passed() -> None:
    verdicts = {True: Verdict.PASS, False: Verdict.UNDECIDED}
    assert highest(Bracket(), lambda rate: verdicts[rate <= 100], 50, 2.0, 1.1).passed <= 100


def test_a_service_that_passes_nothing_has_no_rate() -> None:
    found = highest(Bracket(), lambda rate: Verdict.FAIL, 1000, 2.0, 1.1)
    assert found.finished and found.passed == 0 and found.failed == LOWEST


def test_what_could_not_be_measured_says_nothing_of_the_service() -> None:
    assert not highest(Bracket(), lambda rate: Verdict.UNMEASURED, 1000, 2.0, 1.1).finished
    fast_generator = {True: Verdict.PASS, False: Verdict.UNMEASURED}
    found = highest(Bracket(), lambda rate: fast_generator[rate <= 900], 500, 2.0, 1.1)
    assert found.finished and 800 < found.passed <= 900 < found.failed


def test_an_interruption_leaves_what_was_found() -> None:
    bracket, left = Bracket(), iter([Verdict.PASS, Verdict.FAIL])

    def ask(rate: float) -> Verdict:
        for verdict in left:
            return verdict
        raise OutOfBudget

    with pytest.raises(OutOfBudget):
        highest(bracket, ask, 100, 2.0, 1.1)
    assert (bracket.passed, bracket.failed, bracket.finished) == (100, 200, False)


# What is tried


def test_the_defaults_come_first_and_the_rest_differ_in_one_thing() -> None:
    tried = candidates(["onnx", "int8"], AXES)
    assert [setting.difference(tried[0]) for setting in tried] == [
        "defaults", "int8", "workers=2", "max_batch_size=256", "workers=4",
    ]  # fmt: skip
    assert tried[1].environment == {"EKIBEN_FORMS": "int8", "EKIBEN_WORKERS": "1", "EKIBEN_MAX_BATCH_SIZE": "64"}


def test_what_was_good_alone_is_combined_and_the_best_value_of_each_wins() -> None:
    default, int8, two, large, four = candidates(["onnx", "int8"], AXES)
    assert combine(default, [four, large, two, int8]).difference(default) == "int8 workers=2 max_batch_size=256"


def test_values_that_the_cores_make_pointless_are_left_out(tmp_path: Path) -> None:
    one, eight = space.read(space.DEFAULT, 1), space.read(space.DEFAULT, 8)
    assert one["workers"] == [1, 2] and one["engine_threads"] == [0]
    assert eight["workers"] == [1, 2, 4, 8, 16] and eight["engine_threads"] == [0, 1, 2, 4]
    (tmp_path / "s.yaml").write_text("workers: 3\n")
    with pytest.raises(SystemExit, match="workers must be a list"):
        space.read(tmp_path / "s.yaml", 1)


# The rounds


def simulated(speeds: dict[str, float], budget: float = math.inf, noise: float = 0.0, seed: int = 0) -> Results:
    """Rounds over services of these speeds by difference from the default, 100 where none is given; 10 s each."""
    tried = candidates(["onnx", "int8"], AXES)
    random = np.random.default_rng(seed)
    spent = 0.0

    def measure(setting: Setting, number: int, known: float, bracket: Bracket) -> None:
        nonlocal spent
        if spent + 10 > budget:
            raise OutOfBudget
        spent += 10
        bracket.passed = speeds.get(setting.difference(tried[0]), 100.0) * math.exp(random.normal(0, noise))
        bracket.failed, bracket.finished = 1.05 * bracket.passed, True

    results = Results(tried[0])
    play_rounds(tried, results, measure, lambda: spent, budget)
    assert spent <= budget
    return results


def named(results: Results) -> str:
    return results.winner.difference(results.default)


def test_the_best_setting_wins_with_its_gain() -> None:
    results = simulated({"workers=2": 130, "int8": 90})
    assert named(results) == "workers=2"
    assert results.gain(results.winner).mean == pytest.approx(1.3)


def test_two_improvements_are_tried_together() -> None:
    assert named(simulated({"workers=2": 130, "int8": 120, "int8 workers=2": 160})) == "int8 workers=2"


def test_one_finalist_is_frozen_after_the_first_round() -> None:
    results = simulated({"int8": 120, "workers=2": 104})
    assert results.finalist and results.finalist.difference(results.default) == "int8"
    for number in range(2, 7):  # from now on the other is the better one, and it is too late
        results.brackets[setting_named(results, "workers=2")][number] = Bracket(500.0, 525.0, True)
    assert named(results) == "int8" and results.gain(results.winner).mean == pytest.approx(1.2)


def setting_named(results: Results, words: str) -> Setting:
    return next(setting for setting in results.brackets if setting.difference(results.default) == words)


def test_the_first_round_does_not_count_for_the_gain() -> None:
    results = simulated({"workers=2": 130})
    assert sorted(results.rates(results.winner)) == [1, 2, 3, 4, 5, 6]
    assert sorted(results.rates(results.winner, since=2)) == results_rounds(results) == [2, 3, 4, 5, 6]


def results_rounds(results: Results) -> list[int]:
    return sorted(results.rates(results.winner, 2).keys() & results.rates(results.default, 2).keys())


def test_a_short_budget_measures_the_defaults_and_claims_nothing() -> None:
    results = simulated({"workers=2": 130}, budget=40)
    assert results.rates(results.default) and named(results) == "defaults"


def test_only_the_first_rounds_share_of_the_budget_goes_to_selection() -> None:
    results = simulated({"workers=2": 130}, budget=60)
    assert {1, 2} <= set(results.rates(results.default))


# The journal


def test_a_journal_goes_on_where_it_was(tmp_path: Path) -> None:
    first = Journal(tmp_path / "runs.jsonl", {"model": "a"})
    first.run(("x", "1"), lambda: run(p99=math.inf))
    again = Journal(tmp_path / "runs.jsonl", {"model": "a"})
    assert again.run(("x", "1"), run) == run(p99=math.inf) and again.run(("x", "2"), run) == run()
    assert again.resumed == 1 and not again.ended


def test_a_journal_of_something_else_is_replaced(tmp_path: Path) -> None:
    Journal(tmp_path / "runs.jsonl", {"model": "a"}).run(("x",), run)
    assert Journal(tmp_path / "runs.jsonl", {"model": "b"}).resumed == 0
    assert Journal(tmp_path / "runs.jsonl", {"model": "a"}).resumed == 0  # and is gone
    Journal(tmp_path / "runs.jsonl", {"model": "a"}).run(("x",), run)
    assert Journal(tmp_path / "runs.jsonl", {"model": "a"}, fresh=True).resumed == 0


def test_a_line_cut_off_by_the_interruption_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl"
    Journal(path, {"model": "a"}).run(("x",), run)
    with path.open("a") as file:
        file.write('{"key": ["y"], "run": {"ra')
    again = Journal(path, {"model": "a"})
    again.run(("z",), run)
    assert again.resumed == 1
    assert Journal(path, {"model": "a"}).resumed == 2


def test_time_spent_adds_up_over_interruptions_and_stands_still_after_the_end(tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl"
    path.write_text(json.dumps({"head": {"model": "a"}}) + "\n" + json.dumps({"spent": 1000.0}) + "\n")
    journal = Journal(path, {"model": "a"})
    assert journal.spent >= 1000
    journal.end()
    ended = Journal(path, {"model": "a"})
    assert ended.ended and ended.spent == ended.spent == pytest.approx(1000, abs=5)


# The trials


class Pool:
    """In place of a service: `answers` gives the run at a rate."""

    cores = SimpleNamespace(count=1)

    def __init__(self, answers: Any) -> None:
        self.answers, self.loads = answers, list[Load]()

    def target(self, settings: dict[str, str], form: str) -> Any:
        return SimpleNamespace(run=self.run)

    def run(self, load: Load, limit: Limit) -> Run:
        self.loads.append(load)
        found: Run = self.answers(load)
        return found


def trials(tmp_path: Path, answers: Any, budget: float = 1e6) -> tuple[Trials, Pool]:
    pool = Pool(answers)
    journal = Journal(tmp_path / "runs.jsonl", {})
    return Trials(pool, SETTING, journal, Limit(0.99, 0.05), budget, 2.0, Progress(budget)), pool  # type: ignore[arg-type]


def up_to(capacity: float) -> Any:
    def answer(load: Load) -> Run:
        count = round((load.rate or capacity) * load.seconds)
        slow = count // 2 if load.rate > capacity else 0
        figures = {"seconds": load.seconds, "slow_shares": [slow / max(1, count)] * 20}
        return run(rate=load.rate, achieved=min(load.rate or capacity, capacity), count=count, slow=slow, **figures)

    return answer


SETTING = candidates(["onnx"], AXES)[0]


def test_a_bracket_starts_from_what_a_closed_loop_gets(tmp_path: Path) -> None:
    measured, pool = trials(tmp_path, up_to(3000))
    bracket = Bracket()
    measured.bracket(SETTING, 1, 0.0, bracket)
    assert pool.loads[0].rate == 0 and pool.loads[1].rate == 1500
    assert bracket.passed <= 3000 < bracket.failed and len(pool.loads) < 10


def test_low_rates_are_measured_for_longer(tmp_path: Path) -> None:
    measured, pool = trials(tmp_path, up_to(100))
    measured.bracket(SETTING, 2, 100.0, Bracket())
    assert pool.loads[0].seconds == pytest.approx(1.5 * 459 / 100)


def test_undecided_is_looked_at_once_more(tmp_path: Path) -> None:
    measured, pool = trials(tmp_path, lambda load: run(rate=load.rate, achieved=load.rate, count=400))
    measured._trial(SETTING, 1, 1000.0)
    assert len(pool.loads) == 2 and pool.loads[0].seed != pool.loads[1].seed
    assert measured.all[0].verdict is Verdict.PASS  # 0 of 800


def test_thrown_away_runs_are_repeated_and_count_for_nothing(tmp_path: Path) -> None:
    measured, pool = trials(tmp_path, lambda load: run(count=1000, slow=1000, rejected="the generator was late"))
    assert measured._trial(SETTING, 1, 1000.0) is Verdict.UNMEASURED
    assert len(pool.loads) == ATTEMPTS


def test_an_interrupted_search_asks_for_nothing_twice(tmp_path: Path) -> None:
    measured, _ = trials(tmp_path, up_to(3000))
    whole = Bracket()
    measured.bracket(SETTING, 1, 0.0, whole)
    again, idle = trials(tmp_path, up_to(1))
    found = Bracket()
    again.bracket(SETTING, 1, 0.0, found)
    assert found == whole and not idle.loads
    assert [trial.rate for trial in again.all] == [trial.rate for trial in measured.all]


def test_nothing_is_begun_that_the_budget_does_not_hold(tmp_path: Path) -> None:
    measured, pool = trials(tmp_path, up_to(3000), budget=5)
    with pytest.raises(OutOfBudget):
        measured.bracket(SETTING, 1, 0.0, Bracket())
    assert not pool.loads


def test_a_setting_that_does_not_start_passes_nothing_and_says_why(tmp_path: Path) -> None:
    def broken(load: Load) -> Run:
        raise ServiceError("no memory")

    measured, _ = trials(tmp_path, broken)
    bracket = Bracket()
    measured.bracket(SETTING, 1, 0.0, bracket)
    assert bracket.finished and bracket.passed == 0 and measured.broken == {SETTING: "no memory"}
