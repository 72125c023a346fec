"""Requests as bytes, each with an id of its own, so that an answer tells whose it is."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from tests.wire.client import Response

INFER = "/v2/models/iris/infer"
FLOWER = {"sepal_length": 5.1, "sepal_width": 3.5, "petal_length": 1.4, "petal_width": 0.2}
TENSOR = {"name": "features", "shape": [1, 4], "datatype": "FP32", "data": [5.1, 3.5, 1.4, 0.2]}
SEVEN = (Path(__file__).parent.parent.parent / "bentos" / "digits" / "examples" / "seven.png").read_bytes()
JSON = "Content-Type: application/json"
# What ingress-nginx, Envoy and Istio add: no head is like another.
FIELDS = ("X-Request-Id: {0}", "X-Forwarded-For: 10.0.{1}.{2}", "traceparent: 00-{3:032x}-{3:016x}-01")


def document(tag: str, **members: object) -> bytes:
    """A V2 inference request about one flower with this id."""
    return json.dumps({"id": tag, "inputs": [TENSOR], **members}, separators=(",", ":")).encode()


def message(line: str, *fields: str | bytes, body: bytes = b"", host: str | None = "localhost") -> bytes:
    """A request as it is: the line, Host unless it is None, the fields, the body; no length is added."""
    lines: list[str | bytes] = [line, *([] if host is None else [f"Host: {host}"]), *fields]
    raw = [each.encode("latin-1") if isinstance(each, str) else each for each in lines]
    return b"\r\n".join(raw) + b"\r\n\r\n" + body


def get(path: str = "/livez", *fields: str | bytes, method: str = "GET", version: str = "HTTP/1.1") -> bytes:
    return message(f"{method} {path} {version}", *fields)


def post(path: str, body: bytes, *fields: str | bytes, kind: str = JSON, version: str = "HTTP/1.1") -> bytes:
    return message(f"POST {path} {version}", kind, f"Content-Length: {len(body)}", *fields, body=body)


def infer(tag: str, *fields: str | bytes, version: str = "HTTP/1.1") -> bytes:
    """A right request, which is answered 200 with its id."""
    return post(INFER, document(tag), *fields, version=version)


def distinct(number: int) -> list[str]:
    """The header lines that a proxy adds to the request of this number."""
    return [each.format(f"r{number}", number // 250 % 250, number % 250, number + 1) for each in FIELDS]


def chunked(chunks: Iterable[bytes], trailer: bytes = b"", extension: bytes = b"") -> bytes:
    """A body in chunks, its end and its trailer section."""
    return b"".join(b"%x%b\r\n%b\r\n" % (len(c), extension, c) for c in chunks) + b"0\r\n" + trailer + b"\r\n"


def infer_chunked(
    tag: str, *fields: str | bytes, size: int = 20, trailer: bytes = b"", coding: str = "chunked"
) -> bytes:
    body = document(tag)
    parts = [body[start : start + size] for start in range(0, len(body), size)]
    return message(
        f"POST {INFER} HTTP/1.1", JSON, f"Transfer-Encoding: {coding}", *fields, body=chunked(parts, trailer)
    )


def is_answer(response: Response, tag: str) -> bool:
    """Whether it is the 200 of `infer(tag)`."""
    return response.status == 200 and response.id == tag


def form(
    *parts: bytes, boundary: bytes = b"cut", preamble: bytes = b"", epilogue: bytes = b"", blank: bytes = b""
) -> bytes:
    """A multipart body of parts that bring their own heads; `blank` stands after each boundary."""
    text = b"".join(b"--" + boundary + blank + b"\r\n" + part + b"\r\n" for part in parts)
    return preamble + text + b"--" + boundary + b"--" + blank + b"\r\n" + epilogue


def picture(disposition: bytes = b'form-data; name="image"; filename="seven.png"') -> bytes:
    """A part that holds a handwritten seven."""
    return b"Content-Disposition: " + disposition + b"\r\nContent-Type: image/png\r\n\r\n" + SEVEN
