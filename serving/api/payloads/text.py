"""Texts: a JSON string, `{"text": "…"}`, a list of either, or a body of text/plain."""

from __future__ import annotations

import json
import random
import shlex
from collections.abc import Mapping
from typing import Any

import msgspec

from bentos import contract
from bentos.certificate import Histogram
from bentos.contract import Model, Text
from serving.api.content import JSON_TYPES
from serving.errors import BadInput, UnsupportedMedia

PLAIN = b"text/plain"
INLINE_BODY_BYTES = 4096  # what is longer is preprocessed in a thread
LARGE_BODY_BYTES = 64 * 1024  # of what is longer, the texts are counted first
QUOTES = 4  # of one text as an object


class _TextObject(msgspec.Struct, forbid_unknown_fields=True):
    text: str


_decode = msgspec.json.Decoder(str | _TextObject | list[str | _TextObject]).decode


class TextAdapter:
    """One text, or a list of them."""

    def __init__(self, model: Model, payload: Text, max_rows: int) -> None:
        self._model, self._payload, self._max_rows = model, payload, max_rows

    def read(self, body: bytes, media_type: bytes, content_type: bytes) -> tuple[list[Any], bool]:
        """Plain text, or JSON: a string, `{"text": …}`, or a list of either. BadInput, UnsupportedMedia"""
        if media_type == PLAIN:
            return [_plain(body)], False
        if media_type not in JSON_TYPES:
            kind = content_type[:60].decode("latin-1")
            raise UnsupportedMedia(f"content type {kind!r}: send application/json or text/plain")
        if len(body) > LARGE_BODY_BYTES:
            self._check_count(body)
        try:
            decoded = _decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise BadInput(f'the body must be a text, {{"text": "…"}} or a list of those: {error}') from None
        if decoded == []:
            raise BadInput("the list is empty: send at least one text")
        several = isinstance(decoded, list)
        return [t if isinstance(t, str) else t.text for t in (decoded if several else [decoded])], several

    def _check_count(self, body: bytes) -> None:
        """BadInput for more texts than may come: each would be an object of many bytes first."""
        if body.count(b'"') - body.count(b'\\"') > QUOTES * self._max_rows:
            raise BadInput(f"the body holds more texts than {self._max_rows}, the limit of one request")

    def needs_thread(self, payloads: list[Any], body_bytes: int) -> bool:
        """Whether the body is long: `preprocess` reads every byte of it."""
        return body_bytes > INLINE_BODY_BYTES

    def decoding_bytes(self, payloads: list[Any]) -> int:
        """None: nothing is unpacked."""
        return 0

    def draw(self, reference: Mapping[str, Histogram]) -> tuple[Any, Any]:
        """One of the folder's examples."""
        shown = random.choice(contract.examples(self._model.name))  # noqa: S311
        return shown, shown["text"]

    def curl(self, base: str, payload: Any) -> str:
        """The command that sends it as JSON."""
        url = shlex.quote(f"{base}/{self._model.name}/{self._model.verb}")
        text = json.dumps(payload, ensure_ascii=False)
        return f"curl {url} \\\n  -H 'Content-Type: application/json' \\\n  -d {shlex.quote(text)}"

    def openapi_content(self) -> dict[str, Any]:
        """JSON or plain text, with the folder's examples."""
        payloads = contract.examples(self._model.name)
        text = {"type": "string", "maxLength": self._payload.longest}
        one = [self.client_schema(), text]
        several = {"type": "array", "minItems": 1, "maxItems": self._max_rows, "items": {"oneOf": one}}
        examples = {f"example {i + 1}": {"value": payload} for i, payload in enumerate(payloads)}
        examples["several"] = {"value": [payload["text"] for payload in payloads[:2]]}
        return {
            "application/json": {"schema": {"oneOf": [*one, several]}, "examples": examples},
            "text/plain": {"schema": text},
        }

    def small_example(self) -> Any:
        """The first example's text."""
        return contract.examples(self._model.name)[0]["text"]

    def client_schema(self) -> dict[str, Any]:
        """The schema of `{"text": …}`."""
        text = {"type": "string", "maxLength": self._payload.longest}
        return {"type": "object", "additionalProperties": False, "required": ["text"], "properties": {"text": text}}


def _plain(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise BadInput(f"the body is not UTF-8: {error.reason} at byte {error.start}") from None
