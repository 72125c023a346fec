"""A recipe's data is held against the model before anything is fitted to it."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from bentos import contract
from bentos.contract import Data, Field, Fields, Signature, Split, Tensor
from train.check import TrainingError, check_data, check_outputs

HOMES, IRIS, DIGITS = (contract.model(name) for name in ("homes", "iris", "digits"))


def data(rows: np.ndarray, targets: np.ndarray | None = None) -> Data:
    split = Split(rows, np.zeros(len(rows)) if targets is None else targets)
    return Data(split, Split(rows.copy(), split.targets.copy()), "made up")


@pytest.fixture
def flats() -> np.ndarray:
    """Four listings of nothing but defaults, living areas left out."""
    assert isinstance(HOMES.payload, Fields)
    row = [np.nan if f.name == "living_area" else float(f.default or 0) for f in HOMES.payload.fields]
    return np.array([row] * 4, np.float32)


def test_rows_within_their_bounds_pass(flats: np.ndarray) -> None:
    check_data(HOMES, data(flats))
    check_data(DIGITS, data(np.full((2, 1, 28, 28), 1e9, np.float32)))


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        ("floor", 0, r"train.inputs, column 0 \(floor\): 0 in row 2, the field takes a whole number from 1 to 100"),
        ("floor", 1.5, "1.5 in row 2, the field takes a whole number"),
        ("total_area", np.nan, r"column 5 \(total_area\): nan in row 2, the field takes a number from 8 to 1000 m²"),
        ("has_elevator", 2, "2 in row 2, the field takes true or false"),
        ("building_type_int", 7, r"7 in row 2, the field takes one of unknown \(0\), brick \(1\), panel"),
        ("kitchen_area", np.inf, "inf in row 2, the field takes a number from 1 to 200 m², or null"),
    ],
)
def test_a_value_that_no_caller_could_send_is_named(column: str, value: float, words: str, flats: np.ndarray) -> None:
    assert isinstance(HOMES.payload, Fields)
    flats[2, [f.name for f in HOMES.payload.fields].index(column)] = value
    with pytest.raises(TrainingError, match=words):
        check_data(HOMES, data(flats))


def test_columns_that_changed_places_are_seen() -> None:
    from bentos.iris import recipe

    irises = recipe.load({})
    check_data(IRIS, irises)
    in_millimetres = replace(irises, train=Split(irises.train.inputs * 10, irises.train.targets))
    with pytest.raises(TrainingError, match=r"column 0 \(sepal_length\): .* and 119 more rows, the field"):
        check_data(IRIS, in_millimetres)
    assert isinstance(IRIS.payload, Fields)
    first, second, *rest = IRIS.payload.fields
    narrow = replace(IRIS, payload=Fields((replace(first, low=4.2), replace(second, high=4.6), *rest)))
    check_data(narrow, irises)
    with pytest.raises(TrainingError, match=r"column 0 \(sepal_width\): .* 4.6 cm"):
        check_data(replace(narrow, payload=Fields((narrow.payload.fields[1], first, *rest))), irises)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("rows", "targets", "words"),
    [
        (np.ones((3, 4)), None, r"train.inputs are float64 \[4\] a row, the signature says features FP32 \[4\]"),
        (np.ones((3, 5), np.float32), None, r"train.inputs are float32 \[5\] a row"),
        (np.ones((3, 4), np.float32), np.zeros(2), "train has 3 rows of inputs and 2 targets"),
        (np.ones((0, 4), np.float32), None, "train has 0 rows"),
        (np.ones((3, 4), np.float32), np.array([1, np.nan, 2]), r"train.targets\[1\] is nan: every target must be a"),
        (
            np.ones((3, 4), np.float32),
            np.array([1, 2, 3]),
            r"train.targets\[2\] is 3: a class must be a whole number from",
        ),
    ],
)
def test_shapes_types_and_targets_are_checked(rows: np.ndarray, targets: np.ndarray | None, words: str) -> None:
    with pytest.raises(TrainingError, match=words):
        check_data(IRIS, data(rows, targets))


TWO = replace(
    HOMES,
    payload=Fields((Field("area", "", 8, 90), Field("walls", "", choices={1: "brick", 3: "wood"}, into="ids"))),
    signature=Signature(
        (Tensor("features", "FP32", (-1, 1)), Tensor("ids", "INT64", (-1,))), (Tensor("price", "FP32", (-1,)),)
    ),
)
AREAS, IDS = np.full((3, 1), 9, np.float32), np.array([1, 3, 1])


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        (AREAS, "train.inputs are one array: the model takes features, ids, an array of each by name"),
        ({"features": AREAS}, "train.inputs are features: the model takes features, ids, an array"),
        ({"features": AREAS, "ids": IDS, "more": IDS}, "inputs are features, ids, more: the model takes features, ids"),
        ({"features": AREAS, "ids": IDS[:2]}, r"train.inputs\['ids'\] has 2 rows of inputs and 3 targets"),
        (
            {"features": AREAS, "ids": IDS.astype(np.int32)},
            r"inputs\['ids'\] are int32 \[\] a row, the signature says ids",
        ),
        (
            {"features": AREAS, "ids": IDS + 1},
            r"train.inputs\['ids'\], column 0 \(walls\): 2 in row 0 and 2 more rows, the",
        ),
        (
            {"features": AREAS * 99, "ids": IDS},
            r"train.inputs\['features'\], column 0 \(area\): 891 in row 0 and 2 more",
        ),
    ],
)
def test_each_input_of_several_is_checked(inputs: Any, words: str) -> None:
    split = Split(inputs, np.zeros(3))
    with pytest.raises(TrainingError, match=words):
        check_data(TWO, Data(split, split, "made up"))


def test_inputs_by_name_that_are_right_pass() -> None:
    split = Split({"ids": IDS, "features": AREAS}, np.zeros(3))
    check_data(TWO, Data(split, split, "made up"))
    assert [*split.tensors(TWO.signature)] == ["features", "ids"]


def test_outputs_that_are_no_numbers_are_counted() -> None:
    with pytest.raises(TrainingError, match="gives price that are no finite numbers for 2 held-out rows"):
        check_outputs({"price": np.array([[1], [np.nan], [np.inf]], np.float32)})
