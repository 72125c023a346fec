"""The protocol class: order, framing, limits and ends of connections, whatever the pieces that requests come in."""

import asyncio
import os
import socket
from types import SimpleNamespace

import httptools
import psutil
import pytest
import uvicorn

from serving.errors import BadInput, ClientGone, Overloaded, as_serving_error
from serving.http import connection
from serving.http import gateway as gateway_module
from serving.http.connection import BODY_STEP_BYTES, FEED_BYTES, Connection
from serving.http.endpoint import get, reject
from serving.http.gateway import Limits, install_http_protocol
from serving.http.messages import Response
from serving.http.parser import MAX_HEAD_BYTES, MAX_HEADER_LINES
from serving.memory import MemoryBudget
from tests.conftest import ROOT
from tests.serving.http.uvicorn_server import ask, gateway, post, read_responses, serving

CHUNKED = b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
TRACEPARENT = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Echo:
    """A handler that answers what it was sent; `hold` keeps requests until the test answers them."""

    max_body_bytes = 1 << 20

    def __init__(self, hold=False):
        self.hold = hold
        self.held = []
        self.overload = None
        self.handled = 0
        self.headers = []

    def check(self, request):
        if self.overload:
            raise self.overload

    def handle(self, request):
        self.handled += 1
        self.headers.append(request.headers)
        if request.body == b"bad":
            request.fail(BadInput("bad it is"))
        elif request.body == b"broken":
            raise RuntimeError("secret /path")
        elif self.hold:
            self.held.append(request)
        elif request.body.startswith(b"later"):
            asyncio.get_running_loop().call_later(0.002, request.respond, Response(request.body))
        else:
            request.respond(Response(request.body))

    def reject(self, request, error):
        request.fail(as_serving_error(error, request.trace_id))

    async def next_held(self):
        while not self.held:
            await asyncio.sleep(0.005)
        return self.held.pop(0)


def running(echo, limits=None, bodies=None):
    routes = {"/echo": {"POST": echo}, "/get": get(lambda request: request.query)}
    front = gateway(routes, limits=limits)
    front.bodies = bodies or front.bodies
    return serving(front)


def statuses(responses):
    return [int(head.split()[1]) for head, _ in responses]


@pytest.mark.parametrize("body", [b"%d", b"later %d"])
async def test_pipelined_requests_are_answered_in_order(body):
    async with running(Echo()) as port:
        responses = await ask(port, b"".join(post(body % i) for i in range(300)), count=300)
    assert [body for _, body in responses] == [body % i for i in range(300)]


@pytest.mark.parametrize("size", [1, 7, 97, 1448, 70_000])
async def test_pieces_make_no_difference(size):
    """Bodies by length and in chunks, rejections, 404s and slow ones, cut at every size."""
    chunked = CHUNKED + b"3;a=b\r\nabc\r\n2\r\nde\r\n0\r\nX: y\r\n\r\n"
    script = [post(b"a"), post(b"later b"), post(b"bad"), chunked, post(b"x", path=b"/no"), post(b"c" * 3000)]
    expected = [b"a", b"later b", b'{"error":"bad it is"}', b"abcde", None, b"c" * 3000]
    sent = b"".join(script * 4)
    async with running(Echo()) as port:
        responses = await ask(port, *(sent[i : i + size] for i in range(0, len(sent), size)), count=24)
    assert statuses(responses) == [200, 200, 400, 200, 404, 200] * 4
    assert all(body == right for (_, body), right in zip(responses, expected * 4, strict=True) if right is not None)


