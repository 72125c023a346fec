"""Requests of rows that are not all alike: what is joined, in which order, and that each is answered as if alone."""

import asyncio
import time
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from bentos.contract import BATCH, Signature, Tensor
from serving.errors import BadInput, EngineError, Overloaded
from serving.inference.dataplane import DataPlane, PendingRequest
from serving.inference.engine_time import EngineTime
from serving.inference.faults import DISTRIBUTIONS, Fault, Faults
from serving.inference.jobs import Job
from serving.inference.runner import BatchingRunner
from serving.inference.sessions import Refused
from serving.inference.shapes import RowAxes, ShapeQueue, cost_of
from serving.inference.warm_up import warm_up
from serving.telemetry.metrics import Metrics, Recorder

SENTENCES = Signature((Tensor("x", "FP32", (BATCH, "length")),), (Tensor("y", "FP32", (BATCH,)),))
STEP = Signature(
    (Tensor("x", "FP32", (BATCH, 3)), Tensor("state", "FP32", (2, BATCH, 1)), Tensor("rate", "INT64", ())),
    (Tensor("next", "FP32", (2, BATCH, 1)), Tensor("y", "FP32", (BATCH, 3)), Tensor("rate", "INT64", ())),
)
ALONE = Signature((Tensor("x", "FP32", (-1,)),), (Tensor("y", "FP32", ()),), batched=False)


class Sums:
    """y = Σx of each row, or of all; refuses a NaN; remembers the shapes of its calls."""

    def __init__(self, axis: int | None = 1, broken: bool = False) -> None:
        self.axis, self.broken = axis, broken
        self.shapes: list[tuple[int, ...]] = []

    def run(self, inputs: Any) -> list[np.ndarray]:
        (x,) = inputs
        self.shapes.append(x.shape)
        if self.broken or np.isnan(x).any():
            raise Refused("NaN it is")
        return [np.asarray(x.sum(self.axis))]


class Step:
    def __init__(self) -> None:
        self.rows: list[int] = []

    def run(self, inputs: Any) -> list[np.ndarray]:
        x, state, rate = inputs
        self.rows.append(len(x))
        return [state + np.float32(1), x * np.float32(rate), rate]


def runner(engine: Any, signature: Signature, **options: Any) -> BatchingRunner:
    limits = {"max_batch_size": 32, "max_latency": 600.0, "max_queue_rows": 1000} | options
    return BatchingRunner(engine, signature, Recorder(Metrics(), ("m", "onnx", "v")), **limits)


def sentence(length: int, value: float = 1.0, n_rows: int = 1) -> list[np.ndarray]:
    return [np.full((n_rows, length), value, np.float32)]


async def test_sentences_of_one_length_share_a_call_and_the_oldest_go_first() -> None:
    engine = Sums()
    served = runner(engine, SENTENCES)
    lengths = [5, 3, 5, 7, 3, 5]
    answers = await asyncio.gather(*(served.submit(sentence(n), 1) for n in lengths))
    assert [y.tolist() for (y,) in answers] == [[n] for n in lengths]
    assert engine.shapes == [(3, 5), (2, 3), (1, 7)]


async def test_no_shape_starves_behind_one_that_keeps_coming() -> None:
    engine = Sums()
    served = runner(engine, SENTENCES, max_batch_size=4)
    await asyncio.gather(*(served.submit(sentence(n), 1) for n in [5] * 6 + [3] + [5] * 6))
    assert engine.shapes == [(4, 5), (4, 5), (1, 3), (4, 5)], "the fifth of one length came before the other"


async def test_rows_are_joined_and_cut_along_their_own_axes_and_what_has_none_is_shared() -> None:
    engine = Step()
    served = runner(engine, STEP)

    def request(value: float, rate: int, n_rows: int) -> list[np.ndarray]:
        rows = [np.full(shape, value, np.float32) for shape in ((n_rows, 3), (2, n_rows, 1))]
        return [*rows, np.array(rate)]

    asked = [(1.0, 2, 1), (2.0, 2, 3), (3.0, 7, 2), (4.0, 2, 1)]
    answers = await asyncio.gather(*(served.submit(request(*each), each[2]) for each in asked))
    assert engine.rows == [5, 2], "a rate of its own is a call of its own"
    for (value, rate, n_rows), (state, y, shared) in zip(asked, answers, strict=True):
        assert state.shape == (2, n_rows, 1) and (state == value + 1).all()
        assert y.shape == (n_rows, 3) and (y == value * rate).all() and shared == rate


async def test_a_request_larger_than_a_batch_is_split_along_its_axis() -> None:
    engine = Step()
    state = np.arange(14, dtype=np.float32).reshape(2, 7, 1)
    inputs = [np.ones((7, 3), np.float32), state, np.array(2)]
    following, y, rate = await runner(engine, STEP, max_batch_size=3).submit(inputs, 7)
    assert engine.rows == [3, 3, 1] and (following == state + 1).all() and y.shape == (7, 3) and rate == 2


