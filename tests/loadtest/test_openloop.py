"""The generator against servers of a few lines: what it counts, what it notices, and that a stall is charged to all."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable

import numpy as np
import pytest

from loadtest.openloop.answers import check, fault
from loadtest.openloop.drive import SAMPLE_EVERY, drive, poisson
from loadtest.openloop.loads import Load, Shot
from loadtest.openloop.shooting import GeneratorError, shoot

REQUEST = b"POST / HTTP/1.1\r\ncontent-length: 1\r\n\r\n"
Answer = Callable[[int], bytes]


def v2(value: float) -> bytes:
    return json.dumps({"outputs": [{"name": "y", "datatype": "FP32", "shape": [1], "data": [value]}]}).encode()


def http(body: bytes, status: int = 200) -> bytes:
    return b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n" % (status, len(body)) + body


@contextlib.asynccontextmanager
async def serving(answer: Answer, stall: float = 0.0) -> AsyncIterator[int]:
    """A server on a free port that answers the nth request of a connection, and stands still once, at first."""
    still = asyncio.Event()
    asyncio.get_running_loop().call_later(stall, still.set)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = 0
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                place = (await reader.readuntil(b"\r\n\r\n") + await reader.readexactly(1))[-1]
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


def load(port: int, **more: float) -> Load:
    given = {"rate": 200.0, "connections": 8, "seconds": 0.5, "warmup": 0.1, "patience": 5.0, **more}
    return Load("127.0.0.1", port, **given)  # type: ignore[arg-type]


async def test_every_request_of_the_plan_is_sent_answered_and_counted() -> None:
    async with serving(lambda number: http(v2(1))) as port:
        asked = load(port)
        shot, kept = await drive(asked, [REQUEST + b"n"])
    planned = poisson(asked)
    assert shot.statuses == {"200": len(planned)}
    assert len(shot.latency) == shot.answered == sum(due >= asked.warmup for due in planned)
    assert [place for place, _ in kept] == list(range(0, len(planned), SAMPLE_EVERY))
    assert (shot.latency > 0).all() and (shot.late >= 0).all() and (np.diff(shot.due) >= 0).all()


async def test_a_closed_loop_asks_again_when_answered() -> None:
    async with serving(lambda number: http(v2(1))) as port:
        shot, _ = await drive(load(port, rate=0, connections=3), [REQUEST + b"n"])
    assert shot.statuses["200"] > 3 and shot.answered == len(shot.latency)


async def test_a_server_that_stands_still_is_charged_for_all_who_would_have_come() -> None:
    """A closed loop would have 2 slow requests, one a connection: "coordinated omission"."""
    async with serving(lambda number: http(v2(1)), stall=0.5) as port:
        shot, _ = await drive(load(port, connections=2, warmup=0.0, seconds=0.4), [REQUEST + b"n"])
    assert len(shot.latency) > 40
    assert (shot.latency + shot.due > 0.4).all() and shot.answered == len(shot.latency)
    assert shot.quantile(0.5) > 0.2


async def test_failures_are_slow_for_ever_and_their_words_kept() -> None:
    async with serving(lambda number: http(b'{"error": "full"}', 429)) as port:
        shot, _ = await drive(load(port), [REQUEST + b"n"])
    assert shot.answered == 0 and np.isinf(shot.quantile(0.01)) and shot.achieved == 0
    assert "429" in shot.first_wrong and "full" in shot.first_wrong


async def test_a_broken_connection_fails_one_request_and_is_replaced() -> None:
    async with serving(lambda number: b"" if number == 5 else http(v2(1))) as port:
        shot, _ = await drive(load(port, connections=2), [REQUEST + b"n"])
    assert shot.statuses["0"] >= 1 and shot.statuses["200"] > 40


async def test_what_is_never_answered_ends_the_patience_and_not_the_test() -> None:
    async with serving(lambda number: http(v2(1)), stall=60) as port:
        shot, _ = await drive(load(port, patience=0.1), [REQUEST + b"n"])
    assert shot.answered == 0 and len(shot.latency) > 20


async def test_a_process_of_its_own_finds_the_answer_that_went_to_another_request() -> None:
    requests, right = [REQUEST + b"\x01", REQUEST + b"\x02"], [http(v2(1)), http(v2(2))]
    async with serving(lambda place: http(v2(place))) as port:
        good = await asyncio.to_thread(shoot, load(port), requests, right)
    async with serving(lambda place: http(v2(3 - place))) as port:
        swapped = await asyncio.to_thread(shoot, load(port), requests, right)
    assert good.checked > 1 and good.wrong == 0
    assert swapped.wrong == swapped.checked and "y [2.0] where it was [1.0]" in swapped.first_wrong


def test_a_generator_that_cannot_connect_says_so() -> None:
    with pytest.raises(GeneratorError, match="Connect"):
        shoot(load(1), [REQUEST], [b""])


def test_poisson_arrivals_come_at_the_rate_and_without_memory() -> None:
    times = np.array(poisson(load(0, rate=2000, seconds=20)))
    gaps = np.diff(times)
    assert len(times) == pytest.approx(2000 * 20.1, rel=0.03)
    assert gaps.std() == pytest.approx(gaps.mean(), rel=0.05)  # of an exponential distribution
    assert poisson(load(0)) == poisson(load(0)) != poisson(load(0, seed=1))


def test_a_shot_travels_whole() -> None:
    shot = Shot(1.0, 1.5, np.arange(3.0), np.array([1, np.inf, 2]), np.zeros(3), {"200": 2}, 1, 0, "x")
    again = Shot.unpacked(shot.packed())
    assert (again.latency == shot.latency).all() and again.statuses == {"200": 2} and again.first_wrong == "x"


def binary(values: np.ndarray) -> bytes:
    tensor = {"name": "y", "datatype": "FP32", "shape": [3], "parameters": {"binary_data_size": values.nbytes}}
    head = json.dumps({"outputs": [tensor]}).encode()
    lines = b"HTTP/1.1 200 OK\r\nInference-Header-Content-Length: %d\r\n\r\n" % len(head)
    return lines + head + values.tobytes()


def test_binary_answers_are_compared_by_value() -> None:
    values = np.array([1, 2, 3], np.float32)
    assert fault(binary(values + 1e-5), binary(values)) == ""
    assert "y [2.0, 3.0, 4.0]" in fault(binary(values + 1), binary(values))
    assert "unreadable" in fault(b"HTTP/1.1 200 OK\r\n\r\nhello", binary(values))
    assert fault(binary(values * np.nan), binary(values))
    assert check([(0, binary(values)), (3, binary(values + 1))], [binary(values), binary(values)])[0] == 1
