"""V2's two ways to write tensors, and what counts as the same answer."""

import json

import numpy as np
import pytest

from loadtest import v2

TENSORS: v2.Tensors = {
    "x": np.array([[96 / 255, 5.1]], np.float32),
    "n": np.array([[3]], np.int64),
    "text": np.array([["", "à la carte"]], object),
}


def test_json_has_its_numbers_as_short_as_clients_write_them() -> None:
    headers, body = v2.encode(TENSORS, binary=False, request_id="seven")
    assert headers == {"Content-Type": "application/json"} and b"[0.3764706,5.1]" in body
    request = json.loads(body)
    assert request["id"] == "seven" and request["inputs"][1] == {
        "name": "n", "datatype": "INT64", "shape": [1, 1], "data": [3],
    }  # fmt: skip


@pytest.mark.parametrize("binary", [False, True])
def test_what_is_written_is_read(binary: bool) -> None:
    headers, body = v2.encode(TENSORS, binary)
    answer = body.replace(b'"inputs"', b'"outputs"')
    shift = len(answer) - len(body)
    lower = {name.lower(): value for name, value in headers.items()}
    if binary:
        lower[v2.LENGTH_HEADER] = str(int(lower[v2.LENGTH_HEADER]) + shift)
    _, tensors = v2.decode(answer, lower)
    assert v2.difference(tensors, TENSORS, 0) == ""
    assert all(tensors[name].dtype == TENSORS[name].dtype for name in TENSORS)


def test_floats_may_differ_a_little_and_integers_not_at_all() -> None:
    right = {"y": np.array([1.0, 2.0]), "label": np.array([2])}
    assert v2.difference({"y": [1.0005, 2.0], "label": [2]}, right, 1e-3) == ""
    assert "y is" in v2.difference({"y": [1.1, 2.0], "label": [2]}, right, 1e-3)
    assert "y is" in v2.difference({"y": [np.nan, 2.0], "label": [2]}, right, 1e-3)
    assert "label is [3], not [2]" in v2.difference({"y": [1.0, 2.0], "label": [3]}, right, 1.0)
    assert "outputs are" in v2.difference({"y": [1.0, 2.0]}, right, 1e-3)


def test_a_server_may_write_no_parameters_as_null() -> None:
    answer = {"outputs": [{"name": "y", "datatype": "FP32", "shape": [1], "parameters": None, "data": [0.5]}]}
    assert v2.decode(json.dumps(answer).encode(), {})[1]["y"] == [0.5]
