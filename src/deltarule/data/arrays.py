"""Arrays and data frames: what is accepted, and one clear error for everything else.

Data keep their own type and place in memory; rows are converted to the network's dtype when they
are gathered for a batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from deltarule.base.errors import InvalidValueError
from deltarule.base.types import Array
from deltarule.data.frames import names_of
from deltarule.data.numbers import numeric
from deltarule.data.series import REAL

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


def fits(X: Array, inputs: int) -> bool:
    """Return whether an array is a matrix of numbers that :func:`as_matrix` returns as it is."""
    return X.ndim == 2 and X.shape[1] == inputs and len(X) > 0 and X.dtype.kind in REAL


def as_matrix(
    X: Any,
    *,
    inputs: int,
    dtype: np.dtype,
    what: str = "X",
    finite: bool = True,
    single: bool = False,
) -> Array:
    """Return features as a numeric array (n, inputs), without copying where possible.

    Parameters
    ----------
    X : array, nested list, tensor, pandas or polars data frame
    inputs : int
        Number of columns that the network takes.
    dtype : dtype
        The network's dtype, into which every value must fit.
    finite : bool
        Whether NaN and infinity are refused.
    single : bool
        Whether one example may come as (inputs,).

    Raises
    ------
    ValueError
        Wrong shape, no rows, or values that are not finite; the message names the first one.
    TypeError
        Text, dates, objects or a sparse matrix.
    """
    array = numeric(X, what)
    if array.ndim == 1 and single and len(array) == inputs:
        array = array[None, :]
    if array.ndim != 2 or array.shape[1] != inputs:
        raise InvalidValueError(
            f"{what} must have shape (n, {inputs}), one column per input of the network; "
            f"got shape {array.shape}{_reshaping(X, array, inputs, what)}"
        )
    if not len(array):
        raise InvalidValueError(f"{what} has no rows; expected at least one example")
    if finite:
        check_finite(array, what, dtype, source=X)
    return array


def _reshaping(X: Any, array: Array, inputs: int, what: str) -> str:
    """Return how one example, or one feature, as it is typed, becomes a table."""
    if array.ndim == 1 and len(array) == inputs:
        way = f"[{what}]" if isinstance(X, (list, tuple)) else f"{what}[None, :]"
        if hasattr(X, "to_frame"):
            way = f"{what}.to_frame().T"
        return f"; for a single example pass {way}"
    if array.ndim == 1 and inputs == 1:
        way = f"[[x] for x in {what}]" if isinstance(X, (list, tuple)) else f"{what}[:, None]"
        if hasattr(X, "to_frame"):
            way = f"{what}.to_frame()"
        return f"; for a single feature pass {way}"
    return ""


def as_targets(
    y: Any,
    n: int,
    *,
    what: str = "y",
    single: bool = False,
) -> Array:
    """Return targets as a numeric array of ``n`` rows, (n,) or (n, k), finite or not.

    ``single``: the target of one example may come without its axis of rows.
    """
    array = numeric(y, what, hint=_LABEL_HINT)
    if single and n == 1 and (array.ndim == 0 or (array.ndim == 1 and len(array) > 1)):
        array = array[None]
    if array.ndim not in (1, 2):
        raise InvalidValueError(f"{what} must have shape (n,) or (n, k), got shape {array.shape}")
    if len(array) != n:
        raise InvalidValueError(f"{what} must have {n} rows, as many as X; got {len(array)}")
    return array


def check_finite(array: Array, what: str, dtype: np.dtype, *, source: Any = None) -> None:
    """Raise where a value is NaN, infinite, or beyond the range of ``dtype``.

    ``source`` is what the user passed, whose columns may have names.
    """
    at = not_finite(array, dtype)
    if at is not None:
        raise error_at(at, array, what, source=source)


def not_finite(array: Array, dtype: np.dtype) -> tuple[int, ...] | None:
    """Return the first place of a value that is not finite in ``dtype``; None without one."""
    if array.dtype.kind in "biu" or not array.size:
        return None
    limit = largest(dtype)
    bounded = array.dtype == dtype or largest(array.dtype) <= limit
    rows = max(1, _CELLS_PER_CHECK * len(array) // array.size)
    for start in range(0, len(array), rows):
        block = array[start : start + rows]
        good = np.isfinite(block) if bounded else np.abs(block) <= limit
        if not good.all():
            row, *column = np.argwhere(~good)[0].tolist()
            return start + row, *column
    return None


def error_at(
    at: tuple[int, ...],
    array: Array,
    what: str,
    *,
    source: Any,
    remedy: str = "remove or fill such rows first",
) -> InvalidValueError:
    """Return the error for a value that is not finite."""
    value = array[at]
    place = f"row {at[0]}"
    if len(at) > 1:
        names = None if source is None else names_of(source)
        place += f", column {at[1] if names is None else names[at[1]]!r}"
    reason = "not finite"
    if np.isfinite(value):
        reason = "too large for float32"
        remedy = 'scale the data or use Network(..., dtype="float64")'
    return InvalidValueError(
        f"{what} has a value that is {reason}: {value.item()!r} at {place}; {remedy}"
    )


@cache
def largest(dtype: np.dtype) -> float:
    """Return the largest number of a dtype."""
    return float(np.finfo(dtype).max)


_LABEL_HINT = "; number class labels from 0 with np.unique(y, return_inverse=True)[1]"
