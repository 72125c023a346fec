"""The runner's promises, on engines made for the purpose."""

import asyncio
import contextvars
import threading
import time
from time import perf_counter
from types import SimpleNamespace

import numpy as np
import pytest

from bentos.contract import Signature, Tensor
from serving.errors import ClientGone, DeadlineExceeded, EngineError, Overloaded
from serving.inference.dataplane import DataPlane
from serving.inference.engine_time import EngineTime
from serving.inference.runner import BatchingRunner
from serving.telemetry.metrics import Metrics, Recorder

SIGNATURE = Signature((Tensor("x", "FP32", (-1, 2)),), (Tensor("y", "FP32", (-1, 2)),))


class Doubling:
    """y = 2x; sleeps `seconds` a call, throws on a NaN, remembers its batches."""

    def __init__(self, seconds: float = 0.0):
        self.seconds = seconds
        self.batches: list[int] = []
        self.threads: set[str] = set()
        self.context_seen: list[object] = []

    def run(self, inputs):
        (x,) = inputs
        self.batches.append(len(x))
        self.threads.add(threading.current_thread().name)
        self.context_seen.append(WHOSE.get(None))
        time.sleep(self.seconds)
        if np.isnan(x).any():
            raise ValueError("poison")
        return [x * 2]


class Held(Doubling):
    """Its calls wait for `go_on`; `begun` is set when one has."""

    def __init__(self):
        super().__init__()
        self.begun, self.go_on, self._loop = asyncio.Event(), threading.Event(), asyncio.get_running_loop()

    def run(self, inputs):
        self._loop.call_soon_threadsafe(self.begun.set)
        assert self.go_on.wait(120)
        return super().run(inputs)


WHOSE: contextvars.ContextVar = contextvars.ContextVar("whose")


def rows(value, n=1):
    return [np.full((n, 2), value, np.float32)]


def runner(engine, kind=BatchingRunner, **options):
    limits = {"max_batch_size": 32, "max_latency": 600.0, "max_queue_rows": 1000} | options
    return kind(engine, SIGNATURE, Recorder(Metrics(), ("m", "onnx", "v")), **limits)


SLOW = [(1, 0.005), (32, 0.005)]  # timings that send an engine's calls to its thread


async def test_requests_of_one_turn_share_a_batch_and_keep_their_order():
    engine = Doubling()
    served = runner(engine)
    answers = await asyncio.gather(*(served.submit(rows(i), 1) for i in range(20)))
    assert [a[0][0, 0] for a in answers] == [2.0 * i for i in range(20)]
    assert engine.batches == [20]


async def test_a_lone_request_waits_for_nothing():
    engine = Doubling()
    await runner(engine).submit(rows(1), 1)
    assert engine.batches == [1]
    assert engine.threads == {"MainThread"}


async def test_a_slow_engine_runs_in_its_thread_and_batches_form_behind_it():
    engine = Doubling(seconds=0.02)
    served = runner(engine, timings=SLOW)
    first = served.submit(rows(1), 1)
    await asyncio.sleep(0.005)
    rest = [served.submit(rows(i), 1) for i in range(10)]
    await asyncio.gather(first, *rest)
    assert engine.batches == [1, 10]
    assert engine.threads == {"engine"}
    served.close()


async def test_a_batch_is_counted_in_rows():
    engine = Doubling()
    served = runner(engine)
    await asyncio.gather(*(served.submit(rows(i, 10), 10) for i in range(7)))
    assert engine.batches == [30, 30, 10]


async def test_a_request_larger_than_a_batch_is_split_and_joined():
    engine = Doubling()
    x = np.arange(200, dtype=np.float32).reshape(100, 2)
    (y,) = await runner(engine).submit([x], 100)
    assert (y == 2 * x).all()
    assert engine.batches == [32, 32, 32, 4]


async def test_what_is_joined_of_several_jobs_is_told_of_none_of_them():
    served, seen = runner(Doubling()), []
    waiter = asyncio.get_running_loop().create_future()

    class Told:
        done = waiter.done

        def set_result(self, outputs):
            seen.append(served.delivering)
            waiter.set_result(outputs)

    served.enqueue([np.zeros((100, 2), np.float32)], 100, Told())
    await waiter
    assert seen == [None]


@pytest.mark.parametrize("timings", [(), SLOW], ids=["inline", "thread"])
async def test_one_poisoned_request_among_31_good_ones_leaves_31_right_answers(timings):
    served = runner(Doubling(), timings=timings)
    values = [float("nan") if i == 13 else float(i) for i in range(32)]
    answers = await asyncio.gather(*(served.submit(rows(v), 1) for v in values), return_exceptions=True)
    assert isinstance(answers[13], EngineError)
    assert "poison" in str(answers[13])
    good = [(i, a) for i, a in enumerate(answers) if i != 13]
    assert all(a[0][0, 0] == 2.0 * i for i, a in good)
    assert len(good) == 31
    served.close()


