"""Random payloads fall into training's bins as training's values did."""

import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from bentos.certificate import Histogram
from bentos.contract import Field, Fields
from serving.api.payloads import fields
from serving.api.payloads.checks import field_reader
from serving.errors import BadInput

DRAWS = 4000
SIGMAS = 5
SKEWED = Histogram((0.1, 0.2, 0.05, 0.65), edges=(2.0, 3.0, 40.0))

SKEWED_CODES = Histogram((0.1, 0.2, 0.7), edges=(1.0, 2.0))
WALLS = Field("walls", "what they are of", choices={1: "brick", 2: "panel", 9: "wood"}, default=2, label="Made of")
MAYBE = Field("maybe", "", choices={1: "no", 0: "yes"}, nullable=True)
READ = field_reader(Fields((WALLS, MAYBE), at_most=(("maybe", "walls"),)))


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
        (Field("a", "", choices={1: "x", 2: "y", 30: "z", 99: "w"}), SKEWED_CODES),
    ],
    ids=["skewed", "whole", "small", "bool", "at the bound", "codes"],
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


def test_choices_are_drawn_evenly_where_nothing_is_known_of_them():
    assert {fields._draw_value(WALLS, {}) for _ in range(200)} == {1, 2, 9}


@pytest.mark.parametrize(
    ("sent", "walls", "maybe"),
    [
        ({"walls": "wood", "maybe": "yes"}, 9, 0),
        ({"walls": 9, "maybe": 0}, 9, 0),
        ({"walls": 9.0, "maybe": None}, 9, None),  # read by the slower reader
        ({"walls": "brick"}, 1, None),
    ],
)
def test_a_word_or_its_code_is_the_code(sent, walls, maybe):
    payloads, several = READ(json.dumps([sent, sent]).encode())
    assert several and payloads == [{"walls": walls, "maybe": maybe}] * 2
    assert all(type(value) in (int, type(None)) for value in payloads[0].values())


@pytest.mark.parametrize("value", ["Brick", "1", "", 3, 0, 1.5, True, [1], {"brick": 1}, None, 10**30])
def test_what_is_neither_is_named_with_all_that_there_is(value):
    with pytest.raises(BadInput) as refused:
        READ(json.dumps({"walls": value}).encode())
    words = str(refused.value)
    assert words.startswith("walls is ") and words.endswith(": it must be one of brick (1), panel (2), wood (9)")


def test_a_category_is_drawn_as_often_as_training_had_it():
    known = Histogram((0.25, 0.75, 0.0), classes=("brick", "wood"), missing=0.5)
    drawn = Counter(draws(replace(WALLS, nullable=True), known))
    assert set(drawn) == {None, 1, 9} and abs(drawn[9] - DRAWS * 0.375) < SIGMAS * (DRAWS * 0.234) ** 0.5
    assert set(draws(WALLS, Histogram((0.2, 0.3, 0.5), classes=("brick", "wood")))) == {1, 2, 9}
    city = Histogram((0.1, 0.3, 0.6), classes=("Lyon", "Paris"))  # six of ten are not told apart
    drawn = Counter(draws(Field("city", "", type=str), city))
    assert set(drawn) == {"Lyon", "Paris"} and abs(drawn["Lyon"] - DRAWS / 4) < SIGMAS * (DRAWS * 0.1875) ** 0.5


def test_texts_within_json_are_left_out_of_a_count_in_linear_time():
    texts = [b'{"a":"x,,\\",,y"},', b'"\\\\",', b'"' + b'\\"' * 500_000]
    assert fields.TEXTS.sub(b"", texts[0]) == b"{:},"
    assert fields.TEXTS.sub(b"", texts[1]) == b","
    assert fields.TEXTS.sub(b"", texts[2]) == b""


def test_many_choices_are_not_all_in_an_error():
    many = Field("many", "", choices={code: f"w{code}" for code in range(300)})
    assert many.allowed().endswith("w19 (19), … of 300") and many.allows("w299") and many.allows(299)


def test_what_cannot_be_together_is_told_by_codes():
    with pytest.raises(BadInput, match="maybe is 1, which is above walls, 0"):
        field_reader(Fields((replace(MAYBE, name="walls"), MAYBE), (("maybe", "walls"),)))(
            b'{"walls":"yes","maybe":"no"}'
        )


def test_the_schema_lists_words_and_codes():
    schema = fields.field_schema(WALLS)
    assert schema["oneOf"] == [
        {"type": "string", "enum": ["brick", "panel", "wood"]}, {"type": "integer", "enum": [1, 2, 9]},
    ]  # fmt: skip
    assert (schema["title"], schema["example"]) == ("Made of", "panel")
