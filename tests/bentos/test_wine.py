"""Wine: the folder keeps the contract, and the trained model knows cultivars."""

import numpy as np

from bentos import contract, trained
from bentos.contract import Fields
from bentos.wine import recipe

MODEL = contract.model("wine")


def test_fields_are_the_columns_of_the_data() -> None:
    from sklearn.datasets import load_wine

    assert isinstance(MODEL.payload, Fields)
    assert [f.name for f in MODEL.payload.fields] == [n.replace("/", "_") for n in load_wine().feature_names]
    data = load_wine().data
    for i, field in enumerate(MODEL.payload.fields):
        assert field.low < data[:, i].min() and data[:, i].max() < field.high
        assert field.default is not None and abs(field.default - np.median(data[:, i])) < 0.01


def test_examples_are_in_bounds_and_of_every_cultivar() -> None:
    data = recipe.load({})
    fitted = recipe.pipeline(0).fit(data.train.inputs, data.train.targets)
    rows = np.stack([MODEL.rows(example)[0] for example in contract.examples("wine")])
    answers = MODEL.answers(trained.predictor(MODEL, "sklearn", fitted)({"features": rows}))
    assert [a["label"] for a in answers] == [f"cultivar {c}" for c in (1, 1, 1, 2, 2, 2, 3, 3, 3)]
    assert isinstance(MODEL.payload, Fields)
    for example in contract.examples("wine"):
        assert set(example) == {f.name for f in MODEL.payload.fields}
        assert all(f.low <= example[f.name] <= f.high for f in MODEL.payload.fields)
