"""TabularClassifier and TabularRegressor inside scikit-learn's tools, and its checks of them."""

from __future__ import annotations

import io
import os
import pickle

import numpy as np
import pytest

from oracles import oracle

pd = oracle("pandas")
pl = oracle("polars")
joblib = oracle("joblib")
oracle("sklearn")

from sklearn.base import clone, is_classifier, is_regressor  # noqa: E402
from sklearn.calibration import CalibratedClassifierCV  # noqa: E402
from sklearn.compose import ColumnTransformer  # noqa: E402
from sklearn.ensemble import StackingClassifier, StackingRegressor  # noqa: E402
from sklearn.experimental import enable_halving_search_cv  # noqa: E402, F401
from sklearn.inspection import permutation_importance  # noqa: E402
from sklearn.linear_model import LogisticRegression  # noqa: E402
from sklearn.model_selection import (  # noqa: E402
    GridSearchCV,
    HalvingGridSearchCV,
    cross_val_predict,
    cross_val_score,
)
from sklearn.multioutput import MultiOutputRegressor  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import OneHotEncoder  # noqa: E402
from sklearn.utils import get_tags  # noqa: E402
from sklearn.utils.estimator_checks import parametrize_with_checks  # noqa: E402
from tabular_cases import FRAME, LABELS, QUICK, VALUES, table  # noqa: E402

from deltarule.sklearn import TabularClassifier, TabularRegressor  # noqa: E402
from deltarule.tables.recipe import Plain  # noqa: E402

SOON = Plain(hidden=(16,), epochs=60, networks=2)
"""The default recipe passes too, in twice the time."""

OF_WEIGHTS = (
    "a row of weight 2 is one row of a batch and is held out as a whole; the same row twice is two "
    "rows, which medians and shuffles see as two. Rows of weight 0 are left out exactly, see "
    "test_a_row_of_weight_0_might_as_well_not_be_there"
)
EXPECTED = {
    "check_sample_weight_equivalence_on_dense_data": OF_WEIGHTS,
    "check_sample_weight_equivalence_on_sparse_data": OF_WEIGHTS,
}
"""scikit-learn expects the same failures of its own SGDRegressor and RandomForestRegressor."""


@pytest.mark.filterwarnings("ignore:Skipping check")
@parametrize_with_checks(
    [TabularClassifier(SOON), TabularRegressor(SOON)],
    expected_failed_checks=lambda estimator: EXPECTED,
)
def test_scikit_learns_checks(estimator, check):
    check(estimator)


@pytest.fixture
def classifier():
    return TabularClassifier(QUICK)


def test_tags_say_what_they_take(classifier):
    assert is_classifier(classifier)
    assert is_regressor(TabularRegressor())
    tags = get_tags(classifier).input_tags
    assert (tags.allow_nan, tags.string, tags.categorical, tags.sparse) == (True,) * 4
    assert get_tags(TabularRegressor()).target_tags.multi_output


def test_clone_and_parameters(classifier):
    twin = clone(classifier.set_params(folds=3, class_weight="balanced"))
    assert twin.get_params() == classifier.get_params()
    assert "folds=3" in repr(twin)
    assert not hasattr(clone(classifier.fit(FRAME, LABELS)), "model_")


def test_pipeline_behind_a_transformer_of_some_columns(classifier):
    encode = ColumnTransformer(
        [("colour", OneHotEncoder(sparse_output=False), ["colour"])], remainder="passthrough"
    )
    for output in ("default", "pandas", "polars"):
        model = make_pipeline(encode.set_output(transform=output), classifier)
        assert model.fit(FRAME, LABELS).score(FRAME, LABELS) > 0.8


@pytest.mark.parametrize("search", [GridSearchCV, HalvingGridSearchCV])
def test_searches_on_two_processes(classifier, search):
    found = search(classifier, {"folds": [1, 2], "kinds": [None, {"noise": "left out"}]}, cv=2,
                   n_jobs=2).fit(FRAME, LABELS)  # fmt: skip
    assert found.best_params_["folds"] in (1, 2)
    assert np.isfinite(found.cv_results_["mean_test_score"]).all()


def test_cross_validation(classifier):
    scores = cross_val_score(classifier, FRAME, LABELS, cv=3, scoring="roc_auc")
    assert (scores > 0.7).all()
    values = cross_val_predict(TabularRegressor(QUICK), FRAME, VALUES, cv=3)
    assert np.corrcoef(values, VALUES)[0, 1] > 0.7


def test_calibration(classifier):
    model = CalibratedClassifierCV(classifier, cv=2).fit(FRAME, LABELS)
    assert model.score(FRAME, LABELS) > 0.7


