"""BYTES on the wire: JSON strings in lists of any nesting, and each behind its length."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bentos.contract import BATCH, Tensor
from serving.api.v2 import texts
from serving.api.v2.encode import encode
from serving.api.v2.envelope import split
from serving.errors import BadInput
from tests.serving.api.v2.requests import bound, dumped

WORDS = Tensor("w", "BYTES", (BATCH, -1))
OUT = Tensor("o", "BYTES", (BATCH, -1))
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=6) | st.sampled_from(
    ['"', "\\", '\\"', "a: b", '"data":[1]', "]}", "[[", '","data":["', "é", "\0"]
)


def request(array: np.ndarray, nested: bool, **members: object) -> bytes:
    data = array.tolist() if nested else array.reshape(-1).tolist()
    return dumped({"name": "w", "data": data, "shape": list(array.shape), "datatype": "BYTES", **members})


def array_of(values: list[str], n_rows: int) -> np.ndarray:
    return texts.array_of(values[: len(values) // n_rows * n_rows], (n_rows, len(values) // n_rows))


@given(st.lists(TEXT, min_size=3, max_size=12), st.integers(1, 3), st.booleans(), st.booleans())
@settings(max_examples=100, deadline=None)
def test_any_text_comes_in_as_json_whether_the_request_is_short_or_long(values, n_rows, nested, long):
    array = array_of(values, n_rows)
    body = request(array, nested, **({"note": "x" * 1100} if long else {}))
    (read,), rows, _ = bound(body, [WORDS])
    assert rows == n_rows and read.dtype == object and read.tolist() == array.tolist()


@given(st.lists(TEXT, min_size=3, max_size=12), st.integers(1, 3))
@settings(max_examples=50, deadline=None)
def test_any_text_goes_in_and_out_behind_its_length(values, n_rows):
    array = array_of(values, n_rows)
    _, raw = encode("m", "v", [OUT], [array], [(0, True)])
    head = dumped(
        {"name": "w", "datatype": "BYTES", "shape": list(array.shape), "parameters": {"binary_data_size": len(raw)}}
    )
    (read,), _, _ = bound(head + raw, [WORDS], length=len(head))
    assert read.tolist() == array.tolist()
    text, none = encode("m", "v", [OUT], [array], [(0, False)])
    assert none is None and json.loads(text)["outputs"][0]["data"] == array.reshape(-1).tolist()


def test_more_strings_than_a_request_may_hold_beside_its_numbers():
    array = array_of(["a:]}\\"] * 40_000, 2)
    for nested in (False, True):
        (read,), _, _ = bound(request(array, nested), [WORDS])
        assert read.shape == (2, 20_000) and set(read.flat) == {"a:]}\\"}


@pytest.mark.parametrize(
    ("data", "shape", "words"),
    [
        (["a", "b", "c"], [1, 2], "3 strings do not fill shape"),
        (["a"], [1, 2], "1 strings do not fill shape"),
        ([["a"], ["b", "c"], ["d"]], [2, 2], "nested otherwise than its shape"),
        ([[["a"], ["b"]]], [1, 2], "nested otherwise than its shape"),
        (["a", 1, "b"], [1, 2], "data must be strings, flat or nested"),
        ("ab", [1, 2], "data must be a list of strings"),
        (["a"] * 3, [1, 2**17 + 1], "131073 texts in one request, the limit is 131072"),
    ],
)
def test_what_is_wrong_is_said(data, shape, words):
    for note in ({}, {"note": "x" * 1100}):
        body = dumped({"name": "w", "datatype": "BYTES", "shape": shape, "data": data, **note})
        with pytest.raises(BadInput, match=words if shape[1] == 2 else "texts|do not fill"):
            bound(body, [WORDS])


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"\1\0\0\0a", "hold fewer than 2 texts"),
        (b"\1\0\0\0a\2\0\0\0b", "the length of text 1 goes beyond"),
        (b"\1\0\0\0a\xff\xff\xff\xffb", "the length of text 1 goes beyond"),
        (b"\1\0\0\0a\1\0\0\0\xff", "text 1 is not UTF-8"),
        (b"\1\0\0\0a\1\0\0\0bc", "1 bytes of binary data are left"),
    ],
)
def test_binary_that_is_no_texts_is_said(raw, words):
    with pytest.raises(BadInput, match=words):
        texts.from_bytes(memoryview(raw), WORDS, (1, 2))


@pytest.mark.parametrize(
    ("text", "lists"),
    [
        (b'{"data":["a","]"],"x":1}', [b'["a","]"]']),
        (b'{"data" : [ ["a"] , ["b\\"]"] ] }', [b'[ ["a"] , ["b\\"]"] ]']),
        (b'{"data":["a",1]}', []),
        (b'{"data":["a",{"data":["b"]}]}', [b'["b"]']),
        (b'{"data":["a"],"data":[1]}', [b'["a"]', b"[1]"]),
        (b'{"data":["a"', []),
    ],
)
def test_a_list_of_strings_is_taken_out_whole_or_not_at_all(text, lists):
    gaps, taken = split(text)
    assert taken == lists and len(gaps) == len(lists) + 1
    assert len(b"".join(gaps)) + len(b"".join(taken)) == len(text)
