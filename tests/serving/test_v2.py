"""V2's bytes, on signatures made for the purpose: every datatype, several inputs, several outputs."""

import json
from types import SimpleNamespace

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from bentos.contract import DATATYPES, Signature, Tensor
from serving.api.v2.envelopes import Envelopes
from serving.api.v2.request import parse
from serving.api.v2.response import written
from serving.errors import BadInput


def served(*inputs, outputs=(), finite=True):
    signature = Signature(tuple(inputs), tuple(outputs))
    return SimpleNamespace(signature=signature, model=SimpleNamespace(finite=finite), version="v", form="onnx")


def in_json(tensor, array, nested=False):
    data = array.tolist() if nested else array.reshape(-1).tolist()
    return {"name": tensor.name, "datatype": tensor.datatype, "shape": list(array.shape), "data": data}


def in_binary(tensor, array):
    return {
        "name": tensor.name,
        "datatype": tensor.datatype,
        "shape": list(array.shape),
        "parameters": {"binary_data_size": array.nbytes},
    }


def read(form, *inputs, binary=b"", **further):
    body = json.dumps({"inputs": inputs, **further}).encode()
    return parse(body + binary, len(body) if binary else None).read(form, max_rows=1000)


def example(datatype, shape=(3, 2)):
    dtype = DATATYPES[datatype]
    if dtype.kind == "b":
        return np.array([True, False, True, True, False, False]).reshape(shape)
    if dtype.kind == "f":
        return np.array([0, -1.5, 3.25, 100, 1e-3, 7], dtype).reshape(shape)
    return np.array([0, 1, 7, np.iinfo(dtype).max, np.iinfo(dtype).min, 42], dtype).reshape(shape)


@pytest.mark.parametrize("datatype", DATATYPES)
def test_every_datatype_is_read_flat_nested_and_binary(datatype):
    tensor, array = Tensor("x", datatype, (-1, 2)), example(datatype)
    form = served(tensor)
    for (read_back,), rows, _ in (
        read(form, in_json(tensor, array)),
        read(form, in_json(tensor, array, nested=True)),
        read(form, in_binary(tensor, array), binary=array.tobytes()),
    ):
        assert rows == 3
        assert read_back.dtype == array.dtype
        assert (read_back == array).all()


@pytest.mark.parametrize("datatype", DATATYPES)
def test_every_datatype_is_written_as_json_and_binary(datatype):
    tensor, array = Tensor("y", datatype, (-1, 2)), example(datatype)
    form = served(tensor, outputs=[tensor])
    request = parse(b'{"id":"7"}', None)
    text, raw = written("m", form, request, [(0, False)], [array])
    answer = orjson.loads(text)
    assert raw is None
    assert answer["id"] == "7"
    assert answer["outputs"][0]["shape"] == [3, 2]
    assert np.array(answer["outputs"][0]["data"], array.dtype).tolist() == array.reshape(-1).tolist()
    text, raw = written("m", form, request, [(0, True)], [array])
    assert orjson.loads(text)["outputs"][0]["parameters"] == {"binary_data_size": array.nbytes}
    assert raw == array.tobytes()


@pytest.mark.parametrize(
    ("datatype", "value"),
    [
        ("UINT8", 256),
        ("UINT8", -1),
        ("INT8", 128),
        ("INT32", 2**31),
        ("UINT64", -1),
        ("INT64", 1.5),
        ("BOOL", 1),
        ("INT8", True),
    ],
)
def test_a_value_that_its_datatype_cannot_hold_is_told(datatype, value):
    tensor = Tensor("x", datatype, (-1, 1))
    for data in ([value], [[value]]):
        with pytest.raises(BadInput, match="input 'x': "):
            read(served(tensor), {"name": "x", "datatype": datatype, "shape": [1, 1], "data": data})


def test_several_inputs_come_in_any_order_in_json_and_binary_at_once():
    a, b = Tensor("a", "FP32", (-1, 2)), Tensor("b", "INT64", (-1, 1))
    x, y = np.ones((2, 2), np.float32), np.array([[3], [4]])
    (first, second), rows, _ = read(served(a, b), in_binary(b, y), in_json(a, x), binary=y.tobytes())
    assert rows == 2
    assert (first == x).all()
    assert (second == y).all()


def test_inputs_must_all_be_there_with_the_same_rows():
    a, b = Tensor("a", "FP32", (-1, 1)), Tensor("b", "FP32", (-1, 1))
    one, two = np.ones((1, 1), np.float32), np.ones((2, 1), np.float32)
    with pytest.raises(BadInput, match="input 'b' is missing"):
        read(served(a, b), in_json(a, one))
    with pytest.raises(BadInput, match="inputs differ in rows: a 1, b 2"):
        read(served(a, b), in_json(a, one), in_json(b, two))


def test_bytes_that_nobody_claims_are_told():
    a = Tensor("a", "FP32", (-1, 1))
    x = np.ones((1, 1), np.float32)
    with pytest.raises(BadInput, match="the body has 5 bytes of binary data, the inputs' binary_data_size add up to 4"):
        read(served(a), in_binary(a, x), binary=x.tobytes() + b"!")


def test_not_a_number_is_refused_where_the_model_says_so():
    a = Tensor("a", "FP32", (-1, 3))
    x = np.array([[1, np.nan, 3]], np.float32)
    with pytest.raises(BadInput, match="value 1 is nan; this model takes finite numbers only"):
        read(served(a), in_binary(a, x), binary=x.tobytes())
    (taken,), _, _ = read(served(a, finite=False), in_binary(a, x), binary=x.tobytes())
    assert np.isnan(taken[0, 1])


