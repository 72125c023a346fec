"""Random payloads fall into training's bins as training's values did."""

from collections import Counter

import numpy as np
import pytest

from bentos.certificate import Histogram
from bentos.contract import Field
from serving.api.payloads import fields

DRAWS = 4000
SIGMAS = 5
SKEWED = Histogram((0.1, 0.2, 0.05, 0.65), edges=(2.0, 3.0, 40.0))


@pytest.fixture(autouse=True)
def seeded():
    fields.random.seed(7)


def draws(field, histogram):
    return [fields._draw_value(field, {f"input:{field.name}": histogram}) for _ in range(DRAWS)]


def counted(values, histogram):
    return np.bincount(np.searchsorted(histogram.edges, values, side="left"), minlength=len(histogram.shares))


@pytest.mark.parametrize(
    ("field", "histogram"),
    [
        (Field("a", "", 0, 1000, 1), SKEWED),
        (Field("a", "", 0, 1000, 1, type=int), SKEWED),
        (Field("a", "", 0, 1e-3, 0), Histogram((0.5, 0.25, 0.25), edges=(1e-5, 1.5e-5))),
        (Field("a", "", 0, 1, 0, type=bool), Histogram((0.8, 0.2), edges=(0.0,))),
        (Field("a", "", 3, 4, 3), Histogram((0.4, 0.6), edges=(3.0,))),
    ],
    ids=["skewed", "whole", "small", "bool", "at the bound"],
)
def test_values_are_spread_over_the_bins_as_in_training(field, histogram):
    values = draws(field, histogram)
    assert all(field.allows(value) for value in values)
    expected = DRAWS * np.array(histogram.shares)
    off = np.abs(counted(values, histogram) - expected)
    assert (off < SIGMAS * np.sqrt(expected)).all(), off


def test_what_is_missing_in_training_is_missing_as_often():
    histogram = Histogram((0.5, 0.5), edges=(5.0,), missing=0.25)
    missing = Counter(value is None for value in draws(Field("a", "", 0, 9, 1, nullable=True), histogram))
    assert abs(missing[True] - DRAWS / 4) < SIGMAS * (DRAWS / 4) ** 0.5
    assert None not in draws(Field("a", "", 0, 9, 1), histogram)


def test_without_a_histogram_the_bounds_are_all_that_is_known():
    values = [fields._draw_value(Field("a", "", 1, 3, 1, type=int), {}) for _ in range(200)]
    assert set(values) == {1, 2, 3}
