"""Heads and trailers are bounded, to the byte and however they are cut; a trailer says nothing of its request."""

import functools

import pytest

from tests.wire.client import converse, cut
from tests.wire.conftest import port_of, resident_bytes
from tests.wire.messages import INFER, JSON, chunked, document, get, infer, infer_chunked, message

LIMIT = 65_536  # bytes of a head: len(name) + len(value) + 4 for each field, and the target
MAX_FIELDS = 256
MIB = 2**20


def head_of(size: int, *fields: str, body: bytes = b"") -> bytes:
    """A request whose head counts so many bytes, by one long value."""
    others = ["Host: localhost", *fields, "X-Long: "]
    rest = size - len("/livez") - sum(len(each) - len(": ") + 4 for each in others)
    return message("GET /livez HTTP/1.1", *fields, "X-Long: " + "y" * rest, body=body)


def verdict(port: int, *pieces: bytes, pace: float = 0.0) -> int:
    conversation = converse(port, *pieces, answers=1, pace=pace)
    assert conversation.end in ("answered", "closed", "reset") and conversation.responses, str(conversation)
    return conversation.last.status


@functools.cache
def boundary(port: int) -> int:
    """The largest head that is taken when it is sent in one piece, as the tests count it."""
    low, high = 4096, 4 * LIMIT
    assert verdict(port, head_of(low)) == 200
    assert verdict(port, head_of(high)) == 431
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if verdict(port, head_of(middle)) == 200 else (low, middle)
    return low


def test_the_limit_of_a_head(port):
    assert boundary(port) == LIMIT