def test_huge_finite_numbers_are_finite():
    a = Tensor("a", "FP32", (-1, 2))
    x = np.array([[3e38, -3e38]], np.float32)
    (taken,), _, _ = read(served(a), in_binary(a, x), binary=x.tobytes())
    assert (taken == x).all()


def test_outputs_come_as_asked_in_the_order_asked():
    x = Tensor("x", "FP32", (-1, 1))
    outputs = [Tensor(name, "FP32", (-1, 1)) for name in ("a", "b", "c")]
    form, rows = served(x, outputs=outputs), in_json(x, np.ones((1, 1), np.float32))
    asked = [{"name": "c"}, {"name": "a", "parameters": {"binary_data": True}}]
    assert read(form, rows)[2] == [(0, False), (1, False), (2, False)]
    assert read(form, rows, outputs=asked)[2] == [(2, False), (0, True)]
    assert read(form, rows, parameters={"binary_data_output": True})[2] == [(0, True), (1, True), (2, True)]
    assert read(form, rows, outputs=asked, parameters={"binary_data_output": True})[2] == [(2, True), (0, True)]


@given(
    arrays.arrays(
        np.float32,
        st.tuples(st.integers(1, 20), st.just(3)),
        elements=st.floats(width=32, allow_nan=False, allow_infinity=False),
    )
)
def test_numbers_survive_json_to_the_bit(array):
    tensor = Tensor("x", "FP32", (-1, 3))
    form = served(tensor, outputs=[tensor])
    text, _ = written("m", form, parse(b"{}", None), [(0, False)], [array])
    sent = orjson.loads(text)["outputs"][0]
    (back,), _, _ = parse(orjson.dumps({"inputs": [sent]}), None).read(form, 1000)
    assert (back.view(np.uint32) == (array + np.float32(0)).view(np.uint32)).all() or (back == array).all()


@given(st.binary(max_size=200), st.none() | st.integers(0, 200))
def test_any_bytes_are_a_request_or_bad_input(body, length):
    form = served(Tensor("x", "FP32", (-1, 3)), outputs=[Tensor("y", "FP32", (-1, 3))])
    try:
        parse(body, None if length is None else min(length, len(body))).read(form, 10)
    except BadInput as error:
        assert str(error)


KEYS = ["inputs", "outputs", "name", "shape", "datatype", "data", "parameters", "binary_data_size", "id"]
LEAVES = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5)
)
JSON = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=6),
    max_leaves=12,
)
RIGHT = {"name": "x", "datatype": "FP32", "shape": [1, 3], "data": [1, 2, 3]}


@given(JSON)
def test_any_json_anywhere_in_a_request_is_taken_or_bad_input(anything):
    form = served(Tensor("x", "FP32", (-1, 3)), outputs=[Tensor("y", "FP32", (-1, 3))])
    places = [anything, {"inputs": [anything]}]
    places += [{"inputs": [{**RIGHT, key: anything}]} for key in (*RIGHT, "parameters")]
    places += [{"inputs": [RIGHT], key: anything} for key in ("id", "outputs", "parameters")]
    for document in places:
        try:
            parse(json.dumps(document).encode(), None).read(form, 10)
        except BadInput as error:
            assert 0 < len(str(error)) < 400


def envelope_of(document, between=":"):
    """A fresh Envelopes that has read `document` once, and the body, with that between a key and its value."""
    tensors = (Tensor("x", "FP32", (-1, 3)),)
    body = json.dumps(document, separators=(",", between)).encode()
    envelopes = Envelopes(tensors, finite=True)
    assert envelopes.read(body) is None
    inputs, _, outputs = parse(body, None).read(served(*tensors, outputs=[Tensor("y", "FP32", (-1, 1))]), 10)
    envelopes.learn(body, inputs, outputs)
    return envelopes, body


@pytest.mark.parametrize("between", [":", ": "])
def test_a_request_that_differs_in_its_numbers_only_is_read_alike(between):
    envelopes, body = envelope_of({"inputs": [RIGHT]}, between)
    (array,), rows, outputs = envelopes.read(body.replace(b"[1,2,3]", b"[4.5, -6e-1 ,7]"))
    assert array.tolist() == [[4.5, np.float32(-0.6), 7.0]]
    assert (rows, outputs) == (1, [(0, False)])


WRONG = ("[1,2]", "[1,2,3,4]", "[]", '[1,2,"3"]', "[1,2,null]", "[1,[2],3]", "[[1,2,3]]", "[1,2,3", '"]"', "[1,2,NaN]")


@pytest.mark.parametrize("numbers", WRONG)
def test_numbers_that_are_wrong_are_read_in_full(numbers):
    envelopes, body = envelope_of({"inputs": [RIGHT]})
    assert envelopes.read(body.replace(b"[1,2,3]", numbers.encode())) is None


def test_numbers_too_large_are_told_also_in_a_known_envelope():
    envelopes, body = envelope_of({"inputs": [RIGHT]})
    with pytest.raises(BadInput, match="value 1 is inf"):
        envelopes.read(body.replace(b"[1,2,3]", b"[1,1e39,3]"))


@pytest.mark.parametrize(
    "document",
    [
        {"inputs": [RIGHT], "parameters": {"data": [1, 2, 3]}},
        {"inputs": [{**RIGHT, "parameters": {"data": [1, 2, 3]}}]},
        {"inputs": [{**RIGHT, "data": [[1, 2, 3]]}]},
        {"inputs": [RIGHT], "note": 'a \\" quote'},
        {"inputs": [RIGHT], "note": "x" * 2000},
    ],
)
def test_an_envelope_that_is_not_plain_is_not_remembered(document):
    envelopes, body = envelope_of(document)
    assert envelopes.read(body) is None
