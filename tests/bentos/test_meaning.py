"""What a folder makes of answers: its parts, and which of them differ, in words."""

from dataclasses import replace
from typing import Any

import pytest

from bentos import contract
from bentos.contract import Field, Fields
from bentos.meaning import Meaning

IRIS = contract.model("iris")
assert isinstance(IRIS.payload, Fields)
FIELDS = IRIS.payload.fields
OTHER: Any = sorted  # a function, and not the one that was certified


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (
            replace(IRIS, labels=IRIS.labels[::-1]),
            "labels: certified is 0 setosa, 2 virginica, the folder says 0 virginica, 2 setosa",
        ),
        (
            replace(IRIS, payload=Fields((FIELDS[1], FIELDS[0], *FIELDS[2:]))),
            "fields: certified is 0 sepal_length (float, cm), 1 sepal_width (float, cm), "
            "the folder says 0 sepal_width (float, cm), 1 sepal_length (float, cm)",
        ),
        (
            replace(IRIS, payload=Fields((replace(FIELDS[0], unit="mm"), *FIELDS[1:]))),
            "fields: certified is 0 sepal_length (float, cm), the folder says 0 sepal_length (float, mm)",
        ),
        (
            replace(IRIS, payload=Fields((replace(FIELDS[0], nullable=True), *FIELDS[1:]))),
            "fields: certified is 0 sepal_length (float, cm), the folder says 0 sepal_length (float, cm, nullable)",
        ),
        (replace(IRIS, payload=Fields(FIELDS[1:])), "fields: certified is 4 of them, the folder says 3 of them"),
        (replace(IRIS, unit="cm"), "unit: certified is 'none', the folder says 'cm'"),
        (replace(IRIS, postprocess=OTHER), "the source of postprocess changed"),
        (replace(IRIS, payload=None), "payload: certified is 'Fields', the folder says 'None'"),
    ],
)
def test_each_part_is_named(changed: contract.Model, words: str) -> None:
    certified = Meaning.of(IRIS)
    assert words in certified.differences(Meaning.of(changed))


def test_words_and_bounds_for_people_are_no_part_of_it() -> None:
    softer = Field(FIELDS[0].name, "in other words", 0.2, 14, 5, FIELDS[0].unit)
    changed = replace(IRIS, title="Irises", doc="…", verb="name", payload=Fields((softer, *FIELDS[1:])))
    assert Meaning.of(IRIS).differences(Meaning.of(changed)) == []
