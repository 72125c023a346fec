"""How this worker process is, in one object that the composition root makes and hands on."""

from __future__ import annotations

import asyncio
import socket
import struct
from dataclasses import dataclass, field
from math import inf
from time import perf_counter

TICK_SECONDS = 0.02
# A timer that comes so much later was held up: at full load a turn of the loop takes a few milliseconds;
# on a busy machine ten.
LATE_SECONDS = 0.025
# struct tcp_info of Linux: 8 bytes, then words of 4; the twelfth is milliseconds since data came.
TCP_INFO, LAST_DATA_OFFSET = getattr(socket, "TCP_INFO", None), 8 + 11 * 4

# Fairness: the time slice for which one connection may hold the event loop with what it has sent, before others have
# their turn.
TURN_SECONDS = 0.01


class LoopClock:
    """How late this worker's event loop is, and since when bytes have waited that it reads late.

    A timer is due every 20 ms; how late it comes is counted. While it comes in time, what the loop reads has just
    arrived. Once it does not, the loop or the whole process stood still, and the kernel is asked how long ago the bytes
    came. Until it is started everything counts as read in time.
    """

    def __init__(self) -> None:
        self.punctual_until = inf  # on perf_counter's clock; what is read later may have waited
        self.lags: list[float] = []  # s, of the ticks since they were taken
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0

    def start(self) -> None:
        """Tick in the running loop."""
        self._schedule(perf_counter(), 0.0)

    def stop(self) -> None:
        """No tick comes any more; until one does, bytes count as read when they came."""
        if self._timer is not None:
            self._timer.cancel()
        self.punctual_until = inf

    def take_lags(self) -> list[float]:
        """Seconds that the ticks since the last call were late."""
        lags, self.lags = self.lags, []
        return lags

    def arrival(self, read: float, transport: asyncio.BaseTransport) -> float:
        """When the bytes came that were read just now, as far as the kernel tells; else when they were read."""
        return read - seconds_since_data(transport.get_extra_info("socket"))

    def _tick(self) -> None:
        now = perf_counter()
        lag = max(0.0, now - self._due)
        self.lags.append(lag)
        self._schedule(now, lag)

    def _schedule(self, now: float, lag: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(TICK_SECONDS, self._tick)
        self._due = now + TICK_SECONDS
        # After a late one, what came meanwhile is still to be read: until the next, the kernel is asked.
        self.punctual_until = self._due + LATE_SECONDS if lag <= LATE_SECONDS else 0.0


@dataclass
class Lifecycle:
    """Set by the process room, read by health and by the connections."""

    draining: bool = False  # SIGTERM has come: what was accepted is answered, and each answer closes its connection
    sick: str = ""  # why this process does not do its work; empty while it does
    clock: LoopClock = field(default_factory=LoopClock)  # how late its event loop is


def seconds_since_data(sock: socket.socket | None) -> float:
    """Since the last bytes came to this TCP socket, to some milliseconds; 0 where the system does not say."""
    if sock is None or TCP_INFO is None:
        return 0.0
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, TCP_INFO, LAST_DATA_OFFSET + 4)
        return float(struct.unpack_from("=I", info, LAST_DATA_OFFSET)[0]) / 1e3
    except (OSError, struct.error):
        return 0.0
