"""How deep JSON is nested, however long it is."""

import json

import pytest

from serving.api.depth import check_depth, depth
from serving.errors import BadInput


@pytest.mark.parametrize(
    ("text", "deep"),
    [
        (b"1", 0),
        (b"[]", 1),
        (b'{"a":[{}]}', 3),
        (b'"[[[["', 0),
        (b'["\\"[[", "\\\\", []]', 2),
        (json.dumps([["["] * 50_000, [[]], "]" * 50_000]).encode(), 3),
        (json.dumps([[1, [2]]] * 40_000).encode(), 3),
        (b"[" * 100_000 + b"]" * 100_000, 100_000),
        (b"[" + b"[]," * 60_000 + b'"' + b"[" * 70_000 + b'",[[[]]]]', 4),
    ],
)
def test_depth_is_what_the_nesting_is(text, deep):
    assert depth(text) == deep
    if deep:
        check_depth(text, deep)
        with pytest.raises(BadInput, match=f"nested {deep} deep, the limit is {deep - 1}"):
            check_depth(text, deep - 1)