async def test_what_a_client_has_sent_at_once_is_read_in_turns_with_other_clients(monkeypatch):
    monkeypatch.setattr(connection, "TURN_SECONDS", 0.0)
    n_requests, front = 5000, gateway({"/echo": {"POST": Echo()}})
    written, reading = [], [True]
    transport = SimpleNamespace(
        get_extra_info=lambda name: None,
        is_closing=lambda: False,
        pause_reading=lambda: reading.append(False),
        resume_reading=lambda: reading.append(True),
        write=written.append,
    )
    state = SimpleNamespace(connections=set(), default_headers=[], total_requests=0)
    client = Connection(SimpleNamespace(app=front), state)
    client.connection_made(transport)
    sent = b"".join(post(b"%d" % n) for n in range(n_requests))
    client.data_received(sent)
    in_turn = []
    while (before := len(written)) < n_requests:
        in_turn.append(before)
        assert not reading[-1]
        for _ in range(5):  # a client that reads by fits and starts gains no turns by it
            client.pause_writing()
            client.resume_writing()
        await asyncio.sleep(0)
    assert len(in_turn) >= len(sent) // FEED_BYTES
    assert [int(response.rpartition(b"\r\n")[2]) for response in written] == list(range(n_requests))
    await asyncio.sleep(0)
    assert reading[-1]
    client.connection_lost(None)


async def test_what_comes_while_a_response_is_made_waits_for_it():
    echo = Echo(hold=True)
    async with running(echo) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for body in (b"1", b"2", b"3"):
            writer.write(post(body))
            await asyncio.sleep(0.02)
        for body in (b"1", b"2", b"3"):
            request = await echo.next_held()
            assert request.body == body
            assert not echo.held
            request.respond(Response(body))
            request.respond(Response(b"twice"))
        assert [body for _, body in await read_responses(reader, 3)] == [b"1", b"2", b"3"]
        writer.close()


async def test_errors_leave_the_connection_open():
    async with running(Echo()) as port:
        responses = await ask(port, post(b"ok!"), post(b"bad"), post(b"broken"), post(b"ok!"), count=4)
    assert statuses(responses) == [200, 400, 500, 200]
    assert responses[2][1] == b'{"error":"internal error; the server\'s log has the details"}'


async def test_what_is_no_http_is_told_after_the_answers_that_are_due():
    echo = Echo(hold=True)
    async with running(echo) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(post(b"1") + b"\0\0\0")
        request = await echo.next_held()
        await asyncio.sleep(0.05)
        request.respond(Response(b"1"))
        responses = await read_responses(reader, 2)
        assert await reader.read() == b""
        writer.close()
    assert responses[0][1] == b"1"
    assert statuses(responses)[1] in (400, 501)
    assert b"connection: close" in responses[1][0]


