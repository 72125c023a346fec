"""What the head says of a body: its media type and its encoding."""

from __future__ import annotations

import re
import zlib

from serving.errors import BadInput, TooLarge, UnsupportedMedia

# curl sends -d as a form; what it holds is JSON.
JSON_TYPES = (b"application/json", b"text/json", b"application/x-www-form-urlencoded")
# zlib's window bits: 15, and 16 more for gzip's header.
_WINDOWS = {b"gzip": 31, b"x-gzip": 31, b"deflate": 15}
# What a body may inflate to, whatever its size, and how many times its size beyond that. Rows that differ, as JSON or
# as raw tensors, inflate to 3 to 16 times their size, one row repeated 1,024 times to nearly 200, both as measured;
# blank ones come near deflate's most, 1,032.
FREE_BYTES = 2**20
INFLATE_INLINE_BYTES = 1024  # a larger body is inflated in a thread: it may hold a thousand times as much
MAX_RATIO = 200
_PARAMETER = re.compile(rb';[ \t]*([^=;\s"]+)[ \t]*=[ \t]*("(?:[^"\\]|\\.)*"|[^;\s]*)')


def media_type(value: bytes) -> bytes:
    """The type of a Content-Type in lower case, without its parameters. UnsupportedMedia for a charset but UTF-8

    `Application/JSON; charset=utf-8` → `application/json`
    """
    kind, semicolon, _ = value.partition(b";")
    if semicolon:
        for name, charset in _PARAMETER.findall(value):
            if name.lower() == b"charset" and charset.strip(b'"').lower() not in (b"utf-8", b"utf8"):
                raise UnsupportedMedia(f"content type {value[:60].decode('latin-1')!r}: its charset must be utf-8")
    return kind.strip().lower()


def inflate(body: bytes, encoding: bytes, limit: int) -> bytes:
    """The body without its Content-Encoding: gzip, deflate or identity.

    TooLarge where it inflates to over `limit` bytes, or to over 1 MiB and 200 times its size; UnsupportedMedia;
    BadInput where it is not of its encoding, is cut off, or something follows it.
    """
    name = encoding.strip().lower()
    if name in (b"identity", b""):
        return body
    if name not in _WINDOWS:
        raise UnsupportedMedia(
            f"content encoding {encoding[:40].decode('latin-1')!r}: gzip, deflate and identity are taken"
        )
    words, stream = name.decode(), zlib.decompressobj(_WINDOWS[name])
    most = most_inflated(body, limit)
    try:
        plain = stream.decompress(body, most + 1)
    except zlib.error as error:
        raise BadInput(f"the body is not {words}: {error}") from None
    if len(plain) > limit:
        raise TooLarge(f"the body inflates to over {limit} bytes, the most that are taken", "EKIBEN_MAX_BODY_BYTES")
    if len(plain) > most:
        raise TooLarge(f"the body inflates to over {MAX_RATIO} times its {len(body)} bytes")
    if not stream.eof:
        raise BadInput(f"the {words} body is cut off")
    if stream.unused_data:
        raise BadInput(f"{len(stream.unused_data)} bytes follow the end of the {words} body")
    return plain


def most_inflated(body: bytes, limit: int) -> int:
    """Bytes that `inflate` gives of this body at most."""
    return min(limit, max(FREE_BYTES, MAX_RATIO * len(body)))
