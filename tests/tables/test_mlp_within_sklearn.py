"""The estimators inside scikit-learn's tools: pipelines, searches, ensembles, output of frames."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import deltarule as dr
from oracles import oracle

oracle("sklearn")
pd = oracle("pandas")
pl = oracle("polars")
joblib = oracle("joblib")

import sklearn  # noqa: E402
from sklearn.base import clone, is_classifier, is_regressor  # noqa: E402
from sklearn.calibration import CalibratedClassifierCV  # noqa: E402
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor  # noqa: E402
from sklearn.datasets import load_iris  # noqa: E402
from sklearn.ensemble import StackingClassifier, VotingRegressor  # noqa: E402
from sklearn.experimental import enable_halving_search_cv  # noqa: E402, F401
from sklearn.inspection import permutation_importance  # noqa: E402
from sklearn.linear_model import LogisticRegression  # noqa: E402
from sklearn.model_selection import (  # noqa: E402
    GridSearchCV,
    HalvingGridSearchCV,
    cross_val_predict,
    cross_val_score,
)
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import OneHotEncoder, StandardScaler  # noqa: E402

from deltarule.sklearn import MLPClassifier, MLPRegressor  # noqa: E402

FRAME, NUMBERS = load_iris(return_X_y=True, as_frame=True)
X = FRAME.to_numpy()
NAMES = np.array(["setosa", "versicolor", "virginica"])[NUMBERS]
VALUES = FRAME.iloc[:, 3].to_numpy()
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def classifier(**settings: Any) -> MLPClassifier:
    """Return one that learns iris in some 20 ms."""
    known = {"solver": "lbfgs", "hidden_layer_sizes": (6,), "max_iter": 60, "random_state": 0}
    return MLPClassifier(**known | settings)


def regressor(**settings: Any) -> MLPRegressor:
    known = {"solver": "lbfgs", "hidden_layer_sizes": (6,), "max_iter": 60, "random_state": 0}
    return MLPRegressor(**known | settings)


def test_a_pipeline_and_cross_validation() -> None:
    scores = cross_val_score(make_pipeline(StandardScaler(), classifier()), X, NAMES, cv=3)
    assert scores.min() > 0.9
    assert cross_val_predict(classifier(), X, NAMES, cv=3, method="predict_proba").shape == (150, 3)
    shuffled = np.random.default_rng(0).permutation(150)
    scores = cross_val_score(regressor(), X[shuffled, :3], VALUES[shuffled], cv=3, scoring="r2")
    assert scores.min() > 0.8


def test_a_column_transformer_in_front() -> None:
    frame = FRAME.assign(garden=np.where(NUMBERS == 0, "north", "south"))
    columns = ColumnTransformer(
        [("numbers", StandardScaler(), list(FRAME)), ("words", OneHotEncoder(), ["garden"])]
    )
    fitted = make_pipeline(columns, classifier()).fit(frame, NAMES)
    assert fitted.score(frame, NAMES) > 0.95
    assert fitted[-1].n_features_in_ == 6


@pytest.mark.parametrize("search", [GridSearchCV, HalvingGridSearchCV])
def test_a_search_in_two_processes_finds_the_better_setting(search: Any) -> None:
    grid = {"mlpclassifier__alpha": [0.01, 1e4], "mlpclassifier__activation": ["tanh"]}
    model = make_pipeline(StandardScaler(), classifier())
    settings = {"cv": 3, "n_jobs": 2}
    if search is HalvingGridSearchCV:
        settings |= {"min_resources": 75, "random_state": 0}
    found = search(model, grid, **settings).fit(X, NAMES)
    assert found.best_params_["mlpclassifier__alpha"] == 0.01
    assert found.best_score_ > 0.9


def test_calibration() -> None:
    fitted = CalibratedClassifierCV(classifier(), cv=3).fit(X, NAMES)
    np.testing.assert_allclose(fitted.predict_proba(X).sum(axis=1), 1)
    assert fitted.score(X, NAMES) > 0.9


def test_stacking_and_voting() -> None:
    stack = StackingClassifier(
        [("mlp", classifier()), ("linear", LogisticRegression(max_iter=500))], cv=3
    ).fit(X, NAMES)
    assert stack.score(X, NAMES) > 0.9
    vote = VotingRegressor([("a", regressor()), ("b", regressor(random_state=1))])
    assert vote.fit(X[:, :3], VALUES).score(X[:, :3], VALUES) > 0.8


def test_a_transformed_target() -> None:
    fitted = TransformedTargetRegressor(regressor(), transformer=StandardScaler())
    assert fitted.fit(X[:, :3], VALUES).score(X[:, :3], VALUES) > 0.8


def test_permutation_importance_sees_the_column_that_tells() -> None:
    columns = np.c_[np.random.default_rng(0).normal(size=150), X[:, 2]]
    found = permutation_importance(
        classifier(alpha=1).fit(columns, NAMES), columns, NAMES, random_state=0, n_repeats=3
    )
    noise, petal = found.importances_mean
    assert petal > 10 * abs(noise)


@pytest.mark.parametrize("make", [classifier, regressor])
def test_joblib_keeps_a_fitted_estimator_and_what_it_takes_to_go_on(
    make: Any, tmp_path: Any
) -> None:
    y = NAMES if make is classifier else VALUES
    fitted = make(solver="adam", max_iter=3, early_stopping=True).fit(FRAME, y)
    joblib.dump(fitted, tmp_path / "model")
    loaded = joblib.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.predict(FRAME), fitted.predict(FRAME))
    assert loaded.loss_curve_ == fitted.loss_curve_
    for one in (fitted, loaded):
        one.set_params(early_stopping=False).partial_fit(FRAME, y)
    for one, other in zip(loaded.coefs_, fitted.coefs_, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_hidden_activations_come_as_frames(library: str) -> None:
    fitted = classifier(hidden_layer_sizes=(6, 3)).fit(FRAME, NAMES)
    assert fitted.get_feature_names_out().tolist() == [f"mlpclassifier{i}" for i in range(3)]
    plain = fitted.transform(FRAME)
    first = np.maximum(X @ fitted.coefs_[0] + fitted.intercepts_[0], 0)
    second = np.maximum(first @ fitted.coefs_[1] + fitted.intercepts_[1], 0)
    np.testing.assert_allclose(plain, second, rtol=1e-10, atol=1e-12)
    found = fitted.set_output(transform=library).transform(FRAME)
    assert type(found).__module__.split(".")[0] == library
    assert list(found.columns) == fitted.get_feature_names_out().tolist()
    np.testing.assert_array_equal(found.to_numpy(), plain)


def test_hidden_activations_feed_another_estimator() -> None:
    linear = LogisticRegression(max_iter=500)
    assert make_pipeline(classifier(), linear).fit(X, NAMES).score(X, NAMES) > 0.95


@pytest.mark.parametrize("library", [pd.DataFrame, pl.DataFrame], ids=["pandas", "polars"])
def test_names_of_columns_are_remembered_and_checked(library: Any) -> None:
    frame = library({name: FRAME[name].to_numpy() for name in FRAME})
    fitted = classifier().fit(frame, NAMES)
    assert fitted.feature_names_in_.tolist() == list(FRAME)
    np.testing.assert_array_equal(fitted.predict(frame), classifier().fit(X, NAMES).predict(X))
    with pytest.raises(ValueError, match="feature names"):
        fitted.predict(frame[list(FRAME)[::-1]])


def test_a_scorer_in_early_stopping_is_content_with_a_frame() -> None:
    early = {"solver": "adam", "early_stopping": True, "scoring": "neg_log_loss", "max_iter": 3}
    fitted = classifier(**early).fit(FRAME, NAMES)
    assert len(fitted.validation_scores_) == 3
    fitted.fit(FRAME, NAMES, X_val=FRAME, y_val=NAMES)
    assert fitted.feature_names_in_.tolist() == list(FRAME)


def test_a_clone_has_the_settings_and_nothing_fitted() -> None:
    fitted = classifier(
        activation=["gelu"], solver="adam", optimizer=dr.AdamW(dr.Cosine(1e-3))
    ).fit(X, NAMES)
    twin = clone(fitted)
    assert repr(twin) == repr(fitted)
    assert not hasattr(twin, "network_")
    assert not hasattr(twin, "coefs_")
    assert twin.get_params()["optimizer"] == fitted.optimizer
    assert is_classifier(twin)
    assert is_regressor(regressor())


def test_weights_and_validation_data_are_routed() -> None:
    weights = np.where(NUMBERS == 0, 0.0, 1.0)
    with sklearn.config_context(enable_metadata_routing=True):
        scaled = make_pipeline(
            StandardScaler().set_fit_request(sample_weight=False),
            classifier().set_fit_request(sample_weight=True).set_score_request(sample_weight=True),
        )
        routed = scaled.fit(X, NAMES, sample_weight=weights)
        assert "setosa" not in routed.predict(X)
        score = cross_val_score(
            scaled, X, NAMES, cv=3, params={"sample_weight": weights}, error_score="raise"
        )
        assert score.min() > 0.8
        asked = classifier().set_fit_request(X_val=True, y_val=True).get_metadata_routing()
        assert asked.fit.requests["X_val"] is True
