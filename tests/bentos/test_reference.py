"""Reference histograms: what drift is later measured against."""

import numpy as np
import pytest

from bentos import contract
from bentos.certificate import Histogram
from bentos.reference import count_classes, histogram, reference


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


def test_every_field_and_every_prediction_has_one() -> None:
    model = contract.model("iris")
    outputs = {"label": np.array([0, 1]), "probabilities": np.array([[0.8, 0.1, 0.1], [0.2, 0.5, 0.3]], np.float32)}
    found = reference(model, {"features": np.ones((2, 4), np.float32)}, outputs)
    assert list(found) == [
        "input:sepal_length", "input:sepal_width", "input:petal_length", "input:petal_width",
        "prediction:class", "prediction:confidence",
    ]  # fmt: skip
