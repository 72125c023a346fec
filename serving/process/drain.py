"""Graceful shutdown of a worker: what was accepted is answered.

SIGTERM begins it. At once /readyz says 503, so that balancers look elsewhere, every answer closes its connection, and
new ones are left to workers that do not drain, where there are any.
After EKIBEN_DRAIN_S the port is closed; requests already on their way over open connections have LINGER_SECONDS
left to arrive. Then uvicorn ends, which answers what is under way first.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from typing import Any

from serving.lifecycle import Lifecycle

log = logging.getLogger("bentoml.ekiben")
# An idle connection is closed this long after its port: RFC 9112, 9.3.1, has clients send a request again whose
# connection is closed under it, but not all of them do.
LINGER_SECONDS = 0.5
LOOK_SECONDS = 0.02


class Drain:
    """Takes SIGTERM over from the uvicorn server that runs this process, and passes it on when nobody waits."""

    def __init__(self, lifecycle: Lifecycle, seconds: float) -> None:
        self._lifecycle, self._seconds = lifecycle, seconds
        self.server: Any = None  # uvicorn's; None where somebody else runs this process

    def on_sigterm(self) -> None:
        """Wait for it. Only where uvicorn runs with its own handlers; elsewhere who embeds it does this."""
        handler = signal.getsignal(signal.SIGTERM)
        self.server = getattr(handler, "__self__", None)
        if hasattr(self.server, "server_state"):
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self._begin)

    def _begin(self) -> None:
        if self._lifecycle.draining:  # asked twice: now
            self.server.handle_exit(signal.SIGTERM, None)
            return
        self._lifecycle.draining = True
        for server in self.server.servers:
            server.leave()
        self._task = asyncio.get_running_loop().create_task(self._end())

    async def _end(self) -> None:
        log.info("draining: not ready any more, answering for %g s", self._seconds)
        await asyncio.sleep(self._seconds)
        for server in self.server.servers:
            server.close()
        loop = asyncio.get_running_loop()
        until = loop.time() + LINGER_SECONDS
        while self.server.server_state.connections and loop.time() < until:
            await asyncio.sleep(LOOK_SECONDS)
        self.server.handle_exit(signal.SIGTERM, None)
