"""The heads of requests that a direct route takes, and of its answers, remembered as bytes."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from serving.errors import ServingError
from serving.http.direct import Direct
from serving.http.exchange import Taker
from serving.http.keys import Key
from serving.http.router import Header, Router, Scope
from serving.http.trace import LENGTH, TRACE, TRACEPARENT

MOST = 1024
LONGEST = 4096
CONTENT_LENGTH = (b"\r\nContent-Length: ", b"\r\ncontent-length: ")
TRACED = b"\r\n" + TRACEPARENT + b": "
# Headers that change how a body is read, or what follows the answer.
NOT_PLAIN = {b"transfer-encoding", b"expect", b"upgrade"}


class Head(NamedTuple):
    """A request's head in three: what stays alike from request to request, and what does not."""

    alike: bytes
    length: int
    traceparent: bytes


def split(data: bytes, end: int) -> Head | None:
    """`data[:end]` is a head; None unless it says the body's length. Two digits more make a length no other's head."""
    start = data.find(CONTENT_LENGTH[0], 0, end)
    if start < 0:
        start = data.find(CONTENT_LENGTH[1], 0, end)
        if start < 0:
            return None
    start += 18
    stop = data.find(b"\r", start, end)
    digits = data[start:stop]
    if not digits.isdigit():
        return None
    alike = data[:start] + data[stop:end]
    traced = alike.find(TRACED)
    if traced < 0:
        return Head(alike, int(digits), b"")
    traced += len(TRACED)
    return Head(alike[:traced] + alike[traced + LENGTH :], int(digits), alike[traced : traced + LENGTH])


class Known(NamedTuple):
    """What takes the bodies of requests with such a head, how long they may be, and whose key is in it."""

    taker: Taker
    most_bytes: int
    key: Key | None


class RequestHeads:
    """The heads that are known, by what is alike in them."""

    def __init__(self) -> None:
        self._known: dict[bytes, Known] = {}

    def get(self, alike: bytes) -> Known | None:
        return self._known.get(alike)

    def learn(self, head: Head, scope: Scope, router: Router) -> None:
        """Remember the head of a request that was parsed, if a direct route takes it and nothing in it is special."""
        app: object = router.routes.get(scope["path"], {}).get(scope["method"])
        if not isinstance(app, Direct) or scope["http_version"] != "1.1" or not _plain(scope["headers"]):
            return
        try:
            key, taker = router.key_of(scope), app.opened(scope)
        except ServingError:  # told in words by ASGI
            return
        if len(self._known) >= MOST:
            self._known.clear()
        self._known[head.alike] = Known(taker, app.most_bytes, key)


def _plain(headers: list[Header]) -> bool:
    names = [name for name, _ in headers]
    alive = all(value.lower() == b"keep-alive" for name, value in headers if name == b"connection")
    return alive and names.count(b"content-length") == 1 and NOT_PLAIN.isdisjoint(names)


class AnswerHeads:
    """The heads of answers up to the trace id; the same as long as uvicorn's own headers are, which is a second."""

    def __init__(self) -> None:
        self._made: dict[tuple[int, Header], tuple[list[Header], bytes]] = {}

    def of(self, defaults: list[Header], status: int, kind: Header) -> bytes:
        made_of, head = self._made.get((status, kind), (None, b""))
        if made_of is not defaults:
            head = STATUS_LINE[status] + lines((*defaults, kind)) + TRACE + b": "
            self._made[status, kind] = (defaults, head)
        return head


@lru_cache(MOST)
def lines(headers: tuple[Header, ...]) -> bytes:
    return b"".join([b"%b: %b\r\n" % pair for pair in headers])
