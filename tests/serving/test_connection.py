"""The path below ASGI: what it takes, what it leaves to uvicorn, and that both answer alike."""

import asyncio

import httpx
import pytest
import uvicorn

from serving.errors import BadInput, ClientGone, Overloaded, foreseen
from serving.http.connection import Connection, Front, Limits
from serving.http.direct import Direct
from serving.http.heads import split
from serving.http import connection
from serving.http.router import JSON
from tests.serving.uvicorn_server import serving

TRACEPARENT = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Echo:
    """A direct route that answers what it was sent; `hold` keeps the answers until they are let go."""

    def __init__(self, hold=False):
        self.hold = hold
        self.held = []
        self.parsed = 0
        self.peers = []
        self.refused = []

    full = None

    def opened(self, scope):
        self.parsed += 1
        if scope["query_string"]:
            raise BadInput("no query, please")
        return self

    def refuse(self, error, peer):
        self.refused.append(type(peer).__name__)
        peer.refuse(error)

    def take(self, body, peer):
        self.peers.append(type(peer).__name__)
        if body == b"bad":
            peer.refuse(BadInput("bad it is"))
        elif body == b"broken":
            peer.refuse(foreseen(RuntimeError("secret /path"), peer.trace))
        elif self.hold:
            self.held.append((peer, body))
        else:
            peer.answer(body, JSON)


def front(echo, connections=100, body_seconds=30.0, most_bytes=1 << 20):
    made = Front(None, (), dict, Limits(connections, body_seconds))
    made.routes = {"/echo": {"POST": Direct(echo.opened, lambda error: None, most_bytes)}}
    return made


def direct(echo, **limits):
    return serving(front(echo, **limits), http=Connection)


def post(body, *headers, path=b"/echo"):
    lines = [b"POST %b HTTP/1.1" % path, b"Host: x", b"Content-Length: %d" % len(body), *headers, b"", b""]
    return b"\r\n".join(lines) + body


async def answers(reader, count=1):
    found = []
    for _ in range(count):
        head = b"http/1.1 100"
        while head.startswith(b"http/1.1 100"):
            head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)).lower()
        length = next(int(line[15:]) for line in head.split(b"\r\n") if line.startswith(b"content-length:"))
        found.append((head, await reader.readexactly(length)))
    return found


async def ask(port, *sent, count=1, pause=0.0):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for part in sent:
        writer.write(part)
        await writer.drain()
        await asyncio.sleep(pause)
    found = await answers(reader, count)
    writer.close()
    return found


async def test_a_head_is_parsed_once_and_both_ways_answer_alike():
    echo = Echo()
    async with direct(echo) as port:
        (first,) = await ask(port, post(b"[1]"))
        (second,) = await ask(port, post(b"[22]"))
    assert echo.peers == ["AsgiPeer", "Connection"]
    assert (first[1], second[1]) == (b"[1]", b"[22]")
    names = [{line.partition(b":")[0] for line in head.split(b"\r\n")} for head, _ in (first, second)]
    assert names[0] == names[1]
    assert b"x-trace-id" in names[0]


async def test_pipelined_requests_are_answered_in_order():
    echo = Echo()
    async with direct(echo) as port:
        await ask(port, post(b"x"))
        found = await ask(port, b"".join(post(b"%d" % i) for i in range(50)), count=50)
    assert [body for _, body in found] == [b"%d" % i for i in range(50)]
    assert "Connection" in echo.peers


async def test_what_comes_while_an_answer_is_made_waits_for_it():
    echo = Echo()
    async with direct(echo) as port:
        await ask(port, post(b"0"))
        echo.hold = True
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for i in (b"1", b"2", b"3"):
            writer.write(post(i))
            await asyncio.sleep(0.02)
        for i in (b"1", b"2", b"3"):
            while not echo.held:
                await asyncio.sleep(0.01)
            ((peer, body),) = echo.held
            assert body == i
            echo.held.clear()
            peer.answer(body, JSON)
        assert [body for _, body in await answers(reader, 3)] == [b"1", b"2", b"3"]
        writer.close()


@pytest.mark.parametrize("cut", [1, 30, 60, -7, -1])
async def test_a_request_may_come_in_pieces(cut):
    echo = Echo()
    request = post(b"[1, 2, 3, 4]")
    async with direct(echo) as port:
        await ask(port, request)
        found = await ask(port, request[:cut], request[cut:] + request[:cut], request[cut:], count=2, pause=0.02)
    assert [body for _, body in found] == [b"[1, 2, 3, 4]"] * 2


