"""Media types and encodings, as clients and proxies write them."""

import gzip
import zlib

import numpy as np
import pytest

from serving.api.content import FREE_BYTES, MAX_RATIO, inflate, media_type
from serving.errors import BadInput, TooLarge, UnsupportedMedia

LIMIT = 2**24


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (b"application/json", b"application/json"),
        (b"Application/JSON", b"application/json"),
        (b"application/json; charset=utf-8", b"application/json"),
        (b'APPLICATION/json ;charset="UTF-8"', b"application/json"),
        (b"application/json;charset=utf8;v=1", b"application/json"),
        (b"application/json;", b"application/json"),
        (b'multipart/form-data; boundary="a;charset=latin-1"', b"multipart/form-data"),
        (b"application/jsonx", b"application/jsonx"),
        (b" text/html ", b"text/html"),
        (b"", b""),
    ],
)
def test_a_media_type_is_lower_case_without_parameters(value, kind):
    assert media_type(value) == kind


@pytest.mark.parametrize("charset", [b"latin-1", b'"iso-8859-1"', b"utf-16", b"", b"utf-8x"])
@pytest.mark.parametrize("before", [b"application/json;charset=", b"text/json; a=b; CharSet = "])
def test_another_charset_is_not_served(before, charset):
    with pytest.raises(UnsupportedMedia, match="its charset must be utf-8"):
        media_type(before + charset)


BODY = b'{"inputs": []}' * 100
DEFLATED = {b"gzip": gzip.compress, b"x-gzip": gzip.compress, b"deflate": zlib.compress, b"identity": bytes}


@pytest.mark.parametrize("name", DEFLATED)
@pytest.mark.parametrize("write", [bytes, bytes.upper, bytes.title, lambda name: b" " + name])
def test_every_encoding_by_any_case_of_its_name(name, write):
    assert inflate(DEFLATED[name](BODY), write(name), LIMIT) == BODY


@pytest.mark.parametrize("name", [b"br", b"gzip, gzip", b"zstd", b"gzipx", b"\xff"])
def test_other_encodings_are_not_served(name):
    with pytest.raises(UnsupportedMedia, match=r"content encoding .*: gzip, deflate and identity are taken"):
        inflate(BODY, name, LIMIT)


def test_what_is_wrong_with_a_body_is_told():
    packed = gzip.compress(BODY)
    with pytest.raises(BadInput, match="the body is not gzip: "):
        inflate(BODY, b"gzip", LIMIT)
    with pytest.raises(BadInput, match="the body is not deflate: "):
        inflate(packed, b"deflate", LIMIT)
    with pytest.raises(BadInput, match="the gzip body is cut off"):
        inflate(packed[:-9], b"gzip", LIMIT)
    with pytest.raises(BadInput, match="the gzip body is cut off"):
        inflate(b"", b"gzip", LIMIT)
    with pytest.raises(BadInput, match="4 bytes follow the end of the gzip body"):
        inflate(packed + b"tail", b"gzip", LIMIT)


def test_a_body_inflates_to_the_limit_and_no_further():
    body = np.random.default_rng(0).integers(0, 20, 1000, np.uint8).tobytes()
    assert inflate(gzip.compress(body), b"gzip", 1000) == body
    with pytest.raises(TooLarge, match="inflates to over 999 bytes, the most that are taken"):
        inflate(gzip.compress(body), b"gzip", 999)


def test_a_body_inflates_to_so_many_times_its_size_and_no_further():
    blank = bytes(FREE_BYTES)
    assert len(gzip.compress(blank)) * MAX_RATIO < len(blank)
    assert inflate(gzip.compress(blank), b"gzip", LIMIT) == blank
    packed = gzip.compress(blank + b"1")
    with pytest.raises(TooLarge, match=f"inflates to over {MAX_RATIO} times its {len(packed)} bytes"):
        inflate(packed, b"gzip", LIMIT)
    rows = np.round(np.random.default_rng(0).random((1, 400)), 1).repeat(4000, axis=0).tobytes()
    packed = gzip.compress(rows, 1)
    assert FREE_BYTES < len(rows) < MAX_RATIO * len(packed)
    assert inflate(packed, b"gzip", LIMIT) == rows
