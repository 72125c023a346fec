"""scikit-learn's own estimators, through skops and back: none needs a pickle, and nothing else is trusted."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingClassifier,
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    IsolationForest,
    RandomForestClassifier,
    RandomForestRegressor,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.gaussian_process import GaussianProcessClassifier
from sklearn.linear_model import LogisticRegression, Ridge, SGDClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC
from sklearn.tree import DecisionTreeClassifier

from bentos.frameworks import sklearn

TWO = [("a", GaussianNB()), ("b", LogisticRegression())]
ESTIMATORS: list[Any] = [
    AdaBoostClassifier(n_estimators=3),
    BaggingClassifier(n_estimators=3),
    CalibratedClassifierCV(LinearSVC(), cv=2),
    DecisionTreeClassifier(),
    ExtraTreesClassifier(3),
    GaussianNB(),
    GaussianProcessClassifier(),
    GradientBoostingClassifier(n_estimators=3),
    GradientBoostingRegressor(n_estimators=3),
    HistGradientBoostingClassifier(max_iter=3),
    IsolationForest(n_estimators=3),
    KNeighborsClassifier(),
    KNeighborsRegressor(),
    LinearDiscriminantAnalysis(),
    LogisticRegression(),
    MLPClassifier(max_iter=300, tol=0.1),
    RandomForestClassifier(3),
    RandomForestRegressor(3),
    Ridge(),
    SGDClassifier(),
    StackingClassifier(TWO, cv=2),
    SVC(),
    VotingClassifier(TWO),
    make_pipeline(StandardScaler(), RandomForestClassifier(3)),
]


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda e: type(e).__name__)
def test_an_estimator_comes_back_as_it_was(estimator: Any, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    rows = random.standard_normal((60, 4))
    fitted = estimator.fit(rows, (rows.sum(1) > 0).astype(int))
    sklearn.save(fitted, tmp_path / "model.skops")
    loaded = sklearn.load_skops(tmp_path / "model.skops")
    np.testing.assert_array_equal(loaded.predict(rows), fitted.predict(rows))


@pytest.mark.parametrize(
    ("name", "trusted"),
    [
        ("sklearn.tree._tree.Tree", True),
        ("sklearn.neighbors._kd_tree.KDTree", True),
        ("sklearn.ensemble._base._fit_single_estimator", False),  # a function
        ("sklearn.ensemble._base.np", False),  # no class
        ("sklearn.preprocessing._data.sparse", False),
        ("sklearn.datasets._openml.fetch_openml", False),
        ("sklearn.utils._testing.TempMemmap", False),
        ("sklearnish.tree.Tree", False),
        ("sklearn.tree._tree.Nothing", False),
        ("os.system", False),
    ],
)
def test_only_classes_of_its_own_are_trusted(name: str, trusted: bool) -> None:
    assert sklearn.of_sklearn(name) is trusted