async def test_what_is_not_batched_is_one_call_a_request() -> None:
    engine = Sums(axis=None)
    served = runner(engine, ALONE, max_batch_size=1)
    answers = await asyncio.gather(*(served.submit([np.ones(n, np.float32)], 1) for n in (4, 4, 2, 4)))
    assert [float(y) for (y,) in answers] == [4, 4, 2, 4] and engine.shapes == [(4,), (4,), (2,), (4,)]


async def test_what_the_engine_refuses_is_bad_input_and_its_neighbours_are_answered() -> None:
    engine = Sums()
    served = runner(engine, SENTENCES, answered=sentence(2))
    values = [1.0] * 9 + [np.nan] + [1.0] * 9
    answers = await asyncio.gather(*(served.submit(sentence(3, v), 1) for v in values), return_exceptions=True)
    bad = answers.pop(9)
    assert isinstance(bad, BadInput) and "the model does not compute with these values: NaN it is" in str(bad)
    assert [answer[0].tolist() for answer in answers if isinstance(answer, list)] == [[3.0]] * 18


@pytest.mark.parametrize("answered", [None, sentence(2)])
async def test_an_engine_that_refuses_everything_is_broken(answered: Any) -> None:
    with pytest.raises(EngineError, match="the engine failed: Refused: NaN it is"):
        await runner(Sums(broken=True), SENTENCES, answered=answered).submit(sentence(3), 1)


async def test_a_batch_grows_by_its_cost_and_what_waits_is_judged_by_it() -> None:
    engine = Sums()
    timings = [(cost, cost * 1e-6) for cost in (10, 1000, 100_000)]  # a microsecond an element
    served = runner(engine, SENTENCES, timings=timings, max_latency=1.05, inline_seconds=10.0)
    long = [served.submit(sentence(100_000), 1) for _ in range(6)]
    assert served.pending == 6 and served.overload_error is None
    more = [served.submit(sentence(100_000), 1) for _ in range(5)]
    with pytest.raises(Overloaded, match=r"11 rows are waiting, 1100 ms of work"):
        served.submit(sentence(100_000), 1)
    assert served.overload_error is not None
    assert served.wait == pytest.approx(1.1, rel=0.01)
    await asyncio.gather(*long, *more)
    assert engine.shapes[0] == (2, 100_000), "a quarter of the latency allowed: two of 100 ms"
    assert served.overload_error is None and served.pending == 0


def test_cost_is_learnt_where_all_calls_are_of_one_size_and_large() -> None:
    time_of = EngineTime()
    for _ in range(500):
        time_of.learn(150_528, 0.004)
    assert time_of.estimate(150_528) == pytest.approx(0.004)
    assert time_of.estimate(2 * 150_528) == pytest.approx(0.008, rel=0.01)
    assert time_of.affordable(0.008) == pytest.approx(2 * 150_528, rel=0.01)


def test_requests_without_a_batch_input_in_common_are_not_joined() -> None:
    axes = RowAxes(STEP)
    x, state = np.ones((1, 3), np.float32), np.ones((2, 1, 1), np.float32)
    assert axes.key([x, state, np.array(1)]) == axes.key([x, state.repeat(2, 1), np.array(1)])
    assert axes.key([x, state, np.array(1)]) != axes.key([x, state, np.array(2)])
    words = Signature((Tensor("x", "FP32", (BATCH,)), Tensor("w", "BYTES", (-1, 1))), (), batched=True)
    assert words.input_axes == (0, 0)
    large = Signature((Tensor("x", "FP32", (BATCH,)), Tensor("w", "FP32", ("n",))), ())
    row = [np.ones(1, np.float32), np.ones(1000, np.float32)]
    assert RowAxes(large).key(row) != RowAxes(large).key(row), "too large to compare: alone"


def test_a_group_that_is_left_keeps_its_place_by_its_oldest() -> None:
    queue = ShapeQueue()
    jobs = [Job([], 1, None, None, 1, key) for key in "aabab"]  # type: ignore[arg-type]
    for job in jobs:
        queue.append(job)
    order = []
    while queue:
        key, group = queue.next_group()
        order.append(jobs.index(group.popleft()))
        queue.put_back(key)
    assert order == [0, 1, 2, 3, 4] and not list(queue)


def test_a_warm_up_tries_what_is_certified_in_batches() -> None:
    engine = Sums()
    warm = warm_up(engine, SENTENCES, 64, [sentence(5, n_rows=3), sentence(40)])
    assert warm.max_batch_size == 64 and warm.answered is not None and warm.answered[0].shape == (1, 40)
    assert set(engine.shapes) == {(n, length) for n in (1, 2, 8) for length in (5, 40)}
    assert {cost for cost, _ in warm.timings} == {5, 10, 40, 80, 320}
    assert cost_of(sentence(5, n_rows=2)) == 10


