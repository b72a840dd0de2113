"""What is given to an estimator and is no table, no target or no number: one clear error.

scikit-learn's functions check it too. What they would refuse in other words, or take in silence, is
found here first; the sentences that scikit-learn's own checks look for are kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from numbers import Real
from typing import Any

import numpy as np
from sklearn.exceptions import NotFittedError

from deltarule.base.errors import (
    DeltaruleError,
    InvalidTypeError,
    InvalidValueError,
    describe_value,
)
from deltarule.base.types import Array
from deltarule.data.arrays import not_finite
from deltarule.data.frames import names_of
from deltarule.data.numbers import numeric
from deltarule.data.series import REAL
from deltarule.tables.target_cells import check_types

NUMBERS = "; encode text and categories as numbers, or use a Tabular estimator, which takes them"


@contextmanager
def as_our_error(X: Any = None, y: Any = None, what: str = "X") -> Iterator[None]:
    """Turn what scikit-learn or NumPy raise of a value into an error of ours."""
    try:
        yield
    except (DeltaruleError, NotFittedError):
        raise
    except (TypeError, ValueError, OverflowError) as error:
        text = str(error)
        if "NaN" in text or "infinity" in text:
            for values, name in ((X, what), (y, "y" + what[1:])):
                if (found := _not_finite(values, name)) is not None:
                    raise found from None
        kind = InvalidTypeError if isinstance(error, TypeError) else InvalidValueError
        raise kind(text) from None


def rows_in(X: Any) -> int:
    """Return how many rows a table has that :func:`check_table` lets pass."""
    return shape_of(X)[0]


def shape_of(X: Any) -> tuple[int, ...]:
    """Return the shape of an array, or of whatever becomes one."""
    return tuple(X.shape) if hasattr(X, "shape") else np.asarray(X).shape


def check_table(X: Any, what: str = "X") -> None:
    """Raise where something is no table of two dimensions."""
    if isinstance(X, np.ndarray) and X.ndim == 2:
        if X.dtype.kind == "c":
            raise _complex(what, X.dtype)
        if isinstance(X, np.ma.MaskedArray) and np.ma.is_masked(X):
            raise InvalidValueError(
                f"{what} is a masked array; fill the masked values first, for instance with "
                f"{what}.filled(np.nan)"
            )
        return
    if hasattr(X, "tocsr") and len(X.shape) == 2:
        return
    if X is None or isinstance(X, (str, bytes, Mapping, set, frozenset)) or not _is_array(X):
        remedy = ""
        if hasattr(X, "__next__"):
            remedy = f"; pass list({what})"
        elif isinstance(X, Mapping):
            remedy = "; a frame of it (pandas.DataFrame) is one"
        elif hasattr(X, "collect"):
            remedy = f"; pass {what}.collect()"
        raise InvalidTypeError(
            f"{what} must be a table: a 2-D array, a data frame or a list of rows; got "
            f"{describe_value(X)}{remedy}"
        )
    if isinstance(X, (list, tuple)):
        if not X:
            raise InvalidValueError(f"{what} has no rows; expected at least one example")
        _check_rows(X, what)
    shape = shape_of(X)
    if len(shape) != 2:
        raise _wrong_shape(X, shape, what)


def _is_array(X: Any) -> bool:
    return hasattr(X, "__len__") or hasattr(X, "shape") or hasattr(X, "__array__")


def _check_rows(X: Any, what: str) -> None:
    """Raise where a list is no list of rows of one length."""
    width = None
    for i, row in enumerate(X):
        if isinstance(row, (str, bytes, Mapping)) or row is None:
            remedy = ""
            if isinstance(row, Mapping):
                remedy = f"; pandas.DataFrame({what}) is a table"
            elif isinstance(row, str):
                remedy = f"; one column is [[x] for x in {what}]"
            raise InvalidTypeError(
                f"{what} must be a list of rows; row {i} is {describe_value(row)}{remedy}"
            )
        length = len(row) if hasattr(row, "__len__") and np.ndim(row) else None
        if i and length != width:
            raise InvalidValueError(
                f"the rows of {what} must have the same length; row 0 has {_cells(width)}, row {i} "
                f"has {_cells(length)}"
            )
        width = length


def _cells(length: int | None) -> str:
    if length is None:
        return "one number in the place of a list"
    return "1 cell" if length == 1 else f"{length} cells"


def _wrong_shape(X: Any, shape: tuple[int, ...], what: str) -> InvalidValueError:
    ways = ""
    if hasattr(X, "to_frame"):
        ways = f"{what}.to_frame() is one column"
    elif len(shape) == 1 and isinstance(X, (list, tuple)):
        ways = f"[[x] for x in {what}] is one column, [{what}] is one row"
    elif len(shape) == 1:
        ways = f"{what}.reshape(-1, 1) is one column, {what}.reshape(1, -1) is one row"
    elif len(shape) > 2:
        ways = f"np.reshape({what}, ({shape[0]}, -1)) makes a row of each example"
    return InvalidValueError(
        f"{what} must have two dimensions, rows and columns; got shape {shape}"
        + (f". Reshape your data: {ways}" if ways else "")
    )


def _complex(what: str, dtype: Any) -> InvalidValueError:
    return InvalidValueError(
        f"Complex data not supported: {what} has dtype {dtype}; pass real and imaginary parts as "
        "columns of their own"
    )


def check_numbers(X: Any, what: str = "X", hint: str = NUMBERS) -> None:
    """Raise where cells are no real numbers; missing ones are left to others."""
    kind = getattr(getattr(X, "dtype", None), "kind", "")
    if hasattr(X, "tocsr") or (isinstance(X, np.ndarray) and kind in REAL):
        return
    if kind == "c":
        raise _complex(what, X.dtype)
    try:
        numeric(X, what, hint)
    except InvalidTypeError as error:
        # scikit-learn wants the words of float() for cells that are Python objects
        odd = list(map(type, np.ravel(X))) if kind == "O" else []
        if foreign := next((t for t in odd if issubclass(t, (Mapping, list, set))), None):
            raise InvalidTypeError(
                f"{error} (float() argument must be a string or a real number, not "
                f"{foreign.__name__!r})"
            ) from None
        raise


def check_weights(weights: Any) -> None:
    """Raise where sample weights are no numbers."""
    if not isinstance(weights, Real):
        check_numbers(weights, "sample_weight", "")


def check_target(y: Any, rows: int | None, what: str = "y") -> None:
    """Raise where something is no column of targets, or not one for each row."""
    if y is None:
        raise InvalidValueError(
            f"{what} is missing: the estimator requires y to be passed, but the target y is None"
        )
    if hasattr(y, "tocsr"):
        raise InvalidTypeError(f"{what} is a sparse matrix; pass {what}.toarray()")
    if isinstance(y, (str, bytes, Mapping, set, frozenset)) or not _is_array(y):
        raise InvalidTypeError(
            f"{what} must be a column of targets, one for each row; got {describe_value(y)}"
        )
    if isinstance(y, (list, tuple)):
        if any(isinstance(value, (list, tuple, np.ndarray)) for value in y):
            _check_rows(y, what)
        else:
            _check_one_type(y, what)
    shape = shape_of(y)
    if len(shape) not in (1, 2):
        raise InvalidValueError(
            f"{what} should be a 1d array, one target for each row; got shape {shape}"
        )
    if rows is not None and shape[0] != rows:
        raise InvalidValueError(
            f"X{what[1:]} and {what} must have the same number of rows, got {rows} and {shape[0]}"
        )
    dtype = getattr(y, "dtype", None)
    if getattr(dtype, "kind", "") == "c":
        raise _complex(what, dtype)
    if isinstance(y, np.ndarray) and y.dtype.kind == "O":
        _check_one_type(np.ravel(y), what)


def _check_one_type(values: Any, what: str) -> None:
    array = np.empty(len(values), object)
    array[:] = values
    check_types(array, what)


def check_labels(y: Any, rows: int | None, what: str = "y") -> None:
    """Raise where targets are no labels of classes, or one is missing."""
    check_target(y, rows, what)
    shape = shape_of(y)
    if len(shape) == 2 and shape[1] > 1:
        return
    labels = np.asarray(y).ravel()
    absent = absent_labels(labels)
    if absent.any():
        row = int(np.argmax(absent))
        value = labels[row]
        infinite = isinstance(value, float) and np.isinf(value)
        raise InvalidValueError(
            f"Input {what} contains {'infinity' if infinite else 'NaN'}, in row {row}; leave out "
            "rows without a label"
        )
    if labels.dtype.kind == "f" and (broken := labels != np.round(labels)).any():
        raise InvalidValueError(
            f"Unknown label type: {what} is continuous, with values such as "
            f"{float(labels[broken][0]):.6g}, and a classifier predicts classes; a regressor "
            "predicts numbers"
        )


def absent_labels(labels: Array) -> Array:
    """Return which labels (n,) are none: None, NaN, infinite, or pandas' NA."""
    if labels.dtype.kind == "f":
        return ~np.isfinite(labels)
    if labels.dtype.kind != "O":
        return np.zeros(len(labels), bool)
    gone = [
        label is None
        or type(label).__name__ in ("NAType", "NaTType")
        or bool(label != label)
        or (isinstance(label, float) and bool(np.isinf(label)))
        for label in labels
    ]
    return np.array(gone, bool)