CUTS = {
    "whole": lambda data: [data],
    "the last byte apart": lambda data: [data[:-1], data[-1:]],
    "the last line end apart": lambda data: [data[:-2], data[-2:]],
    "the end of the head apart": lambda data: [data[:-4], data[-4:]],
    "the first byte apart": lambda data: [data[:1], data[1:]],
    "the request line apart": lambda data: [data[: data.index(b"\r\n") + 2], data[data.index(b"\r\n") + 2 :]],
    "in halves": lambda data: [data[: len(data) // 2], data[len(data) // 2 :]],
    "at 65,536 bytes": lambda data: [data[:65_536], data[65_536:]],
    "in segments": lambda data: cut(data, 1448),
    "in pieces of 4,096": lambda data: cut(data, 4096),
    "in pieces of 60,000": lambda data: cut(data, 60_000),
    "the end byte by byte": lambda data: [data[:-40], *cut(data[-40:], 1)],
}


@pytest.mark.parametrize("beside", [-1, 0, 1])
@pytest.mark.parametrize("how", CUTS)
def test_the_same_verdict_however_a_head_is_cut(port, how, beside):
    request = head_of(boundary(port) + beside)
    assert verdict(port, *CUTS[how](request), pace=0.002) == (431 if beside > 0 else 200)


@pytest.mark.parametrize("beside", [-1, 0, 1])
def test_the_same_verdict_for_a_second_request_and_one_with_a_body(port, beside):
    request = head_of(boundary(port) + beside)
    conversation = converse(port, infer("r0") + request, answers=2)
    assert conversation.statuses == [200, 431 if beside > 0 else 200], str(conversation)
    with_body = head_of(boundary(port) + beside, "Content-Length: 5", body=b"hello")
    assert verdict(port, with_body) == (431 if beside > 0 else 200)


@pytest.mark.parametrize("lines", [2, 100, 200])
def test_fields_count_together(port, lines):
    size = LIMIT // lines + 20
    assert verdict(port, get("/livez", *[f"X-{i}: ".ljust(size, "z") for i in range(lines)])) == 431


def test_a_long_target_counts(port):
    assert verdict(port, get("/livez?" + "x" * 70_000)) in (414, 431)
    assert verdict(port, get("/livez?" + "x" * 30_000)) == 200


@pytest.mark.parametrize("size", [10**9, 1448, 10])
@pytest.mark.parametrize(("fields", "status"), [(MAX_FIELDS, 200), (MAX_FIELDS + 1, 431), (4000, 431)])
def test_the_number_of_fields_is_bounded(port, fields, status, size):
    request = get("/livez", *[f"X-{i}: y" for i in range(fields - 1)])  # and Host
    assert verdict(port, *cut(request, size)) == status


def test_a_head_without_end_ends(port):
    for line in (b"X: " + b"y" * MIB, b"X: y\r\n" * 2**15, b"y" * MIB, b"X: y\r\n y" * 2**15):
        conversation = converse(port, b"GET /livez HTTP/1.1\r\n", *[line] * 100)
        assert conversation.statuses in ([431], [400]), str(conversation)
        assert conversation.end in ("closed", "reset") and conversation.sent < 32 * MIB, str(conversation)


def test_a_request_line_without_end_ends(port):
    for line in (b"GET /" + b"x" * MIB, b"x" * MIB):
        conversation = converse(port, *[line] * 100)
        assert conversation.statuses in ([431], [400], [414]), str(conversation)
        assert conversation.end in ("closed", "reset") and conversation.sent < 32 * MIB, str(conversation)


# Trailer sections (RFC 9112, 7.1.2)

NEXT = infer("next")


def test_a_small_trailer_is_dropped(port):
    conversation = converse(port, infer_chunked("r0", trailer=b"X-Checksum: abc\r\n" * 20) + NEXT, answers=2)
    assert conversation.ids == ["r0", "next"], str(conversation)


@pytest.mark.parametrize("size", [10**9, 1448])
@pytest.mark.parametrize(
    "trailer",
    [
        b"X: " + b"y" * 100_000 + b"\r\n",
        b"X: y\r\n" * 17_000,
        b"X-%s: y\r\n" % (b"n" * 100_000),
        b"X: %s\r\n" % (b"y" * 40_000) * 3,
    ],
    ids=["a long value", "many fields", "a long name", "three of 40,000"],
)
def test_a_trailer_over_64_kib_is_refused(port, trailer, size):
    conversation = converse(port, *cut(infer_chunked("r0", trailer=trailer) + NEXT, size))
    assert conversation.statuses == [431], str(conversation)
    assert conversation.end in ("closed", "reset") and conversation.last.closes


@pytest.mark.parametrize("piece", [b"X: y\r\n" * 10_000, b"y" * 60_000, b"X: " + b"y" * 60_000 + b"\r\n"])
def test_an_endless_trailer_ends_and_takes_no_memory(plain, port, piece):
    head = message(f"POST {INFER} HTTP/1.1", JSON, "Transfer-Encoding: chunked", body=b"2\r\n{}\r\n0\r\n")
    converse(port, head, *[piece] * 20)
    before = resident_bytes(plain)
    for _ in range(5):
        conversation = converse(port, head, *[piece] * 1000)
        assert conversation.statuses == [431] or (conversation.statuses == [400] and piece[:1] == b"y"), str(
            conversation
        )
        assert conversation.end in ("closed", "reset"), str(conversation)
    assert resident_bytes(plain) - before < 16 * MIB


TRAILERS = [
    "Content-Encoding: gzip",
    "Content-Type: text/html",
    "Content-Length: 5",
    "Transfer-Encoding: gzip",
    "Host: elsewhere",
    "Connection: close",
    "Expect: 100-continue",
    "Inference-Header-Content-Length: 3",
    "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    "Origin: http://elsewhere",
    "Upgrade: websocket",
]


@pytest.mark.parametrize("trailer", TRAILERS)
def test_a_trailer_has_no_effect(port, trailer):
    """6.5.1 of RFC 9110: fields of framing, routing, authentication and content are not taken from trailers."""
    request = infer_chunked("r0", trailer=trailer.encode() + b"\r\n")
    for pieces in ([request + NEXT], [*cut(request, 1), NEXT]):
        conversation = converse(port, *pieces, answers=2)
        if conversation.statuses[0] == 400:
            assert conversation.end in ("closed", "reset") and len(conversation.statuses) == 1
        else:
            assert conversation.ids == ["r0", "next"], str(conversation)
            assert conversation.responses[0].headers["x-trace-id"] != "0af7651916cd43dd8448eb211c80319c"


def test_a_key_in_a_trailer_opens_nothing_and_closes_nothing(guarded, keys):
    port = port_of(guarded)
    for body in ([document("r0")], [b"x" * 100] * 50):
        for trailer, field, expected in (
            (keys.bearer(), (), 401),
            ("Authorization: Bearer wrong", (keys.bearer(),), 200 if len(body) == 1 else 400),
        ):
            data = chunked(body, trailer.encode() + b"\r\n")
            request = message(f"POST {INFER} HTTP/1.1", JSON, "Transfer-Encoding: chunked", *field, body=data)
            assert converse(port, request, answers=1).statuses == [expected]
            assert converse(port, *cut(request, 9), answers=1).statuses == [expected]
