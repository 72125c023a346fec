"""The overload's judge: what it must find, on answers made up for the purpose."""

import numpy as np
import pytest

from loadtest.overload.storm import UNTOLD, Phase, Told, arrivals
from loadtest.overload.verdict import judge

CAPACITY = 1000
PHASES = [Phase(500, 4), Phase(3000, 10), Phase(500, 4)]
MEMORY = [(float(second), 100.0) for second in range(18)]


def told():
    """A third of the overload is answered in 100 ms, the rest is turned away in 5 ms; all of the calm is answered."""
    due = arrivals(PHASES)
    storm = (due >= 4) & (due < 14)
    away = storm & (np.arange(len(due)) % 3 > 0)
    seconds = np.where(away, 0.005, np.where(storm, 0.1, 0.01))
    return Told(due, due.copy(), due + seconds, np.where(away, 429, 200), away.copy())


def broken(answers, memory=MEMORY):
    return [promise.what for promise in judge(answers, PHASES, CAPACITY, 1.0, memory) if not promise.kept]


def test_all_is_well():
    assert broken(told()) == []


def test_arrivals_follow_the_phases():
    counts, _ = np.histogram(arrivals(PHASES), [0, 4, 14, 18])
    for count, phase in zip(counts, PHASES, strict=True):
        assert abs(count - phase.rate * phase.seconds) < 5 * (phase.rate * phase.seconds) ** 0.5


def mute(t, storm):
    t.status[storm & (np.arange(len(t.due)) % 30 == 0)] = 503


def late(t, storm):
    t.done[np.flatnonzero(storm & (t.status == 200))[-1]] = 99.0


def slow_to_turn_away(t, storm):
    away = storm & (t.status == 429)
    t.done[away] = t.due[away] + 0.06


def untold(t, storm):
    t.status[np.flatnonzero(storm)[5]] = UNTOLD


def failing_afterwards(t, storm):
    t.status[(t.due > 14) & (t.due < 16.5)] = 500


@pytest.mark.parametrize(
    ("harm", "found"),
    [
        (mute, "turned away without Retry-After"),
        (late, "slowest answer"),
        (slow_to_turn_away, "turned away, p99"),
        (untold, "neither answered nor turned away"),
        (failing_afterwards, "recovery"),
    ],
)
def test_each_promise_that_is_broken_is_found(harm, found):
    answers = told()
    harm(answers, (answers.due >= 5.5) & (answers.due < 13.5))
    assert found in broken(answers)


def test_too_few_answers_are_found():
    answers = told()
    answers.status[(answers.status == 200) & (np.arange(len(answers.due)) % 2 == 0)] = 429
    assert "goodput" in broken(answers)


def test_memory_that_grows_is_found():
    assert broken(told(), [(at, size + at) for at, size in MEMORY]) == ["growth of memory"]
