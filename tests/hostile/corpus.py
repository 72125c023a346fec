"""The corpus: what is known to break servers, each with the status and a word of what it must end in."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from typing import Any

import numpy as np

from tests.hostile import pictures
from tests.hostile.case import Case
from tests.hostile.requests import (
    BOUNDARY,
    DOCUMENT,
    FEATURES,
    FLOWER,
    FORM,
    IMAGES,
    JSON,
    KNOWN,
    NATIVE,
    PICTURE,
    TENSOR,
    TENSORS,
    binary,
    dumped,
    form,
    part,
    post,
    request,
    right,
    seven,
)
from tests.hostile.wire import HANG_UP

LIMIT = 2**24
GZIP = b"content-encoding: gzip"


def cases() -> list[Case]:
    return [*_json(), *_tensors(), *_pictures(), *_forms(), *_heads(), *_framing()]


def _case(name: str, sent: bytes, status: int, words: str = "") -> Case:
    return Case(name, (sent,), frozenset({status}), words)


def _seven(body: bytes) -> bool:
    found = json.loads(body)
    return bool(found["label"] == "7" and abs(sum(found["probabilities"].values()) - 1) < 1e-4)


def _setosa(body: bytes) -> bool:
    return bool(json.loads(body)["label"] == "setosa")


def _flower(name: str, value: bytes, status: int = 400, words: str = "sepal_length is") -> Case:
    rest = dumped({k: v for k, v in FLOWER.items() if k != "sepal_length"})[1:]
    return _case(f"JSON: {name}", post(NATIVE, b'{"sepal_length": ' + value + b", " + rest), status, words)


def _json() -> Iterator[Case]:
    yield _flower("a number of 400 digits", b"9" * 400)
    yield _flower("a number of 100,000 digits", b"9" * 100_000, words="not JSON")
    yield _flower("1e400", b"1e400", words="not JSON")
    yield _flower("NaN", b"NaN", words="not JSON")
    yield _flower("Infinity", b"-Infinity", words="not JSON")
    yield _flower("null", b"null", words="sepal_length is null: it must be a number")
    yield _flower("true", b"true", words="sepal_length is true")
    yield _flower("a number as text", b'"5.1"', words='sepal_length is "5.1"')
    yield _flower("text of 10 MB", b'"' + b"a" * 10**7 + b'"')
    yield _flower("a lone surrogate", b'"\\ud800"', words="not JSON")
    yield _flower("wrong UTF-8", b'"\xff\xfe"', words="not JSON")
    yield _flower("lists 60 deep", b"[" * 60 + b"]" * 60)
    yield _flower("lists 100 deep", b"[" * 100 + b"]" * 100, words="the limit is")
    yield _flower("lists 100,000 deep", b"[" * 100_000 + b"]" * 100_000, words="not JSON")
    yield _flower(
        "objects 5,000 deep", b'{"a":' * 5000 + b"1" + b"}" * 5000, words="JSON"
    )  # as far as this Python reads
    yield _flower("open lists", b"[" * 10**6, words="not JSON")
    plain = dumped(FLOWER)
    twice = post(NATIVE, b'{"sepal_length": 99999, ' + plain[1:])
    yield Case("JSON: a key twice: the last counts", (twice,), frozenset({200}), right=_setosa)
    yield _case("JSON: an unknown key of 10 MB", post(NATIVE, dumped({"a" * 10**7: 1})), 400, "is unknown")
    many = {f"key{i}": 1 for i in range(200_000)}
    yield _case("JSON: 200,000 unknown keys", post(NATIVE, dumped(many)), 400, "holds over 8192 values")
    yield _case("JSON: empty", post(NATIVE, b""), 400, "not JSON")
    yield _case("JSON: a list of nothing", post(NATIVE, b"[]"), 400, "the list is empty")
    yield _case("JSON: no object", post(NATIVE, b"7"), 400, "expected an object")
    yield _case("JSON: 4,000,000 numbers", post(NATIVE, dumped([1] * 4_000_000)), 400, "holds over 8192 values")
    rows = post(NATIVE, b"[" + b",".join([plain] * 2000) + b"]")
    yield _case("JSON: 2,000 rows", rows, 400, "2000 rows in one request, the limit is 1024")
    yield _case("JSON: a byte order mark", post(NATIVE, b"\xef\xbb\xbf" + plain), 400, "not JSON")
    yield _case("JSON: UTF-16", post(NATIVE, plain.decode().encode("utf-16")), 400, "not JSON")
    yield _case("JSON: cut off", post(NATIVE, plain[:-2]), 400, "not JSON")
    yield _case("JSON: over the limit", post(NATIVE, b" " * (LIMIT + 1)), 413, "; at most")
    yield _case("JSON: as HTML", post(NATIVE, plain, b"text/html"), 415, "send application/json")
    yield _case("JSON: a content type of 10,000 letters", post(NATIVE, plain, b"a" * 10_000), 415, "content type")
    yield _case("JSON: an unknown form", post(NATIVE + "?form=" + "a" * 3000, plain), 404, "has no form")
    yield _case("JSON: an unknown query", post(NATIVE + "?" + "a" * 3000, plain), 400, "query parameter")


def _document(name: str, status: int = 400, words: str = "", **change: object) -> Case:
    return _case(f"V2: {name}", post(TENSORS, dumped({**DOCUMENT, **change})), status, words)


def _deep(levels: int) -> list[object]:
    found: list[object] = []
    for _ in range(levels - 1):
        found = [found]
    return found


def _tensors() -> Iterator[Case]:
    for where in ("id", "parameters", "outputs", "inputs"):
        change: dict[str, Any] = {where: _deep(50)}
        yield _document(f"{where} 50 deep", words=where.removesuffix("s"), **change)
    for where in ("shape", "data", "datatype", "name"):
        yield _document(f"{where} 50 deep", words="input", inputs=[{**TENSOR, where: _deep(50)}])
    for where in ("name", "parameters"):
        yield _document(f"an output's {where} 50 deep", words="output", outputs=[{"name": "label", where: _deep(50)}])
    yield _document("nested 900 deep", words="the limit is", id=_deep(900))
    deep = post(TENSORS, b'{"id":' + b"[" * 10**6 + b"]" * 10**6 + b"}")
    yield _case("V2: nested 1,000,000 deep", deep, 400, "not JSON")
    yield _document("100,000 outputs", words="each at most once", outputs=[{"name": "label"}] * 100_000)
    yield _document("an output twice", words="asked for twice", outputs=[{"name": "label"}] * 2)
    yield _document("an input twice", words="given twice", inputs=[TENSOR, TENSOR])
    yield _document("100,000 inputs", words="given twice", inputs=[TENSOR] * 100_000)
    yield _document("a form of 100,000 letters", 404, "has no form", parameters={"form": "a" * 100_000})
    twice = post(TENSORS, b'{"inputs": [], ' + dumped(DOCUMENT)[1:])
    yield _case("V2: a key twice", twice, 400, "a key twice")
    inner = dumped(DOCUMENT).replace(b'"datatype"', b'"shape": [9, 4], "datatype"')
    yield _case("V2: an input's key twice", post(TENSORS, inner), 400, "a key twice")
    yield _case("V2: text behind the JSON", post(TENSORS, dumped(DOCUMENT) + b" x"), 400, "not JSON")
    rows = {**TENSOR, "shape": [1025, 4], "data": [1] * 4100}
    yield _document("1,025 rows", words="the limit is 1024", inputs=[rows])
    yield _document("2^62 rows", words="the limit is 1024", inputs=[{**TENSOR, "shape": [2**62, 4]}])
    for value in (np.nan, np.inf, -np.inf):
        spoiled = FEATURES.copy()
        spoiled[1, 2] = value
        raw, length = binary(spoiled)
        sent = post(TENSORS, raw, b"application/octet-stream", length)
        yield _case(f"V2 binary: {value}", sent, 400, "finite numbers only")
    raw, length = binary(FEATURES)
    for name, line in {"0": b"0", "all": b"%d" % len(raw), "over": b"%d" % 10**9, "9 x 5000": b"9" * 5000}.items():
        sent = post(TENSORS, raw, JSON, b"inference-header-content-length: " + line)
        yield _case(f"V2 binary: a header of {name} bytes", sent, 400)
    yield _case("V2 binary: cut off", post(TENSORS, raw[:-3], JSON, length), 400, "bytes of binary data")
    yield _case("V2 binary: too long", post(TENSORS, raw + b"abc", JSON, length), 400, "bytes of binary data")
    for size in (-1, 1.5, "16", 2**63, None, True, [16]):
        raw, length = binary(FEATURES, parameters={"binary_data_size": size})
        yield _case(f"V2 binary: a size of {size!r}", post(TENSORS, raw, JSON, length), 400)
    bomb = gzip.compress(bytes(2**27))
    yield _case("gzip: a bomb", post(TENSORS, bomb, JSON, GZIP), 413, "inflates to over")
    yield _case("gzip: cut off", post(TENSORS, gzip.compress(dumped(DOCUMENT))[:-9], JSON, GZIP), 400, "cut off")
    yield _case("gzip: none", post(TENSORS, dumped(DOCUMENT), JSON, GZIP), 400, "not gzip")
    tail = gzip.compress(dumped(DOCUMENT)) + b"tail"
    yield _case("gzip: something behind it", post(TENSORS, tail, JSON, GZIP), 400, "gzip")
    layers = post(TENSORS, dumped(DOCUMENT), JSON, b"content-encoding: gzip, gzip, gzip")
    yield _case("gzip: in layers", layers, 415, "content encoding")
    yield _case("V2: raw bytes of no model", post(IMAGES, b"\0" * 3136, b"application/octet-stream"), 400, "not JSON")


def _pictures() -> Iterator[Case]:
    for name, data in pictures.good().items():
        sent = post(PICTURE, form(part(data)), FORM)
        yield Case(f"picture: {name}", (sent,), frozenset({200}), right=_seven)
    for name, (data, status, words) in pictures.bad().items():
        yield _case(f"picture: {name}", post(PICTURE, data, b"image/png"), status, words)
    bombs = form(*[part(pictures.huge_png(4000, 4000))] * 3)
    yield _case("picture: three of 16 megapixels", post(PICTURE, bombs, FORM), 413, "[1] image brings the request to")
    tiny = form(*[part(b"x")] * 1025)
    yield _case("picture: 1,025 parts", post(PICTURE, tiny, FORM), 400, "more than 1024 parts")


def _forms() -> Iterator[Case]:
    file = part(seven())
    text = part(b"http://127.0.0.1:9/x.png", b'form-data; name="image"')
    whole = form(file)
    yield _case("form: an address instead of a file", post(PICTURE, form(text), FORM), 400, "never fetched")
    yield _case("form: no boundary", post(PICTURE, whole, b"multipart/form-data"), 400, "without a boundary")
    bare = b"multipart/form-data; boundary="
    yield _case("form: an empty boundary", post(PICTURE, whole, bare), 400, "without a boundary")
    yield _case("form: another boundary", post(PICTURE, whole, bare + b"other"), 400, "form")
    yield _case("form: a boundary of 5,000", post(PICTURE, whole, bare + b"x" * 5000), 400, "form")
    yield _case("form: empty", post(PICTURE, b"", FORM), 400, "ends before its last boundary")
    yield _case("form: of nothing", post(PICTURE, form(), FORM), 400, "no file")
    yield _case("form: cut off", post(PICTURE, whole[:-20], FORM), 400, "ends before its last boundary")
    yield _case("form: an unknown field", post(PICTURE, form(part(b"1", b'form-data; name="x"')), FORM), 400, "unknown")
    yield _case("form: a file and an unknown field", post(PICTURE, form(file, text), FORM), 400, "is text")
    nameless = post(PICTURE, form(part(b"1", b"form-data")), FORM)
    yield _case("form: a field without a name", nameless, 400, "unknown")
    yield _case(
        "form: no disposition", post(PICTURE, b"--" + BOUNDARY + b"\r\n\r\nx\r\n" + form(), FORM), 400, "unknown"
    )
    flood = form(part(seven(), b"form-data", *[b"x-%d: y" % i for i in range(10_000)]))
    yield _case("form: a flood of headers", post(PICTURE, flood, FORM), 400, "form cannot be read")
    long = form(part(seven(), b'form-data; name="' + b'\\"' * 10**6 + b'"'))
    yield _case("form: a disposition of 2 MB", post(PICTURE, long, FORM), 400, "form cannot be read")
    path = form(part(seven(), b'form-data; name="image"; filename="../../../etc/passwd"'))
    yield Case("form: a file name that climbs", (post(PICTURE, path, FORM),), frozenset({200}))
    yield _case(
        "form: of another kind", post(PICTURE, b"image=x", b"application/x-www-form-urlencoded"), 415, "content"
    )
    wrong = post(PICTURE, whole, b"multipart/form-data; boundary*=bogus''\xff\xfe")
    yield _case("form: a boundary in no charset", wrong, 400, "boundary")


def _raw(name: str, sent: bytes, status: int = 400, words: str = "") -> Case:
    return _case(f"head: {name}", sent, status, words)


def _heads() -> Iterator[Case]:
    body = b"content-length: 2\r\n\r\n{}"
    start = f"POST {NATIVE} HTTP/1.1\r\nhost: x\r\n".encode()
    yield _raw("garbage", b"garbage\r\n\r\n")
    yield _raw("TLS", bytes.fromhex("1603010200010001fc0303") + bytes(500))
    yield _raw("zeros", bytes(1000))
    yield _raw("HTTP/2's preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505)
    yield _raw("HTTP/9.9", b"GET /health HTTP/9.9\r\nhost: x\r\n\r\n", 505)
    yield _raw("two lengths", start + b"content-length: 3\r\n" + body)
    yield _raw("a length and chunks", start + b"transfer-encoding: chunked\r\n" + body)
    yield _raw("a length of -1", start + b"content-length: -1\r\n\r\n")
    yield _raw("a length of words", start + b"content-length: two\r\n\r\n{}")
    yield _raw("a length of 2^70", start + b"content-length: %d\r\n\r\n" % 2**70)
    yield _raw("a length of 2^50", start + b"content-length: %d\r\n\r\n{}" % 2**50, 413, "; at most")
    yield _raw("an unknown transfer encoding", start + b"transfer-encoding: gzip\r\n\r\n")
    yield _raw("a folded line", b"GET /health HTTP/1.1\r\nhost: x\r\nx: a\r\n b\r\n\r\n")
    yield _raw("a blank before the colon", b"GET /health HTTP/1.1\r\nhost : x\r\n\r\n")
    yield _raw("a NUL in a header", b"GET /health HTTP/1.1\r\nhost: x\r\nx: \0\r\n\r\n")
    yield _raw("a path that is not ASCII", "GET /é HTTP/1.1\r\nhost: x\r\n\r\n".encode())
    yield _raw("a flood of headers", b"GET /v2 HTTP/1.1\r\n" + b"x: y\r\n" * 300_000 + b"\r\n", 431)
    yield _raw("a header of 2 MB", b"GET /v2 HTTP/1.1\r\nx: " + b"y" * 2 * 10**6 + b"\r\n\r\n", 431)
    yield _raw("a flood without an end", b"GET /v2 HTTP/1.1\r\n" + b"x: y\r\n" * 300_000, 431)
    yield _raw("a path of 40,000", request("GET", "/" + "a" * 40_000), 404, "nothing at")
    yield _raw("control characters in a path", request("GET", "/%00%0d%0aset-cookie:%20x=1"), 404, "nothing at")
    yield _raw("a path that climbs", request("GET", "/static_content/..%2f..%2f..%2f..%2fetc/passwd"), 404)
    yield _raw("a path with dots", request("GET", "/ui/../../../etc/passwd"), 404, "nothing at")
    yield _raw("an unknown model", post("/v2/models/%2e%2e/infer", dumped(DOCUMENT)), 404, "nothing at")
    yield _raw("another method", request("DELETE", NATIVE), 405, "which takes POST")
    yield _raw("CONNECT", b"CONNECT /v2 HTTP/1.1\r\nhost: x\r\n\r\n", 501, "CONNECT is not known")
    yield _raw("faults that are off", post("/faults/latency?ms=9", b""), 404, "nothing at")


def _framing() -> Iterator[Case]:
    start = f"POST {NATIVE} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n".encode()
    plain = dumped(FLOWER)
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in plain) + b"0\r\n\r\n"
    yield Case("framing: chunks of one byte", (start + chunks,), frozenset({200}), right=_setosa)
    yield Case("framing: a byte at a time", tuple(KNOWN[i : i + 1] for i in range(len(KNOWN))), right=right)
    yield _case("framing: a chunk of no length", start + b"zz\r\n{}\r\n0\r\n\r\n", 400)
    yield _case("framing: a chunk of 2^80 bytes", start + b"f" * 20 + b"\r\n{}\r\n", 400)
    over = start + b"%x\r\n" % (LIMIT + 1) + b" " * (LIMIT + 1) + b"\r\n0\r\n\r\n"
    yield _case("framing: chunks over the limit", over, 413, "; at most")
    closed = frozenset({0})
    yield Case("framing: a head cut off", (KNOWN[:40], HANG_UP), closed)
    yield Case("framing: a body cut off", (KNOWN[:-5], HANG_UP), closed)
    yield Case("framing: nothing", (HANG_UP,), closed)
    yield Case("framing: a pause", (KNOWN[:60], 0.3, KNOWN[60:-9], 0.3, KNOWN[-9:]), frozenset({200}), right=right)
    known = frozenset({200})
    yield Case("framing: ten at once", (KNOWN * 10,), known, answers=10, right=right)
    yield Case(
        "framing: garbage behind a request", (KNOWN + b"garbage\r\n\r\n",), frozenset({400}), answers=2, right=right
    )
    short = KNOWN.replace(b"content-length: ", b"content-length: 1\r\nx: ")
    yield Case("framing: a length too short", (short,), frozenset({400}), answers=2)
    spoiled = post(TENSORS, b"{")
    yield Case("framing: a wrong and a right one", (spoiled + KNOWN,), known, answers=2, right=right)
    upgrade = KNOWN.replace(b"host: x", b"host: x\r\nconnection: upgrade\r\nupgrade: h2c")
    yield Case("framing: an upgrade nobody offers", (upgrade,), known, right=right)
    expecting = KNOWN.replace(b"host: x", b"host: x\r\nexpect: 100-continue")
    yield Case("framing: 100-continue", (expecting,), known, right=right)
    socket = b"connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: eA=="
    sent = KNOWN.replace(b"host: x", b"host: x\r\n" + socket)
    yield Case("framing: a web socket nobody offers", (sent,), known, right=right)