def test_a_warm_up_without_certified_rows_is_content_with_what_is_refused() -> None:
    class Picky(Sums):
        def run(self, inputs: Any) -> list[np.ndarray]:
            if inputs[0].shape[1] != 8:
                raise Refused("8 it must be")
            return super().run(inputs)

    warm = warm_up(Picky(), SENTENCES, 64)
    assert warm.answered is not None and warm.answered[0].shape == (1, 8)
    assert warm_up(Sums(broken=True), SENTENCES, 64).answered is None
    assert warm_up(Sums(axis=None), ALONE, 64, [[np.ones(3, np.float32)]]).max_batch_size == 1


def test_a_warm_up_takes_certified_rows_where_zeros_are_refused() -> None:
    class Positive:
        def run(self, inputs: Any) -> list[np.ndarray]:
            if (inputs[0] <= 0).any():
                raise Refused("positive it must be")
            return [inputs[0]]

    alike = Signature((Tensor("x", "FP32", (-1, 2)),), (Tensor("y", "FP32", (-1, 2)),))
    with pytest.raises(Refused):
        warm_up(Positive(), alike, 64)
    warm = warm_up(Positive(), alike, 64, [[np.ones((3, 2), np.float32)]])
    assert warm.answered is not None and warm.answered[0].tolist() == [[1, 1]]
    assert {rows for rows, _ in warm.timings} == {1, 2, 8, 64}


def test_a_warm_up_of_a_heavy_model_runs_few_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second a row: 64 rows three times would keep the service from being ready for minutes."""
    clock = [0.0]

    class Heavy:
        def run(self, inputs: Any) -> list[np.ndarray]:
            clock[0] += len(inputs[0])
            return [inputs[0]]

    monkeypatch.setattr("serving.inference.warm_up.perf_counter", lambda: clock[0])
    alike = Signature((Tensor("x", "FP32", (-1, 2)),), (Tensor("y", "FP32", (-1, 2)),))
    warm = warm_up(Heavy(), alike, 64)
    assert {rows for rows, _ in warm.timings} == {1, 2} and warm.max_batch_size == 64


class Kept:
    """A responder that keeps what it is given."""

    trace_id, disconnected = b"", False

    def __init__(self) -> None:
        self.outputs: list[np.ndarray] = []
        self.error: Exception | None = None

    def send_outputs(self, form: Any, outputs: list[np.ndarray]) -> None:
        self.outputs = outputs

    def send_error(self, error: Exception) -> None:
        self.error = error


@pytest.mark.parametrize("bad", [False, True])
async def test_rows_of_one_request_may_differ_in_shape(bad: bool) -> None:
    recorder = Recorder(Metrics(), ("m", "onnx", "v"))
    served = BatchingRunner(
        Sums(), SENTENCES, recorder, max_batch_size=8, max_latency=600.0, max_queue_rows=100, answered=sentence(2)
    )
    kept = Kept()
    form: Any = SimpleNamespace(runner=served, recorder=recorder, signature=SENTENCES)
    pending = PendingRequest(form, kept, "native", "/m/embed", 0.0)
    DataPlane().submit_each(pending, [sentence(3), sentence(5, np.nan if bad else 1.0), sentence(3)])
    while not pending.done():
        await asyncio.sleep(0)
    if bad:
        assert isinstance(kept.error, BadInput)
    else:
        assert [array.tolist() for array in kept.outputs] == [[3, 5, 3]]


async def test_a_fault_meets_a_request_once_however_many_rows_it_has(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    recorder, kept = Recorder(Metrics(), ("m", "onnx", "v")), Kept()
    slept: list[float] = []
    served = BatchingRunner(Sums(), SENTENCES, recorder, max_batch_size=8, max_latency=600.0, max_queue_rows=100)
    form: Any = SimpleNamespace(runner=served, recorder=recorder, signature=SENTENCES)
    faults = Faults(tmp_path / "faults.json")
    faults.add(Fault("latency", 0.001, "/m", time.time() + 60))
    faults.add(Fault("drift", 2.0, "/m", time.time() + 60))
    amount = DISTRIBUTIONS["constant"]

    def noted(mean: float) -> float:
        slept.append(mean)
        return amount(mean)

    monkeypatch.setitem(DISTRIBUTIONS, "constant", noted)
    pending = PendingRequest(form, kept, "native", "/m/embed", 0.0)
    DataPlane(faults).submit_each(pending, [sentence(3), sentence(5), sentence(3)])
    while not pending.done():
        await asyncio.sleep(0)
    assert [array.tolist() for array in kept.outputs] == [[6, 10, 6]]
    assert slept == [0.001]