async def test_errors_are_told_alike_and_the_connection_goes_on():
    echo = Echo()
    async with direct(echo) as port:
        found = await ask(port, post(b"ok!"), post(b"bad"), post(b"broken"), post(b"ok!"), count=4, pause=0.02)
        (by_asgi,) = await ask(port, post(b"bad", b"x-new: head"))
    assert [body for _, body in found] == [
        b"ok!",
        b'{"error":"bad it is"}',
        b'{"error":"internal error; the server\'s log has the details"}',
        b"ok!",
    ]
    assert [head.split()[1] for head, _ in found] == [b"200", b"400", b"500", b"200"]
    assert by_asgi[1] == found[1][1]
    assert echo.peers == ["AsgiPeer", "Connection", "Connection", "Connection", "AsgiPeer"]


@pytest.mark.parametrize("cut", [-7, -1, None])
async def test_while_none_can_be_taken_bodies_are_let_go_and_the_connection_goes_on(cut):
    echo = Echo()
    request = post(b"[1, 2, 3, 4]")
    async with direct(echo) as port:
        await ask(port, request)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for full in (Overloaded("full"), None):
            echo.full = full
            writer.write(request[:cut])
            await asyncio.sleep(0.02)
            echo.full = full and Overloaded("too late to matter")
            writer.write(request[cut:] if cut else b"")
            ((head, body),) = await answers(reader)
            if full:
                assert (head.split()[1], body) == (b"429", b'{"error":"full"}')
                assert b"\r\nretry-after: 1\r\n" in head
            else:
                assert body == b"[1, 2, 3, 4]"
        writer.close()
    assert len(echo.peers) == 2


async def test_none_can_be_taken_by_asgi_either():
    echo = Echo()
    echo.full = Overloaded("full")
    async with direct(echo) as port:
        found = await ask(port, post(b"x" * 200_000, b"expect: nothing"), post(b"x", b"expect: nothing"), count=2)
    assert [(head.split()[1], body) for head, body in found] == [(b"429", b'{"error":"full"}')] * 2
    assert echo.full.__traceback__ is None and not echo.peers
    assert echo.refused == ["AsgiPeer"] * 2  # counted and logged as its form's, as below ASGI


async def test_a_trace_is_the_clients_or_a_new_one():
    echo = Echo()
    request = post(b"1", b"traceparent: " + TRACEPARENT)
    other = request.replace(b"0af7651916cd43dd", b"ffffffffffffffff")
    async with direct(echo) as port:
        found = await ask(port, request, request, other, count=3, pause=0.02)
        broken = await ask(port, *[request.replace(b"0af7651916cd43dd", b"z" * 16)] * 2, count=2, pause=0.02)
    traces = [head.partition(b"x-trace-id: ")[2][:32] for head, _ in (*found, *broken)]
    assert traces[:2] == [TRACEPARENT[3:35]] * 2
    assert traces[2] == b"ffffffffffffffff" + TRACEPARENT[19:35]
    assert echo.peers == ["AsgiPeer", "Connection", "Connection", "AsgiPeer", "AsgiPeer"]
    assert len({*traces}) == 4


async def test_a_traceparent_hides_no_header_from_the_parser():
    """55 bytes that hold a line's end are no traceparent: the parser sees the header that is hidden in them."""
    echo = Echo()
    hidden = b"x\r\nTransfer-Encoding: chunked\r\nfiller: ".ljust(55, b"y")
    async with direct(echo) as port:
        await ask(port, post(b"0\r\n\r\n", b"traceparent: " + TRACEPARENT))
        ((head, _),) = await ask(port, post(b"0\r\n\r\n", b"traceparent: " + hidden))
    assert b"400 bad request" in head
    assert echo.peers == ["AsgiPeer"]


@pytest.mark.parametrize(
    "request_",
    [
        post(b"1", b"Connection: close"),
        post(b"1", b"Expect: 100-continue"),
        post(b"1", b"Content-Length: 1"),
        post(b"1", path=b"/echo?x=1"),
        post(b"1", path=b"/elsewhere"),
        post(b"1").replace(b"HTTP/1.1", b"HTTP/1.0"),
        b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n1\r\n0\r\n\r\n",
        post(b"1").replace(b"POST", b"PUT"),
    ],
)
async def test_what_is_special_stays_with_uvicorn(request_):
    echo = Echo()
    made = front(echo)
    async with serving(made, http=Connection) as port:
        for _ in range(2):
            await ask(port, request_)
    assert not made.known._known
    assert "Connection" not in echo.peers


