"""A uvicorn like the one that BentoML starts, in the test's own event loop, and a raw client of it."""

import asyncio
import contextlib

import uvicorn

from serving.http.connection import Connection
from serving.http.gateway import Gateway, Limits
from serving.lifecycle import Lifecycle
from tests.conftest import free_port


def gateway(routes, bentoml=None, bentoml_paths=(), limits=None, keys=None, hosts=()):
    """A gateway whose service has started."""
    front = Gateway(bentoml, bentoml_paths, None, limits or Limits(100), keys, frozenset(hosts))
    front.start(routes, Lifecycle())
    return front


@contextlib.asynccontextmanager
async def serving(app, http=Connection):
    """The port of a server of this application. AssertionError if a client has not left when the block ends"""
    config = uvicorn.Config(
        app, port=free_port(), log_config=None, lifespan="off", loop="none", http=http, timeout_graceful_shutdown=10
    )
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    try:
        yield config.port
    finally:
        server.should_exit = True
        await task
        assert not server.server_state.connections, "a client of this test has not closed its connection"


def post(body, *headers, path=b"/echo"):
    lines = [b"POST %b HTTP/1.1" % path, b"Host: x", b"Content-Length: %d" % len(body), *headers, b"", b""]
    return b"\r\n".join(lines) + body


async def read_responses(reader, count=1):
    """[(head in lower case, body)] of so many final responses; every body by its content-length."""
    responses = []
    for _ in range(count):
        head = b"http/1.1 100"
        while head.startswith(b"http/1.1 100"):
            head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 120)).lower()
        length = next(int(line[15:]) for line in head.split(b"\r\n") if line.startswith(b"content-length:"))
        responses.append((head, await asyncio.wait_for(reader.readexactly(length), 120)))
    return responses


async def ask(port, *pieces, count=1, pause=0.0):
    """The responses to what is sent in these pieces over a connection of its own."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(pause)
    responses = await read_responses(reader, count)
    writer.close()
    return responses
