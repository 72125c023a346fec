"""POST …/infer: bytes in, bytes out, the runner in between."""

from __future__ import annotations

from functools import partial

import numpy as np

from serving.api.content import inflate, media_type
from serving.api.v2.decode import V2Request, Wanted, decode, header_length
from serving.api.v2.encode import encode
from serving.errors import UnsupportedMedia
from serving.http.direct import Direct
from serving.http.exchange import Exchange, Header, Peer, Taker, Taking, Written
from serving.http.router import JSON, Scope
from serving.inference.repository import Repository, Served

OCTETS: Header = (b"content-type", b"application/octet-stream")
HEADER_LENGTH = b"inference-header-content-length"
# curl sends -d as a form; what it holds is JSON.
TAKEN = (b"application/json", b"application/octet-stream", b"application/x-www-form-urlencoded")


class Inference(Exchange):
    """One inference request."""

    __slots__ = ("name", "outputs", "request")

    interface = "v2"
    name: str
    request: V2Request
    outputs: Wanted

    def written(self, results: list[np.ndarray]) -> Written:
        served, request = self._served, self.request
        form = None if request.form is None else served.form
        outputs = served.signature.outputs
        text, raw = encode(self.name, served.version, outputs, results, self.outputs, request.id, form)
        if raw is None:
            return text, JSON, ()
        return text + raw, OCTETS, ((HEADER_LENGTH, b"%d" % len(text)),)


class Infer:
    """The requests to one served name; `parameters.form` of a request picks another form of its model."""

    def __init__(self, name: str, default: Served, repository: Repository) -> None:
        self._name, self._default, self._repository = name, default, repository
        self._most_bytes, self._max_depth = repository.settings.max_body_bytes, repository.settings.max_json_depth
        self._most_rows = repository.settings.max_request_rows

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
                body = inflate(body, encoding, self._most_bytes)
            served, inputs, rows = self._read(inference, length, body)
            if self._repository.faults is None:
                inference.ask(served, rows, inputs)
            else:
                inference.later(self._repository.faults.befall(path, inputs, partial(inference.ask, served, rows)))
        except Exception as error:
            inference.set_exception(error)

    def _read(self, inference: Inference, length: bytes | None, body: bytes) -> tuple[Served, list[np.ndarray], int]:
        inference.name = self._name
        first = None if length is None else header_length(length, body)
        request = inference.request = decode(body, first, self._max_depth)
        served = self._default if request.form is None else self._repository.get(self._name, request.form)
        inputs, n_rows, inference.outputs = request.bind(served.signature, served.model.finite, self._most_rows)
        return served, inputs, n_rows


def _declared(scope: Scope) -> tuple[bytes | None, bytes | None]:
    """The length of the JSON header before binary tensor data, and the content encoding. UnsupportedMedia"""
    length = encoding = None
    for key, value in scope["headers"]:
        if key == b"content-type":
            if media_type(value) not in TAKEN:
                raise UnsupportedMedia(
                    f"content type {value[:60].decode('latin-1')!r}:"
                    " inference takes application/json or application/octet-stream"
                )
        elif key == HEADER_LENGTH:
            length = value
        elif key == b"content-encoding":
            encoding = value
    return length, encoding