async def test_a_body_over_the_limit_is_refused_on_a_known_head_too():
    echo = Echo()
    async with direct(echo, most_bytes=10) as port:
        await ask(port, post(b"1"))
        ((head, body),) = await ask(port, post(b"x" * 11))
    assert b"413" in head
    assert b"over 10 bytes" in body


async def test_the_heads_that_are_remembered_are_bounded(monkeypatch):
    monkeypatch.setattr("serving.http.heads.MOST", 8)
    echo = Echo()
    made = front(echo)
    async with serving(made, http=Connection) as port:
        for i in range(20):
            await ask(port, post(b"1", b"x-%d: y" % i))
    assert len(made.known._known) <= 8


async def test_a_client_that_hung_up_is_known_and_told_nothing():
    echo = Echo()
    async with direct(echo) as port:
        await ask(port, post(b"1"))
        echo.hold = True
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(post(b"2"))
        while not echo.held:
            await asyncio.sleep(0.01)
        ((peer, _),) = echo.held
        assert not peer.disconnected
        writer.close()
        while not peer.disconnected:
            await asyncio.sleep(0.01)
        peer.refuse(ClientGone("gone"))
        peer.answer(b"late", JSON)


async def test_a_request_that_does_not_arrive_is_ended(monkeypatch):
    monkeypatch.setattr(connection, "LOOK_SECONDS", 0.02)
    async with direct(Echo(), body_seconds=0.1) as port:
        await ask(port, post(b"[1]"))
        for partly in (post(b"[1]")[:-1], post(b"[1]", b"x-new: head")[:-1], post(b"1")[:10]):
            ((head, body),) = await ask(port, partly)
            assert b"408" in head
            assert b"connection: close" in head
            assert b"did not arrive within 0.1 s" in body


async def test_a_connection_too_many_is_told_to_come_back():
    async with direct(Echo(), connections=1) as port:
        _, first = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.sleep(0.05)
        ((head, body),) = await ask(port)
        first.close()
    assert b"503" in head
    assert b"retry-after: 1" in head
    assert b"EKIBEN_MAX_CONNECTIONS" in body


async def test_a_head_without_end_is_refused():
    async with direct(Echo()) as port:
        ((head, _),) = await ask(port, b"POST /echo HTTP/1.1\r\n" + b"x: y\r\n" * 20_000)
    assert b"431" in head


async def test_an_answer_under_way_is_given_when_the_server_leaves():
    echo = Echo()
    async with direct(echo) as port:
        await ask(port, post(b"1"))
        echo.hold = True
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(post(b"2"))
        while not echo.held:
            await asyncio.sleep(0.01)
        ((peer, body),) = echo.held
        peer.shutdown()
        peer.answer(body, JSON)
        ((head, body),) = await answers(reader)
        assert b"connection: close" in head
        assert body == b"2"
        assert await reader.read() == b""
        writer.close()


def test_a_head_is_split_where_requests_differ():
    request = post(b"12345", b"traceparent: " + TRACEPARENT, b"x: y")
    end = request.find(b"\r\n\r\n") + 4
    head = split(request, end)
    assert head.alike == b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: \r\ntraceparent: \r\nx: y\r\n\r\n"
    assert (head.length, head.traceparent) == (5, TRACEPARENT)
    for bad in (b"", b"-1", b"+1", b"1 ", b"0x1"):
        text = request.replace(b"Content-Length: 5", b"Content-Length: " + bad)
        assert split(text, text.find(b"\r\n\r\n") + 4) is None


def test_uvicorn_makes_our_connections():
    connection.accept_directly()
    config = uvicorn.Config(front(Echo()), log_config=None)
    config.load()
    assert config.http_protocol_class is Connection


def test_a_real_service_answers_below_asgi(server):
    """The order of the headers tells which way an answer took."""
    body = {"inputs": [{"name": "features", "datatype": "FP32", "shape": [1, 4], "data": [5, 3, 1, 0.2]}]}
    with httpx.Client(base_url=server.url) as client:
        v2 = [list(client.post("/v2/models/iris/infer", json=body).headers) for _ in range(2)]
        flower = {"sepal_length": 5, "sepal_width": 3, "petal_length": 1, "petal_width": 0.2}
        native = [list(client.post("/iris/classify", json=flower).headers) for _ in range(2)]
    for by_asgi, below in (v2, native):
        assert sorted(by_asgi) == sorted(below)
        assert below.index("x-trace-id") < below.index("content-length")
