"""How connections are taken: many in a turn, where it is long or nobody else could; the last when the port closes."""

import asyncio
import contextlib
import socket
import time

import pytest
import uvicorn

from serving.http import listener as listening
from serving.http.listener import Listener, Loop

MANY = 40


class Counting(asyncio.Protocol):
    made = 0

    def connection_made(self, transport):
        type(self).made += 1
        self.transport = transport


@contextlib.contextmanager
def strangers(port):
    """Clients whom the kernel has let in, and nobody has taken yet."""
    with contextlib.ExitStack() as held:
        for _ in range(MANY):
            held.enter_context(socket.create_connection(("127.0.0.1", port)))
        yield


async def serving(seconds, turns, close=False):
    """Connections taken of MANY that wait, after so many turns of the loop that take so many seconds each."""

    class Here(Counting):
        pass

    with socket.create_server(("127.0.0.1", 0), backlog=MANY) as sock:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(Here, sock=sock, backlog=MANY, ssl=None)
        assert isinstance(server, Listener)
        try:
            with strangers(sock.getsockname()[1]):
                if close:
                    server.close()
                for _ in range(turns):
                    time.sleep(seconds)  # as an engine call does
                    await asyncio.sleep(0)
                return Here.made
        finally:
            server.close()


def run(shared, *arguments, **options):
    with asyncio.Runner(loop_factory=lambda: Loop(shared)) as runner:
        return runner.run(serving(*arguments, **options))


@pytest.mark.parametrize("shared", [False, True])
def test_all_who_wait_are_taken_in_a_few_long_turns(shared):
    assert run(shared, 2e-3, 8) == MANY


def test_who_shares_a_socket_takes_them_one_by_one_in_short_turns(monkeypatch):
    monkeypatch.setattr(listening, "LONG_TURN_SECONDS", 10)
    assert run(True, 0, 8) <= 8


def test_who_has_connected_when_the_port_closes_is_taken():
    assert run(False, 0, 3, close=True) == MANY


def test_a_client_that_hung_up_before_it_was_taken_harms_nobody():
    async def served():
        with socket.create_server(("127.0.0.1", 0)) as sock:
            server = await asyncio.get_running_loop().create_server(Counting, sock=sock, backlog=MANY, ssl=None)
            with strangers(sock.getsockname()[1]):
                pass  # all of them have left
            reader, writer = await asyncio.open_connection(*sock.getsockname())
            await asyncio.sleep(0.05)
            server.close()
            writer.close()
            return reader.at_eof()

    with asyncio.Runner(loop_factory=lambda: Loop(False)) as runner:
        assert not runner.run(served())


def test_uvicorn_runs_our_loop(monkeypatch):
    monkeypatch.setitem(uvicorn.config.LOOP_FACTORIES, "auto", None)
    listening.install_event_loop(2)
    loop = uvicorn.Config(None, log_config=None).get_loop_factory()()
    assert isinstance(loop, Loop)
    loop.close()
