"""Outputs as arrays → the bytes of a response."""

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from bentos.contract import Tensor
from serving.api.v2.encode import encode
from tests.serving.api.v2.requests import NUMBERS, bound, example


@pytest.mark.parametrize("datatype", NUMBERS)
def test_every_datatype_is_written_as_json_and_binary(datatype):
    tensor, array = Tensor("y", datatype, (-1, 2)), example(datatype)
    text, raw = encode("m", "v", [tensor], [array], [(0, False)], id="7")
    answer = orjson.loads(text)
    assert raw is None
    assert (answer["id"], answer["model_name"], answer["model_version"]) == ("7", "m", "v")
    assert answer["outputs"][0]["shape"] == [3, 2]
    assert np.array(answer["outputs"][0]["data"], array.dtype).tolist() == array.reshape(-1).tolist()
    text, raw = encode("m", "v", [tensor], [array], [(0, True)])
    answer = orjson.loads(text)
    assert answer["outputs"][0]["parameters"] == {"binary_data_size": array.nbytes}
    assert raw == array.tobytes()
    assert answer.keys().isdisjoint({"id", "parameters"})


def test_outputs_come_in_the_order_wanted_and_raw_ones_behind_each_other():
    a, b = Tensor("a", "FP32", (-1, 1)), Tensor("b", "INT64", (-1,))
    x, y = np.ones((2, 1), np.float32), np.array([3, 4])
    text, raw = encode("m", "v", [a, b], [x, y], [(1, True), (0, True)], form="int8")
    answer = orjson.loads(text)
    assert [output["name"] for output in answer["outputs"]] == ["b", "a"]
    assert raw == y.tobytes() + x.tobytes()
    assert answer["parameters"] == {"form": "int8"}
    text, raw = encode("m", "v", [a, b], [x, y], [(1, False)])
    assert orjson.loads(text)["outputs"] == [{"name": "b", "datatype": "INT64", "shape": [2], "data": [3, 4]}]


def test_an_empty_id_is_an_id():
    assert orjson.loads(encode("m", "v", [], [], [], id="")[0])["id"] == ""


@given(
    arrays.arrays(
        np.float32,
        st.tuples(st.integers(1, 20), st.just(3)),
        elements=st.floats(width=32, allow_nan=False, allow_infinity=False),
    )
)
def test_numbers_survive_json_to_the_bit(array):
    tensor = Tensor("x", "FP32", (-1, 3))
    text, _ = encode("m", "v", [tensor], [array], [(0, False)])
    (back,), _, _ = bound(orjson.dumps({"inputs": orjson.loads(text)["outputs"]}), [tensor])
    assert (back.view(np.uint32) == array.view(np.uint32)).all()
