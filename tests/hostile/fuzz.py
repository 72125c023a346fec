"""Cases without end, each made from a seed and its number alone: right requests, spoiled in one of many ways."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from tests.hostile import pictures, requests
from tests.hostile.case import REFUSALS, Case
from tests.hostile.requests import DOCUMENT, FLOWER, FORM, JSON, KNOWN, NATIVE, PICTURE, TENSORS, dumped, post
from tests.hostile.wire import HANG_UP, Piece

Draw = random.Random
HOSTILE: list[Any] = [
    None, True, False, 0, -1, 1.5, -0.0, 1e308, 1e-320, 2**31, 2**63, 2**64, -(2**63), 10**40, 10**400,
    float("nan"), float("inf"), "", "a", "\0", "é", "\ud800", "a" * 5000, "[" * 200,
    "http://127.0.0.1:1/", "../../etc/passwd",
    [], {}, [[]], [[[[[[[[]]]]]]]], [None], [1] * 3000, {"a": {"a": {}}}, {"": 1}, ["FP32"], "FP32", "INT64", "BYTES",
]  # fmt: skip
LINES = [
    b"content-length: 5", b"content-length: -1", b"content-length: 99999999999999999999", b"transfer-encoding: chunked",
    b"transfer-encoding: identity", b"content-encoding: gzip", b"content-encoding: br", b"expect: 100-continue",
    b"connection: close", b"connection: upgrade\r\nupgrade: h2c", b"inference-header-content-length: 7", b"x: \xff\xfe",
    b"inference-header-content-length: 99999", b"traceparent: 00-zz", b": empty", b"no colon", b"x: " + b"y" * 3000,
    b"host: y", b"content-type: text/html", b"\x01: 1", b"range: bytes=0-1", b"accept-encoding: gzip;q=nan",
    b"traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
]  # fmt: skip
ANY = REFUSALS | {200}
MAYBE_NOTHING = ANY | {0}


def case(seed: int, number: int) -> Case:
    """Case `number` of a storm."""
    draw = random.Random(f"{seed}:{number}")  # noqa: S311
    kind = draw.choices(list(KINDS), list(KINDS.values()))[0]
    pieces, statuses = kind(draw)
    return Case(f"{seed}:{number} {kind.__name__}", pieces, statuses)


Made = tuple[tuple[Piece, ...], frozenset[int]]


@cache
def _right() -> list[bytes]:
    return requests.several()


@cache
def small_pictures() -> list[bytes]:
    every = [*pictures.good().values(), *(data for data, _, _ in pictures.bad().values())]
    return [data for data in every if 0 < len(data) < 20_000]


def spoiled(draw: Draw, data: bytes, most: int = 6) -> bytes:
    """A few bytes changed, cut out, doubled, or put in from elsewhere."""
    found = bytearray(data)
    for _ in range(draw.randint(1, most)):
        at = draw.randrange(len(found) + 1)
        span = draw.choice((1, 1, 2, 4, 16, 200))
        change = draw.randrange(5)
        if change == 0:
            found[at : at + span] = draw.randbytes(min(span, len(found) - at))
        elif change == 1:
            del found[at : at + span]
        elif change == 2:
            found[at:at] = found[at : at + span] * draw.choice((1, 1, 40))
        elif change == 3:
            found[at : at + 1] = draw.choice((b"\0", b"\xff", b'"', b"[", b"]", b"{", b"}", b"\\", b"\r\n", b"-", b"9"))
        else:
            other = draw.choice(small_pictures() + _right())
            start = draw.randrange(len(other))
            found[at:at] = other[start : start + span]
    return bytes(found)


def _whole(path: str, body: bytes, kind: bytes = JSON, *lines: bytes) -> Made:
    return (post(path, body, kind, *lines),), ANY


def _changed(draw: Draw, value: Any) -> Any:
    """The same document with one of its values, or keys, replaced by something hostile."""
    if isinstance(value, dict) and value and draw.random() < 0.8:
        key = draw.choice(list(value))
        change = draw.random()
        if change < 0.15:
            return {k: v for k, v in value.items() if k != key}
        if change < 0.3:
            return {**value, draw.choice(("", "a" * 300, "form", "parameters", "id", key + " ")): draw.choice(HOSTILE)}
        return {**value, key: _changed(draw, value[key])}
    if isinstance(value, list) and value and draw.random() < 0.8:
        at = draw.randrange(len(value))
        return [*value[:at], _changed(draw, value[at]), *value[at + draw.randint(0, 1) :]]
    return draw.choice(HOSTILE)


def documents(draw: Draw) -> Made:
    path, right = draw.choice(((NATIVE, FLOWER), (NATIVE, [FLOWER, FLOWER]), (TENSORS, DOCUMENT), (TENSORS, DOCUMENT)))
    value: Any = right
    for _ in range(draw.randint(1, 3)):
        value = _changed(draw, value)
    text = json.dumps(value, ensure_ascii=draw.random() < 0.5).encode("utf-8", "surrogatepass")
    if draw.random() < 0.2:  # a key twice
        text = re.sub(rb'"(\w+)": ', lambda m: b'"%b": 1, %b' % (m[1], m[0]), text, count=1)
    return _whole(path, text)


def texts(draw: Draw) -> Made:
    path, right = draw.choice(((NATIVE, FLOWER), (TENSORS, DOCUMENT)))
    return _whole(path, spoiled(draw, dumped(right)))


def tensors(draw: Draw) -> Made:
    rows = draw.choice((1, 2, 3, 64, 65, 1024))
    values = np.frombuffer(draw.randbytes(rows * 16), np.float32).reshape(rows, 4)
    change: dict[str, Any] = {}
    if draw.random() < 0.5:
        change[draw.choice(("shape", "datatype", "name", "parameters"))] = draw.choice(HOSTILE)
    if draw.random() < 0.3:
        change["parameters"] = {"binary_data_size": draw.choice([*HOSTILE, values.nbytes - 1, values.nbytes + 4])}
    with np.errstate(all="ignore"):
        body, length = requests.binary(values, **change)
    if draw.random() < 0.4:
        length = b"inference-header-content-length: " + draw.choice((b"0", b"1", b"x", b"", b"-4", b"%d" % len(body)))
    return _whole(TENSORS, spoiled(draw, body) if draw.random() < 0.5 else body, b"application/octet-stream", length)


def files(draw: Draw) -> Made:
    data = draw.choice(small_pictures())
    kind = draw.choice((b"image/png", b"image/jpeg", b"application/octet-stream", b"image/\xff"))
    return _whole(PICTURE, spoiled(draw, data), kind)


def forms(draw: Draw) -> Made:
    dispositions = (
        b'form-data; name="image"; filename="a"', b'form-data; name="image"', b"form-data", b'form-data; name="x"', b"",
        b"form-data; name*=utf-8''image; filename*=bogus''a", b'form-data; name="image"; filename="\\"', b"\xff",
    )  # fmt: skip
    parts = [
        requests.part(
            draw.choice(small_pictures()), dispositions[0] if draw.random() < 0.5 else draw.choice(dispositions)
        )
        for _ in range(draw.choice((0, 1, 1, 2, 3)))
    ]
    body = requests.form(*parts)
    body = spoiled(draw, body) if draw.random() < 0.6 else body[: draw.randrange(len(body) + 1)]
    boundaries = (FORM, FORM, FORM, FORM + b"x", b"multipart/form-data", b'multipart/form-data; boundary="', FORM[:-1])
    return _whole(PICTURE, body, draw.choice(boundaries) + draw.choice((b"", b"; a=\xff")))


def heads(draw: Draw) -> Made:
    """A right request with a head that is not, and perhaps a connection that then ends."""
    head, _, body = draw.choice(_right()).partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    for _ in range(draw.randint(1, 3)):
        lines.insert(draw.randint(1, len(lines)), draw.choice(LINES))
    head = b"\r\n".join(lines)
    if draw.random() < 0.3:
        head = spoiled(draw, head, 2)
    return (head + b"\r\n\r\n" + body, HANG_UP), MAYBE_NOTHING


def paths(draw: Draw) -> Made:
    method = draw.choice(("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND"))
    known = (
        NATIVE,
        PICTURE,
        TENSORS,
        "/health",
        "/v2",
        "/ui/iris",
        "/metrics",
        "/readyz",
        "/static_content/x",
        "/",
        "*",
    )
    strange = (
        "/",
        "//",
        "/..",
        "/%2e%2e",
        "/%00",
        "?form=int8",
        "?form=%ff",
        "?a&b&c",
        "#x",
        ";x",
        "/é",
        "?" + "a=1&" * 500,
    )
    return (requests.request(method, draw.choice(known) + draw.choice(strange), b"{}"), HANG_UP), MAYBE_NOTHING


def noise(draw: Draw) -> Made:
    start = draw.choice((b"", b"GET / HTTP/1.1\r\n", b"POST " + NATIVE.encode() + b" HTTP/1.1\r\n", b"\x16\x03\x01"))
    return (start + draw.randbytes(draw.choice((1, 10, 500))), HANG_UP), MAYBE_NOTHING


def cut(draw: Draw) -> Made:
    sent = draw.choice(_right())
    return (sent[: draw.randrange(len(sent))], HANG_UP), MAYBE_NOTHING


def pieces(draw: Draw) -> Made:
    """A right request that comes in pieces, with pauses; it must be answered."""
    sent = draw.choice(_right())
    places = sorted(draw.randrange(len(sent)) for _ in range(draw.randint(1, 5)))
    found: list[Piece] = []
    for start, stop in zip([0, *places], [*places, len(sent)], strict=True):
        found += [sent[start:stop], draw.choice((0.0, 0.001, 0.02))]
    return tuple(found), frozenset({200})


def pipelined(draw: Draw) -> Made:
    """A right request and something else behind it on the same connection; the right one must be answered."""
    return (KNOWN + draw.choice((KNOWN, draw.randbytes(60), spoiled(draw, KNOWN))), HANG_UP), MAYBE_NOTHING


def chunked(draw: Draw) -> Made:
    body = dumped(FLOWER)
    start = f"POST {NATIVE} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n".encode()
    sizes = draw.choice((b"%x" % len(body), b"0", b"-1", b"fffffffffffffffff", b"", b"%x;a=b" % len(body), b"5"))
    return (
        start + sizes + b"\r\n" + body + draw.choice((b"\r\n0\r\n\r\n", b"\r\n0\r\nx: y\r\n\r\n", b"")),
        HANG_UP,
    ), MAYBE_NOTHING


# How often each kind comes: most are bodies, which is where the parsers are.
KINDS: dict[Callable[[Draw], Made], int] = {
    documents: 20, texts: 14, tensors: 14, files: 12, forms: 12, heads: 8, paths: 6, noise: 3, cut: 3, pieces: 4,
    pipelined: 2, chunked: 2,
}  # fmt: skip