async def test_a_burst_of_200_on_an_engine_that_is_said_to_take_a_fortieth_of_the_deadline_loses_none():
    engine = Doubling(seconds=0.005)
    served = runner(engine, timings=[(1, 2.0), (32, 2.0)], max_latency=80.0)
    answers = await asyncio.gather(*(served.submit(rows(i), 1) for i in range(200)))
    assert [a[0][0, 0] for a in answers] == [2.0 * i for i in range(200)]
    assert len(engine.batches) == 7
    served.close()


@pytest.mark.parametrize("timings", [(), SLOW])
async def test_rows_of_a_client_that_says_so_are_not_watched(timings):
    seen = []
    watch = {"observe": lambda inputs, outputs, watched=True: seen.append((inputs[0][:, 0].tolist(), watched))}
    mine, theirs = SimpleNamespace(disconnected=False, synthetic=True), SimpleNamespace(disconnected=False)
    for told, expected in (
        (True, [([1.0], True), ([2.0, 2.0], False), ([3.0], True)]),
        (False, [([1.0, 2.0, 2.0, 3.0], True)]),
    ):
        served = runner(Doubling(), tells_synthetic=told, timings=timings, **watch)
        answers = await asyncio.gather(
            served.submit(rows(1), 1), served.submit(rows(2, 2), 2, mine), served.submit(rows(3), 1, theirs)
        )
        assert [answer[0][:, 0].tolist() for answer in answers] == [[2.0], [4.0, 4.0], [6.0]]
        assert seen == expected
        seen.clear()
        served.close()


async def test_what_comes_too_late_is_shed_and_not_computed():
    engine = Doubling()
    served = runner(engine, timings=[(1, 10.0), (32, 10.0)], max_latency=600.0, max_batch_size=1)
    late = asyncio.get_running_loop().create_future()
    first = served.submit(rows(0), 1)
    served.enqueue(rows(1), 1, late, now=perf_counter() - 595.0)  # what is left is less than a call takes
    answers = await asyncio.gather(first, late, return_exceptions=True)
    assert answers[0][0][0, 0] == 0.0
    assert isinstance(answers[1], DeadlineExceeded)
    assert engine.batches == [1]
    served.close()


async def test_a_hanging_engine_fails_its_requests_in_time():
    engine = Held()
    served = runner(engine, timings=SLOW, max_latency=0.1)
    answers = await asyncio.wait_for(
        asyncio.gather(served.submit(rows(1), 1), served.submit(rows(2), 1), return_exceptions=True), 120
    )
    engine.go_on.set()  # it holds them until they have failed
    assert all(isinstance(a, DeadlineExceeded) for a in answers)
    served.close()


async def test_a_cancelled_request_is_not_computed():
    engine = Doubling()
    served = runner(engine)
    kept, dropped = served.submit(rows(1), 1), served.submit(rows(2), 1)
    dropped.cancel()
    await kept
    assert engine.batches == [1]


async def test_a_request_whose_client_hung_up_is_not_computed():
    engine = Doubling()
    served = runner(engine)
    kept, dropped = served.submit(rows(1), 1), served.submit(rows(2), 1, SimpleNamespace(disconnected=True))
    await kept
    with pytest.raises(ClientGone):
        await dropped
    assert engine.batches == [1]


async def test_the_queue_is_bounded_in_rows_and_recovers():
    served = runner(Doubling(), max_queue_rows=10)
    first = served.submit(rows(1, 8), 8)
    with pytest.raises(Overloaded, match="8 rows are waiting and 3 came; 10 may wait"):
        served.submit(rows(2, 3), 3)
    assert served.overload_error is None
    second = served.submit(rows(3, 2), 2)
    assert str(served.overload_error) == "10 rows are waiting, as many as may"
    await asyncio.gather(first, second)
    assert served.overload_error is None
    await served.submit(rows(2, 10), 10)


async def test_contexts_do_not_leak_into_the_engine():
    engine = Doubling()
    served = runner(engine)

    async def request(name):
        WHOSE.set(name)
        await served.submit(rows(1), 1)
        return WHOSE.get()

    assert await asyncio.gather(request("a"), request("b")) == ["a", "b"]
    assert engine.context_seen == [None]


async def test_an_engine_that_breaks_its_signature_is_an_error():
    class Wrong(Doubling):
        def run(self, inputs):
            return [inputs[0][:, :1]]

    with pytest.raises(EngineError, match=r"gave y as float32 \[1, 1\], the signature says FP32 \[1, 2\]"):
        await runner(Wrong()).submit(rows(1), 1)


