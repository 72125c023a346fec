"""POST …/infer: bytes in, bytes out, the runner in between."""

from __future__ import annotations

import zlib
from functools import partial

import numpy as np

from serving.api.v2.envelopes import Envelopes
from serving.api.v2.request import Asked, Request, parse
from serving.api.v2.response import written
from serving.errors import BadInput, TooLarge, UnsupportedMedia
from serving.http.direct import Direct
from serving.http.exchange import Exchange, Header, Peer, Taker, Taking, Written
from serving.http.router import JSON, Scope
from serving.inference.repository import Repository, Served

OCTETS: Header = (b"content-type", b"application/octet-stream")
HEADER_LENGTH = b"inference-header-content-length"
# curl sends -d as a form; what it holds is JSON.
TAKEN = (b"application/json", b"application/octet-stream", b"application/x-www-form-urlencoded")
# zlib's window bits: 15, and 16 more for gzip's header.
WINDOWS = {b"gzip": 31, b"deflate": 15}

NOTHING_FURTHER = parse(b"{}", None)  # neither id nor parameters


class Inference(Exchange):
    """One inference request."""

    __slots__ = ("name", "outputs", "request")

    interface = "v2"
    name: str
    request: Request
    outputs: Asked

    def written(self, results: list[np.ndarray]) -> Written:
        text, raw = written(self.name, self._served, self.request, self.outputs, results)
        if raw is None:
            return text, JSON, ()
        return text + raw, OCTETS, ((HEADER_LENGTH, b"%d" % len(text)),)


class Infer:
    """The requests to one served name; `parameters.form` of a request picks another form of its model."""

    def __init__(self, name: str, default: Served, repository: Repository) -> None:
        self._name, self._default, self._repository = name, default, repository
        self._most_bytes, self._max_depth = repository.settings.max_body_bytes, repository.settings.max_json_depth
        self._most_rows = repository.settings.max_request_rows
        self._envelopes = Envelopes(default.signature.inputs, default.model.finite)

    def app(self) -> Direct:
        return Direct(self.opened, self._default.recorder.failed, self._most_bytes)

    def opened(self, scope: Scope) -> Taker:
        """What takes the bodies of requests with this head. UnsupportedMedia"""
        length, encoding = _declared(scope)
        take = partial(self._take, scope["path"], length, encoding)
        return Taking(Inference.interface, self._default, take)

    def _take(self, path: str, length: bytes | None, encoding: bytes | None, body: bytes, peer: Peer) -> None:
        inference = Inference(peer, self._default)
        try:
            if encoding is not None:
                body = _decompressed(body, encoding, self._most_bytes)
            served, inputs, rows = self._read(inference, length, body)
            if self._repository.faults is None:
                inference.ask(served, rows, inputs)
            else:
                inference.later(self._repository.faults.befall(path, inputs, partial(inference.ask, served, rows)))
        except Exception as error:
            inference.set_exception(error)

    def _read(self, inference: Inference, length: bytes | None, body: bytes) -> tuple[Served, list[np.ndarray], int]:
        inference.name = self._name
        inference.request = NOTHING_FURTHER
        served = self._default
        known = self._envelopes.read(body) if length is None else None
        if known is None:
            first = None if length is None else _header_length(length, body)
            request = inference.request = parse(body, first, self._max_depth)
            if request.form is not None:
                served = self._repository.get(self._name, request.form)
            known = request.read(served, self._most_rows)
            if length is None and request.id is None and request.form is None:
                self._envelopes.learn(body, known[0], known[2])
        inputs, rows, inference.outputs = known
        return served, inputs, rows


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
    if stream.unused_data:
        raise BadInput(f"{len(stream.unused_data)} bytes follow the end of the {encoding.decode()} body")
    return plain
