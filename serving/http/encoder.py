"""Heads of responses, as bytes."""

from __future__ import annotations

from http import HTTPStatus

from serving.http.messages import Header
from serving.http.trace import TRACE

NO_BODY = (204, 304)


def status_line(status: int) -> bytes:
    """HTTP/1.1, the status and its phrase, with the end of the line."""
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = ""
    return f"HTTP/1.1 {status} {phrase}\r\n".encode()


class HeadEncoder:
    """Encodes heads; what is alike in all of a second is made once. Holds nothing that a client sent."""

    def __init__(self) -> None:
        self._prefixes: dict[tuple[int, bytes], tuple[list[Header], bytes]] = {}

    def encode_head(
        self,
        defaults: list[Header],
        status: int,
        content_type: bytes,
        trace_id: bytes,
        headers: tuple[Header, ...],
        body: bytes,
    ) -> bytes:
        """`defaults` are uvicorn's date and server, a new list every second."""
        made_of, prefix = self._prefixes.get((status, content_type), (None, b""))
        if made_of is not defaults:
            prefix = status_line(status) + encode_lines(defaults)
            if status not in NO_BODY:
                prefix += b"content-type: %b\r\n" % content_type
            prefix += TRACE + b": "
            self._prefixes[status, content_type] = (defaults, prefix)
        length = b"" if status in NO_BODY else b"content-length: %d\r\n" % len(body)
        return b"%b%b\r\n%b%b\r\n" % (prefix, trace_id, encode_lines(headers) if headers else b"", length)


def encode_lines(headers: tuple[Header, ...] | list[Header]) -> bytes:
    """Headers as lines, each with its end."""
    return b"".join([b"%b: %b\r\n" % pair for pair in headers])
