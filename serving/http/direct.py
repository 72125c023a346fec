"""Applications of requests that are taken whole and told once, by ASGI here and below it in connection.py."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from serving.errors import ServingError
from serving.http.exchange import Taker, Written
from serving.http.router import Header, Receive, Scope, Send, client_of, read_body, send_bytes, send_error
from serving.http.trace import TRACE


class Direct:
    """A route whose requests are opened by their head, then taken with their body."""

    def __init__(self, opened: Callable[[Scope], Taker], failed: Callable[[Exception], None], most_bytes: int) -> None:
        """`opened` may refuse by raising, which `failed` counts, as it does a body of over `most_bytes`."""
        self.opened, self._failed, self.most_bytes = opened, failed, most_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        peer = AsgiPeer(scope["trace"], receive)
        try:
            taker = self.opened(scope)
            full = taker.full
            body = b"" if full is not None else await read_body(scope, receive, self.most_bytes)
        except ServingError as error:
            self._failed(error)
            raise
        if full is None:
            taker.take(body, peer)
        else:
            taker.refuse(full, peer)
        told = await peer.told
        if isinstance(told, ServingError):
            await send_error(send, told, peer.trace)
        else:
            body, kind, further = told
            await send_bytes(send, body, kind, 200, (TRACE, peer.trace), *further)


class AsgiPeer:
    """The client of an ASGI request; what it is told is the result of `told`."""

    def __init__(self, trace: bytes, receive: Receive) -> None:
        self.trace = trace
        self.told: asyncio.Future[Written | ServingError] = asyncio.get_running_loop().create_future()
        self._client = client_of(receive)

    @property
    def disconnected(self) -> bool:
        return self._client is not None and self._client.disconnected

    def answer(self, body: bytes, kind: Header, further: tuple[Header, ...] = ()) -> None:
        if not self.told.done():
            self.told.set_result((body, kind, further))

    def refuse(self, error: ServingError) -> None:
        if not self.told.done():
            self.told.set_result(error)
