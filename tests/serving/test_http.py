"""The ASGI path."""

import asyncio
import socket

import pytest

from serving.errors import BadInput, Overloaded, TooLarge
from serving.http import router as http
from tests.serving.uvicorn_server import serving


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
    await router({"type": "http", "path": "/", "method": "GET", "query_string": b"", "headers": []}, None, send)
    return sent[0]["status"], dict(sent[0]["headers"]), sent[1]["body"]


async def test_errors_are_told_with_their_status_and_headers():
    assert (await told(BadInput("no")))[::2] == (400, b'{"error":"no"}')
    status, headers, _ = await told(Overloaded("full"))
    assert (status, headers[b"retry-after"]) == (429, b"1")


async def test_what_nobody_foresaw_is_a_500_without_a_word_of_it(caplog):
    status, _, body = await told(RuntimeError("secret /path"))
    assert (status, body) == (500, b'{"error":"internal error; the server\'s log has the details"}')
    assert "secret /path" in caplog.text
