"""POST …/infer: bytes in, bytes out, one submit in between."""

from __future__ import annotations

import zlib
from time import perf_counter

from serving.errors import BadInput, TooLarge, UnsupportedMedia
from serving.http import App, Header, Receive, Scope, Send, answer, client_of, read_body
from serving.repository import Repository, Served
from serving.v2.envelopes import Envelopes
from serving.v2.request import parse
from serving.v2.response import written

OCTETS: Header = (b"content-type", b"application/octet-stream")
HEADER_LENGTH = b"inference-header-content-length"
# curl sends -d as a form; what it holds is JSON.
TAKEN = (b"application/json", b"application/octet-stream", b"application/x-www-form-urlencoded")
# zlib's window bits: 15, and 16 more for gzip's header.
WINDOWS = {b"gzip": 31, b"deflate": 15}

NOTHING_FURTHER = parse(b"{}", None)  # neither id nor parameters


def infer(name: str, default: Served, repository: Repository) -> App:
    """The application of one served name; `parameters.form` of a request picks another form of its model."""
    settings = repository.settings
    most_bytes, most_rows = settings.max_body_bytes, settings.max_request_rows
    faults = repository.faults
    envelopes = Envelopes(default.signature.inputs, default.model.finite)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        served = default
        try:
            started = perf_counter()
            length, encoding = _declared(scope)
            body = await read_body(scope, receive, most_bytes)
            if encoding is not None:
                body = _decompressed(body, encoding, most_bytes)
            request = NOTHING_FURTHER
            known = envelopes.read(body) if length is None else None
            if known is None:
                request = parse(body, None if length is None else _header_length(length, body))
                if request.form is not None:
                    served = repository.get(name, request.form)
                known = request.read(served, most_rows)
                if length is None and request.id is None and request.form is None:
                    envelopes.learn(body, known[0], known[2])
            inputs, rows, outputs = known
            if faults is not None:
                inputs = await faults.befall(scope["path"], inputs)
            parsed = perf_counter()
            results = await served.runner.submit(inputs, rows, client_of(receive))
            computed = perf_counter()
            text, raw = written(name, served, request, outputs, results)
            if raw is None:
                await answer(receive, send, text)
            else:
                await answer(receive, send, text + raw, OCTETS, (HEADER_LENGTH, b"%d" % len(text)))
            ended = perf_counter()
            recorder = served.recorder
            recorder.preprocess.append(parsed - started)
            recorder.postprocess.append(ended - computed)
            recorder.v2.append(ended - started)
        except Exception as error:
            served.recorder.failed(error)
            raise

    return app


def _declared(scope: Scope) -> tuple[bytes | None, bytes | None]:
    """The length of the JSON header before binary tensor data, and the content encoding. UnsupportedMedia"""
    length = encoding = None
    for key, value in scope["headers"]:
        if key == b"content-type":
            if not value.startswith(TAKEN):
                raise UnsupportedMedia(
                    f"content type {value[:60].decode('latin-1')!r}:"
                    " inference takes application/json or application/octet-stream"
                )
        elif key == HEADER_LENGTH:
            length = value
        elif key == b"content-encoding":
            encoding = value
    return length, encoding


def _header_length(length: bytes, body: bytes) -> int:
    if not length.isdigit() or len(length) > 12 or int(length) > len(body):
        raise BadInput(
            f"Inference-Header-Content-Length is {length[:40].decode('latin-1')!r}, the body has {len(body)} bytes"
        )
    return int(length)


def _decompressed(body: bytes, encoding: bytes, limit: int) -> bytes:
    if encoding == b"identity":
        return body
    if encoding not in WINDOWS:
        raise UnsupportedMedia(
            f"content encoding {encoding[:40].decode('latin-1')!r}: gzip, deflate and identity are taken"
        )
    stream = zlib.decompressobj(WINDOWS[encoding])
    try:
        plain = stream.decompress(body, limit + 1)
    except zlib.error as error:
        raise BadInput(f"the body is not {encoding.decode()}: {error}") from None
    if len(plain) > limit:
        raise TooLarge(f"the body inflates to over {limit} bytes, which EKIBEN_MAX_BODY_BYTES sets")
    if not stream.eof:
        raise BadInput(f"the {encoding.decode()} body is cut off")
    return plain
