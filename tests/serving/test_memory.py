"""The budget of memory: what does not fit waits, the smallest first, and is refused in words."""

import asyncio

import pytest

from serving import memory
from serving.errors import DeadlineExceeded, Overloaded, TooLarge
from serving.memory import MB, MemoryBudget, WorkerMemory


async def hold(budget, n_bytes, done, name):
    async with budget.reserved(n_bytes, 10):
        done.append(name)


async def test_who_waits_is_let_in_by_size():
    budget, done = MemoryBudget(100), []
    async with budget.reserved(90, 1):
        waiting = [asyncio.create_task(hold(budget, *what)) for what in ((80, done, "large"), (20, done, "small"))]
        await asyncio.sleep(0)
        async with budget.reserved(10, 1):  # what fits does not wait
            assert done == []
    await asyncio.gather(*waiting)
    assert done == ["small", "large"]
    assert budget.taken == 0


async def test_what_can_never_fit_and_what_waits_too_long_or_in_too_long_a_queue_is_refused(monkeypatch):
    monkeypatch.setattr(memory, "MAX_WAITING", 1)
    budget = MemoryBudget(100 * MB)
    with pytest.raises(TooLarge, match="takes 101 MB of memory; there are 100 MB") as told:
        await budget.reserved(101 * MB, 1).__aenter__()
    assert told.value.setting == "EKIBEN_MEMORY_MB"
    async with budget.reserved(100 * MB, 1):
        first = asyncio.create_task(hold(budget, 1, [], ""))
        await asyncio.sleep(0)
        with pytest.raises(Overloaded):
            await budget.reserved(1, 1).__aenter__()
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
    with pytest.raises(DeadlineExceeded):
        async with budget.reserved(100 * MB, 1):
            await budget.reserved(1, 0.01).__aenter__()
    assert budget.taken == 0
    assert budget.take(100 * MB)


async def test_who_has_given_up_takes_no_place_in_the_queue(monkeypatch):
    monkeypatch.setattr(memory, "MAX_WAITING", 2)
    budget, done = MemoryBudget(100), []
    async with budget.reserved(100, 1):
        smallest = asyncio.create_task(hold(budget, 1, done, "smallest"))
        larger = asyncio.create_task(hold(budget, 50, done, "larger"))
        await asyncio.sleep(0)
        larger.cancel()
        await asyncio.gather(larger, return_exceptions=True)
        another = asyncio.create_task(hold(budget, 60, done, "another"))
        await asyncio.sleep(0)
    await asyncio.gather(smallest, another)
    assert done == ["smallest", "another"] and budget.taken == 0


async def test_who_is_cancelled_when_its_turn_has_come_gives_it_back():
    budget = MemoryBudget(100)
    assert budget.take(100)
    waiting = asyncio.create_task(hold(budget, 50, [], ""))
    await asyncio.sleep(0)
    budget.give_back(100)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert budget.taken == 0


def test_a_worker_has_what_the_container_leaves_or_what_was_set(monkeypatch):
    warnings = []
    monkeypatch.setattr(memory.log, "warning", lambda words, *_: warnings.append(words))
    monkeypatch.setattr(memory, "_resident", lambda pid: 50 * MB)
    own = memory.psutil.Process().memory_info().rss
    monkeypatch.setattr(memory, "memory_limit", lambda: 50 * MB + 2 * (own + 100 * MB))
    budgets = WorkerMemory.of(0, 2)
    assert budgets.bodies.limit + budgets.work.limit == pytest.approx(80 * MB, rel=0.05)
    assert not warnings
    monkeypatch.setattr(memory, "memory_limit", lambda: own)
    assert WorkerMemory.of(0, 1).work.limit == memory.MIN_BYTES * 0.75
    assert "leaves nearly nothing" in warnings[0]
    assert WorkerMemory.of(8, 1).work.limit == 6 * MB
