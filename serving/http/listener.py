"""How connections are taken: all that wait, also where an engine's calls make the turns of the event loop long.

uvloop takes one a turn. While turns are long, connections would come in at a rate of one a call, and who connects anew
for every request would stand in the kernel's queue for as long as that takes, to be answered or turned away.

Workers that share a socket share its connections evenly, by a `Balance`: else whoever looks first has most of them, for
as long as their clients keep them.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import Callable
from functools import partial
from typing import Any

import uvicorn
import uvloop

from serving.http.balance import MAX_PORTS, Balance

log = logging.getLogger("bentoml.ekiben")
MAX_ACCEPTS_PER_TURN = 64  # who is connected has a turn, too
# Who is left to another worker is looked at again in the next turns, for that one is about to look as well; then so
# much later.
LOOKS_IN_TURNS = 10
LOOK_SECONDS = 1e-3
OUT_OF_FILES = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
OUT_OF_FILES_SECONDS = 1.0


def install_event_loop(shared: memoryview | None, worker: int) -> None:
    """Have uvicorn run an event loop that does so. BentoML starts uvicorn and gives no word for it.

    `shared` is memory for Balance that all workers see; None where there is but one.
    """
    uvicorn.config.LOOP_FACTORIES["auto"] = lambda use_subprocess: partial(Loop, shared, worker)  # type: ignore[assignment]


class Loop(uvloop.Loop):
    """uvloop, with a listener of ours on a socket that listens already."""

    def __init__(self, shared: memoryview | None = None, worker: int = 0) -> None:
        super().__init__()
        self._shared, self._worker = shared, worker
        self._ports = iter(range(MAX_PORTS))  # in every worker the first is that of HTTP

    async def create_server(self, *arguments: Any, **options: Any) -> Any:
        if "sock" not in options:
            return await super().create_server(*arguments, **options)
        sock, balance = options["sock"].dup(), None
        if self._shared is not None:
            balance = Balance(self._shared, next(self._ports), self._worker)
        server = await super().create_server(*arguments, **options, start_serving=balance is None)
        connect = partial(self.connect_accepted_socket, *arguments, ssl=options.get("ssl"))
        return Listener(server, sock, connect, balance)


class Listener:
    """Takes many at once, beside a server of uvloop's; where workers share a socket, in place of it."""

    def __init__(
        self,
        server: asyncio.AbstractServer,
        sock: socket.socket,
        connect: Callable[[socket.socket], Any],
        balance: Balance | None,
    ) -> None:
        self._server, self._sock, self._connect, self._balance = server, sock, connect, balance
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()  # the loop itself would let them be collected
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
        try:
            client, _ = self._sock.accept()
        except OSError as error:  # none is left; or no file, which uvloop's own server finds as well, and tells
            if error.errno in OUT_OF_FILES and self._balance is not None:
                log.error("no connection can be taken: %s", error)
                self._pause(OUT_OF_FILES_SECONDS)
            return False
        if self._balance is not None:
            client = Counted(client, self._balance)
        task = self._loop.create_task(self._connected(client))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return True

    async def _connected(self, client: socket.socket) -> None:
        try:
            await self._connect(client)
        except OSError as error:  # it hung up, or does not speak TLS
            log.debug("a connection failed: %s", error)


class Counted(socket.socket):
    """A client's socket, that counts until its transport is closed, which is when uvloop detaches it."""

    def __init__(self, client: socket.socket, balance: Balance) -> None:
        super().__init__(client.family, client.type, client.proto, client.detach())
        self._balance = balance
        balance.opened()

    def detach(self) -> int:
        self._balance.closed()
        return super().detach()
