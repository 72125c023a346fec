"""Gradient boosting as ONNX is scikit-learn's to the bit where a value decides a branch."""

import numpy as np
import onnxruntime
import pytest

from bentos.contract import Fields, Model, Signature, Tensor
from convert.export import from_sklearn
from convert.trees import float32_floor


def test_thresholds_round_down() -> None:
    values = np.array([0.1, -0.1, 1.0, 1e-50, -1e-50, 1 + 2**-40, 3.5e38])
    floors = float32_floor(values)
    assert (floors.astype(np.float64) <= values).all()
    assert (np.nextafter(floors, np.float32(np.inf)).astype(np.float64) > values).all()


@pytest.mark.parametrize("loss", ["squared_error", "gamma"])
def test_neighbouring_floats_and_missing_values_take_the_same_branch(loss: str) -> None:
    from sklearn.ensemble import HistGradientBoostingRegressor

    random = np.random.default_rng(0)
    close = np.float32(1) + np.arange(8, dtype=np.float32) * np.finfo(np.float32).eps
    features = np.stack([random.choice(close, 1000), random.choice([0.0, 1.0, np.nan], 1000)], 1).astype(np.float32)
    ranks = np.searchsorted(close, features[:, 0])
    targets = 1.0 + ranks % 2 * 5 + np.isnan(features[:, 1]) * 3
    booster = HistGradientBoostingRegressor(loss=loss, max_iter=20, learning_rate=0.3).fit(features, targets)
    signature = Signature((Tensor("x", "FP32", (-1, 2)),), (Tensor("y", "FP32", (-1, 1)),))
    model = Model("toy", "", "", "price", Fields(()), signature)
    session = onnxruntime.InferenceSession(from_sklearn(model, booster, {}).SerializeToString())
    (given,) = session.run(None, {"x": features})
    assert np.allclose(given[:, 0], booster.predict(features), rtol=1e-5)
    assert np.abs(booster.predict(features) - targets).max() < 1.5, "the trees did not split between neighbours"


def test_categorical_splits_are_refused() -> None:
    from sklearn.ensemble import HistGradientBoostingRegressor

    features = np.random.default_rng(0).integers(0, 4, (200, 1)).astype(np.float32)
    booster = HistGradientBoostingRegressor(max_iter=2, categorical_features=[0]).fit(features, features[:, 0])
    signature = Signature((Tensor("x", "FP32", (-1, 1)),), (Tensor("y", "FP32", (-1, 1)),))
    with pytest.raises(NotImplementedError, match="categorical"):
        from_sklearn(Model("toy", "", "", "price", Fields(()), signature), booster, {})
