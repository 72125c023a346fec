"""Named nested lists → arrays, and outputs → answers in kind, for signatures of every kind."""

import json
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bentos.contract import BATCH, Model, Signature, Tensor
from serving.api.payloads.tensors import TensorExamples, TensorReader, answer
from serving.errors import BadInput, UnsupportedMedia

IDS, MASK = Tensor("ids", "INT64", (BATCH, "n")), Tensor("mask", "FP32", (BATCH, "n"))
STATE, RATE = Tensor("state", "FP32", (2, BATCH)), Tensor("rate", "INT64", ())
WORDS = Tensor("words", "BYTES", (BATCH, -1))
SCORES = Tensor("scores", "FP32", (BATCH, 2))


def read(body: Any, *inputs: Tensor, finite: bool = True, batched: bool = True) -> tuple[list[Any], int, bool]:
    reader = TensorReader(Signature(inputs, (SCORES,), batched), finite, max_rows=10, max_json_depth=64)
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    arrays, n_rows, single = reader.read(text, b"application/json")
    return [array.tolist() for array in arrays], n_rows, single


@pytest.mark.parametrize(
    ("body", "inputs", "expected"),
    [
        ({"ids": [[1, 2]], "mask": [[1, 0]]}, (IDS, MASK), ([[[1, 2]], [[1, 0]]], 1, False)),
        ({"mask": [1, 0], "ids": [1, 2]}, (IDS, MASK), ([[[1, 2]], [[1, 0]]], 1, True)),
        ({"ids": [[], []]}, (IDS,), ([[[], []]], 2, False)),
        ({"ids": []}, (IDS,), ([[[]]], 1, True)),
        ({"state": [[1, 2, 3], [4, 5, 6]], "rate": 8}, (STATE, RATE), ([[[1, 2, 3], [4, 5, 6]], 8], 3, False)),
        ({"state": [1, 4], "rate": 8}, (STATE, RATE), ([[[1], [4]], 8], 1, True)),
        ({"words": [["a]", '"'], ["", "é"]]}, (WORDS,), ([[["a]", '"'], ["", "é"]]], 2, False)),
        ({"words": ["a:", "b"]}, (WORDS,), ([[["a:", "b"]]], 1, True)),
    ],
)
def test_a_payload_is_a_call_or_one_row(body, inputs, expected):
    assert read(body, *inputs) == expected
    assert read(json.dumps(body, indent=2).encode(), *inputs) == expected


def test_what_is_not_batched_is_sent_whole():
    length = Tensor("x", "FP32", ("n",))
    assert read({"x": [1, 2, 3]}, length, batched=False) == ([[1, 2, 3]], 1, False)
    with pytest.raises(BadInput, match=r"lists are 0 deep, expected 1 for shape \[n\]"):
        read({"x": 1}, length, batched=False)


def test_null_is_nan_where_nan_may_be():
    (mask,), _, _ = read({"mask": [[1, None]]}, MASK, finite=False)
    assert mask[0][0] == 1 and np.isnan(mask[0][1])
    with pytest.raises(BadInput, match="data must be numbers"):
        read({"mask": [[1, None]]}, MASK)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"ids": [[1]]}, "input mask is missing"),
        ({"ids": [[1]], "mask": [[1]], "x": 1}, "input 'x' is unknown; the inputs are ids, mask"),
        ({"ids": [[1, 2]], "mask": [[1]]}, "'n' is 2 in input 'ids' and 1 in input 'mask'"),
        ({"ids": [[1, 2], [3]], "mask": [[1]]}, "nested otherwise|do not fill"),
        ({"ids": [[1]], "mask": [1]}, r"input 'mask': lists are 1 deep, expected 2 for shape \[batch, n\]"),
        ({"ids": [["1"]], "mask": [[1]]}, "data must be whole numbers"),
        ({"ids": [[1]] * 11, "mask": [[1]] * 11}, "11 rows in one request, the limit is 10"),
        ({"ids": [[{}]], "mask": [[1]]}, "data must be whole numbers|a key twice"),
        ([1], "the body must be a JSON object of ids, mask"),
        (b'{"ids":[1],"ids":[1],"mask":[1]}', "a key twice"),
        (b"", "the body must be a JSON object"),
        ({"ids": "x", "mask": [[1]]}, "lists are 0 deep, expected"),
    ],
)
def test_what_is_wrong_is_said(body, words):
    with pytest.raises(BadInput, match=words):
        read(body, IDS, MASK)


