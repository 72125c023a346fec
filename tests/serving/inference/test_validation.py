"""Tensors of a request against those of a signature, whichever way they came."""

import numpy as np
import pytest

from bentos.contract import Tensor
from serving.errors import BadInput
from serving.inference.validation import (
    MAX_DIMENSIONS,
    brief,
    check_datatype,
    check_finite,
    check_shape,
    in_order,
    input_place,
    output_place,
)

IMAGE = Tensor("image", "FP32", (-1, 1, 28, 28))
FEATURES = Tensor("features", "FP32", (-1, 4))
LABEL = Tensor("label", "INT64", (-1,))


def test_names():
    assert input_place("features", [IMAGE, FEATURES]) == 1
    assert output_place("label", [LABEL]) == 0
    with pytest.raises(BadInput, match="input 'x' is unknown; the inputs are 'image', 'features'"):
        input_place("x", [IMAGE, FEATURES])
    with pytest.raises(BadInput, match="output None is unknown; the outputs are 'label'"):
        output_place(None, [LABEL])
    with pytest.raises(BadInput, match="input a list is unknown"):
        input_place(["features"], [FEATURES])


def test_datatypes():
    check_datatype("FP32", IMAGE)
    for other in ("FP64", "fp32", None, ["FP32"], 32):
        with pytest.raises(BadInput, match=r"input 'image': datatype is .*, expected 'FP32'"):
            check_datatype(other, IMAGE)


@pytest.mark.parametrize("shape", [(1, 4), [1, 4], (1024, 4)])
def test_shapes_that_fit(shape):
    assert check_shape(shape, FEATURES, 1024) == tuple(shape)


def test_a_shape_of_rows_alone_fits_too():
    assert check_shape([7], LABEL, 10) == (7,)


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((4,), r"shape is \[4\], expected \[-1, 4\]"),
        ((1, 5), r"shape is \[1, 5\], expected \[-1, 4\]"),
        ((0, 4), r"shape is \[0, 4\], expected"),
        ((-1, 4), r"shape is \[-1, 4\], expected"),
        ((1, -1), r"shape is \[1, -1\], expected"),
        ((), r"shape is \[\], expected"),
        ((1, 4, 1), r"shape is \[1, 4, 1\], expected"),
        ((1025, 4), "1025 rows in one request, the limit is 1024"),
        ((2**62, 4), f"{2**62} rows in one request"),
        ((2**62, 5), "shape is"),
        ([1.0, 4], "must be a list of whole numbers, and 1.0 is none"),
        ([True, 4], "must be a list of whole numbers, and True is none"),
        (["1", 4], "must be a list of whole numbers, and '1' is none"),
        ([[1], 4], "must be a list of whole numbers, and a list is none"),
        ([1] * (MAX_DIMENSIONS + 1), f"must be a list of whole numbers, not a list of more than {MAX_DIMENSIONS}"),
        (None, "must be a list of whole numbers, not None"),
        ("1, 4", "must be a list of whole numbers, not '1, 4'"),
        ({}, "must be a list of whole numbers, not an object"),
    ],
)
def test_shapes_that_do_not(shape, words):
    with pytest.raises(BadInput, match=words):
        check_shape(shape, FEATURES, 1024)


def test_arrays_come_in_the_signatures_order_with_the_same_rows():
    a, b = np.ones((2, 4)), np.ones(2)
    assert in_order({1: b, 0: a}, [FEATURES, LABEL]) == ([a, b], 2)
    assert in_order({0: a}, [FEATURES]) == ([a], 2)
    with pytest.raises(BadInput, match="input 'features' is missing"):
        in_order({1: b}, [FEATURES, LABEL])
    with pytest.raises(BadInput, match="input 'features', 'label' is missing"):
        in_order({}, [FEATURES, LABEL])
    with pytest.raises(BadInput, match="inputs differ in rows: features 2, label 3"):
        in_order({0: a, 1: np.ones(3)}, [FEATURES, LABEL])


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_told_with_their_place(value, dtype):
    flat = np.ones(100, dtype)
    check_finite(flat, IMAGE)
    flat[[42, 77]] = value
    with pytest.raises(BadInput, match=f"input 'image': value 42 is {value}; this model takes finite numbers only"):
        check_finite(flat, IMAGE)


def test_huge_finite_numbers_are_finite():
    check_finite(np.full(1000, 3e38, np.float32), IMAGE)
    check_finite(np.full(1000, -1.7e308), IMAGE)
    check_finite(np.array([2**62, -(2**62)]), LABEL)


@pytest.mark.parametrize("value", ["a" * 1000, 10**1000, [[[[]]]] * 50, {"a": 1}, b"x" * 1000, 1.5])
def test_a_value_is_told_in_brief(value):
    assert 0 < len(brief(value)) <= 60
