"""What is given to an estimator: frames, targets and weights, checked as scikit-learn does."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.utils import _safe_indexing, check_array, check_random_state, column_or_1d
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import validate_data

from deltarule.base.errors import InvalidTypeError, InvalidValueError, describe_value
from deltarule.base.random import check_seed
from deltarule.base.types import Array
from deltarule.tables.frames import frame_of
from deltarule.tables.given_checks import (
    as_our_error,
    check_labels,
    check_table,
    check_target,
    check_values,
    check_weights,
)
from deltarule.tables.target import Target
from deltarule.tables.target_cells import refuse_names


def is_named(X: Any) -> bool:
    """Return whether a table has names for its columns: a data frame, a dict, a list of dicts."""
    if hasattr(X, "nnz"):  # a sparse matrix that is a dict, too
        return False
    if isinstance(X, np.ndarray):
        return X.dtype.names is not None
    if isinstance(X, (list, tuple)):
        return bool(X) and all(isinstance(row, Mapping) for row in X)
    return isinstance(X, Mapping) or hasattr(X, "columns") or hasattr(X, "column_names")


def given_frame(estimator: Any, X: Any, *, fitting: bool) -> Any:
    """Return a table in a form that Columns read, or raise one clear error.

    What has no names is an array, whose columns are found by their position; an estimator that was
    fitted on a frame warns of it.
    """
    if is_named(X):
        return X
    check_table(X)
    if isinstance(X, (list, tuple)):  # np.asarray would turn 1 beside "a" into text
        X = _objects(X)
    with as_our_error():
        array = check_array(
            X, accept_sparse="csc", dtype=None, ensure_all_finite=False, input_name="X"
        )
        if fitting:
            return array
        validate_data(estimator, array, reset=False, skip_check_array=True)
    names = getattr(estimator, "feature_names_in_", None)
    if names is None or hasattr(array, "nnz"):
        return array
    return {name: array[:, i] for i, name in enumerate(names)}


def _objects(X: Any) -> Any:
    """Return rows as an array of the objects that they hold; numbers stay numbers."""
    rows = list(X)
    widths = {
        len(row) if hasattr(row, "__len__") and not isinstance(row, (str, bytes)) else -1
        for row in rows
    }
    if len(widths) != 1 or min(widths) < 0:
        return X  # which scikit-learn refuses in its own words
    array: Array = np.empty((len(rows), widths.pop()), dtype=np.object_)
    for i, row in enumerate(rows):
        array[i] = row
    try:
        numbers = array.astype(np.float64)
    except (TypeError, ValueError, OverflowError):
        return array
    return array if any(isinstance(cell, str) for cell in array.ravel()) else numbers


def rows_of(X: Any) -> int:
    """Return how many rows a table has."""
    return frame_of(X).rows


def taken(X: Any, rows: Array) -> Any:
    """Return some rows of a table or of a column."""
    if isinstance(X, Mapping):
        return {name: _safe_indexing(values, rows) for name, values in X.items()}
    return _safe_indexing(X, rows)


def given_labels(y: Any, classes: Array | None = None) -> tuple[Target, Array]:
    """Return the target of a classification and the class numbers (n,) of labels.

    Labels are kept as they are: what is predicted equals what was given. ``classes``: those of an
    earlier fit, which the labels must belong to.
    """
    check_labels(y, None)
    with as_our_error():
        labels = column_or_1d(y, warn=True)
    if len(labels) == 0:
        raise InvalidValueError("y has no rows; expected at least one example")
    if labels.dtype.kind in "US":
        labels = labels.astype(object)
    try:
        with as_our_error():
            check_classification_targets(labels)
        known, codes = np.unique(labels, return_inverse=True)
    except TypeError:
        kinds = sorted({type(label).__name__ for label in labels.tolist()})
        raise InvalidTypeError(
            f"the labels of y must be of one type, got {' and '.join(kinds)}; make them text: "
            "y.astype(str)"
        ) from None
    if classes is not None:
        place = {label: i for i, label in enumerate(classes.tolist())}
        if unknown := [label for label in known.tolist() if label not in place]:
            raise InvalidValueError(
                f"label {describe_value(unknown[0])} is none of the classes of y: "
                f"{describe_value(classes.tolist())}"
            )
        codes = np.array([place[label] for label in known.tolist()])[codes]
        return Target("classification", classes=classes), codes
    if len(known) < 2:
        raise InvalidValueError(
            f"y must have at least two classes, it has one class: "
            f"{describe_value(known.tolist()[0])}"
        )
    refuse_names(known, len(labels), "y")
    return Target("classification", classes=known), codes


def given_values(y: Any, target: Target | None = None) -> tuple[Target, Array]:
    """Return the target of a regression and the standardised values (n, outputs).

    Text that is numbers is parsed. ``target``: that of an earlier fit, whose scale is used.
    """
    check_target(y, None)
    array = np.asarray(y)
    if array.dtype.kind in "OUS" and any(isinstance(v, str) for v in array.ravel()[:1000]):
        found = target or Target.fit(y, "regression", sentinels=False)
        encoded = found.encode(y)
        wrong = ~np.isfinite(encoded).all(axis=1)
        if wrong.any():
            raise InvalidValueError(
                f"Input y contains NaN: row {int(np.argmax(wrong))} is no number; leave out rows "
                "without a target"
            )
        return found, encoded.astype(np.float32)
    check_values(y, None)
    with as_our_error(y=y):
        values = check_array(
            array, ensure_2d=False, dtype=np.float64, input_name="y", ensure_min_samples=1
        )
    if values.ndim == 2 and values.shape[1] == 1:
        values = column_or_1d(values, warn=True)
    found = target or Target.fit(values, "regression", sentinels=False)
    return found, found.encode(values).astype(np.float32)


def given_weights(sample_weight: Any, rows: int) -> Array:
    """Return weights (n,) as float64; ones where none are given."""
    if sample_weight is None:
        return np.ones(rows)
    check_weights(sample_weight)
    with as_our_error():
        weights = np.asarray(sample_weight, np.float64)
    if weights.shape != (rows,):
        raise InvalidValueError(
            f"sample_weight must have one weight for each of the {rows} rows, got shape "
            f"{weights.shape}"
        )
    if not np.isfinite(weights).all() or (weights < 0).any():
        raise InvalidValueError("sample_weight must be finite and >= 0")
    if not weights.any():
        raise InvalidValueError("sample_weight: all weights are zero, so there is nothing to learn")
    return weights


def given_seed(random_state: Any) -> int:
    """Return the seed for an int, a NumPy generator or None (a new one each time)."""
    if random_state is None:
        return secrets.randbits(31)
    if isinstance(random_state, (int, np.integer)) and not isinstance(random_state, bool):
        return check_seed(int(random_state))
    try:
        return int(check_random_state(random_state).randint(1 << 31))
    except ValueError:
        raise InvalidTypeError(
            "random_state must be a whole number, a NumPy RandomState or None, got "
            f"{describe_value(random_state)}"
        ) from None
