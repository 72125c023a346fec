"""One adapter per payload kind: what a native route reads, shows and draws. A new kind is a new file here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from bentos.certificate import Histogram
from bentos.contract import Fields, Image, Model, Text
from serving.api.payloads.fields import FieldsAdapter
from serving.api.payloads.image import ImageAdapter
from serving.api.payloads.text import TextAdapter
from serving.settings import Settings


class PayloadAdapter(Protocol):
    """What is particular to one kind of payload."""

    def read(self, body: bytes, media_type: bytes, content_type: bytes) -> tuple[list[Any], bool]:
        """A body's payloads, and whether they came as several. BadInput, UnsupportedMedia"""

    def needs_thread(self, payloads: list[Any], body_bytes: int) -> bool:
        """Whether preprocessing them would hold the event loop up. BadInput, TooLarge, UnsupportedMedia"""

    def decoding_bytes(self, payloads: list[Any]) -> int:
        """Bytes of memory that preprocessing takes at most; in a thread, as it checks what `needs_thread` left."""

    def draw(self, reference: Mapping[str, Histogram]) -> tuple[Any, Any]:
        """A random payload: as JSON shows it, as the model takes it. `reference`: the certificate's histograms"""

    def curl(self, base: str, payload: Any) -> str:
        """The command that sends a payload to the native route at this base URL."""

    def openapi_content(self) -> dict[str, Any]:
        """The request body's content by media type."""

    def small_example(self) -> Any:
        """An example, as the model takes it, that is small enough to be shown as a tensor, or None."""

    def client_schema(self) -> dict[str, Any]:
        """The input as BentoML's own clients are told of it."""


def adapter(model: Model, settings: Settings) -> PayloadAdapter:
    """The adapter of a model that people can send something to."""
    if isinstance(model.payload, Fields):
        return FieldsAdapter(model, model.payload, settings.max_json_depth, settings.max_request_rows)
    if isinstance(model.payload, Text):
        return TextAdapter(model, model.payload, settings.max_request_rows)
    assert isinstance(model.payload, Image)
    return ImageAdapter(model, settings.max_request_pixels)
