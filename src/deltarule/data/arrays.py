"""Arrays and data frames: what is accepted, and one clear error for everything else.

Data keep their own type and place in memory; rows are converted to the network's dtype when they
are gathered for a batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from numbers import Real
from typing import Any

import numpy as np

from deltarule.base.errors import InvalidTypeError, InvalidValueError, describe_value
from deltarule.base.types import Array

_FLOAT64 = np.dtype(np.float64)
_CELLS_PER_CHECK = 1 << 20  # finiteness is checked in blocks, so that no copy of the data arises


@dataclass(frozen=True)
class Dataset:
    """Checked examples: X (n, inputs), targets as the loss keeps them, weights (n,) or None."""

    X: Array
    y: Array
    weights: Array | None = None

    def __len__(self) -> int:
        return len(self.X)

    def take(self, rows: slice | Array) -> Dataset:
        """Return the examples of some rows; of a slice, views."""
        weights = None if self.weights is None else self.weights[rows]
        return Dataset(self.X[rows], self.y[rows], weights)


def joined(parts: Sequence[Dataset]) -> Dataset:
    """Return the rows of several parts one behind the other; either all have weights or none."""
    weights = [part.weights for part in parts if part.weights is not None]
    return Dataset(
        np.concatenate([part.X for part in parts]),
        np.concatenate([part.y for part in parts]),
        np.concatenate(weights) if weights else None,
    )


def as_matrix(
    X: Any, *, inputs: int, dtype: np.dtype, what: str = "X", finite: bool = True
) -> Array:
    """Return features as a numeric array (n, inputs), without copying where possible.

    Parameters
    ----------
    X : array, nested list, pandas or polars data frame
    inputs : int
        Number of columns that the network takes.
    dtype : dtype
        The network's dtype, into which every value must fit.
    finite : bool
        Whether NaN and infinity are refused.

    Raises
    ------
    ValueError
        Wrong shape, no rows, or values that are not finite; the message names the first one.
    TypeError
        Text, dates, objects or a sparse matrix.
    """
    array = numeric(X, what)
    if array.ndim != 2 or array.shape[1] != inputs:
        hint = ""
        if array.ndim == 1 and len(array) == inputs:
            hint = f"; for a single example pass {what}[None, :]"
        elif array.ndim == 1 and inputs == 1:
            hint = f"; for a single feature pass {what}[:, None]"
        raise InvalidValueError(
            f"{what} must have shape (n, {inputs}), one column per input of the network; "
            f"got shape {array.shape}{hint}"
        )
    if not len(array):
        raise InvalidValueError(f"{what} has no rows; expected at least one example")
    if finite:
        check_finite(array, what, dtype)
    return array


def as_targets(y: Any, n: int, *, dtype: np.dtype, what: str = "y", finite: bool = True) -> Array:
    """Return targets as a numeric array of ``n`` rows, (n,) or (n, k)."""
    array = numeric(y, what, hint=_LABEL_HINT)
    if array.ndim not in (1, 2):
        raise InvalidValueError(f"{what} must have shape (n,) or (n, k), got shape {array.shape}")
    if len(array) != n:
        raise InvalidValueError(f"{what} must have {n} rows, as many as X; got {len(array)}")
    if finite:
        check_finite(array, what, dtype)
    return array


def as_weights(
    weights: Any, n: int, *, dtype: np.dtype = _FLOAT64, what: str = "sample_weight"
) -> Array | None:
    """Return weights as float64 (n,), or None; their range must leave room in ``dtype``."""
    if weights is None:
        return None
    array = numeric(weights, what)
    if array.shape != (n,):
        raise InvalidValueError(
            f"{what} must have shape ({n},), one weight per row of X; got shape {array.shape}"
        )
    check_finite(array, what, np.dtype(np.float64))
    if (array < 0).any():
        row = int(np.argmax(array < 0))
        raise InvalidValueError(f"{what} must be >= 0; row {row} has {array[row].item()!r}")
    largest = float(np.sqrt(np.finfo(dtype).max))
    used = array[array > 0]
    if used.size and not (used.min() >= 1 / largest and used.max() <= largest):
        raise InvalidValueError(
            f"{what} must be 0 or from {1 / largest:.0e} to {largest:.0e} for {dtype}; "
            f"got {used.min():.3g} to {used.max():.3g}; scale them (a mean loss depends on their "
            "ratios only)"
        )
    return array.astype(np.float64)


def check_some_weight(weights: Array | None, where: str) -> None:
    """Raise where no example counts."""
    if weights is not None and not weights.any():
        raise InvalidValueError(f"all weights are 0 {where}; at least one example must count")


def class_weights(class_weight: Any, y: Array, outputs: int) -> Array | None:
    """Return each row's class weight, float64 (n,), or None.

    Parameters
    ----------
    class_weight : mapping class -> weight, sequence of one weight per class, "balanced", or None
        Classes absent from a mapping weigh 1. "balanced" gives every class the same total
        weight, ``n / (k * count)``.
    y : array
        Checked targets: labels (n,), or one column per class.
    outputs : int
        Outputs of the network; a single one means the two classes 0 and 1.
    """
    if class_weight is None:
        return None
    k = max(outputs, 2)
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim == 1:
        labels = y.astype(np.int64)
        if not np.array_equal(labels, y) or labels.min() < 0 or labels.max() >= k:
            raise InvalidValueError("class_weight needs whole classes as targets, got soft labels")
    elif (np.abs(y.sum(axis=1) - 1) > 1e-3).any():
        raise InvalidValueError(
            "class_weight needs one class per row; for several labels per row use sample_weight"
        )
    else:
        labels = y.argmax(axis=1)
    if isinstance(class_weight, str):
        if class_weight != "balanced":
            raise InvalidValueError(
                f"class_weight must be 'balanced', a mapping or one weight per class, "
                f"got {class_weight!r}"
            )
        table = balanced_weights(labels, k)
    elif isinstance(class_weight, Mapping):
        unknown = [key for key in class_weight if key not in range(k)]
        if unknown:
            raise InvalidValueError(
                f"class_weight names class {unknown[0]!r}; the classes are 0 to {k - 1}"
            )
        table = np.array([class_weight.get(c, 1.0) for c in range(k)])
    else:
        table = class_weight
    if np.shape(table) != (k,):
        raise InvalidValueError(
            "class_weight must be 'balanced', a mapping or one weight for each of the "
            f"{k} classes, got {describe_value(class_weight)}"
        )
    checked = as_weights(table, k, what="class_weight")
    assert checked is not None
    return checked[labels]


def balanced_weights(labels: Array, k: int) -> Array:
    """Return one weight per class, ``n / (k * count)``; 0 for a class without examples."""
    counts = np.bincount(labels, minlength=k)
    present = counts > 0
    return np.where(present, len(labels) / (present.sum() * np.maximum(counts, 1)), 0.0)


def check_finite(array: Array, what: str, dtype: np.dtype) -> None:
    """Raise where a value is NaN, infinite, or beyond the range of ``dtype``."""
    if array.dtype.kind in "biu" or not array.size:
        return
    limit = _largest(dtype)
    bounded = array.dtype == dtype or _largest(array.dtype) <= limit
    rows = max(1, _CELLS_PER_CHECK * len(array) // array.size)
    for start in range(0, len(array), rows):
        block = array[start : start + rows]
        good = np.isfinite(block) if bounded else np.abs(block) <= limit
        if good.all():
            continue
        where = np.argwhere(~good)[0]
        value = block[tuple(where)]
        place = f"row {start + where[0]}" + (f", column {where[1]}" if len(where) > 1 else "")
        reason = "too large for float32" if np.isfinite(value) else "not finite"
        remedy = (
            'scale the data or use Network(..., dtype="float64")'
            if np.isfinite(value)
            else "remove or fill such rows first"
        )
        raise InvalidValueError(
            f"{what} has a value that is {reason}: {value.item()!r} at {place}; {remedy}"
        )


@cache
def _largest(dtype: np.dtype) -> float:
    return float(np.finfo(dtype).max)


_LABEL_HINT = "; number class labels from 0 with np.unique(y, return_inverse=True)[1]"


def numeric(data: Any, what: str, hint: str = "; encode text and categories as numbers") -> Array:
    """Return data as an array of real numbers of any dtype, or raise one clear error."""
    if type(data) is np.ndarray and data.dtype.kind in "biuf":
        return data
    if data is None:
        raise InvalidTypeError(f"{what} is missing (None)")
    if hasattr(data, "tocsr"):
        raise InvalidTypeError(f"{what} is a sparse matrix; pass {what}.toarray()")
    if isinstance(data, np.ma.MaskedArray) and np.ma.is_masked(data):
        raise InvalidValueError(f"{what} is a masked array; fill or drop the masked values first")
    names = getattr(data, "columns", None)
    try:
        array = np.asarray(data.to_numpy() if hasattr(data, "to_numpy") else data)
    except ValueError as error:
        raise InvalidValueError(f"{what} cannot be made into an array: {error}") from None
    if array.dtype.kind in "biuf":
        return array
    if array.dtype.kind == "O" and array.ndim == 0:
        raise InvalidTypeError(
            f"{what} must be an array, a nested list or a data frame, got {type(data).__name__}"
        )
    if array.dtype.kind != "O":
        raise InvalidTypeError(f"{what} must hold numbers, got dtype {array.dtype}{hint}")
    for place, value in np.ndenumerate(array):
        if isinstance(value, str) or not (
            isinstance(value, (Real, Decimal, np.bool_)) or _is_missing(value)
        ):
            column = ""
            if len(place) > 1:
                column = f", column {names[place[1]] if names is not None else place[1]!r}"
            raise InvalidTypeError(
                f"{what} must hold numbers; row {place[0]}{column} has "
                f"{describe_value(value)}{hint}"
            )
    values = [np.nan if _is_missing(value) else value for value in array.ravel()]
    try:
        return np.array(values, dtype=np.float64).reshape(array.shape)
    except OverflowError as error:
        raise InvalidValueError(f"{what} has a number beyond float64: {error}") from None


def _is_missing(value: Any) -> bool:
    return value is None or type(value).__name__ in ("NAType", "NaTType")
