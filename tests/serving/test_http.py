"""The ASGI path, on a uvicorn like the one that BentoML starts."""

import asyncio
import contextlib
import socket

import pytest
import uvicorn

from serving import http
from serving.errors import BadInput, Overloaded, TooLarge
from tests.conftest import free_port


@contextlib.asynccontextmanager
async def serving(app, **options):
    config = uvicorn.Config(app, port=free_port(), log_config=None, lifespan="off", loop="none", **options)
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    try:
        yield config.port
    finally:
        server.should_exit = True
        await task


async def ask(port, request=b"GET / HTTP/1.1\r\nhost: x\r\n\r\n", answers=1):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    found = []
    for _ in range(answers):
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        found.append((head, await reader.readexactly(length)))
    writer.close()
    return found


def app_of(body, *headers):
    async def app(scope, receive, send):
        async def refuse(message):
            raise AssertionError("sent as ASGI messages")

        await http.answer(receive, refuse, body, http.JSON, *headers)

    return app


async def test_an_answer_is_one_write_on_uvicorns_httptools():
    async with serving(app_of(b"{}", (b"x-further", b"yes")), http="httptools") as port:
        ((head, body),) = await ask(port)
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"content-type: application/json\r\n" in head
    assert b"x-further: yes\r\n" in head
    assert b"date: " in head
    assert body == b"{}"


async def test_a_connection_is_kept_and_pipelined_requests_are_answered_in_order():
    count = 0

    async def app(scope, receive, send):
        nonlocal count
        count += 1
        await http.answer(receive, send, b"%d" % count)

    async with serving(app, http="httptools") as port:
        found = await ask(port, b"GET / HTTP/1.1\r\nhost: x\r\n\r\n" * 3, answers=3)
    assert [body for _, body in found] == [b"1", b"2", b"3"]


@pytest.mark.parametrize("implementation", ["h11", "httptools"])
async def test_a_closing_connection_or_another_server_gets_asgi_messages(implementation):
    async def app(scope, receive, send):
        await http.answer(receive, send, b"{}")

    async with serving(app, http=implementation) as port:
        ((head, body),) = await ask(port, b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    assert b"connection: close" in head.lower()
    assert body == b"{}"


async def test_a_client_that_hung_up_is_known():
    seen = []

    async def app(scope, receive, send):
        client = http.client_of(receive)
        seen.append(client.disconnected)
        while not client.disconnected:
            await asyncio.sleep(0.01)
        seen.append(client.disconnected)

    async with serving(app, http="httptools") as port:
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            while not seen:
                await asyncio.sleep(0.01)
        while len(seen) < 2:
            await asyncio.sleep(0.01)
    assert seen == [False, True]


def receiving(*chunks):
    messages = [{"type": "http.request", "body": c, "more_body": i < len(chunks) - 1} for i, c in enumerate(chunks)]

    async def receive():
        return messages.pop(0)

    return receive


async def test_a_body_comes_whole_or_not_at_all():
    scope = {"headers": []}
    assert await http.read_body(scope, receiving(b"abc"), 3) == b"abc"
    assert await http.read_body(scope, receiving(b"ab", b"c", b""), 3) == b"abc"
    for chunks in ([b"abcd"], [b"ab", b"cd"]):
        with pytest.raises(TooLarge, match="over 3 bytes"):
            await http.read_body(scope, receiving(*chunks), 3)


async def test_a_body_that_says_it_is_too_large_is_not_read():
    receive = receiving(b"ab", b"never")
    with pytest.raises(TooLarge):
        await http.read_body({"headers": [(b"content-length", b"99")]}, receive, 3)
    assert (await receive())["body"] == b"never"


async def told(error):
    sent = []

    async def send(message):
        sent.append(message)

    async def app(scope, receive, send):
        raise error

    router = http.Router(app, (), dict)
    router.routes = {"/": {"GET": app}}
    await router({"type": "http", "path": "/", "method": "GET", "query_string": b""}, None, send)
    return sent[0]["status"], dict(sent[0]["headers"]), sent[1]["body"]


async def test_errors_are_told_with_their_status_and_headers():
    assert (await told(BadInput("no")))[::2] == (400, b'{"error":"no"}')
    status, headers, _ = await told(Overloaded("full"))
    assert (status, headers[b"retry-after"]) == (429, b"1")


async def test_what_nobody_foresaw_is_a_500_without_a_word_of_it(caplog):
    status, _, body = await told(RuntimeError("secret /path"))
    assert (status, body) == (500, b'{"error":"internal error; the server\'s log has the details"}')
    assert "secret /path" in caplog.text
