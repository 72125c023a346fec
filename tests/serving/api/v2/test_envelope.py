"""The numbers of a request apart from the JSON around them."""

import pytest

from serving.api.v2.envelope import split


@pytest.mark.parametrize(
    ("text", "lists"),
    [
        (b'{"data":[1,2],"a":[3]}', [b"[1,2]"]),
        (b'{"data" :\n [1, 2] , "a": [3]}', [b"[1, 2]"]),
        (b'{"data":[[1],[2]]}', [b"[[1],[2]]"]),
        (b'[{"data":[[1] , [2] ] },{"data":[]}]', [b"[[1] , [2] ]", b"[]"]),
        (b'{"data":["a"]}', [b'["a"]']),
        (b'{"data":["a",1]}', []),
        (b'{"data":[1,{"a":[2]}]}', []),
        (b'{"data":[[],{}]}', []),
        (b'{"data":[[1],{"a":[2]}]}', []),
        (b'{"data":[[1],"a"]}', []),
        (b'{"data":[[],"a"],"b":1}', [b'[[],"a"]']),
        (b'{"data":"[1]"}', []),
        (b'{"data":[1', []),
        (b'{"data":[true,false]', [b"[true,false]"]),
        (b'{"name":"data","shape":[1]}', []),
        (b"", []),
    ],
)
def test_lists_of_numbers_are_taken_out_whole(text, lists):
    gaps, taken = split(text)
    assert taken == lists
    assert len(gaps) == len(lists) + 1
    joined = gaps[0]
    for numbers, gap in zip(taken, gaps[1:], strict=True):
        joined += numbers + gap
    assert joined == text


def test_no_more_than_so_many():
    gaps, taken = split(b'{"data":[1]}' * 5, 2)
    assert taken == [b"[1]"] * 2
    assert gaps[-1] == b"}" + b'{"data":[1]}' * 3
