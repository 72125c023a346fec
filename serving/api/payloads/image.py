"""Picture files."""

from __future__ import annotations

import base64
import random
import shlex
from collections.abc import Mapping
from typing import Any

from bentos import contract
from bentos.certificate import Histogram
from bentos.contract import Model
from serving.api.payloads.decoding import decoding_bytes
from serving.api.payloads.pictures import check_pictures
from serving.api.payloads.uploads import uploaded_files

FILE_FIELD = "image"
# A picture above this many bytes is decoded in a thread, so that nobody else waits for it.
INLINE_FILE_BYTES = 32 * 1024
INLINE_PIXELS = 512 * 512  # a file of 1 KB can hold 25 million


class ImageAdapter:
    """Files of a form, or one file as the body itself."""

    def __init__(self, model: Model, max_pixels: int) -> None:
        self._model, self._max_pixels = model, max_pixels

    def read(self, body: bytes, media_type: bytes, content_type: bytes) -> tuple[list[Any], bool]:
        """The files of a form's field, or the body itself as one. BadInput, UnsupportedMedia"""
        files = uploaded_files(body, content_type, FILE_FIELD)
        return list(files), len(files) > 1

    def needs_thread(self, payloads: list[Any], body_bytes: int) -> bool:
        """Whether they are many bytes or many pixels. BadInput, TooLarge, UnsupportedMedia"""
        return body_bytes > INLINE_FILE_BYTES or check_pictures(payloads, self._max_pixels) > INLINE_PIXELS

    def decoding_bytes(self, payloads: list[Any]) -> int:
        """What the largest of them takes, judged by its header. BadInput, TooLarge, UnsupportedMedia"""
        check_pictures(payloads, self._max_pixels)
        return max(map(decoding_bytes, payloads))  # they are decoded one after the other

    def draw(self, reference: Mapping[str, Histogram]) -> tuple[Any, Any]:
        """One of the folder's example pictures, as a data URL and as bytes."""
        name = self._model.name
        data = (contract.folder(name) / random.choice(contract.examples(name))).read_bytes()  # noqa: S311
        return {FILE_FIELD: f"data:image/png;base64,{base64.b64encode(data).decode()}"}, data

    def curl(self, base: str, payload: Any) -> str:
        """`payload` is the name of a file."""
        url = shlex.quote(f"{base}/{self._model.name}/{self._model.verb}")
        return f"curl {url} \\\n  -F {shlex.quote(f'{FILE_FIELD}=@{payload}')}"

    def openapi_content(self) -> dict[str, Any]:
        """A form with files, or a picture alone."""
        files = {
            "type": "array",
            "items": {"type": "string", "format": "binary"},
            "description": "One picture or several",
        }
        schema = {"type": "object", "required": [FILE_FIELD], "properties": {FILE_FIELD: files}}
        return {
            "multipart/form-data": {"schema": schema},
            "image/png": {"schema": {"type": "string", "format": "binary"}},
        }

    def small_example(self) -> Any:
        """None: a picture's tensor is too large to show."""
        return None

    def client_schema(self) -> dict[str, Any]:
        """The schema of a list of files."""
        picture = {"type": "array", "items": {"type": "file", "format": "image"}}
        return {"type": "object", "required": [FILE_FIELD], "properties": {FILE_FIELD: picture}}
