"""Requests, and ways to cut and mix them: the same bytes mean the same to a right server, however they come.

A `Stream` is what one client sends on one connection. `compare` holds what two sends of it gave against each other: of
one server, whole and cut; or of two servers, ours and a reference.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tests.wire.client import Conversation, Piece, converse, cut
from tests.wire.messages import INFER, chunked, document, message

FRACTION = re.compile(rb"\b[0-9]+[.][0-9]+(?:e-?[0-9]+)?\b")
POSTED = (INFER, "/iris/classify")  # the paths that take a POST


@dataclass(frozen=True)
class Stream:
    """Requests of one connection, and what a right server makes of them."""

    name: str
    requests: tuple[bytes, ...]
    methods: tuple[str, ...]
    closes: bool = False  # the server ends the connection after the last answer

    @property
    def data(self) -> bytes:
        return b"".join(self.requests)


Make = Callable[[str, str], bytes]  # path, tag → a request
# Each is right by RFC 9112, in usual or odd spacing.
REQUESTS: dict[str, Make] = {
    "GET": lambda path, tag: message(f"GET {path} HTTP/1.1", f"X-Tag: {tag}"),
    "HEAD": lambda path, tag: message(f"HEAD {path} HTTP/1.1"),
    "POST": lambda path, tag: _post(path, document(tag)),
    "POST of nothing": lambda path, tag: _post(path, b""),
    "POST without a length": lambda path, tag: message(f"POST {path} HTTP/1.1"),
    "POST of 5,000 bytes": lambda path, tag: _post(path, document(tag).ljust(5000)),
    "POST of line ends": lambda path, tag: _post(path, b"\r\n\r\nGET / HTTP/1.1\r\n\r\n" * 5 + tag.encode()),
    "PUT": lambda path, tag: _post(path, document(tag)).replace(b"POST", b"PUT", 1),
    "DELETE": lambda path, tag: message(f"DELETE {path} HTTP/1.1"),
    "chunked": lambda path, tag: _chunked(path, [document(tag)]),
    "chunked in bytes": lambda path, tag: _chunked(path, [bytes([b]) for b in document(tag)[:40]]),
    "chunked with extensions": lambda path, tag: _chunked(path, cut(document(tag), 30), extension=b";a=b"),
    "chunked with a trailer": lambda path, tag: _chunked(path, cut(document(tag), 30), b"X-A: b\r\nX-C: d\r\n"),
    "chunked of nothing": lambda path, tag: _chunked(path, []),
    "names in capitals": lambda path, tag: _post(path, document(tag)).replace(b"Content-Length", b"CONTENT-LENGTH"),
    "names in lower case": lambda path, tag: _post(path, document(tag)).replace(b"Content-Type", b"content-type"),
    "no blank after the colon": lambda path, tag: _post(path, document(tag)).replace(b": ", b":", 4),
    "blanks around values": lambda path, tag: _post(path, document(tag), "X-A:  \t b \t "),
    "an empty value": lambda path, tag: _post(path, document(tag), "X-A:"),
    "a long value": lambda path, tag: _post(path, document(tag), "X-A: " + "b" * 3000),
    "many fields": lambda path, tag: _post(path, document(tag), *[f"X-{i}: {i}" for i in range(60)]),
    "a query": lambda path, tag: message(f"GET {path}?tag={tag}&x=%20y HTTP/1.1"),
    "an upgrade": lambda path, tag: _post(path, document(tag), "Connection: Upgrade", "Upgrade: h2c"),
    # Where its body would not be wanted, the answer ends the connection: whether the body follows is not known.
    "an expectation": lambda path, tag: _post(_wanted(path), document(tag), "Expect: 100-continue"),
    "keep-alive": lambda path, tag: message(f"GET {path} HTTP/1.1", "Connection: keep-alive"),
    "1.0 that keeps alive": lambda path, tag: message(f"GET {path} HTTP/1.0", "Connection: keep-alive"),
    "an empty line before": lambda path, tag: b"\r\n" + message(f"GET {path} HTTP/1.1"),
}
# The last of their connection: the server closes after their answer.
LAST: dict[str, Make] = {
    "close": lambda path, tag: _post(path, document(tag), "Connection: close"),
    "close of a GET": lambda path, tag: message(f"GET {path} HTTP/1.1", "Connection: close"),
    "1.0": lambda path, tag: message(f"GET {path} HTTP/1.0"),
    "1.0 with a body": lambda path, tag: _post(path, document(tag)).replace(b"HTTP/1.1", b"HTTP/1.0", 1),
}


def _wanted(path: str) -> str:
    return path if path in POSTED or path.startswith("/echo") else INFER


def _post(path: str, body: bytes, *fields: str) -> bytes:
    return message(
        f"POST {path} HTTP/1.1", "Content-Type: application/json", f"Content-Length: {len(body)}", *fields, body=body
    )


def _chunked(path: str, chunks: list[bytes], trailer: bytes = b"", extension: bytes = b"") -> bytes:
    fields = ("Content-Type: application/json", "Transfer-Encoding: chunked")
    return message(f"POST {path} HTTP/1.1", *fields, body=chunked(chunks, trailer, extension))


def method_of(request: bytes) -> str:
    return request.split(None, 1)[0].decode()


def stream(name: str, requests: list[bytes], closes: bool = False) -> Stream:
    return Stream(name, tuple(requests), tuple(method_of(each) for each in requests), closes)


def singles(paths: list[str]) -> Iterator[Stream]:
    """Every kind of request at every path, alone and with another after it."""
    for path in paths:
        for name, make in REQUESTS.items():
            yield stream(f"{name} {path}", [make(path, "t0"), REQUESTS["POST"](paths[0], "after")])
        for name, make in LAST.items():
            yield stream(f"{name} {path}", [make(path, "t0")], closes=True)


def pipelines(paths: list[str], seed: int, count: int) -> Iterator[Stream]:
    """Mixed pipelines of 2 to 50."""
    rng = random.Random(seed)  # noqa: S311
    for number in range(count):
        names = rng.choices([*REQUESTS], k=rng.choice([2, 3, 5, 10, 50]))
        requests = [REQUESTS[name](rng.choice(paths), f"p{number}-{i}") for i, name in enumerate(names)]
        closes = rng.random() < 0.3
        if closes:
            requests.append(rng.choice([*LAST.values()])(rng.choice(paths), f"p{number}-last"))
        yield stream(f"pipeline {number} of seed {seed}", requests, closes)


def cuts(data: bytes, seed: int, at_every: int = 0) -> Iterator[tuple[str, list[Piece]]]:
    """Ways to send the bytes: in pieces of some sizes, of any size with pauses, and in two at every so many bytes."""
    for size in (1448, 211, 64, 1):
        if len(data) <= 2000 * size:
            yield f"in pieces of {size}", [*cut(data, size)]
    rng, rest = random.Random(seed), data  # noqa: S311
    pieces: list[Piece] = []
    while rest:
        n = rng.choice([1, 3, 20, 100, 700, 1448])
        pieces += [rest[:n], rng.choice([0.0, 0.0, 0.0005])]
        rest = rest[n:]
    yield "in pieces of any size", pieces
    for at in range(1, len(data), at_every) if at_every else ():
        yield f"in two at {at}", [data[:at], 0.0005, data[at:]]


def send(port: int, one: Stream, pieces: list[Piece] | None = None) -> Conversation:
    """What comes of it; of one that closes until it has."""
    answers = None if one.closes else len(one.requests)
    return converse(port, *(pieces or [one.data]), answers=answers, methods=one.methods)


def essence(conversation: Conversation) -> tuple[str, list[tuple[int, str, bytes]]]:
    """How it ended, and each answer's status, type and body: numbers to three digits, as batches change the rest."""
    answers = [
        (r.status, r.headers.get("content-type", ""), FRACTION.sub(_rounded, r.body)) for r in conversation.responses
    ]
    return conversation.end, answers


def _rounded(number: re.Match[bytes]) -> bytes:
    return b"%.3g" % float(number[0])


def compare(one: Stream, expected: Conversation, conversation: Conversation, how: str) -> None:
    """AssertionError with the first difference."""
    (end, answers), (expected_end, expected_answers) = essence(conversation), essence(expected)
    for i, (answer, expected_answer) in enumerate(zip(answers, expected_answers, strict=False)):
        assert answer == expected_answer, f"{one.name}, {how}: answer {i}: {answer}, not {expected_answer}"
    assert len(answers) == len(expected_answers), f"{one.name}, {how}: {conversation}, not {expected}"
    assert end == expected_end, f"{one.name}, {how}: {conversation}, not {expected}"
