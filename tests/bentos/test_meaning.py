"""What a folder makes of answers: its parts, and which of them differ, in words."""

import json
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import pytest

from bentos import contract
from bentos.certificate import plain
from bentos.contract import Field, Fields, Route, Tensor
from bentos.meaning import Meaning

IRIS = contract.model("iris")
assert isinstance(IRIS.payload, Fields)
FIELDS = IRIS.payload.fields
WALLS = Field("walls", "", choices={2: "panel", 1: "brick"})
READ: Any = contract.examples
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
        (
            replace(IRIS, payload=Fields((WALLS, *FIELDS[1:]))),
            "fields: certified is 0 sepal_length (float, cm), the folder says 0 walls (int, 1 brick, 2 panel)",
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


def test_the_sources_of_a_route_and_defaults_of_parameters_are_part_of_it() -> None:
    route = Route("/v1/iris", "", {}, read=READ, answer=OTHER)
    routed = replace(IRIS, routes=(route,), parameters=(Field("cut", "", 0, 1, 0.25),))
    certified = Meaning.of(routed)
    assert certified.differences(Meaning.of(routed)) == []
    assert Meaning.of(IRIS).differences(certified) == [
        "the source of route /v1/iris changed",
        "parameters: certified is 0 of them, the folder says 1 of them",
    ]
    other = replace(routed, routes=(replace(route, error=READ),), parameters=(Field("cut", "", 0, 1, 0.5),))
    assert certified.differences(Meaning.of(other)) == [
        "the source of route /v1/iris changed",
        "parameters: certified is 0 cut=0.25, the folder says 0 cut=0.5",
    ]
    assert msgspec.convert(json.loads(json.dumps(plain(certified))), Meaning) == certified


def test_of_several_inputs_it_says_which_a_field_goes_into() -> None:
    tensors = (Tensor("a", "FP32", (-1, 2)), Tensor("b", "INT64", (-1,)))
    fields = (Field("x", "", 0, 1), replace(WALLS, into="b"), Field("y", "", 0, 1))
    two = replace(IRIS, payload=Fields(fields), signature=replace(IRIS.signature, inputs=tensors))
    other = replace(
        two, payload=Fields((fields[0], replace(WALLS, choices={1: "panel", 2: "brick"}, into="b"), fields[2]))
    )
    (words,) = Meaning.of(two).differences(Meaning.of(other))
    assert words.startswith(
        "fields: certified is 1 walls (int, 1 brick, 2 panel, into b), the folder says 1 walls (int, 1"
    )
    inputs = {"a": np.array([[1, 2]]), "b": np.array([3])}
    assert {name: values.tolist() for name, values in two.watched(inputs).items()} == {"x": [1], "y": [2], "walls": [3]}


def test_what_a_field_has_not_is_not_written_so_that_versions_stay() -> None:
    said = plain(Meaning.of(IRIS))
    assert [*said] == ["payload", "fields", "labels", "unit", "preprocess", "postprocess", "quantities"]
    assert said["fields"][0] == {
        "name": "sepal_length",
        "type": "float",
        "unit": "cm",
        "nullable": False,
    }


def test_words_and_bounds_for_people_are_no_part_of_it() -> None:
    softer = Field(FIELDS[0].name, "in other words", 0.2, 14, 5, FIELDS[0].unit)
    changed = replace(IRIS, title="Irises", doc="…", verb="name", payload=Fields((softer, *FIELDS[1:])))
    assert Meaning.of(IRIS).differences(Meaning.of(changed)) == []