def test_only_json_is_read():
    with pytest.raises(UnsupportedMedia):
        TensorReader(Signature((IDS,), ()), True, 10, 64).read(b"{}", b"image/png")


VALUES = st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=3), st.lists, max_leaves=8)


@given(VALUES, st.sampled_from([IDS, MASK, STATE, WORDS]))
@example([[2**24 + 1]], MASK)
@settings(max_examples=100, deadline=None)
def test_any_json_is_an_array_or_bad_input(value, tensor):
    try:
        (array,), _, single = read({tensor.name: value}, tensor)
    except BadInput as error:
        assert 0 < len(str(error)) < 400
        return
    expected = np.array(value, object)
    if tensor.dtype.kind == "f":
        expected = expected.astype(tensor.dtype)  # the nearest there is, for whole numbers from 2^24 on
    row = np.array(array, object).take(0, tensor.batch_axis) if single else np.array(array, object)
    assert row.size == expected.size and (row.size == 0 or row.tolist() == expected.tolist())


def form(*outputs: Tensor, labels: tuple[str, ...] = ()) -> Any:
    model = Model("m", "M", "", "predict", None, Signature((IDS,), outputs), labels)
    return SimpleNamespace(model=model, signature=model.signature, form="onnx", version="1")


def test_an_answer_names_outputs_and_labels_and_says_what_is_no_number():
    classes = Tensor("class", "INT64", (BATCH,))
    served = form(SCORES, classes, labels=("ash", "beech"))
    scores, chosen = np.array([[0.25, 0.75], [1, 0]], np.float32), np.array([1, 0])
    who = {"model": "m", "form": "onnx", "version": "1"}
    several = {"scores": [[0.25, 0.75], [1, 0]], "class": [1, 0], "label": ["beech", "ash"], **who}
    assert json.loads(answer(served, [scores, chosen], False)) == several
    single = {"scores": {"ash": 0.25, "beech": 0.75}, "class": 1, "label": "beech", **who}
    assert json.loads(answer(served, [scores[:1], chosen[:1]], True)) == single
    words = form(Tensor("label", "BYTES", (BATCH,)), SCORES, labels=("ash", "beech"))
    assert json.loads(answer(words, [np.array(["yew", "fir"], object), scores], False))["label"] == ["yew", "fir"]
    nothing = json.loads(answer(form(SCORES), [np.array([[np.nan, 1]], np.float32)], True))
    assert nothing["scores"] == [None, 1] and nothing["nan"] == {"scores": 1}
    state = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert json.loads(answer(form(STATE), [state[:, 1:2]], True))["state"] == [1, 4]


def test_examples_are_what_is_certified_and_read_back():
    signature = Signature((STATE, RATE, WORDS), (SCORES,))
    calls = [[np.arange(6, dtype=np.float32).reshape(2, 3), np.array(5), np.array([["a"], ["b"], ["c"]], object)]]
    examples = TensorExamples(signature, lambda: calls)
    assert examples.first() == {"state": [0, 3], "rate": 5, "words": ["a"]}
    assert {json.dumps(examples.draw()["words"]) for _ in range(50)} == {'["a"]', '["b"]', '["c"]'}
    whole = TensorExamples(replace(signature, batched=False), lambda: calls)
    assert whole.first()["words"] == [["a"], ["b"], ["c"]]
    zeros = TensorExamples(signature, list).first()
    assert zeros == {"state": [0, 0], "rate": 0, "words": ["", "", "", ""]}
    reader = TensorReader(signature, True, 10, 64)
    assert reader.read(json.dumps(zeros).encode(), b"application/json")[2]
