"""How connections are taken: many in a turn, evenly among workers; the last when the port closes."""

import asyncio
import contextlib
import errno
import socket
import ssl
import time
from functools import partial

import pytest
import uvicorn

from serving.http import balance as balancing
from serving.http import listener as listening
from serving.http.balance import SLACK, Balance
from serving.http.listener import Listener, Loop

MANY = 40
WORKERS = 3


def table():
    return memoryview(bytearray(32 * WORKERS))


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


def run(awaitable, shared=None):
    with asyncio.Runner(loop_factory=lambda: Loop(shared)) as runner:
        return runner.run(awaitable)


@pytest.mark.parametrize("shared", [None, table()])
def test_all_who_wait_are_taken_in_a_few_long_turns(shared):
    assert run(serving(2e-3, 8), shared) == MANY


@pytest.mark.parametrize("shared", [None, table()])
def test_who_has_connected_when_the_port_closes_is_taken(shared):
    assert run(serving(0, 3, close=True), shared) == MANY


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

    assert not run(served())


def test_uvicorn_runs_our_loop(monkeypatch):
    monkeypatch.setitem(uvicorn.config.LOOP_FACTORIES, "auto", None)
    listening.install_event_loop(None, 0, 100)
    loop = uvicorn.Config(None, log_config=None).get_loop_factory()()
    assert isinstance(loop, Loop)
    loop.close()


class NoServer:
    def close(self):
        pass


class Worker(asyncio.Protocol):
    """One of several that share a socket, here in one process: its listener, and how many connections it holds."""

    def __init__(self, sock, memory, number, context=None):
        self.held, self.balance = 0, Balance(memory, 0, number)
        connect = partial(asyncio.get_running_loop().connect_accepted_socket, lambda: self, ssl=context)
        self.listener = Listener(NoServer(), sock.dup(), connect, self.balance)

    def connection_made(self, transport):
        self.held += 1

    def connection_lost(self, exc):
        self.held -= 1


@pytest.fixture
def patient(monkeypatch):
    """Nobody is passed over because this machine was busy with something else for a moment."""
    monkeypatch.setattr(balancing, "PATIENCE_SECONDS", 600.0)


async def until(condition):
    async with asyncio.timeout(120):
        while not condition():
            await asyncio.sleep(0)


@contextlib.contextmanager
def two_workers(*context):
    memory = table()
    with socket.create_server(("127.0.0.1", 0), backlog=MANY) as sock:
        sock.setblocking(False)
        workers = [Worker(sock, memory, number, *context) for number in (1, 2)]
        try:
            yield sock.getsockname(), workers
        finally:
            for worker in workers:
                worker.listener.close()


def even(workers):
    fewest, most = sorted(worker.held for worker in workers)
    return most <= fewest + 1 + int(fewest * SLACK)


def test_workers_share_connections_evenly_one_after_the_other_and_at_once(patient):
    async def shared():
        with two_workers() as (address, workers), contextlib.ExitStack() as clients:
            for n in range(1, 33):
                clients.enter_context(socket.create_connection(address))
                await until(lambda: sum(worker.held for worker in workers) == n)  # noqa: B023
                assert even(workers)
            with strangers(address[1]):
                await until(lambda: sum(worker.held for worker in workers) == 32 + MANY)
                assert even(workers)
            await until(lambda: sum(worker.held for worker in workers) == 32)

    run(shared())


def test_who_lost_its_clients_is_given_the_next(patient):
    async def shared():
        with two_workers() as (address, workers):
            with strangers(address[1]):
                await until(lambda: sum(worker.held for worker in workers) == MANY)
            await until(lambda: sum(worker.held for worker in workers) == 0)
            with strangers(address[1]):
                await until(lambda: sum(worker.held for worker in workers) == MANY)
                assert even(workers)

    run(shared())


def test_a_client_that_speaks_no_tls_counts_until_it_is_gone(patient):
    async def shared():
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with two_workers(context) as (address, workers):
            with strangers(address[1]):
                await until(lambda: sum(counted(worker) for worker in workers) == MANY)
                assert abs(counted(workers[0]) - counted(workers[1])) <= 1 + MANY * SLACK
            await until(lambda: sum(counted(worker) for worker in workers) == 0)
            assert sum(worker.held for worker in workers) == 0

    run(shared())


