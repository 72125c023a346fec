"""How late the loop is, and since when bytes have waited that are read late."""

import asyncio
import socket
import sys
import time
from math import inf

import pytest

from serving.http.messages import Response
from serving.lifecycle import LATE_SECONDS, TICK_SECONDS, Lifecycle, LoopClock, seconds_since_data
from tests.serving.http.uvicorn_server import gateway, post, read_responses, serving

STALL_SECONDS = 0.4
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells how long ago bytes came")


class Stalling:
    """A handler that holds the loop up at `stall`, having had another client send first."""

    max_body_bytes = 1 << 20

    def __init__(self, other=None):
        self.other, self.begun, self.handled, self.stalled = other, {}, {}, 0.0

    def check(self, request):
        pass

    def handle(self, request):
        self.begun[request.body], self.handled[request.body] = request.begun, time.perf_counter()
        if request.body == b"stall":
            self.other.sendall(post(b"meanwhile"))
            time.sleep(STALL_SECONDS)
            self.stalled = time.perf_counter()
        request.respond(Response(request.body))


def front(handler, ticking=True):
    lifecycle = Lifecycle()
    if ticking:
        lifecycle.clock.start()
    app = gateway({"/echo": {"POST": handler}})
    app.start(app.routes, lifecycle)
    return app


async def stalled(ticking):
    """(seconds from a request's first byte to the end of the stall that it came in, lags)"""
    app = front(handler := Stalling(), ticking)
    async with serving(app) as port:
        with socket.create_connection(("127.0.0.1", port)) as handler.other:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            await asyncio.sleep(0.05)
            writer.write(post(b"stall"))
            await read_responses(reader)
            while b"meanwhile" not in handler.begun:
                await asyncio.sleep(0.01)
            await asyncio.sleep(2 * TICK_SECONDS)
            writer.close()
    app.clock.stop()
    return handler.stalled - handler.begun[b"meanwhile"], app.clock.take_lags()


@LINUX
async def test_what_came_while_the_loop_stood_still_has_waited_since_then():
    waited, lags = await stalled(ticking=True)
    assert waited > STALL_SECONDS / 2  # a busy kernel delivers later, and its clock has steps of 1 to 10 ms
    assert max(lags) > STALL_SECONDS - TICK_SECONDS - LATE_SECONDS


async def test_without_the_clock_it_would_seem_to_have_just_come():
    waited, lags = await stalled(ticking=False)
    assert waited < 0 and lags == []


async def test_a_request_begins_with_its_first_byte_however_it_is_cut():
    app = front(handler := Stalling(), ticking=False)
    seen = []
    app.watch = seen.append
    async with serving(app) as port, asyncio.timeout(120):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        first, second = post(b"first"), post(b"second")
        writer.write(first[:20])
        while not (seen and any(each._parser.receiving for each in seen[0])):
            await asyncio.sleep(0.001)
        read_first = time.perf_counter()
        writer.write(first[20:-2])
        await asyncio.sleep(0.05)
        sent_second = time.perf_counter()
        writer.write(first[-2:] + second[:30])
        while b"first" not in handler.handled:
            await asyncio.sleep(0.001)
        read_second = time.perf_counter()
        writer.write(second[30:])
        await read_responses(reader, 2)
        writer.close()
    assert handler.begun[b"first"] < read_first < sent_second < handler.handled[b"first"]
    assert sent_second < handler.begun[b"second"] < read_second < handler.handled[b"second"]


async def test_a_punctual_clock_asks_nobody_and_one_that_was_late_has_the_next_reads_asked_about():
    clock = LoopClock()
    assert clock.punctual_until == inf
    clock.start()
    assert clock.punctual_until < inf
    clock._due -= 10 * LATE_SECONDS + TICK_SECONDS  # as if the next tick came so late
    clock._tick()
    assert clock.punctual_until == 0.0 and clock.take_lags()[0] > 9 * LATE_SECONDS
    clock._due = time.perf_counter()
    clock._tick()
    assert clock.punctual_until > time.perf_counter()
    clock.stop()
    assert clock.punctual_until == inf


def test_where_the_system_does_not_say_bytes_count_from_when_they_are_read():
    one, other = socket.socketpair()
    with one, other:
        assert seconds_since_data(one) == 0.0
    assert seconds_since_data(None) == 0.0 == seconds_since_data(one)
