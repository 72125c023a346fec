"""Texts as people and machines send them."""

import json

import pytest

from bentos.contract import Model, Signature, Tensor, Text
from serving.api.payloads.text import TextAdapter
from serving.errors import BadInput, UnsupportedMedia

MODEL = Model(
    name="echo",
    title="Echo",
    doc="",
    verb="say",
    payload=Text(longest=100),
    signature=Signature((Tensor("x", "INT64", ("batch", "n")),), (Tensor("y", "FP32", ("batch",)),)),
)
ADAPTER = TextAdapter(MODEL, Text(longest=100), max_rows=3)
JSON = b"application/json"


@pytest.mark.parametrize(
    ("body", "media_type", "texts", "several"),
    [
        (b'"a"', JSON, ["a"], False),
        (b'{"text": "a"}', JSON, ["a"], False),
        (b'["a", {"text": "b"}]', b"application/x-www-form-urlencoded", ["a", "b"], True),
        ("straße \n".encode(), b"text/plain", ["straße \n"], False),
        (b"", b"text/plain", [""], False),
    ],
)
def test_a_text_comes_in_several_ways(body: bytes, media_type: bytes, texts: list[str], several: bool) -> None:
    assert ADAPTER.read(body, media_type, media_type) == (texts, several)


@pytest.mark.parametrize(
    ("body", "media_type", "words"),
    [
        (b"", JSON, "must be a text"),
        (b"[]", JSON, "the list is empty"),
        (b"[1]", JSON, r"\$\[0\]"),
        (b'{"texts": "a"}', JSON, "unknown field `texts`"),
        (b'{"text": null}', JSON, r"\$.text"),
        (b'"\\ud800"', JSON, "must be a text"),
        (b'"\xff"', JSON, "must be a text"),
        (b"\xff", b"text/plain", "not UTF-8: invalid start byte at byte 0"),
        (b"[" * 100_000, JSON, "must be a text"),
        (b'["", ' * 100_000, JSON, "more texts than 3"),
        (json.dumps([{"text": '"'}] * 10_000).encode(), JSON, "more texts than 3"),
    ],
)
def test_what_is_none_is_said(body: bytes, media_type: bytes, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        ADAPTER.read(body, media_type, media_type)


def test_another_type_is_415() -> None:
    with pytest.raises(UnsupportedMedia, match="image/png"):
        ADAPTER.read(b"", b"image/png", b"image/png")


def test_one_long_text_is_read_and_left_to_the_model_to_refuse() -> None:
    assert ADAPTER.read(json.dumps("a, " * 50_000).encode(), JSON, JSON) == (["a, " * 50_000], False)
    with pytest.raises(ValueError, match="150,000 characters, at most 100"):
        MODEL.rows("a, " * 50_000)
