"""Who takes a connection: never a worker that holds more than another one that lives."""

import random

import pytest

from serving.http import balance as balancing
from serving.http.balance import MAX_LOOKS, MAX_PORTS, PATIENCE_SECONDS, SLACK, Balance

N_WORKERS = 4


@pytest.fixture
def memory():
    return memoryview(bytearray(N_WORKERS * MAX_PORTS * 16))


@pytest.fixture
def pair(memory):
    return Balance(memory, 0, 1), Balance(memory, 0, 2)


def take(balance, n):
    for _ in range(n):
        balance.opened()


@pytest.mark.parametrize("seed", range(20))
def test_none_ever_holds_much_more_than_another_however_they_take_turns(memory, seed):
    choice = random.Random(seed)  # noqa: S311
    workers = [Balance(memory, 0, number) for number in range(N_WORKERS)]
    held = dict.fromkeys(workers, 0)
    for _ in range(300):
        at_once = choice.sample(workers, choice.randint(1, N_WORKERS))
        for worker in [w for w in at_once if w.is_next()]:  # all look before the first of them takes
            worker.opened()
            held[worker] += 1
        fewest = min(held.values())
        assert max(held.values()) <= fewest + 1 + int(fewest * SLACK)
    assert min(held.values()) > 30


def test_few_connections_are_shared_exactly(pair):
    one, other = pair
    one.opened()
    assert (one.is_next(), other.is_next()) == (False, True)
    other.opened()
    assert one.is_next()
    assert other.is_next()


def test_who_has_lost_a_client_is_next(pair):
    one, other = pair
    take(one, 3)
    take(other, 3)
    other.closed()
    assert not one.is_next()
    assert other.is_next()


def test_ports_are_shared_apart_from_each_other(memory):
    http, grpc = ([Balance(memory, port, worker) for worker in (1, 2)] for port in range(2))
    take(http[0], 5)
    assert grpc[0].is_next()
    take(grpc[1], 1)
    assert not http[0].is_next()
    assert http[1].is_next()
    assert not grpc[1].is_next()


def test_a_worker_that_has_not_started_is_not_waited_for(memory):
    only = Balance(memory, 0, 3)
    take(only, 10)
    assert only.is_next()


def test_one_that_leaves_takes_nobody_while_there_is_another(pair):
    one, other = pair
    take(other, 50)
    one.leave()
    assert not one.is_next()
    assert other.is_next()
    other.leave()
    assert one.is_next()  # the whole service ends: somebody has to
    assert other.is_next()


class Limited:
    """A worker that holds no more than `limit` connections at two ports, and turns away who comes then."""

    def __init__(self, memory, number, limit):
        self.limit, self.balances = limit, []
        for port in range(2):
            self.balances.append(Balance(memory, port, number, self.is_full))
        self.http, self.grpc = self.balances

    def is_full(self):
        return sum(balance.n_held for balance in self.balances) >= self.limit


def test_a_full_worker_turns_nobody_away_while_another_has_room(memory, clock):
    one, other = Limited(memory, 1, 10), Limited(memory, 2, 10)
    take(one.grpc, 7)
    take(one.http, 3)
    take(other.http, 4)
    for _ in range(6):
        assert not one.http.is_next()
        assert all(one.http.leaves() for _ in range(MAX_LOOKS + 1))
        assert other.http.is_next()
        other.http.opened()
    assert one.http.is_next()  # both are full: somebody has to say so
    assert other.http.is_next()


def test_a_worker_that_has_room_again_by_its_other_port_is_next(memory):
    one, other = Limited(memory, 1, 10), Limited(memory, 2, 10)
    take(one.grpc, 10)
    take(other.http, 2)
    assert not one.http.is_next()
    one.grpc.closed()
    assert one.http.is_next()
    assert not other.http.is_next()


def test_a_full_worker_takes_whom_one_that_sleeps_does_not(memory, clock):
    one = Limited(memory, 1, 10)
    Limited(memory, 2, 10)
    take(one.http, 10)
    assert one.http.leaves()
    clock(PATIENCE_SECONDS * 1.1)
    assert not one.http.leaves()


@pytest.fixture
def clock(monkeypatch):
    """A clock that goes by no time but what is added to it."""
    now = [100.0]
    monkeypatch.setattr(balancing, "perf_counter", lambda: now[0])

    def wait(seconds):
        now[0] += seconds

    return wait


def test_one_that_sleeps_is_passed_over_until_it_takes_somebody(pair, clock):
    one, sleeping = pair
    take(one, 5)
    assert one.leaves()
    clock(PATIENCE_SECONDS * 0.9)
    assert one.leaves()
    clock(PATIENCE_SECONDS * 0.2)
    assert not one.leaves()
    take(one, 5)
    assert not one.leaves()
    sleeping.opened()
    assert one.leaves()
    clock(PATIENCE_SECONDS * 0.9)
    sleeping.opened()  # who waited before is gone, and another one waits
    clock(PATIENCE_SECONDS * 0.9)
    assert one.leaves()


def test_looking_again_has_a_budget_but_for_one_that_drains(pair, clock):
    one, other = pair
    take(one, 5)
    assert [one.leaves() for _ in range(MAX_LOOKS + 1)] == [True] * MAX_LOOKS + [False]
    clock(1.0)
    other.opened()
    assert one.leaves()
    one.leave()
    assert all(one.leaves() for _ in range(MAX_LOOKS + 1))


def test_who_takes_the_place_of_a_dead_one_is_counted_from_its_start(memory, pair):
    one, dead = pair
    take(one, 5)
    take(dead, 2)
    one.pass_over()
    assert one.is_next()
    new = Balance(memory, 0, 2)
    assert not one.is_next()
    take(new, 5)
    assert one.is_next()


def test_the_last_of_all_to_leave_passes_over_one_that_sleeps(pair):
    one, _ = pair
    one.leave()
    one.pass_over()
    assert one.is_next()
