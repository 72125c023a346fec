"""gRPC's status codes, and which of them an error of the service is."""

from __future__ import annotations

import re
from enum import IntEnum
from urllib.parse import quote

from serving import errors
from serving.errors import ServingError
from serving.http2.hpack import encode

MAX_MESSAGE_BYTES = 1000  # of a status's words
RETRY_SECONDS = re.compile(rb"\d{1,4}")


class Code(IntEnum):
    """https://grpc.io/docs/guides/status-codes/"""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    UNAUTHENTICATED = 16


class Unimplemented(ServingError):
    """A method, or a message encoding, that is not spoken here."""

    status = 501
    reason = "bad_input"


class MessageTooLarge(errors.TooLarge):
    """A message over the limit, or more of them than a connection may have under way."""


# By the most specific class; what is in none is by its HTTP status.
_BY_CLASS: dict[type[ServingError], Code] = {
    errors.DeadlineExceeded: Code.DEADLINE_EXCEEDED,
    errors.TooSlow: Code.DEADLINE_EXCEEDED,
    errors.ClientGone: Code.CANCELLED,
    errors.Overloaded: Code.RESOURCE_EXHAUSTED,
    errors.TooLarge: Code.RESOURCE_EXHAUSTED,
    errors.HeadTooLarge: Code.RESOURCE_EXHAUSTED,
    errors.MisdirectedRequest: Code.PERMISSION_DENIED,
    errors.NotImplementedMethod: Code.UNIMPLEMENTED,
    Unimplemented: Code.UNIMPLEMENTED,
}
_BY_HTTP_STATUS = {
    400: Code.INVALID_ARGUMENT,
    401: Code.UNAUTHENTICATED,
    403: Code.PERMISSION_DENIED,
    404: Code.NOT_FOUND,
    415: Code.INVALID_ARGUMENT,
    503: Code.UNAVAILABLE,
}


def code_of(error: ServingError) -> Code:
    """The status that says what the HTTP status says."""
    for kind in type(error).__mro__:
        if kind in _BY_CLASS:
            return _BY_CLASS[kind]
    return _BY_HTTP_STATUS.get(error.status, Code.INTERNAL)


def trailers(error: ServingError) -> list[tuple[bytes, bytes]]:
    """The trailers of a call that failed: status, words, and when to come again where the error knows."""
    fields = [(b"grpc-status", b"%d" % code_of(error)), (b"grpc-message", encode_words(str(error)))]
    for name, value in error.headers:
        if name == b"retry-after" and RETRY_SECONDS.fullmatch(value):
            fields.append((b"grpc-retry-pushback-ms", b"%d" % (int(value) * 1000)))
    return fields


def encode_words(words: str) -> bytes:
    """Percent-encoded UTF-8, as gRPC has its messages."""
    short = words if len(words) <= MAX_MESSAGE_BYTES else words[: MAX_MESSAGE_BYTES - 1] + "…"
    return quote(short, safe=" !\"#$&'()*+,/:;<=>?@[\\]^`{|}").encode()


OK_TRAILERS = encode([(b"grpc-status", b"0")])
