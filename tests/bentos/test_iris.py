"""Iris: the folder keeps the contract, and the trained model knows irises."""

import numpy as np
import pytest

from bentos import contract
from bentos.contract import Fields
from bentos.iris import recipe

MODEL = contract.model("iris")


def test_fields_are_the_columns_of_the_data() -> None:
    from sklearn.datasets import load_iris

    assert isinstance(MODEL.payload, Fields)
    expected = [name.removesuffix(" (cm)").replace(" ", "_") for name in load_iris().feature_names]
    assert [f.name for f in MODEL.payload.fields] == expected
    assert list(MODEL.labels) == load_iris().target_names.tolist()
    data = load_iris().data
    for i, field in enumerate(MODEL.payload.fields):
        assert field.low < data[:, i].min() and data[:, i].max() < field.high and field.unit == "cm"


def test_the_split_holds_out_a_fifth_of_each_species() -> None:
    data = recipe.load({})
    assert np.bincount(data.held_out.targets).tolist() == [10, 10, 10]
    assert data.train.inputs.dtype == np.float32 and len(data.train.inputs) == 120


def test_examples_are_in_bounds_and_of_every_species() -> None:
    from bentos import trained

    data = recipe.load({})
    fitted = recipe.pipeline(10.0).fit(data.train.inputs, data.train.targets)
    rows = np.stack([MODEL.rows(example)[0] for example in contract.examples("iris")])
    answers = MODEL.answers(trained.predictor(MODEL, "sklearn", fitted)({"features": rows}))
    assert [a["label"] for a in answers] == ["setosa"] * 3 + ["versicolor"] * 3 + ["virginica"] * 3
    assert all(sum(a["probabilities"].values()) == pytest.approx(1, abs=1e-5) for a in answers)
    assert isinstance(MODEL.payload, Fields)
    for example in contract.examples("iris"):
        assert set(example) == {f.name for f in MODEL.payload.fields}
        assert all(f.low <= example[f.name] <= f.high for f in MODEL.payload.fields)
