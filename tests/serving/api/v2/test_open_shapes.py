"""Requests to signatures whose dimensions are open, and values that are none: null, BF16, no element at all."""

import tracemalloc

import numpy as np
import orjson
import pytest

from bentos.contract import BATCH, Signature, Tensor, bfloat16_to_float32, float32_to_bfloat16
from serving.api.v2.decode import ShortDecoder, decode
from serving.api.v2.encode import encode
from serving.api.v2.tensors import reading_factor
from serving.errors import BadInput
from tests.serving.api.v2.requests import bound, dumped, in_binary, in_json

IDS = Tensor("ids", "INT64", (BATCH, "sequence"))
MASK = Tensor("mask", "FP32", (BATCH, "sequence"))
STATE = Tensor("state", "FP32", (2, BATCH, 3))
RATE = Tensor("rate", "INT64", ())
Y = Tensor("y", "FP32", (BATCH, 3))


def of(tensor, *shape):
    return in_json(tensor, np.zeros(shape, tensor.dtype))


def test_the_batch_may_stand_anywhere_or_nowhere():
    sent = [of(STATE, 2, 5, 3), of(IDS, 5, 7), of(RATE)]
    arrays, n_rows, _ = bound(dumped(*sent), [IDS, STATE, RATE], [Y])
    assert n_rows == 5 and [a.shape for a in arrays] == [(5, 7), (2, 5, 3), ()]


def test_what_is_not_batched_is_one_row():
    signature = Signature((Tensor("x", "FP32", (-1,)),), (Y,), batched=False)
    (x,), n_rows, _ = decode(dumped(of(Tensor("x", "FP32", (-1,)), 5))).bind(signature, True, 2)
    assert n_rows == 1 and x.shape == (5,), "a limit of rows is none of a length"
    assert not ShortDecoder.suits(signature)


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        ([of(IDS, 2, 3), of(MASK, 2, 4)], "'sequence' is 3 in input 'ids' and 4 in input 'mask'"),
        ([of(MASK, 2, 4), of(IDS, 3, 4)], "'batch' is 2 in input 'mask' and 3 in input 'ids'"),
        ([of(IDS, 2)], r"shape is \[2\], expected \[batch, sequence\]"),
        ([of(IDS, 0, 3)], "0 rows in one request, the limit is 100"),
        ([of(IDS, 101, 1)], "101 rows in one request, the limit is 100"),
        ([of(IDS, 1, 1)], "input 'mask' is missing"),
        ([{**of(IDS, 1, 1), "shape": [1, -1]}], r"shape is \[1, -1\]"),
        ([{**of(IDS, 1, 1), "shape": [1, 2**40]}], "over 134,217,728 values"),
        ([{**of(IDS, 1, 1), "shape": [1, 2**26]}], "3 bytes of data do not fill shape"),
        ([{**of(IDS, 1, 1), "data": [[1]], "shape": [1, 2**26]}], "do not fill shape"),
        ([{**of(IDS, 1, 1), "shape": [1, 2]}], r"1 values do not fill shape \[1, 2\]"),
    ],
)
def test_a_shape_that_does_not_fit_is_said(sent, words):
    with pytest.raises(BadInput, match=words):
        bound(dumped(*sent), [IDS, MASK], [Y], max_rows=100)


def test_a_batch_by_name_is_a_batch():
    named = Tensor("x", "FP32", (BATCH, 2))
    assert Signature((named,), (named,)).rows_alike
    assert bound(dumped(of(named, 3, 2)), [named], [named])[1] == 3
    with pytest.raises(BadInput, match=r"shape is \[3, 1\], expected \['batch', 2\]"):
        bound(dumped({**of(named, 3, 2), "shape": [3, 1]}), [named], [named])


