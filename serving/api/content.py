"""What a body's headers say of it: its media type and its encoding."""

from __future__ import annotations

import zlib

from serving.errors import BadInput, TooLarge, UnsupportedMedia

# zlib's window bits: 15, and 16 more for gzip's header.
WINDOWS = {b"gzip": 31, b"x-gzip": 31, b"deflate": 15}
INFLATE_INLINE_BYTES = 1024  # of a larger body the inflating is done in a thread


def media_type(content_type: bytes) -> bytes:
    """`Application/JSON; charset=utf-8` → `application/json`"""
    return content_type.partition(b";")[0].strip().lower()


def inflate(body: bytes, coding: bytes, limit: int) -> bytes:
    """A body as it was before its Content-Encoding. UnsupportedMedia, TooLarge over `limit` bytes, BadInput"""
    coding = coding.strip().lower()
    if coding == b"identity":
        return body
    if coding not in WINDOWS:
        raise UnsupportedMedia(
            f"content encoding {coding[:40].decode('latin-1')!r}: gzip, deflate and identity are taken"
        )
    stream = zlib.decompressobj(WINDOWS[coding])
    try:
        plain = stream.decompress(body, limit + 1)
    except zlib.error as error:
        raise BadInput(f"the body is not {coding.decode()}: {error}") from None
    if len(plain) > limit:
        raise TooLarge(f"the body inflates to over {limit} bytes, which EKIBEN_MAX_BODY_BYTES sets")
    if not stream.eof:
        raise BadInput(f"the {coding.decode()} body is cut off")
    if stream.unused_data:
        raise BadInput(f"{len(stream.unused_data)} bytes follow the end of the {coding.decode()} body")
    return plain
