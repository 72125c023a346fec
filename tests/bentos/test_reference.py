"""Reference histograms: what drift is later measured against."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from bentos import contract
from bentos.certificate import Histogram
from bentos.contract import Field, Fields, Tensor
from bentos.reference import count_classes, count_codes, count_texts, histogram, reference

OTHER: Any = print  # what preprocesses, and so may change codes


def test_deciles_hold_a_tenth_each() -> None:
    found = histogram(np.random.default_rng(0).normal(size=100_000))
    assert len(found.edges) == 9 and list(found.edges) == sorted(found.edges)
    assert found.shares == pytest.approx([0.1] * 10, abs=1e-4)
    assert found.missing == 0


@pytest.mark.parametrize("values", [[0, 1, 1, 1], [5, 5, 5], [1, 2, 3, np.nan], [np.nan], []])
def test_shares_sum_to_one_and_no_bin_between_is_empty(values: list[float]) -> None:
    found = histogram(np.array(values))
    assert sum(found.shares) == pytest.approx(1)
    assert len(found.shares) == len(found.edges) + 1
    assert min(found.shares) > 0
    assert list(found.edges) == sorted(set(found.edges))


def test_missing_values_are_a_share_of_all() -> None:
    assert histogram(np.array([1, 2, np.nan, np.nan])).missing == 0.5


def test_shares_are_those_that_serving_counts() -> None:
    values = np.random.default_rng(0).integers(1, 6, 1000).astype(np.float32)
    found = histogram(values)
    counted = np.bincount(np.searchsorted(found.edges, values, side="left"), minlength=len(found.shares))
    assert tuple(counted / 1000) == found.shares


def test_classes_are_counted_by_name() -> None:
    assert count_classes(np.array([0, 2, 2, 2]), ("a", "b", "c")) == Histogram((0.25, 0, 0.75), classes=("a", "b", "c"))


def test_choices_are_counted_by_word_in_the_order_of_their_codes() -> None:
    walls = Field("walls", "", choices={9: "wood", 1: "brick", 2: "panel"})
    found = count_codes(np.array([9, 9, 1, np.nan], np.float32), walls)
    assert found == Histogram((1 / 3, 0, 2 / 3, 0), classes=("brick", "panel", "wood"), missing=0.25)


def test_the_most_frequent_categories_have_a_share_each_and_the_rest_one() -> None:
    rare = [f"rare {i}" for i in range(30)]
    found = count_texts(np.array([*["b"] * 40, *["a"] * 30, *rare], object))
    assert len(found.classes) == 20 and found.classes[:2] == ("a", "b") and list(found.classes) == sorted(found.classes)
    assert found.shares[:2] == (0.3, 0.4) and found.shares[-1] == pytest.approx(0.12)
    many = Field("many", "", choices={code: f"w{code}" for code in range(30)})
    codes = count_codes(np.array([*[29.0] * 8, *np.arange(25)]), many)
    assert codes.classes == (*(f"w{code}" for code in range(19)), "w29") and codes.shares[-1] == pytest.approx(6 / 33)


def test_a_code_that_preprocess_may_have_changed_is_a_number() -> None:
    iris = contract.model("iris")
    walls, tensor = Field("walls", "", choices={1: "brick", 2: "panel"}), Tensor("features", "FP32", (-1, 1))
    coded = replace(iris, payload=Fields((walls,)), signature=replace(iris.signature, inputs=(tensor,)))
    inputs, outputs = {"features": np.ones((2, 1), np.float32)}, {"probabilities": np.full((2, 3), 1 / 3)}
    assert reference(coded, inputs, outputs)["input:walls"].classes == ("brick", "panel")
    assert reference(replace(coded, preprocess=OTHER), inputs, outputs)["input:walls"].classes == ()


def test_every_field_and_every_prediction_has_one() -> None:
    model = contract.model("iris")
    outputs = {"label": np.array([0, 1]), "probabilities": np.array([[0.8, 0.1, 0.1], [0.2, 0.5, 0.3]], np.float32)}
    found = reference(model, {"features": np.ones((2, 4), np.float32)}, outputs)
    assert list(found) == [
        "input:sepal_length", "input:sepal_width", "input:petal_length", "input:petal_width",
        "prediction:class", "prediction:confidence",
    ]  # fmt: skip
