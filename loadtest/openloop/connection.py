"""One connection that asks and is answered: HTTP/1.1 as this service answers it, by content-length and kept alive."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

from loadtest.openloop.load import BROKEN

END, LENGTH = b"\r\n\r\n", b"content-length:"
OnAnswer = Callable[["Connection", int, bytes], None]


class Connection(asyncio.Protocol):
    """Gives `on_answer` the status and the bytes, head and body, of each answer; BROKEN and the reason if none came."""

    def __init__(self, on_answer: OnAnswer) -> None:
        self._on_answer = on_answer
        self._transport: asyncio.Transport | None = None
        self._held = b""
        self.place = -1  # of the request that is under way; −1: none is

    @property
    def open(self) -> bool:
        return self._transport is not None

    def ask(self, place: int, request: bytes) -> None:
        """Sends a request on an open connection."""
        assert self._transport is not None
        self.place = place
        self._transport.write(request)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but name

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        self._on_answer(self, BROKEN, str(error or "the service closed the connection").encode())

    def data_received(self, data: bytes) -> None:
        data = self._held + data if self._held else data
        end = data.find(END)
        if end < 0 or len(data) < end + len(END) + _length(data[:end].lower()):
            self._held = data
            return
        self._held = b""
        self._on_answer(self, int(data[9:12]), data)


def _length(head: bytes) -> int:
    at = head.find(LENGTH)
    if at < 0:
        raise ValueError(f"an answer without content-length: {head[:80]!r}")
    return int(head[at + len(LENGTH) :].partition(b"\r\n")[0])