async def test_what_was_measured_is_recorded():
    families = Metrics()
    recorder = Recorder(families, ("m", "onnx", "v"))
    served = BatchingRunner(Doubling(), SIGNATURE, recorder, max_batch_size=4, max_latency=600, max_queue_rows=100)
    await asyncio.gather(*(served.submit(rows(i), 1) for i in range(6)))
    recorder.flush()
    totals, key = families.totals(), ("m", "onnx", "v")
    assert totals["ekiben_batch_rows_sum", key] == 6
    assert totals["ekiben_batch_rows_count", key] == 2
    assert totals["ekiben_queue_seconds_count", key] == 6
    assert totals["ekiben_infer_seconds_count", key] == 2


def test_engine_time_learns_a_line_and_follows_a_change():
    time_of = EngineTime()
    assert time_of.estimate(8) == 0.0
    for n in (1, 8, 32) * 20:
        time_of.learn(n, 0.001 + 0.0001 * n)
    assert time_of.estimate(16) == pytest.approx(0.0026, rel=0.01)
    for n in (1, 8, 32) * 200:
        time_of.learn(n, 0.002 + 0.0002 * n)
    assert time_of.estimate(16) == pytest.approx(0.0052, rel=0.02)


async def test_what_the_engine_has_and_what_waits_for_it_is_work():
    engine = Held()
    served = runner(engine, timings=[(1, 0.1), (4, 0.1)], max_latency=600.0, max_batch_size=4)
    assert served.wait == 0.0
    taken = [served.submit(rows(i), 1) for i in range(6)]
    assert served.wait == pytest.approx(0.2)  # two calls
    await engine.begun.wait()
    assert served.pending == 2
    assert 0.1 <= served.wait < 0.2  # one of them has begun
    served._free_at = 0.0  # and takes longer than it should
    assert served.wait == pytest.approx(0.1)
    engine.go_on.set()
    await asyncio.gather(*taken)
    assert served.wait == 0.0
    served.close()


async def test_a_deadline_that_what_waits_leaves_no_time_for_is_not_queued_for():
    served = runner(Doubling(seconds=0.1), timings=[(1, 0.1), (4, 0.1)], max_batch_size=4)
    form, plane = SimpleNamespace(runner=served), DataPlane()
    plane.check_admission(form, perf_counter() + 0.001)  # nothing waits: what one call takes is an estimate alone
    taken = [served.submit(rows(i), 1) for i in range(6)]
    with pytest.raises(Overloaded, match=r"what waits is 200 ms of work; the deadline is in \d+ ms"):
        plane.check_admission(form, perf_counter() + 0.05)
    for deadline in (None, perf_counter() + 100, perf_counter() - 1):  # the last is told where it would be computed
        plane.check_admission(form, deadline)
    await asyncio.gather(*taken)
    served.close()


async def test_a_queue_that_would_outlast_the_deadline_takes_no_more():
    served = runner(Doubling(), timings=[(1, 100.0), (4, 100.0)], max_latency=250.0, max_batch_size=4)
    taken = [served.submit(rows(i), 1) for i in range(11)]
    with pytest.raises(Overloaded, match=r"11 rows are waiting, 275000 ms of work; at most 250000 ms"):
        served.submit(rows(1), 1)
    assert str(served.overload_error) == "what waits is over 250000 ms of work"
    answers = await asyncio.gather(*taken, return_exceptions=True)
    assert answers[0][0][0, 0] == 0.0
    assert served.held == 0.0
    served.close()


async def test_what_the_engine_holds_is_known():
    engine = Held()
    served = runner(engine, timings=SLOW, max_latency=600.0)
    assert served.held == 0.0
    first = served.submit(rows(1), 1)
    await engine.begun.wait()
    assert served.held > 0.0
    engine.go_on.set()
    await first
    assert served.held == 0.0
    served.close()


async def test_a_queue_delay_lets_a_batch_fill():
    engine = Doubling()
    served = runner(engine, queue_delay=1.0)
    first = served.submit(rows(1), 1)
    for _ in range(3):
        await asyncio.sleep(0)  # turns of the loop, in which it would be computed without a delay
    second = served.submit(rows(2), 1)
    await asyncio.gather(first, second)
    full = [served.submit(rows(i), 1) for i in range(32)]  # a full batch waits for no more
    await asyncio.gather(*full)
    assert engine.batches == [2, 32]


async def test_a_part_that_is_not_admitted_takes_those_before_it_out_of_the_queue():
    engine = Doubling()
    served = runner(engine, max_batch_size=4, max_queue_rows=15)
    first, second = await asyncio.gather(
        served.submit(rows(1, 10), 10), served.submit(rows(2, 10), 10), return_exceptions=True
    )
    assert len(first[0]) == 10 and isinstance(second, Overloaded)
    assert sum(engine.batches) == 10 and served.pending == 0