def test_a_length_of_zero_is_one():
    for data in ([], [[], []]):
        (ids,), _, _ = bound(dumped({**of(IDS, 2, 0), "data": data}), [IDS])
        assert ids.shape == (2, 0)
    with pytest.raises(BadInput, match="data must be whole numbers"):
        bound(dumped({**of(IDS, 2, 0), "data": [[], [1]]}), [IDS])
    head = dumped(in_binary(IDS, ids))
    (ids,), _, _ = bound(head, [IDS], length=len(head))
    assert ids.shape == (2, 0)


X = Tensor("x", "FP32", (-1, 3))


@pytest.mark.parametrize("rows", [1, 50, 9000])
def test_null_is_nan_where_nan_may_be(rows):
    tensor = {"name": "x", "datatype": "FP32", "shape": [rows, 3], "data": [1, None, 3] * rows}
    (x,), _, _ = bound(dumped(tensor), [X], finite=False, max_rows=rows)
    np.testing.assert_array_equal(x, np.tile(np.array([1, np.nan, 3], np.float32), (rows, 1)))
    with pytest.raises(BadInput, match="data must be numbers"):
        bound(dumped(tensor), [X], finite=True, max_rows=rows)
    whole = Tensor("x", "INT64", (-1, 3))
    with pytest.raises(BadInput, match="data must be whole numbers"):
        bound(dumped({**tensor, "datatype": "INT64"}), [whole], finite=False, max_rows=rows)


def test_an_output_that_is_no_number_is_said_to_be_none():
    y = np.array([[1, np.nan, np.inf], [np.nan, 2, 3]], np.float32)
    text, _ = encode("null", "v", [Y], [y], [(0, False)])
    (output,) = orjson.loads(text)["outputs"]
    assert output["data"] == [1, None, None, None, 2, 3] and output["parameters"] == {"nan": 2, "infinite": 1}
    text, _ = encode("null", "v", [Y], [np.ones((1, 3), np.float32)], [(0, False)])
    assert "parameters" not in orjson.loads(text)["outputs"][0]


def test_bf16_is_rounded_to_even_in_json_and_taken_as_it_is_in_binary():
    tensor = Tensor("x", "BF16", (-1, 2))
    bits = np.array([[0x3FC0, 0xC049]], np.uint16)
    head = dumped(in_binary(tensor, bits))
    (read,), _, _ = bound(head + bits.tobytes(), [tensor], length=len(head))
    assert read.tolist() == bits.tolist()
    (read,), _, _ = bound(dumped({"name": "x", "datatype": "BF16", "shape": [1, 2], "data": [1.5, -3.14159]}), [tensor])
    assert read.tolist() == bits.tolist()
    text, raw = encode("m", "v", [tensor], [bits], [(0, False)])
    assert raw is None and orjson.loads(text)["outputs"][0]["data"] == [1.5, -3.140625]
    assert encode("m", "v", [tensor], [bits], [(0, True)])[1] == bits.tobytes()
    infinite = np.array([[0x7F80, 0]], np.uint16)
    with pytest.raises(BadInput, match="value 0 is inf"):
        bound(head + infinite.tobytes(), [tensor], length=len(head))


def test_bf16_of_floats():
    floats = np.array([1.0, 1.00390625, 1.01171875, np.nan, -np.inf], np.float32)
    assert bfloat16_to_float32(float32_to_bfloat16(floats)).tolist()[:3] == [1.0, 1.0, 1.015625]
    assert float32_to_bfloat16(floats).tolist()[3:] == [0x7FC0, 0xFF80]


@pytest.mark.parametrize("tensor", [IDS, Tensor("mask", "FP32", IDS.shape), Tensor("rows", "FP32", (BATCH, 1000))])
def test_lists_take_no_more_memory_than_is_had_for_them(tensor, reader):
    array = np.ones((1, 200_000) if "sequence" in tensor.shape else (200, 1000), np.int64)
    body = dumped(in_json(tensor, array, nested=True)).replace(b" ", b"")
    arrays, peak = [], 0
    tracemalloc.start()
    try:
        arrays, _, _ = bound(body, [tensor], [Y])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert arrays[0].sum() == 200_000
    assert peak < reading_factor(Signature((tensor,), (Y,))) * len(body)
