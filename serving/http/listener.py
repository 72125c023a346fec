"""How connections are taken: all that wait, also where an engine's calls make the turns of the event loop long.

uvloop takes one a turn. While turns are long, connections would come in at a rate of one a call, and who connects anew
for every request would stand in the kernel's queue for as long as that takes, to be answered or turned away.

Workers that share a socket share its connections evenly, by a `Balance`: else whoever looks first has most of them, for
as long as their clients keep them.

Who is in the middle of a TLS handshake is nobody's connection yet, and counts among no limit of them: there is one of
handshakes.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import uvicorn
import uvloop

from serving.http.balance import Balance

log = logging.getLogger("bentoml.ekiben")
MAX_ACCEPTS_PER_TURN = 64  # who is connected has a turn, too
# Who is left to another worker is looked at again in the next turns, for that one is about to look as well; then so
# much later.
LOOKS_IN_TURNS = 10
LOOK_SECONDS = 1e-3
# A handshake takes a client a tenth of a second, and us 50 KB as long as it says nothing. Where so many are under way
# at a port, the next waits in the kernel's queue until one has ended, or the first has had a second and is cut off.
MAX_HANDSHAKES = 512
HANDSHAKE_SECONDS, LEAST_HANDSHAKE_SECONDS = 10.0, 1.0
HANDSHAKES_LOOK_SECONDS = 0.02
OUT_OF_FILES = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
OUT_OF_FILES_SECONDS = 1.0


def install_event_loop(shared: memoryview | None, worker: int, limit: int) -> None:
    """Have uvicorn run an event loop that does so. BentoML starts uvicorn and gives no word for it.

    `shared` is memory for Balance that all workers see; None where there is but one. `limit` of a worker's connections.
    """
    uvicorn.config.LOOP_FACTORIES["auto"] = lambda use_subprocess: partial(Loop, shared, worker, limit)  # type: ignore[assignment]


class Loop(uvloop.Loop):
    """uvloop, with a listener of ours on a socket that listens already."""

    def __init__(self, shared: memoryview | None = None, worker: int = 0, limit: int = sys.maxsize) -> None:
        super().__init__()
        self._shared, self._worker, self._limit = shared, worker, limit
        self._balances: list[Balance] = []  # by port: in every worker the first is that of HTTP

    def _is_full(self) -> bool:
        return sum(balance.n_held for balance in self._balances) >= self._limit

    async def create_server(self, *arguments: Any, **options: Any) -> Any:
        """uvloop's, whose sockets are shared among workers by how many connections each holds."""
        if "sock" not in options:
            return await super().create_server(*arguments, **options)
        sock, context, balance = options["sock"].dup(), options.get("ssl"), None
        if self._shared is not None:
            balance = Balance(self._shared, len(self._balances), self._worker, self._is_full)
            self._balances.append(balance)
        server = await super().create_server(*arguments, **options, start_serving=False)
        handshake_seconds = None if context is None else HANDSHAKE_SECONDS
        connect = partial(
            self.connect_accepted_socket, *arguments, ssl=context, ssl_handshake_timeout=handshake_seconds
        )
        return Listener(server, sock, connect, balance)


class Listener:
    """Takes many at once, in place of a server of uvloop's."""

    def __init__(
        self,
        server: asyncio.AbstractServer,
        sock: socket.socket,
        connect: Callable[[socket.socket], Any],
        balance: Balance | None,
    ) -> None:
        self._server, self._sock, self._connect, self._balance = server, sock, connect, balance
        self._loop = asyncio.get_running_loop()
        # When each began, the first first. The loop itself would let them be collected.
        self._connecting: dict[asyncio.Task[None], float] = {}
        self._pausing: asyncio.TimerHandle | None = None
        self._look()

    def close(self) -> None:
        """Take no more. Who has connected already is not turned away, but may be another worker's."""
        if self._sock.fileno() >= 0:
            self.leave()
            while (self._balance is None or self._balance.is_next()) and self._accept():
                pass
            if self._pausing is not None:
                self._pausing.cancel()
            self._loop.remove_reader(self._sock)
            self._sock.close()
        self._server.close()

    async def wait_closed(self) -> None:
        """Until its server has no connection."""
        await self._server.wait_closed()

    def leave(self) -> None:
        """Take nobody as long as other workers do."""
        if self._balance is not None:
            self._balance.leave()

    def _look(self) -> None:
        self._loop.add_reader(self._sock, self._on_readable)

    def _pause(self, seconds: float) -> None:
        self._loop.remove_reader(self._sock)
        self._pausing = self._loop.call_later(seconds, self._look)

    def _on_readable(self) -> None:
        """Somebody waits; this is called in every turn in which somebody does."""
        balance = self._balance
        for _ in range(MAX_ACCEPTS_PER_TURN):
            if balance is not None and balance.leaves():
                if balance.looks > LOOKS_IN_TURNS:
                    self._pause(LOOK_SECONDS)
                return
            if not self._accept():
                return

    def _accept(self) -> bool:
        """Take who waits first, if there is anybody, and a handshake may begin."""
        connecting, now = self._connecting, self._loop.time()
        first = next(iter(connecting)) if len(connecting) >= MAX_HANDSHAKES else None
        if first is not None and now - connecting[first] < LEAST_HANDSHAKE_SECONDS:
            self._pause(HANDSHAKES_LOOK_SECONDS)
            return False
        try:
            client, _ = self._sock.accept()
        except OSError as error:
            if error.errno in OUT_OF_FILES:
                log.error("no connection can be taken: %s", error)
                self._pause(OUT_OF_FILES_SECONDS)
            return False
        if first is not None:
            del connecting[first]
            first.cancel()
        if self._balance is not None:
            client = CountedSocket(client, self._balance)
        task = self._loop.create_task(self._connected(client))
        connecting[task] = now
        task.add_done_callback(lambda task: connecting.pop(task, None))
        return True

    async def _connected(self, client: socket.socket) -> None:
        try:
            await self._connect(client)
        except OSError as error:  # it hung up, or does not speak TLS
            log.debug("a connection failed: %s", error)


class CountedSocket(socket.socket):
    """A client's socket, that counts until its transport is closed, which is when uvloop detaches it."""

    def __init__(self, client: socket.socket, balance: Balance) -> None:
        super().__init__(client.family, client.type, client.proto, client.detach())
        self._balance = balance
        balance.opened()

    def detach(self) -> int:
        """The file descriptor, which is no longer this socket's to count."""
        self._balance.closed()
        return super().detach()
