"""Limits as their settings say, and files that are never fetched from elsewhere."""

import json
import socket

import pytest

from bentos import contract
from serving.api.depth import check_depth
from serving.api.payloads.checks import field_reader
from serving.api.payloads.pictures import check_pictures
from serving.api.v2.decode import decode
from serving.errors import BadInput, TooLarge
from tests.hostile import pictures
from tests.hostile.case import Case, judged
from tests.hostile.requests import DOCUMENT, FLOWER, FORM, PICTURE, TENSOR, TENSORS, dumped, form, part, post
from tests.hostile.wire import ask


@pytest.mark.parametrize("deep", [1, 5, 64])
def test_json_may_be_as_deep_as_its_limit(deep):
    text = b'{"id":' * (deep - 1) + b"[]" + b"}" * (deep - 1)
    check_depth(text, deep)
    with pytest.raises(BadInput, match=f"nested {deep} deep, the limit is {deep - 1}"):
        check_depth(text, deep - 1)


def test_brackets_in_text_are_not_depth():
    check_depth(json.dumps({"id": '[[[["\\[[[' * 10}).encode(), 1)


def test_the_limit_of_depth_holds_on_both_interfaces():
    payload = {**FLOWER, "sepal_length": [[[[]]]]}
    with pytest.raises(BadInput, match="nested 5 deep, the limit is 4"):
        field_reader(contract.model("iris").payload, 4)(dumped(payload))
    with pytest.raises(BadInput, match="nested 5 deep, the limit is 3"):
        decode(dumped({**DOCUMENT, "inputs": [{**TENSOR, "data": [[1]]}]}), None, 3)


def test_pixels_are_counted_over_all_files_of_a_request():
    file = pictures.encoded(pictures.drawn(100), "PNG")
    check_pictures([file] * 3, 30_000)
    with pytest.raises(TooLarge, match=r"\[2\] image brings the request to 30,000 pixels; at most 29,999"):
        check_pictures([file] * 3, 29_999)


def test_an_address_is_never_fetched(port):
    """A file field, a JSON value, a tensor and an SVG that name a listener of ours: nobody calls it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"http://127.0.0.1:{listener.getsockname()[1]}/seven.png"
        for disposition in (b'form-data; name="image"', b'form-data; name="image"; filename="a.url"'):
            asked(port, post(PICTURE, form(part(address.encode(), disposition)), FORM))
        asked(port, post(PICTURE, address.encode(), b"image/png"))
        asked(port, post(PICTURE, f'<svg><image href="{address}"/></svg>'.encode(), b"image/svg+xml"))
        asked(port, post(PICTURE, dumped({"image": address})), {415})
        asked(port, post(TENSORS, dumped({**DOCUMENT, "inputs": [{**TENSOR, "data": address}]})))
        listener.settimeout(1)
        with pytest.raises(TimeoutError):
            listener.accept()


def asked(port, sent, statuses=frozenset({400})):
    assert not judged(Case("address", (sent,), frozenset(statuses)), ask(port, (sent,)))
