"""How connections are taken: all that wait, also where an engine's calls make the turns of the event loop long.

uvloop takes one a turn. While turns are long, connections would come in at a rate of one a call, and who connects anew
for every request would stand in the kernel's queue for as long as that takes, to be answered or turned away.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from functools import partial
from time import perf_counter
from typing import Any

import uvicorn
import uvloop

log = logging.getLogger("bentoml.ekiben")
# Who is connected has a turn, too; and who else shares the socket.
MAX_ACCEPTS_PER_TURN, MAX_ACCEPTS_OF_SHARED = 64, 16
# A turn that takes longer than this computes.
LONG_TURN_SECONDS = 5e-4


def install_event_loop(workers: int) -> None:
    """Have uvicorn run an event loop that does so. BentoML starts uvicorn and gives no word for it."""
    uvicorn.config.LOOP_FACTORIES["auto"] = lambda use_subprocess: partial(Loop, workers > 1)  # type: ignore[assignment]


class Loop(uvloop.Loop):
    """uvloop, with a listener beside its own on a socket that is bound already."""

    def __init__(self, shared: bool) -> None:
        super().__init__()
        self._shared = shared

    async def create_server(self, *arguments: Any, **options: Any) -> Any:
        server = await super().create_server(*arguments, **options)
        if "sock" not in options:
            return server
        connect = partial(self.connect_accepted_socket, *arguments, ssl=options.get("ssl"))
        return Listener(server, options["sock"].dup(), connect, self._shared)


class Listener:
    """A server of uvloop's, and beside it what takes many at once.

    Of a socket that is `shared` with other workers only in long turns: else the one that looks first would have all.
    """

    def __init__(
        self, server: asyncio.AbstractServer, sock: socket.socket, connect: Callable[[socket.socket], Any], shared: bool
    ) -> None:
        self._server, self._sock, self._connect, self._shared = server, sock, connect, shared
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()  # the loop itself would let them be collected
        self._max_accepts = MAX_ACCEPTS_OF_SHARED if shared else MAX_ACCEPTS_PER_TURN
        self._readable_at = 0.0
        self._turn = self._readable_turn = 0  # turns are counted until one passes in which nobody waits
        self._counting = False
        self._loop.add_reader(sock, self._on_readable)

    def close(self) -> None:
        """Take no more; who has connected already is not turned away."""
        if self._sock.fileno() >= 0:
            self._loop.remove_reader(self._sock)
            self._accept(socket.SOMAXCONN)
            self._sock.close()
        self._server.close()

    async def wait_closed(self) -> None:
        await self._server.wait_closed()

    def _on_readable(self) -> None:
        """Somebody waits; this is called in every turn in which somebody does."""
        if not self._shared or self._waits_long():
            self._accept(self._max_accepts)

    def _waits_long(self) -> bool:
        """Whether somebody waited in the last turn already, and it was long."""
        now, also_last_turn = perf_counter(), self._turn == self._readable_turn + 1
        long = also_last_turn and now - self._readable_at > LONG_TURN_SECONDS
        self._readable_at, self._readable_turn = now, self._turn
        if not self._counting:
            self._counting = True
            self._loop.call_soon(self._count)
        return long

    def _count(self) -> None:
        self._turn += 1
        self._counting = self._turn <= self._readable_turn + 1
        if self._counting:
            self._loop.call_soon(self._count)

    def _accept(self, limit: int) -> None:
        for _ in range(limit):
            try:
                client, _ = self._sock.accept()
            except OSError:  # none is left; or no file, which uvloop's own listener finds as well, and tells
                return
            task = self._loop.create_task(self._connected(client))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _connected(self, client: socket.socket) -> None:
        try:
            await self._connect(client)
        except OSError as error:  # it hung up, or does not speak TLS
            log.debug("a connection failed: %s", error)
