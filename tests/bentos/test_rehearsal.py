"""A payload goes all the way before anybody sends one."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from bentos.contract import Arrays, Fields, Model, ModelError, Signature, Tensor
from bentos.rehearsal import rehearse

PAYLOAD = {"a": 1.0}
LABELS = ("no", "yes")


def model(**changes: Any) -> Model:
    made = Model(
        "m", "M", "", "v", Fields(()), Signature((Tensor("x", "FP32", (-1, 2)),), (Tensor("logits", "FP32", (-1, 2)),)),
        labels=LABELS, preprocess=lambda payload: (np.array([payload["a"], 0], np.float32),),
    )  # fmt: skip
    return replace(made, **changes)


def engine(columns: int = 2, dtype: Any = np.float32) -> Any:
    def run(inputs: Arrays) -> Arrays:
        return {"logits": np.zeros((len(inputs["x"]), columns), dtype)}

    return run


def test_what_is_right_passes() -> None:
    rehearse(model(), engine(), [PAYLOAD, PAYLOAD])


@pytest.mark.parametrize(
    ("changes", "run", "words"),
    [
        ({"preprocess": lambda payload: (np.zeros(3, "f4"),)}, engine(), "preprocess gives x as float32 [3] a row"),
        ({"preprocess": lambda payload: (np.zeros(2),)}, engine(), "preprocess gives x as float64 [2] a row, the"),
        ({"preprocess": lambda payload: ()}, engine(), "preprocess gives 0 tensors, the signature says 1"),
        ({"preprocess": lambda payload: payload["b"]}, engine(), "KeyError: 'b'"),
        ({}, engine(3), "the engine gives logits as float32 [3] a row, the signature says FP32 [2]"),
        ({"labels": ("a", "b", "c")}, engine(), "ValueError: zip() argument 2 is shorter than argument 1"),
        ({"postprocess": lambda outputs: []}, engine(), "postprocess gives 0 answers for 1 row"),
        ({"postprocess": lambda outputs: [np.float32(1)]}, engine(), "TypeError: Object of type float32 is not JSON"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_its_payload(changes: dict[str, Any], run: Any, words: str) -> None:
    with pytest.raises(ModelError) as error:
        rehearse(model(**changes), run, [PAYLOAD])
    assert str(error.value).startswith("bentos/m/examples.json, payload 0 is not answered: ")
    assert words in str(error.value)
