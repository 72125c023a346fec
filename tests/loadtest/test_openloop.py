"""The generator against servers of a few lines: what it counts, what it notices, and that a stall is charged to all."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable

import numpy as np
import pytest

from loadtest.generator import SAMPLE_EVERY, Generator, fault
from loadtest.openloop import BROKEN, Burst, Load, LoadResult, run_load
from loadtest.service import ServiceError

REQUEST = b"POST / HTTP/1.1\r\ncontent-length: 1\r\n\r\n"
Answer = Callable[[int], bytes]


def v2(value: float) -> bytes:
    return json.dumps({"outputs": [{"name": "y", "datatype": "FP32", "shape": [1], "data": [value]}]}).encode()


def http(body: bytes, status: int = 200) -> bytes:
    return b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n" % (status, len(body)) + body


@contextlib.asynccontextmanager
async def serving(answer: Answer, stall: float = 0.0) -> AsyncIterator[int]:
    """A server on a free port that answers the nth request of a connection, and stands still once: from the first."""
    still = asyncio.Event()
    stalls: list[asyncio.TimerHandle] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = 0
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                place = (await reader.readuntil(b"\r\n\r\n") + await reader.readexactly(1))[-1]
                if not stalls:
                    stalls.append(asyncio.get_running_loop().call_later(stall, still.set))
                await still.wait()
                text = answer(number if place == ord("n") else place)
                number += 1
                if not text:
                    break
                # In two pieces, as a network may deliver it.
                writer.write(text[:30])
                await writer.drain()
                writer.write(text[30:])
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def drive(port: int, plan: Load, request: bytes = REQUEST + b"n") -> tuple[LoadResult, list[tuple[int, bytes]]]:
    generator = Generator(port, plan, [request])
    return await generator.run(), generator.samples


def load(**more: float) -> Load:
    given = {"rate": 200.0, "connections": 8, "seconds": 0.5, "warmup": 0.1, "patience": 120.0, **more}
    return Load(**given)  # type: ignore[arg-type]


async def test_every_request_of_the_plan_is_sent_answered_and_counted() -> None:
    async with serving(lambda number: http(v2(1))) as port:
        plan = load()
        result, samples = await drive(port, plan)
    planned = plan.arrivals()
    assert result.statuses == {200: len(planned)}
    assert len(result.latency) == result.answered == sum(due >= plan.warmup for due in planned)
    assert [place for place, _ in samples] == list(range(0, len(planned), SAMPLE_EVERY))
    assert (result.latency > 0).all() and (result.late >= 0).all() and (np.diff(result.due) >= 0).all()


async def test_a_closed_loop_asks_again_when_answered() -> None:
    async with serving(lambda number: http(v2(1))) as port:
        result, _ = await drive(port, load(rate=0, connections=3))
    assert result.statuses[200] > 3 and result.answered == len(result.latency)


async def test_a_server_that_stands_still_is_charged_for_all_who_would_have_come() -> None:
    """A closed loop would have 2 slow requests, one a connection: "coordinated omission"."""
    async with serving(lambda number: http(v2(1)), stall=0.5) as port:
        result, _ = await drive(port, load(connections=2, warmup=0.0, seconds=0.4))
    assert len(result.latency) > 40
    assert (result.latency + result.due > 0.4).all() and result.answered == len(result.latency)
    assert result.quantile(0.5) > 0.2


async def test_failures_are_slow_for_ever_and_their_words_kept() -> None:
    async with serving(lambda number: http(b'{"error": "full"}', 429)) as port:
        result, _ = await drive(port, load())
    assert result.answered == 0 and np.isinf(result.quantile(0.01)) and result.achieved == 0
    assert "429" in result.first_wrong and "full" in result.first_wrong


async def test_a_broken_connection_fails_one_request_and_is_replaced() -> None:
    async with serving(lambda number: b"" if number == 5 else http(v2(1))) as port:
        result, _ = await drive(port, load(connections=2))
    assert result.statuses[BROKEN] >= 1 and result.statuses[200] > 40


async def test_what_is_never_answered_ends_the_patience_and_not_the_test() -> None:
    async with serving(lambda number: http(v2(1)), stall=60) as port:
        result, _ = await drive(port, load(patience=0.1))
    assert result.answered == 0 and len(result.latency) > 20


async def test_a_process_of_its_own_finds_the_answer_that_went_to_another_request() -> None:
    requests, right = [REQUEST + b"\x01", REQUEST + b"\x02"], [http(v2(1)), http(v2(2))]
    async with serving(lambda place: http(v2(place))) as port:
        good = await asyncio.to_thread(run_load, port, load(), requests, right)
    async with serving(lambda place: http(v2(3 - place))) as port:
        swapped = await asyncio.to_thread(run_load, port, load(), requests, right)
    assert good.checked > 1 and good.wrong == 0
    assert swapped.wrong == swapped.checked and "y is [2.0], not [1.0]" in swapped.first_wrong


def test_a_generator_that_cannot_connect_says_so() -> None:
    with pytest.raises(ServiceError, match="Connect"):
        run_load(1, load(), [REQUEST], [])


def test_poisson_arrivals_come_at_the_rate_and_without_memory() -> None:
    times = load(rate=2000, seconds=20).arrivals()
    gaps = np.diff(times)
    assert len(times) == pytest.approx(2000 * 20.1, rel=0.03)
    assert gaps.std() == pytest.approx(gaps.mean(), rel=0.05)  # of an exponential distribution
    assert np.array_equal(load().arrivals(), load().arrivals())
    assert not np.array_equal(load().arrivals()[:5], load(seed=1).arrivals()[:5])


def binary(values: np.ndarray) -> bytes:
    tensor = {"name": "y", "datatype": "FP32", "shape": [3], "parameters": {"binary_data_size": values.nbytes}}
    head = json.dumps({"outputs": [tensor]}).encode()
    lines = b"HTTP/1.1 200 OK\r\nInference-Header-Content-Length: %d\r\n\r\n" % len(head)
    return lines + head + values.tobytes()


def test_binary_answers_are_compared_by_value() -> None:
    values = np.array([1, 2, 3], np.float32)
    assert fault(binary(values + 1e-5), binary(values)) == ""
    assert "y is [2.0, 3.0, 4.0]" in fault(binary(values + 1), binary(values))
    assert "unreadable" in fault(b"HTTP/1.1 200 OK\r\n\r\nhello", binary(values))
    assert fault(binary(values * np.nan), binary(values))


def test_bursts_follow_the_first_rate() -> None:
    plan = Load(500, 1, 4, warmup=0, bursts=(Burst(3000, 10), Burst(500, 4)))
    counts, _ = np.histogram(plan.arrivals(), [0, 4, 14, 18])
    for count, expected in zip(counts, (2000, 30_000, 2000), strict=True):
        assert abs(count - expected) < 5 * expected**0.5
    assert plan.measured_seconds == 18


async def test_a_refusal_keeps_its_time_and_whether_it_said_when_to_come_again() -> None:
    text = b"HTTP/1.1 429 X\r\nRetry-After: 1\r\nContent-Length: 2\r\n\r\n{}"
    async with serving(lambda number: text) as port:
        result, _ = await drive(port, load(warmup=0.0))
    assert (result.status == 429).all() and result.retry.all() and np.isfinite(result.response_seconds).all()


async def test_each_request_may_have_a_connection_of_its_own() -> None:
    async with serving(lambda number: http(v2(1)) if number == 0 else b"") as port:
        result, _ = await drive(port, load(connections=0))
    assert result.answered == len(result.due) > 40  # a second request on a connection would not have been answered


async def test_a_connection_that_cannot_be_made_is_broken() -> None:
    result, _ = await drive(1, load(connections=0, seconds=0.1))
    assert set(result.statuses) == {BROKEN}
