"""Frameworks as plug-ins: each saves, loads and runs, and becomes ONNX that answers alike."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from sklearn.linear_model import LogisticRegression, Ridge

from bentos import frameworks, trained
from bentos.contract import FORMS, FRAMEWORKS, Fields, Model, Signature, Tensor
from convert.export import EXPORTERS, export

RANDOM = np.random.default_rng(0)
ROWS = RANDOM.standard_normal((80, 3)).astype(np.float32)
CLASSES = (ROWS.sum(1) > 0).astype(int) + (ROWS[:, 0] > 1)
PROBABILITIES = (Tensor("label", "INT64", (-1,)), Tensor("probabilities", "FP32", (-1, 3)))
VALUE = (Tensor("price", "FP32", (-1, 1)),)


def model(outputs: tuple[Tensor, ...], **more: Any) -> Model:
    signature = Signature((Tensor("columns", "FP32", (-1, 3)),), outputs)
    return Model("toy", "Toy", "A toy.", "classify", Fields(()), signature, **more)


def fitted(framework: str, classes: bool) -> Any:
    """A small model of each framework, as a recipe's fit may give it."""
    if framework == "sklearn":
        return (LogisticRegression() if classes else Ridge()).fit(ROWS, CLASSES)
    library = pytest.importorskip(framework)
    name = {"lightgbm": "LGBM", "xgboost": "XGB"}[framework] + ("Classifier" if classes else "Regressor")
    return getattr(library, name)(n_estimators=4, n_jobs=1).fit(ROWS, CLASSES)


@pytest.mark.parametrize("classes", [True, False])
@pytest.mark.parametrize("framework", ["sklearn", "lightgbm", "xgboost"])
def test_it_comes_back_and_becomes_onnx(framework: str, classes: bool, tmp_path: Path) -> None:
    toy = model(PROBABILITIES if classes else VALUE)
    grown = fitted(framework, classes)
    file = tmp_path / trained.FILES[framework]
    trained.save(framework, grown, file)
    loaded = trained.load(toy, framework, file)
    inputs = {"columns": ROWS}
    expected = trained.predictor(toy, framework, grown)(inputs)
    outputs = trained.predictor(toy, framework, loaded)(inputs)
    export(toy, framework, loaded, tmp_path / "model.onnx", {})
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    converted = dict(zip((o.name for o in session.get_outputs()), session.run(None, inputs), strict=True))
    for tensor in toy.signature.outputs:
        assert outputs[tensor.name].dtype == converted[tensor.name].dtype == tensor.dtype
        np.testing.assert_allclose(outputs[tensor.name], expected[tensor.name], rtol=1e-6)
        np.testing.assert_allclose(converted[tensor.name], expected[tensor.name], rtol=1e-5, atol=1e-6)


def test_a_network_may_be_made_by_a_function_with_arguments(tmp_path: Path) -> None:
    import torch

    network = torch.nn.Linear(in_features=3, out_features=1)
    toy = model(VALUE, network="torch.nn:Linear", network_arguments={"in_features": 3, "out_features": 1})
    trained.save("pytorch", network, tmp_path / "weights.safetensors")
    loaded = trained.load(toy, "pytorch", tmp_path / "weights.safetensors")
    actual = trained.predictor(toy, "pytorch", loaded)({"columns": ROWS})["price"]
    np.testing.assert_array_equal(actual, network(torch.from_numpy(ROWS)).detach().numpy())


def test_each_has_all_that_the_machinery_asks_of_it() -> None:
    assert set(FRAMEWORKS) <= set(FORMS) and set(FRAMEWORKS) == set(EXPORTERS) == set(trained.FILES)
    assert len(set(trained.FILES.values())) == len(FRAMEWORKS)
    for name in FRAMEWORKS:
        module = frameworks.framework(name)
        assert module.LIBRARIES and all(callable(getattr(module, part)) for part in ("save", "load", "run"))
