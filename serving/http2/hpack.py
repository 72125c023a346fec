"""Header compression (RFC 7541): blocks → fields, and fields → blocks that need no table at the other end.

The static table and the Huffman code are python-hyper's. Decoding is our own: of a block of indexed fields, which is
what gRPC's clients send from the second call on, nothing is made but a dictionary.
"""

from __future__ import annotations

import re
from collections import deque
from functools import lru_cache
from typing import NamedTuple

from hpack.exceptions import HPACKDecodingError
from hpack.huffman_table import decode_huffman
from hpack.table import HeaderTable

from serving.http2.frames import Code, ProtocolError, StreamError

TABLE_BYTES = 4096  # of the dynamic table, RFC 7541's own
FIELD_BYTES = 32  # what a field counts beside its name and value (RFC 7541, 4.1)
BOMB = 4  # times as much as a request's fields may take, and nobody means it
KNOWN_BYTES, MAX_KNOWN = 64, 32  # of a path that is remembered, as it is sent, and how many a connection has
MAX_INTEGER = 2**24  # no length, index or size that is meant is larger
NAME = re.compile(rb":?[!#$%&'*+.^_`|~0-9a-z-]+")
VALUE = re.compile(rb"(?:[^\x00-\x20\x7f](?:[^\x00\r\n]*[^\x00-\x20\x7f])?)?", re.DOTALL)
# What says something of a connection, which HTTP/2 has frames for (RFC 9113, 8.2.2).
OF_CONNECTIONS = frozenset({b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade"})
PSEUDO = frozenset({b":method", b":scheme", b":path", b":authority"})
COLON = ord(":")


class Field(NamedTuple):
    """A field, what it counts in tables and lists, and whether RFC 9113, 8.2 allows it in a request."""

    name: bytes
    value: bytes
    size: int
    allowed: bool


def field(name: bytes, value: bytes) -> Field:
    """A name and a value with their size in a table (RFC 7541, 4.1), and whether a request may have them."""
    allowed = (
        (name in PSEUDO or name[:1] != b":")
        and NAME.fullmatch(name) is not None
        and VALUE.fullmatch(value) is not None
        and name not in OF_CONNECTIONS
        and (name != b"te" or value == b"trailers")
    )
    return Field(name, value, len(name) + len(value) + FIELD_BYTES, allowed)


STATIC = tuple(field(name, value) for name, value in HeaderTable.STATIC_TABLE)


class HeaderDecoder:
    """Decodes the header blocks of one connection, in their order."""

    def __init__(self, max_list_bytes: int) -> None:
        """`max_list_bytes` is what a request's fields may take, as RFC 9113 counts them (MAX_HEADER_LIST_SIZE)."""
        self._max_list_bytes = max_list_bytes
        self._dynamic: deque[Field] = deque()  # the newest first
        self._size, self._max_size = 0, TABLE_BYTES
        # nghttp2, and so Envoy, Node and curl, sends a path in Huffman's code with every request, and enters it in no
        # table. Paths alone are remembered, and by each connection for itself: what one client sends, a key for
        # instance, is nothing that another could measure or push out.
        self._path = lru_cache(MAX_KNOWN)(_path)

    def decode(self, block: bytes) -> dict[bytes, bytes]:
        """The fields of a request; values of one name are joined with a comma.

        ProtocolError where the block is no HPACK, or a bomb; StreamError, with the table as it should be for the next
        block, where the fields are no request's or take more than they may.
        """
        try:
            fields = self._fields(block)
        except (IndexError, HPACKDecodingError):
            raise ProtocolError(Code.COMPRESSION_ERROR, "a header block is cut off, or not in Huffman's code") from None
        if fields is None:
            raise StreamError(Code.ENHANCE_YOUR_CALM, f"the headers take more than {self._max_list_bytes} bytes")
        headers: dict[bytes, bytes] = {}
        regular = False
        for name, value, _, allowed in fields:
            if not allowed:
                raise StreamError(Code.PROTOCOL_ERROR, "a header is none that a request may have")
            if name[0] == COLON:
                if regular or name in headers:
                    raise StreamError(Code.PROTOCOL_ERROR, "a pseudo-header is there twice, or behind others")
            else:
                regular = True
                if name in headers:
                    value = headers[name] + (b"; " if name == b"cookie" else b",") + value
            headers[name] = value
        return headers

    def _fields(self, block: bytes) -> list[Field] | None:
        """All fields of a block; None where they are too many, which does not end the decoding: the table goes on."""
        fields: list[Field] = []
        n_bytes, at, end = 0, 0, len(block)
        while at < end:
            first = block[at]
            at += 1
            if first & 0x80:  # an indexed field
                index = first & 0x7F
                if index == 0x7F:
                    index, at = _integer(block, at, 0x7F)
                each = STATIC[index - 1] if 0 < index <= 61 else self._indexed(index)
            elif first & 0x40:  # a literal that enters the table
                each, at = self._literal(block, at, first & 0x3F, 0x3F)
                self._add(each)
            elif first & 0x20:  # a new size of the table, which only a block's beginning may have
                if n_bytes:
                    raise ProtocolError(Code.COMPRESSION_ERROR, "the table's size changes within a header block")
                size, at = _integer(block, at, 0x1F) if first & 0x1F == 0x1F else (first & 0x1F, at)
                self._resize(size)
                continue
            else:
                each, at = self._literal(block, at, first & 0x0F, 0x0F)
            n_bytes += each.size
            if n_bytes <= self._max_list_bytes:
                fields.append(each)
            elif n_bytes > BOMB * self._max_list_bytes:
                raise ProtocolError(Code.ENHANCE_YOUR_CALM, f"a block of {len(block)} bytes grows to over {n_bytes}")
        return fields if n_bytes <= self._max_list_bytes else None

    def _indexed(self, index: int) -> Field:
        place = index - 62
        if not 0 <= place < len(self._dynamic):
            raise ProtocolError(Code.COMPRESSION_ERROR, f"the table has no field {index}")
        return self._dynamic[place]

    def _literal(self, block: bytes, at: int, index: int, most: int) -> tuple[Field, int]:
        if index == most:
            index, at = _integer(block, at, most)
        if index:
            name = STATIC[index - 1].name if index <= 61 else self._indexed(index).name
        else:
            text, in_code, at = _string(block, at)
            name = decode_huffman(text) if in_code else text
        text, in_code, at = _string(block, at)
        if name == b":path" and len(text) <= KNOWN_BYTES:
            return self._path(text, in_code), at
        return field(name, decode_huffman(text) if in_code else text), at

    def _add(self, new: Field) -> None:
        self._dynamic.appendleft(new)
        self._size += new.size
        self._evict()

    def _resize(self, size: int) -> None:
        if size > TABLE_BYTES:
            raise ProtocolError(Code.COMPRESSION_ERROR, f"a table of {size} bytes, where {TABLE_BYTES} are allowed")
        self._max_size = size
        self._evict()

    def _evict(self) -> None:
        while self._size > self._max_size:
            self._size -= self._dynamic.pop().size


def _integer(block: bytes, at: int, prefix: int) -> tuple[int, int]:
    """An integer whose prefix is full (RFC 7541, 5.1), and where the next thing begins. IndexError at the end"""
    value, shift = prefix, 0
    while True:
        byte = block[at]
        at += 1
        value += (byte & 0x7F) << shift
        if value > MAX_INTEGER or shift > 28:
            raise ProtocolError(Code.COMPRESSION_ERROR, "an integer in a header block is too large")
        if not byte & 0x80:
            return value, at
        shift += 7


def _string(block: bytes, at: int) -> tuple[bytes, bool, int]:
    """A text, whether it is in Huffman's code, and where the next thing begins. IndexError at the end"""
    first = block[at]
    length, at = (first & 0x7F, at + 1) if first & 0x7F != 0x7F else _integer(block, at + 1, 0x7F)
    end = at + length
    if end > len(block):
        raise IndexError
    return block[at:end], first > 0x7F, end


def _path(text: bytes, in_code: bool) -> Field:
    return field(b":path", decode_huffman(text) if in_code else text)


def encode(fields: list[tuple[bytes, bytes]]) -> bytes:
    """A block of literal fields, none of which enters a table."""
    return b"".join(b"\x00" + _length(name) + name + _length(value) + value for name, value in fields)


def _length(text: bytes) -> bytes:
    length = len(text)
    if length < 0x7F:
        return bytes((length,))
    octets = bytearray((0x7F,))
    length -= 0x7F
    while length >= 0x80:
        octets.append(length & 0x7F | 0x80)
        length >>= 7
    octets.append(length)
    return bytes(octets)