def check_values(y: Any, rows: int | None, what: str = "y") -> None:
    """Raise where targets are no finite numbers."""
    check_target(y, rows, what)
    check_numbers(y, what, "; a classifier predicts labels")
    found = _not_finite(y, what)
    if found is not None:
        raise found


def _not_finite(values: Any, what: str) -> InvalidValueError | None:
    """Return the error for the first number that is not finite, if there is one."""
    if values is None or isinstance(values, str):
        return None
    try:
        if hasattr(values, "tocoo"):
            sparse = values.tocoo()
            array, places = sparse.data, np.stack(sparse.coords, axis=1)
        else:
            array, places = numeric(values, what), None
    except DeltaruleError:
        return None
    at = not_finite(array, np.dtype(np.float64))
    if at is None:
        return None
    value = array[at]
    if places is not None:
        at = tuple(places[at[0]].tolist())
    names = names_of(values)
    place = f"in row {at[0]}" + (
        f", column {at[1] if names is None else names[at[1]]!r}" if len(at) > 1 else ""
    )
    kind = "NaN" if np.isnan(value) else "infinity"
    remedy = "leave out rows without a target"
    if what.startswith("X"):
        remedy = "remove or fill such rows, or use a Tabular estimator, which takes missing values"
        if kind == "infinity":
            remedy = "remove such rows, or replace the value"
    return InvalidValueError(f"Input {what} contains {kind}, {place}; {remedy}")
