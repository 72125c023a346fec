"""The overload's judge: what it must find, on answers made up for the purpose; and its plot."""

import numpy as np
import pytest

from loadtest.openloop import UNANSWERED, LoadResult
from loadtest.overload import Overload, draw, judge

CAPACITY = 1000
OVERLOAD = Overload(CAPACITY, begins=4, ends=14, total=18)
MEMORY = [(float(second), 100.0) for second in range(18)]


def answers() -> LoadResult:
    """A third of the burst is answered in 100 ms, the rest is turned away in 5 ms; all of the calm is answered."""
    due = np.sort(np.random.default_rng(0).uniform(4, 14, 30_000))
    due = np.concatenate([np.linspace(0, 3.999, 2000), due, np.linspace(14, 17.99, 2000)])
    burst = (due >= 4) & (due < 14)
    away = burst & (np.arange(len(due)) % 3 > 0)
    seconds = np.where(away, 0.005, np.where(burst, 0.1, 0.01))
    status = np.where(away, 429, 200)
    return LoadResult(18, 18, due, due * 0, due.copy(), due + seconds, status, away.copy())


def broken(result, memory=MEMORY):
    return [promise.what for promise in judge(result, OVERLOAD, memory) if not promise.kept]


def test_all_is_well():
    assert broken(answers()) == []


def mute(t, burst):
    t.status[burst & (np.arange(len(t.due)) % 30 == 0)] = 503


def late(t, burst):
    t.done[np.flatnonzero(burst & (t.status == 200))[-1]] = 99.0


def slow_to_turn_away(t, burst):
    away = burst & (t.status == 429)
    t.done[away] = t.due[away] + 0.06


def unanswered(t, burst):
    t.status[np.flatnonzero(burst)[5]] = UNANSWERED


def failing_afterwards(t, burst):
    t.status[(t.due > 14) & (t.due < 16.5)] = 500


@pytest.mark.parametrize(
    ("harm", "found"),
    [
        (mute, "turned away without Retry-After"),
        (late, "slowest answer"),
        (slow_to_turn_away, "turned away, p99"),
        (unanswered, "neither answered nor turned away"),
        (failing_afterwards, "recovery"),
    ],
)
def test_each_promise_that_is_broken_is_found(harm, found):
    result = answers()
    harm(result, (result.due >= 5.5) & (result.due < 13.5))
    assert found in broken(result)


def test_too_few_answers_are_found():
    result = answers()
    result.status[(result.status == 200) & (np.arange(len(result.due)) % 2 == 0)] = 429
    assert "goodput" in broken(result)


def test_memory_that_grows_is_found():
    assert broken(answers(), [(at, size + at) for at, size in MEMORY]) == ["growth of memory"]


def test_the_load_is_a_calm_a_burst_and_a_calm():
    load = Overload.of(1000, 30).load(50)
    assert (load.rate, [burst.rate for burst in load.bursts], load.measured_seconds) == (500, [3000, 500], 42)


def test_the_plot_is_drawn(tmp_path):
    draw(answers(), OVERLOAD, MEMORY, "a machine", tmp_path / "o.png")
    assert (tmp_path / "o.png").read_bytes().startswith(b"\x89PNG")
