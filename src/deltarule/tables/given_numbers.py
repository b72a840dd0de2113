"""What is given to a multilayer perceptron: numbers, checked by scikit-learn in words of ours."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.utils import column_or_1d
from sklearn.utils.validation import _check_sample_weight, validate_data

from deltarule.base.types import Array
from deltarule.tables.given_checks import (
    as_our_error,
    check_numbers,
    check_table,
    check_weights,
    rows_in,
)

SPARSE = ("csr", "csc")


def checked_features(estimator: Any, X: Any, what: str = "X", dtype: Any = "numeric") -> Any:
    """Return the features of a fitted estimator as an array or a sparse matrix."""
    check_table(X, what)
    check_numbers(X, what)
    with as_our_error(X, what=what):
        return validate_data(estimator, X, accept_sparse=SPARSE, dtype=dtype, reset=False)


def checked_examples(
    estimator: Any,
    X: Any,
    y: Any,
    check: Callable[[Any, int], None],
    *,
    reset: bool,
    numeric: bool,
) -> tuple[Any, Any]:
    """Return features, and targets of shape (n,) or (n, outputs) that ``check`` lets pass."""
    check_table(X)
    check_numbers(X)
    check(y, rows_in(X))
    with as_our_error(X, y):
        X, y = validate_data(
            estimator,
            X,
            y,
            accept_sparse=SPARSE,
            multi_output=True,
            y_numeric=numeric,
            dtype=(np.float64, np.float32),
            reset=reset,
        )
    return X, column_or_1d(y, warn=True) if y.ndim == 2 and y.shape[1] == 1 else y


def checked_weights(weights: Any, X: Any) -> Array:
    """Return sample weights (n,)."""
    check_weights(weights)
    with as_our_error():
        checked: Array = _check_sample_weight(weights, X)
    return checked
