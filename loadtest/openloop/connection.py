"""One connection that asks and is answered: HTTP/1.1 as this service answers it, by content-length and kept alive."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

END, LENGTH = b"\r\n\r\n", b"content-length:"
Answered = Callable[["Connection", int, bytes], None]
BROKEN = 0  # the status of a request whose connection broke


class Connection(asyncio.Protocol):
    """Tells `answered` the status and the bytes, head and body, of each answer; BROKEN and the reason if none came."""

    def __init__(self, answered: Answered) -> None:
        self._answered = answered
        self._transport: asyncio.Transport | None = None
        self._held = b""
        self.place = -1  # of the request that is under way; −1: none is

    @property
    def open(self) -> bool:
        return self._transport is not None

    def ask(self, place: int, request: bytes) -> None:
        self.place = place
        assert self._transport is not None
        self._transport.write(request)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but name

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        self._answered(self, BROKEN, str(error or "the service closed the connection").encode())

    def data_received(self, data: bytes) -> None:
        if self._held:
            data = self._held + data
        end = data.find(END)
        if end < 0:
            self._held = data
            return
        if len(data) < end + len(END) + _length(data[:end].lower()):
            self._held = data
            return
        self._held = b""
        self._answered(self, int(data[9:12]), data)


def _length(head: bytes) -> int:
    at = head.find(LENGTH)
    if at < 0:
        raise ValueError(f"an answer without content-length: {head[:80]!r}")
    return int(head[at + len(LENGTH) :].partition(b"\r\n")[0])
