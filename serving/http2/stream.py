"""One stream of an HTTP/2 connection, and how much may be sent and received on it."""

from __future__ import annotations

from typing import Any


class Stream:
    """A stream that is open, or that its client has closed and that is not answered yet."""

    __slots__ = (
        "blocked",
        "call",
        "cost",
        "expected",
        "id",
        "received",
        "recv_window",
        "remote_closed",
        "send_window",
        "trailers",
    )

    def __init__(self, id: int, send_window: int, recv_window: int, remote_closed: bool) -> None:
        self.id, self.send_window, self.recv_window, self.remote_closed = id, send_window, recv_window, remote_closed
        self.call: Any = None  # what the owner of the connection makes of it
        self.cost = 0  # of its header block, which a client pays that resets it
        self.received = 0  # bytes of its window that were taken in, and not given back yet
        self.expected: int | None = None  # bytes that content-length still promises
        self.blocked: bytearray | None = None  # what waits for a window
        self.trailers: bytes | None = None  # the block that ends it, once what is blocked is sent