@pytest.mark.parametrize(
    "framing", [b"Content-Length: 5\r\n\r\nhello", b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"]
)
@pytest.mark.parametrize("protocol", [b"h2c", b"websocket"])
async def test_upgrade_is_ignored_and_its_body_is_a_body(framing, protocol):
    head = b"POST /echo HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: %b\r\n" % protocol
    sent = post(b"first") + head + framing + post(b"last")
    async with running(Echo()) as port:
        whole = await ask(port, sent, count=3)
        for cut in range(1, len(sent)):
            assert [body for _, body in await ask(port, sent[:cut], sent[cut:], count=3)] == [body for _, body in whole]
    assert [body for _, body in whole] == [b"first", b"hello", b"last"]


async def test_upgrade_without_a_body():
    sent = b"GET /get?a=b HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    async with running(Echo()) as port:
        responses = await ask(port, sent + post(b"next"), count=2)
    assert [body for _, body in responses] == [b'{"a":"b"}', b"next"]


async def test_nothing_after_connect_is_read_as_a_request():
    echo = Echo()
    async with running(echo) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\nContent-Length: 200\r\n\r\n" + post(b"smuggled"))
        ((head, _),) = await read_responses(reader)
        assert await reader.read() == b""
        writer.close()
    assert b" 501 " in head
    assert echo.handled == 0


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET /get HTTP/1.1\r\n\r\n", 400),
        (b"GET /get HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET /get HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
        (b"GET /get HTTP/1.1\r\nHost: a@b\r\n\r\n", 400),
        (b"GET /get HTTP/1.1\r\nHost: a:b:c\r\n\r\n", 400),
        (b"GET /get HTTP/1.1\r\nHost:\r\n\r\n", 200),
        (b"GET /get HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", 200),
        (b"GET http://x/get?q=1 HTTP/1.1\r\nHost: y\r\n\r\n", 200),
        (b"GET /get#part HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"FOO /get HTTP/1.1\r\nHost: x\r\n\r\n", 501),
        (b"PROPFIND /get HTTP/1.1\r\nHost: x\r\n\r\n", 501),
        (b"DELETE /get HTTP/1.1\r\nHost: x\r\n\r\n", 405),
        (b"GET /get HTTP/2.0\r\nHost: x\r\n\r\n", 505),
        (b"GET /get HTTP/3.0\r\nHost: x\r\n\r\n", 505),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        (b"GET /get\r\n\r\n", 505),
        (b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
        (b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n0\r\n\r\n", 400),
        (b"POST /echo HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: CHUNKED\r\n\r\n0\r\n\r\n", 200),
        (b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx", 400),
        (b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1, 1\r\n\r\nx", 400),
        (b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"GET /get HTTP/1.1\r\nHost : x\r\n\r\n", 400),
    ],
)
async def test_heads(sent, status):
    async with running(Echo()) as port:
        ((head, body),) = await ask(port, sent)
    assert int(head.split()[1]) == status
    assert b"x-trace-id: " in head
    assert status == 200 or b'{"error":"' in body


async def test_head_is_answered_as_get_without_the_body():
    async with running(Echo()) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"HEAD /get?a=b HTTP/1.1\r\nHost: x\r\n\r\nGET /get?a=b HTTP/1.1\r\nHost: x\r\n\r\n")
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        ((again, body),) = await read_responses(reader)
        writer.close()
    assert b"content-length: %d" % len(body) in head
    assert {line.partition(b":")[0] for line in head.split(b"\r\n")} == {
        line.partition(b":")[0] for line in again.split(b"\r\n")
    }


async def test_a_trace_is_the_clients_or_a_new_one():
    sent = post(b"1", b"traceparent: " + TRACEPARENT)
    async with running(Echo()) as port:
        responses = await ask(port, sent, sent.replace(b"0af7651916cd43dd", b"z" * 16), post(b"1"), count=3)
    traces = [head.partition(b"x-trace-id: ")[2][:32] for head, _ in responses]
    assert traces[0] == TRACEPARENT[3:35]
    assert len({*traces}) == 3


async def test_a_traceparent_hides_no_header_from_the_parser():
    """55 bytes that hold a line's end are no traceparent: the header that is hidden in them is one, of this request."""
    echo = Echo()
    hidden = b"x\r\nContent-Encoding: gzip\r\nfiller: ".ljust(55, b"y")
    async with running(echo) as port:
        await ask(port, post(b"0", b"traceparent: " + hidden), post(b"1", b"traceparent: " + TRACEPARENT), count=2)
    assert echo.headers[0][b"content-encoding"] == b"gzip"
    assert b"content-encoding" not in echo.headers[1]


def head_of(length):
    """A request whose head counts so many bytes: the target, and name, value and 4 of each line."""
    rest = len(b"/echo") + len(b"hostx") + 4 + len(b"content-length1") + 4 + len(b"filler") + 4
    return post(b"1", b"filler: " + b"f" * (length - rest))


@pytest.mark.parametrize("size", [100_000, 1448, 61])
async def test_the_limit_of_heads_is_exact_however_they_are_cut(size):
    async with running(Echo()) as port:
        for length, status in ((MAX_HEAD_BYTES, 200), (MAX_HEAD_BYTES + 1, 431)):
            sent = head_of(length)
            ((head, _),) = await ask(port, *(sent[i : i + size] for i in range(0, len(sent), size)))
            assert int(head.split()[1]) == status
        lines = [b"x-%d: y" % i for i in range(MAX_HEADER_LINES - 2)]
        assert statuses(await ask(port, post(b"", *lines), post(b"", *lines, b"z: z"), count=2)) == [200, 431]


@pytest.mark.parametrize("endless", [b"filler: " + b"f" * 100, b"x: " + b"y" * 1000 + b"\r\n"])
@pytest.mark.parametrize("part", ["head", "trailer", "extension"])
async def test_what_has_no_end_is_refused_and_not_kept(endless, part):
    starts = {
        "head": b"POST /echo HTTP/1.1\r\nHost: x\r\n",
        "trailer": CHUNKED + b"1\r\n1\r\n0\r\n",
        "extension": CHUNKED + b"1;",
    }
    if part == "extension":
        endless = b"e" * 1000
    process = psutil.Process(os.getpid())
    async with running(Echo()) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(starts[part])
        before = process.memory_info().rss
        for _ in range(1000):
            writer.write(endless * (2**16 // len(endless)))
            await writer.drain()
        ((head, _),) = await read_responses(reader)
        assert b" 431 " in head
        assert process.memory_info().rss - before < 32 * 2**20
        writer.close()


@pytest.mark.parametrize("size", [2**16, 1448])
async def test_extensions_of_chunks_are_bounded_in_total(size):
    small = b"".join(b"1;a=b\r\n%b\r\n" % bytes([byte]) for byte in b"0123456789" * 2000) + b"0\r\n\r\n"
    large = (b"1;" + b"x" * 1000 + b"\r\n \r\n") * 300 + b"0\r\n\r\n"
    async with running(Echo()) as port:
        for sent, status in ((CHUNKED + small, 200), (CHUNKED + large, 400)):
            ((head, _),) = await ask(port, *(sent[i : i + size] for i in range(0, len(sent), size)))
            assert int(head.split()[1]) == status


async def test_trailers_are_counted_and_dropped():
    echo = Echo()
    start = CHUNKED + b"1\r\n1\r\n0\r\n"
    async with running(echo) as port:
        (ok,) = await ask(port, start + b"Authorization: Bearer x\r\nContent-Encoding: gzip\r\n\r\n")
        (long,) = await ask(port, start + b"x: " + b"y" * MAX_HEAD_BYTES + b"\r\n\r\n")
    assert statuses([ok, long]) == [200, 431]
    assert echo.headers[0].keys() == {b"host", b"transfer-encoding"}


async def test_a_body_over_the_limit_is_refused_before_it_is_read():
    echo = Echo()
    echo.max_body_bytes = 10
    async with running(echo) as port:
        (small,) = await ask(port, post(b"x" * 11))
        (endless,) = await ask(port, CHUNKED + b"b\r\n01234567890\r\n")
        (expecting,) = await ask(port, post(b"", b"Expect: 100-continue").replace(b"Length: 0", b"Length: 11"))
    assert statuses([small, endless, expecting]) == [413] * 3
    assert b"11 bytes; at most 10 bytes" in small[1]
    assert b"over 10 bytes" in endless[1]
    assert b"connection: close" not in small[0]  # what is small is read, and the connection goes on
    assert b"connection: close" in endless[0]
    assert b"connection: close" in expecting[0]  # whether its body follows is not known
    assert echo.handled == 0


async def test_a_large_refused_body_is_read_into_nothing_until_the_client_has_read_why():
    echo = Echo()
    echo.overload = Overloaded("full")
    body = b"x" * 20_000_000
    async with running(echo) as port:
        for _ in range(5):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(post(body))
            await asyncio.wait_for(writer.drain(), 120)  # all of it is sent before anything is read
            ((head, _),) = await read_responses(reader)
            assert b" 429 " in head
            assert b"connection: close" in head
            assert await reader.read() == b""
            writer.close()


async def test_what_is_sent_after_a_refusal_is_bounded(monkeypatch):
    monkeypatch.setattr(connection, "LINGER_BYTES", 2**20)
    echo = Echo()
    echo.overload = Overloaded("full")
    async with running(echo) as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(post(b"").replace(b"Length: 0", b"Length: 999999999"))
        with pytest.raises(ConnectionError):
            for _ in range(10_000):
                writer.write(b"x" * 2**16)
                await writer.drain()
        writer.close()


async def test_a_continue_is_sent_in_its_turn_or_not_at_all():
    echo = Echo(hold=True)
    async with running(echo) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(post(b"1") + post(b"", b"Expect: 100-Continue").replace(b"Length: 0", b"Length: 2"))
        first = await echo.next_held()
        await asyncio.sleep(0.05)
        first.respond(Response(b"first"))
        assert (await reader.readuntil(b"first")).startswith(b"HTTP/1.1 200")
        assert await reader.readexactly(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"hi")
        (await echo.next_held()).respond(Response(b"second"))
        assert (await read_responses(reader))[0][1] == b"second"
        echo.hold = False
        writer.write(post(b"x", b"Expect: 100-continue").replace(b"HTTP/1.1", b"HTTP/1.0"))
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        writer.close()


@pytest.mark.parametrize("body", [b"x", b"later"])
async def test_a_half_closed_connection_is_answered_then_closed(body):
    async with running(Echo()) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(post(body) * 3)
        writer.write_eof()
        assert [b for _, b in await read_responses(reader, 3)] == [body] * 3
        assert await reader.read() == b""
        writer.close()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(post(body)[:-1])
        writer.write_eof()
        assert await asyncio.wait_for(reader.read(), 120) == b""
        writer.close()


async def test_closing_is_the_clients_wish():
    async with running(Echo()) as port:
        for sent, closes in (
            (post(b"1", b"Connection: close"), True),
            (post(b"1").replace(b"HTTP/1.1", b"HTTP/1.0"), True),
            (post(b"1", b"Connection: keep-alive").replace(b"HTTP/1.1", b"HTTP/1.0"), False),
        ):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(sent)
            ((head, _),) = await read_responses(reader)
            assert (b"connection: close" in head) == closes
            assert (b"connection: keep-alive" in head) != closes
            writer.write(sent if not closes else b"")
            assert (await reader.read(5) == b"") == closes
            writer.close()


async def test_an_idle_connection_is_closed_counted_from_the_last_response():
    echo = Echo(hold=True)
    front = gateway({"/echo": {"POST": echo}}, limits=Limits(100, keep_alive_seconds=60))
    seen, now = [], asyncio.get_running_loop().time
    front.watch = seen.append  # the test says what time it is
    async with serving(front) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(post(b"1"))
        request = await echo.next_held()
        (ours,) = seen[0]
        ours.check_time(now() + 3600)  # what is being answered is not idle
        ours._since -= 3600  # as if it had taken so long
        answered = now()
        request.respond(Response(b"1"))
        await read_responses(reader)
        ours.check_time(answered + 59)
        echo.hold = False
        writer.write(post(b"2"))
        assert (await read_responses(reader))[0][1] == b"2"
        ours.check_time(now() + 61)
        assert await reader.read() == b""
        writer.close()


async def test_a_request_that_does_not_arrive_is_ended(monkeypatch):
    monkeypatch.setattr(gateway_module, "CHECK_SECONDS", 0.02)
    async with running(Echo(), Limits(100, body_seconds=0.1)) as port:
        for part in (post(b"[1]")[:-1], post(b"1")[:10], b"P"):
            _, ((head, body)) = await ask(port, post(b"0") + part, count=2)
            assert b" 408 " in head
            assert b"connection: close" in head
            assert b"did not arrive within 0.1 s" in body


async def test_a_client_that_does_not_read_is_not_read_from_and_ended_in_time(monkeypatch):
    monkeypatch.setattr(gateway_module, "CHECK_SECONDS", 0.02)
    echo = Echo()
    async with running(echo, Limits(100, body_seconds=0.3)) as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port, limit=1000)
        body = b"x" * 500_000
        with pytest.raises(ConnectionError):
            for _ in range(1000):
                writer.write(post(body))
                await asyncio.wait_for(writer.drain(), 120)
        assert echo.handled < 100
        writer.close()


async def test_a_connection_too_many_is_told_to_come_back_also_if_it_sends_much():
    async with running(Echo(), Limits(1)) as port:
        reader, first = await asyncio.open_connection("127.0.0.1", port)
        first.write(post(b"1"))
        await read_responses(reader)
        ((head, body),) = await ask(port, post(b"x" * 2_000_000))
        first.close()
    assert b" 503 " in head
    assert b"retry-after: 1" in head
    assert b"connections are open" in body


async def test_who_was_rejected_and_stays_locks_nobody_out(monkeypatch):
    monkeypatch.setattr(connection, "MAX_LINGERING", 4)
    rejected = post(b"", path=b"/nope").replace(b"Length: 0", b"Length: 999999999")
    async with running(Echo(), Limits(2)) as port:
        clients = []
        for _ in range(10):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(rejected)
            assert statuses(await read_responses(reader)) == [404]
            clients.append((reader, writer))
        assert statuses(await ask(port, post(b"1"))) == [200]
        ends = [False]
        while sum(ends) < 6:  # the first is met by a reset, by which the next finds the connection gone
            for _, writer in clients:
                writer.write(b"x")
            await asyncio.sleep(0.05)
            ends = [writer.transport.is_closing() for _, writer in clients]
        for _, writer in clients:
            writer.close()
    assert ends == [True] * 6 + [False] * 4  # the first ones were cut off


async def test_a_client_that_broke_off_is_known_and_told_nothing():
    echo = Echo(hold=True)
    async with running(echo) as port:
        client = socket.create_connection(("127.0.0.1", port))
        client.sendall(post(b"2"))
        request = await echo.next_held()
        assert not request.disconnected
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()
        while not request.disconnected:
            await asyncio.sleep(0.01)
        request.fail(ClientGone("gone"))
        request.respond(Response(b"late"))


async def test_a_response_under_way_is_given_when_the_server_leaves():
    echo = Echo(hold=True)
    front = gateway({"/echo": {"POST": echo}})
    async with serving(front) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(post(b"1") + post(b"2"))
        first = await echo.next_held()
        front._lifecycle.draining = True
        first.respond(Response(b"1"))
        (await echo.next_held()).respond(Response(b"2"))
        responses = await read_responses(reader, 2)
        assert b"connection: close" not in responses[0][0]
        assert b"connection: close" in responses[1][0]
        assert await reader.read() == b""
        writer.close()


async def echo_by_asgi(scope, receive, send):
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


CORPUS = [
    post(b"", b"Accept: */*"),
    post(b"plain"),
    post(b"x" * 5000, b"X-Long: " + b"y" * 2000),
    b"POST /echo HTTP/1.1\r\nhost:x\r\ncontent-length:    3   \r\n\r\nabc",
    b"\r\n" + CHUNKED.replace(b"Transfer", b"TRANSFER") + b"1\r\na\r\n000a;b=c\r\n0123456789\r\n0\r\n\r\n",
    post(b"percent", path=b"/ech%6f"),
    post(b"query", path=b"/echo?a=1&b=2"),
]


async def test_it_reads_the_same_as_uvicorns_own_protocol():
    """Each request whole and cut at every offset, and all of them pipelined: both give the same bodies."""
    async with running(Echo()) as ours, serving(echo_by_asgi, "httptools") as theirs:
        for sent in CORPUS:
            ((_, right),) = await ask(theirs, sent)
            ((_, whole),) = await ask(ours, sent)
            assert whole == right
            for cut in range(1, min(len(sent), 300)):
                ((_, body),) = await ask(ours, sent[:cut], sent[cut:])
                assert body == right
        for size in (10**6, 1448, 11):
            sent = b"".join(CORPUS * 7)
            pieces = [sent[i : i + size] for i in range(0, len(sent), size)]
            bodies = [[b for _, b in await ask(p, *pieces, count=7 * len(CORPUS))] for p in (ours, theirs)]
            assert bodies[0] == bodies[1]


async def test_many_clients_at_once_each_get_their_own():
    async def client(port, number):
        bodies = [(b"later %d-%d" if i % 3 else b"%d-%d") % (number, i) for i in range(30)]
        sent = b"".join(map(post, bodies))
        size = 5 + number * 37
        responses = await ask(port, *(sent[i : i + size] for i in range(0, len(sent), size)), count=30)
        return [body for _, body in responses] == bodies

    async with running(Echo()) as port:
        assert all(await asyncio.gather(*(client(port, number) for number in range(30))))


def test_nothing_above_the_parser_looks_at_packets():
    """Heads and their ends are the parser's business: no line's end is searched for in what comes from a socket."""
    for file in (ROOT / "serving" / "http").glob("*.py"):
        text = file.read_text()
        for call in (".find(", ".index(", ".split(b", 'partition(b"\\r', 're.compile(rb"\\r'):
            assert call not in text, (file, call)


def test_uvicorn_makes_our_connections():
    install_http_protocol()
    config = uvicorn.Config(gateway({}), log_config=None)
    config.load()
    assert config.http_protocol_class is Connection


def test_httptools_leaves_the_body_of_an_upgrade_to_us():
    """What Connection._after_upgrade relies on: the exception's offset is that of the body."""

    class Protocol:
        def on_message_complete(self):
            pass

    parser = httptools.HttpRequestParser(Protocol())
    head = b"POST / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: x\r\nContent-Length: 2\r\n\r\n"
    with pytest.raises(httptools.HttpParserUpgrade) as raised:
        parser.feed_data(head + b"hi")
    assert raised.value.args[0] == len(head)


async def test_bodies_that_arrive_share_a_budget():
    echo = Echo()
    echo.max_body_bytes = 10 * BODY_STEP_BYTES
    bodies = MemoryBudget(4 * BODY_STEP_BYTES)
    async with running(echo, bodies=bodies) as port:
        large = b"x" * (3 * BODY_STEP_BYTES)
        _, slow = await asyncio.open_connection("127.0.0.1", port)
        slow.write(post(large)[: 2 * BODY_STEP_BYTES])
        while bodies.taken < 2 * BODY_STEP_BYTES:
            await asyncio.sleep(0.01)
        (told,) = await ask(port, post(large))
        (chunked,) = await ask(port, CHUNKED + b"%x\r\n%b\r\n0\r\n\r\n" % (len(large), large))
        (small,) = await ask(port, post(b"x" * 1000))
        (never,) = await ask(port, post(b"x" * (5 * BODY_STEP_BYTES)))
        slow.close()
        while bodies.taken:
            await asyncio.sleep(0.01)
        (again,) = await ask(port, post(large))
    assert statuses([told, chunked, small, never, again]) == [429, 429, 200, 413, 200]
    assert b"retry-after: 1" in told[0]
    assert b"1.2 MB; at most 1 MB" in never[1]


def test_a_request_whose_client_hung_up_is_ended_as_any_other():
    """So that its connection forgets its body, which counts until then."""
    ended = []
    request = SimpleNamespace(method="POST", path="/page", trace_id=b"1" * 32, fail=ended.append)
    reject(request, ClientGone("the client hung up"))
    assert [type(error) for error in ended] == [ClientGone]
