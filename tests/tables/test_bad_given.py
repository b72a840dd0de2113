"""What is no table, no target or no number is refused by every estimator, in one clear error."""

import warnings

import numpy as np
import pytest

from oracles import oracle

oracle("sklearn")
pd = oracle("pandas")
sparse = oracle("scipy.sparse")

from sklearn.exceptions import ConvergenceWarning  # noqa: E402
from tabular_cases import QUICK  # noqa: E402

import deltarule as dr  # noqa: E402
from deltarule.sklearn import (  # noqa: E402
    MLPClassifier,
    MLPRegressor,
    TabularClassifier,
    TabularRegressor,
)

pytestmark = pytest.mark.filterwarnings(
    f"ignore::{ConvergenceWarning.__module__}.ConvergenceWarning"
)

ROWS = 12
X = np.random.default_rng(0).normal(size=(ROWS, 3))
LABELS = np.arange(ROWS) % 2
VALUES = X.sum(axis=1)

MLPS = {"MLPClassifier": MLPClassifier(max_iter=1), "MLPRegressor": MLPRegressor(max_iter=1)}
CLASSIFIERS = {
    "MLPClassifier": MLPS["MLPClassifier"],
    "TabularClassifier": TabularClassifier(QUICK),
}
REGRESSORS = {"MLPRegressor": MLPS["MLPRegressor"], "TabularRegressor": TabularRegressor(QUICK)}
ALL = CLASSIFIERS | REGRESSORS
with warnings.catch_warnings():
    warnings.simplefilter("ignore", ConvergenceWarning)
    FITTED = {name: model.fit(X, LABELS) for name, model in ALL.items()}

NO_TABLES = {
    "None": (lambda: None, TypeError, "X must be a table"),
    "a number": (lambda: 3.0, TypeError, "X must be a table.*got 3.0"),
    "text": (lambda: "a.csv", TypeError, "X must be a table.*got 'a.csv'"),
    "a set": (lambda: {1, 2}, TypeError, "X must be a table.*got {1, 2}"),
    "an iterator": (lambda: iter(X), TypeError, r"X must be a table.*pass list\(X\)"),
    "an array of no dimension": (lambda: np.array(3.0), ValueError, r"two dimensions.*shape \(\)"),
    "a vector": (lambda: X[:, 0], ValueError, "two dimensions.*Reshape your data"),
    "a list of numbers": (
        lambda: [1.0] * ROWS,
        ValueError,
        r"two dimensions.*\[\[x\] for x in X\]",
    ),
    "a list of words": (lambda: ["a"] * ROWS, TypeError, "list of rows; row 0 is 'a'"),
    "an empty list": (list, ValueError, "X has no rows"),
    "a series": (lambda: pd.Series(X[:, 0]), ValueError, "two dimensions.*to_frame"),
    "three dimensions": (lambda: X[:, :, None], ValueError, r"shape \(12, 3, 1\).*\(12, -1\)"),
    "ragged rows": (
        lambda: [[1, 2, 3]] * 11 + [[1]],
        ValueError,
        "row 0 has 3 cells, row 11",
    ),
    "masked cells": (lambda: np.ma.masked_array(X, mask=X > 1), ValueError, "masked array.*fill"),
    "complex numbers": (lambda: X + 1j, ValueError, "Complex data not supported: X has dtype"),
    "no columns": (lambda: X[:, :0], ValueError, r"0 feature\(s\) \(shape=\(12, 0\)\)"),
}
NO_NUMBERS = {
    "a dict": (lambda: {"a": [1.0] * ROWS}, TypeError, "X must be a table.*pandas.DataFrame"),
    "dicts": (lambda: [{"a": 1.0}] * ROWS, TypeError, r"row 0 is \{.*pandas.DataFrame"),
    "words": (lambda: [["a", "b", "c"]] * ROWS, TypeError, "X must hold numbers.*encode"),
    "an array of words": (lambda: np.full((ROWS, 3), "1"), TypeError, "X must hold numbers"),
    "a word": (
        lambda: pd.DataFrame({"a": X[:, 0], "b": ["red"] * ROWS}),
        TypeError,
        "row 0, column 'b' has 'red'.*Tabular",
    ),
    "dates": (lambda: np.full((ROWS, 3), "2020-01-01", "M8[D]"), TypeError, "dates and times"),
    "a missing number": (
        lambda: np.where(X[4, 1] == X, np.nan, X),
        ValueError,
        "X contains NaN, in row 4, column 1.*fill.*Tabular",
    ),
    "infinity, sparse": (
        lambda: sparse.csr_matrix(np.where(X[5, 2] == X, np.inf, X)),
        ValueError,
        "X contains infinity, in row 5, column 2",
    ),
}