def test_stacking(classifier):
    model = StackingClassifier(
        [("tabular", classifier)], LogisticRegression(), cv=2, stack_method="predict_proba"
    )
    assert model.fit(FRAME, LABELS).score(FRAME, LABELS) > 0.8
    regressor = StackingRegressor([("tabular", TabularRegressor(QUICK))], cv=2)
    assert regressor.fit(FRAME, VALUES).score(FRAME, VALUES) > 0.5


def test_several_outputs_at_once_and_one_by_one():
    Y = np.stack([VALUES, 100 - VALUES], axis=1)
    together = TabularRegressor(QUICK).fit(FRAME, Y)
    apart = MultiOutputRegressor(TabularRegressor(QUICK)).fit(FRAME, Y)
    for model in (together, apart):
        assert model.predict(FRAME).shape == (80, 2)
        assert model.score(FRAME, Y) > 0.5


def test_scikit_learns_permutation_importance_agrees(classifier):
    frame, labels, _ = table(400, seed=5)
    model = classifier.fit(FRAME, LABELS)
    theirs = permutation_importance(model, frame, labels, n_repeats=10, random_state=0)
    ours = model.feature_importances(frame, labels, repeats=10)
    assert ours.names == ("size", "colour", "noise")
    apart = np.abs(ours.mean - theirs.importances_mean)
    spread = np.hypot(ours.spread, theirs.importances_std) / np.sqrt(10)
    assert (apart <= 5 * spread + 1e-12).all()


def test_pickle_and_joblib(classifier, tmp_path):
    model = classifier.fit(FRAME, LABELS)
    joblib.dump(model, tmp_path / "model")
    for twin in (pickle.loads(pickle.dumps(model)), joblib.load(tmp_path / "model")):
        np.testing.assert_array_equal(twin.predict_proba(FRAME), model.predict_proba(FRAME))
        assert twin.feature_names_in_.tolist() == list(FRAME)
    unfitted = pickle.loads(pickle.dumps(TabularRegressor(QUICK)))
    assert unfitted.get_params() == TabularRegressor(QUICK).get_params()


def test_joblib_fits_in_parallel(classifier):
    target = os.environ.get("DELTARULE_TARGET")

    def fitted():  # in a worker that may have begun with another vector target
        os.environ.pop("DELTARULE_TARGET", None)
        if target is not None:
            os.environ["DELTARULE_TARGET"] = target
        return TabularClassifier(QUICK).fit(FRAME, LABELS)

    fits = joblib.Parallel(n_jobs=2)(joblib.delayed(fitted)() for _ in range(2))
    alone = classifier.fit(FRAME, LABELS).predict_proba(FRAME)
    for model in fits:
        np.testing.assert_array_equal(model.predict_proba(FRAME), alone)


def test_columns_are_found_by_name_and_arrays_by_place(classifier):
    model = classifier.fit(FRAME, LABELS)
    expected = model.predict_proba(FRAME)
    shuffled = FRAME[["noise", "colour", "size"]].assign(more=1)
    np.testing.assert_array_equal(model.predict_proba(shuffled), expected)
    with pytest.warns(UserWarning, match="valid feature names"):
        np.testing.assert_array_equal(model.predict_proba(FRAME.to_numpy()), expected)
    with pytest.raises(ValueError, match="X lacks the column 'size'"):
        model.predict(FRAME.drop(columns="size"))
    with (
        pytest.warns(UserWarning, match="valid feature names"),
        pytest.raises(ValueError, match="expecting 3 features"),
    ):
        model.predict(FRAME.to_numpy()[:, :2])


def test_a_fit_on_an_array_forgets_the_names_of_an_earlier_frame(classifier):
    assert classifier.fit(FRAME, LABELS).feature_names_in_.tolist() == list(FRAME)
    classifier.fit(FRAME.to_numpy(), LABELS)
    assert not hasattr(classifier, "feature_names_in_")
    assert classifier.predict(FRAME.to_numpy()).shape == (80,)


def test_a_sparse_matrix_is_as_a_dense_one(classifier):
    sparse = oracle("scipy.sparse")
    X = np.where(np.random.default_rng(0).random((60, 12)) < 0.7, 0, 1.5)
    y = (X[:, 0] + X[:, 1] > 1).astype(int)
    dense = classifier.fit(X, y).predict_proba(X)
    np.testing.assert_array_equal(classifier.fit(sparse.csr_array(X), y).predict_proba(X), dense)


def test_an_estimator_that_is_not_fitted_says_so(classifier):
    from sklearn.exceptions import NotFittedError

    for use in (
        lambda: classifier.predict(FRAME),
        lambda: classifier.predict_proba(FRAME),
        lambda: classifier.save(io.BytesIO()),
        lambda: classifier.networks_,
    ):
        with pytest.raises(NotFittedError):
            use()