def test_of_too_many_handshakes_the_one_that_began_first_is_cut_off(monkeypatch):
    monkeypatch.setattr(listening, "MAX_HANDSHAKES", 8)
    monkeypatch.setattr(listening, "LEAST_HANDSHAKE_SECONDS", 0.0)

    async def shared():
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with two_workers(context) as (address, (worker, other)), contextlib.ExitStack() as held:
            other.listener.leave()
            silent = []
            for n in range(1, 21):
                silent.append(held.enter_context(socket.create_connection(address)))
                await until(lambda: worker.balance._taken[1] == n + 1)  # noqa: B023
            await until(lambda: counted(worker) == 8)
            assert len(worker.listener._connecting) == 8  # one for each that came, and none for nobody
            for client in silent:
                client.setblocking(False)
            for client in silent[:12]:
                with contextlib.suppress(ConnectionResetError):
                    assert client.recv(1) == b""
            for client in silent[12:]:
                with pytest.raises(BlockingIOError):
                    client.recv(1)
        await until(lambda: counted(worker) == 0)

    run(shared())


def test_a_handshake_that_has_just_begun_is_not_cut_off(monkeypatch):
    monkeypatch.setattr(listening, "MAX_HANDSHAKES", 8)
    monkeypatch.setattr(listening, "LEAST_HANDSHAKE_SECONDS", 600.0)

    async def served():
        with socket.create_server(("127.0.0.1", 0)) as sock:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            server = await asyncio.get_running_loop().create_server(Counting, sock=sock, backlog=MANY, ssl=context)
            silent = [socket.create_connection(sock.getsockname()) for _ in range(12)]
            await until(lambda: len(server._connecting) == 8)
            for _ in range(20):
                await asyncio.sleep(listening.HANDSHAKES_LOOK_SECONDS / 4)
                assert len(server._connecting) == 8
            begun = dict(server._connecting)
            for client in silent[:4]:  # they give up, and the last four have their turn
                client.close()
            await until(lambda: len(server._connecting.keys() - begun) == 4)
            assert len(server._connecting.keys() & begun) == 4
            for client in silent[4:]:
                client.close()
            server.close()

    run(served(), None)


@pytest.mark.parametrize("shared", [None, table()])
def test_a_handshake_that_does_not_end_is_ended(monkeypatch, shared):
    monkeypatch.setattr(listening, "HANDSHAKE_SECONDS", 0.05)

    async def served():
        with socket.create_server(("127.0.0.1", 0)) as sock:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            server = await asyncio.get_running_loop().create_server(Counting, sock=sock, backlog=MANY, ssl=context)
            reader, writer = await asyncio.open_connection(*sock.getsockname())
            with contextlib.suppress(ConnectionResetError):
                assert await asyncio.wait_for(reader.read(1), 30) == b""
            writer.close()
            server.close()

    run(served(), shared)


def counted(worker):
    return worker.balance.n_held


def test_one_that_never_looks_is_waited_for_once_and_not_for_each():
    async def shared():
        with two_workers() as (address, (awake, asleep)):
            asyncio.get_running_loop().remove_reader(asleep.listener._sock)
            with strangers(address[1]):
                await until(lambda: awake.held == MANY)
            assert not asleep.held

    run(shared())


def test_one_that_drains_leaves_who_waits_to_the_other_and_is_the_last_to_take_when_that_drains_too():
    async def shared():
        with two_workers() as (address, (one, other)):
            one.listener.leave()
            with strangers(address[1]):
                await until(lambda: other.held == MANY)
                assert not one.held
                with strangers(address[1]):
                    one.listener.close()
                    other.listener.close()
                    await until(lambda: other.held == 2 * MANY)
                    assert not one.held

    run(shared())


def test_without_a_file_for_it_a_connection_waits(monkeypatch, caplog):
    monkeypatch.setattr(listening, "OUT_OF_FILES_SECONDS", 0.05)

    def fail(self):
        raise OSError(errno.EMFILE, "Too many open files")

    async def shared():
        with two_workers() as (address, workers), strangers(address[1]):
            with monkeypatch.context() as patched:
                patched.setattr(socket.socket, "accept", fail)
                await until(lambda: "no connection can be taken" in caplog.text)
            assert sum(worker.held for worker in workers) == 0
            await until(lambda: sum(worker.held for worker in workers) == MANY)

    run(shared())