def refused(call, kind, message):
    with pytest.raises(kind, match=message) as caught:
        call()
    assert isinstance(caught.value, dr.DeltaruleError)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("case", NO_TABLES)
@pytest.mark.parametrize("name", ALL)
def test_what_is_no_table_is_refused_by_fit_and_predict(name, case):
    make, kind, message = NO_TABLES[case]
    before = FITTED[name].predict(X)
    refused(lambda: FITTED[name].fit(make(), LABELS), kind, message)
    refused(lambda: FITTED[name].predict(make()), kind, message)
    assert (FITTED[name].predict(X) == before).all()


@pytest.mark.parametrize("case", NO_NUMBERS)
@pytest.mark.parametrize("name", MLPS)
def test_a_perceptron_takes_numbers_alone(name, case):
    make, kind, message = NO_NUMBERS[case]
    refused(lambda: FITTED[name].fit(make(), LABELS), kind, message)
    refused(lambda: FITTED[name].predict(make()), kind, message)


@pytest.mark.parametrize("name", ALL)
def test_rows_with_other_columns_than_those_of_the_fit_are_refused(name):
    refused(lambda: FITTED[name].predict(X[:, :1]), ValueError, "X has 1 features, but .* 3")


NO_TARGETS = {
    "None": (None, ValueError, "y is missing.*requires y to be passed"),
    "a number": (1.0, TypeError, "y must be a column of targets.*got 1.0"),
    "text": ("kind", TypeError, "y must be a column of targets.*got 'kind'"),
    "a dict": ({"a": 1}, TypeError, "y must be a column of targets"),
    "a sparse matrix": (sparse.csr_matrix(LABELS), TypeError, r"sparse matrix; pass y.toarray\(\)"),
    "one row less": (LABELS[1:], ValueError, "same number of rows, got 12 and 11"),
    "three dimensions": (LABELS[:, None, None], ValueError, r"1d array.*shape \(12, 1, 1\)"),
    "several types": ([1, "a"] * 6, TypeError, "several types, int and str"),
    "an array of several types": (np.array([1, "a"] * 6, object), TypeError, "several types"),
    "nothing but NaN": (np.full(ROWS, np.nan), ValueError, "y contains NaN, in row 0.*leave out"),
    "infinity": (np.where(LABELS, np.inf, 0), ValueError, "y contains infinity, in row 1"),
    "complex numbers": (LABELS + 1j, ValueError, "Complex data not supported: y has dtype"),
    "ragged rows": ([[1], [1, 2]] * 6, ValueError, "rows of y.*row 0 has 1 cell, row 1 has 2"),
}


@pytest.mark.parametrize("case", NO_TARGETS)
@pytest.mark.parametrize("name", ALL)
def test_what_is_no_target_is_refused(name, case):
    y, kind, message = NO_TARGETS[case]
    refused(lambda: FITTED[name].fit(X, y), kind, message)
    if y is not None:
        refused(lambda: FITTED[name].fit(X, LABELS, X_val=X, y_val=y), kind, "y")


@pytest.mark.parametrize("name", REGRESSORS)
def test_a_regressor_predicts_no_words(name):
    words = np.array(["low", "high"] * 6, object)
    refused(lambda: FITTED[name].fit(X, words), (TypeError, ValueError), "'low'.* predicts labels")
    dates = np.full(ROWS, "2020-01-01", "M8[D]")
    refused(lambda: FITTED[name].fit(X, dates), TypeError, "y must hold numbers.*dates")


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_classifier_predicts_no_measurements(name):
    refused(lambda: FITTED[name].fit(X, VALUES), ValueError, "Unknown label type.*continuous")


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("weights", [["a"] * ROWS, "heavy", np.full(ROWS, "2020-01-01", "M8[D]")])
def test_weights_are_numbers(name, weights):
    call = lambda: FITTED[name].fit(X, LABELS, sample_weight=weights)  # noqa: E731
    refused(call, TypeError, "sample_weight must (hold numbers|be an array)")
