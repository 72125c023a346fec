"""Tensors on the wire: every datatype, and every way to get its values wrong."""

import numpy as np
import pytest

from bentos.contract import DATATYPES, Tensor
from serving.api.v2.tensors import from_bytes, from_json
from serving.errors import BadInput


@pytest.mark.parametrize(
    ("datatype", "value"),
    [
        ("UINT8", "256"),
        ("UINT8", "-1"),
        ("INT8", "128"),
        ("INT32", "2147483648"),
        ("INT64", "9223372036854775808"),
        ("INT64", "-9223372036854775809"),
        ("UINT64", "18446744073709551616"),
        ("UINT64", "-1"),
        ("INT32", "1" + "0" * 40),
    ],
)
@pytest.mark.parametrize("count", [1, 100])  # by a list, and by what reads long ones
def test_a_whole_number_out_of_range_is_told_with_the_range(datatype, value, count):
    tensor, limits = Tensor("x", datatype, (-1, 1)), np.iinfo(DATATYPES[datatype])
    with pytest.raises(BadInput, match=f"'x': a value is outside {datatype}, {limits.min} to {limits.max}"):
        from_json(b"[%b]" % b",".join([value.encode()] * count), tensor, (count, 1), True)


@pytest.mark.parametrize("count", [1, 100])
@pytest.mark.parametrize("digits", [b"100000000000000000000", b"1e20", b"1E+20", b"100000000000000000000.0"])
def test_a_large_whole_number_is_a_number_of_floats(digits, count):
    array = from_json(b"[%b]" % b",".join([digits] * count), Tensor("x", "FP32", (-1, 1)), (count, 1), True)
    assert (array == np.float32(1e20)).all()
    assert array.shape == (count, 1)


@pytest.mark.parametrize("text", [b"[1.5]", b"[1.0]", b"[1e2]", b"[true]", b'["1"]', b"[null]", b"[{}]"])
def test_what_is_no_whole_number_is_told(text):
    with pytest.raises(BadInput, match="input 'x': data must be whole numbers that fit INT64"):
        from_json(text, Tensor("x", "INT64", (-1, 1)), (1, 1), True)


@pytest.mark.parametrize("text", [b"[1]", b"[0]", b'["true"]', b"[null]"])
def test_what_is_no_boolean_is_told(text):
    with pytest.raises(BadInput, match="input 'x': data must be true or false that fit BOOL"):
        from_json(text, Tensor("x", "BOOL", (-1, 1)), (1, 1), True)


MATRIX = Tensor("x", "FP32", (-1, 2))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"[[1,2],[3]]", "nested otherwise than its shape"),
        (b"[[1,2,3],[4]]", "nested otherwise than its shape"),
        (b"[[1,2,3,4]]", "nested otherwise than its shape"),
        (b"[[1,2],[3,4],[]]", "nested otherwise than its shape"),
        (b"[[[1,2],[3,4]]]", "nested otherwise than its shape"),
        (b"[1,2],[3,4]", "data is nested in part"),
        (b"[1,[2,3],4]", "data is nested in part"),
        (b"[1,2,3]", "3 values do not fill shape"),
        (b"[1,2,3,4,5]", "5 values do not fill shape"),
        (b"[]", "0 values do not fill shape"),
        (b"[ ]", "0 values do not fill shape"),
        (b'[1,2,"3,4",4]', "data must be numbers that fit FP32"),
        (b'[1,2,"[",4]', "data must be numbers"),
        (b'[["1","2"],["3","4"]]', "data must be numbers"),
        (b"[1,2,true,4]", "data must be numbers"),
        (b"[1,2,null,4]", "data must be numbers"),
        (b"[1,2,1e400,4]", "data must be numbers"),
        (b"[1,2,NaN,4]", "not JSON"),
        (b"[1,2,,4]", "not JSON"),
        (b"[1 2,,,4]", "not JSON"),
        (b"[[1,2]3,[,4]]", "not JSON"),
        (b"[[1,2],[3,4]", "nested otherwise"),
        (b"[1,2,3,4]]", "not JSON"),
        (b'"1,2"', "must be a list of FP32 values, not '1,2'"),
        (b"", "must be a list of FP32 values, not None"),
        (b"null", "must be a list of FP32 values, not None"),
        (b"7", "must be a list of FP32 values, not 7"),
        (b'{"a":1}', "must be a list of FP32 values, not an object"),
    ],
)
def test_lists_that_are_not_of_their_shape_are_told(text, words):
    with pytest.raises(BadInput, match=words):
        from_json(text, MATRIX, (2, 2), True)


def test_nested_lists_may_be_written_with_blanks():
    assert from_json(b"[ [1 , 2 ],\n\t[ 3,4] ]", MATRIX, (2, 2), True).tolist() == [[1, 2], [3, 4]]


def test_bytes_are_little_endian_and_shared():
    raw = memoryview(np.array([[1, 2], [3, 4]], "<f4").tobytes())
    array = from_bytes(raw, MATRIX, (2, 2), True)
    assert array.tolist() == [[1, 2], [3, 4]]
    assert array.base is not None
    with pytest.raises(BadInput, match=r"15 bytes of binary data, shape \[2, 2\] of FP32 takes 16"):
        from_bytes(raw[:-1], MATRIX, (2, 2), True)


def test_a_boolean_byte_is_0_or_1():
    tensor = Tensor("x", "BOOL", (-1, 1))
    assert from_bytes(memoryview(b"\1\0"), tensor, (2, 1), True).tolist() == [[True], [False]]
    with pytest.raises(BadInput, match="a BOOL is a byte of 0 or 1"):
        from_bytes(memoryview(b"\1\2"), tensor, (2, 1), True)


def test_values_that_are_not_finite_are_told_where_the_model_says_so():
    raw = memoryview(np.array([[1, np.nan], [3, 4]], np.float32).tobytes())
    with pytest.raises(BadInput, match="value 1 is nan; this model takes finite numbers only"):
        from_bytes(raw, MATRIX, (2, 2), True)
    assert np.isnan(from_bytes(raw, MATRIX, (2, 2), False)[0, 1])
    with pytest.raises(BadInput, match="value 3 is -inf"):
        from_json(b"[1,2,3,-1e39]", MATRIX, (2, 2), True)
    assert from_json(b"[1,2,3,-1e39]", MATRIX, (2, 2), False)[1, 1] == -np.inf
