"""What a metric is given and what it returns: checked, or one clear error."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

import numpy as np

from deltarule.base.errors import InvalidTypeError, InvalidValueError, describe_value
from deltarule.base.types import Array


def are_labels(y: Array, a: Array) -> bool:
    """Return whether targets are labels (n,) of predictions (n, classes)."""
    return a.shape[1] > 1 and y.ndim == 1


def checked(metric: str, needs: str, y: Any, a: Any, w: Any) -> tuple[Array, Array, Array | None]:
    """Return targets, predictions (n, outputs) and weights as the formulas take them."""
    y, a = _numbers(metric, "y", y), _numbers(metric, "a", a)
    if a.ndim == 1:
        a = a[:, None]
    if a.ndim != 2 or y.ndim not in (1, 2):
        raise InvalidValueError(
            f"{metric!r} takes targets y (n,) or (n, outputs) and predictions a (n, outputs); "
            f"got shapes {y.shape} and {a.shape}"
        )
    if len(y) != len(a) or not len(a):
        raise InvalidValueError(
            f"{metric!r} needs as many targets as predictions, and at least one; "
            f"got {len(y)} and {len(a)}"
        )
    if y.ndim == 2 and y.shape[1] == 1 < a.shape[1] and needs != "numbers":
        y = y[:, 0]
    if y.ndim == 2 and y.shape[1] != a.shape[1]:
        raise InvalidValueError(
            f"{metric!r} needs a target for each prediction; got y {y.shape} and a {a.shape}"
        )
    if needs == "numbers" and y.ndim == 1 and a.shape[1] > 1:
        raise InvalidValueError(
            f"{metric!r} compares numbers and needs one target per output: y of shape "
            f"{a.shape}; got {y.shape}"
        )
    for what, array in (("y", y), ("a", a)):
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise InvalidValueError(f"{metric!r}: {what} has values that are not finite")
    if needs != "numbers":
        _check_classes(metric, y, a)
    if w is None:
        return y, a, None
    w = _numbers(metric, "w", w).astype(np.float64)
    if w.shape != (len(a),) or not np.isfinite(w).all() or (w < 0).any():
        raise InvalidValueError(
            f"{metric!r} takes weights w of shape ({len(a)},), finite and >= 0; got shape {w.shape}"
        )
    return y, a, w


def _check_classes(metric: str, y: Array, a: Array) -> None:
    """Raise where targets are no classes, or classes that the predictions do not tell apart."""
    if are_labels(y, a):
        wrong = (y != np.floor(y)) | (y < 0) | (y >= a.shape[1])
        expected = f"whole numbers from 0 to {a.shape[1] - 1}, one column of a for each class"
    else:
        wrong = (y < 0) | (y > 1)
        expected = "0 or 1 for each column of a; of more classes, a has one column of scores each"
    if wrong.any():
        raise InvalidValueError(
            f"{metric!r} takes classes as {expected}; got {y[wrong][0].item()!r} with a of "
            f"shape {a.shape}"
        )


def _numbers(metric: str, what: str, values: Any) -> Array:
    """Return what a caller gave as an array of real numbers."""
    try:
        array = np.asarray(values.to_numpy() if hasattr(values, "to_numpy") else values)
        if array.dtype.kind == "O" and not any(isinstance(v, (str, bytes)) for v in array.flat):
            array = array.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise InvalidTypeError(f"{metric!r}: {what} must hold numbers: {error}") from None
    if array.dtype.kind not in "biuf" or values is None:
        raise InvalidTypeError(
            f"{metric!r}: {what} must hold numbers, got {describe_value(values)}; number class "
            "labels from 0 with np.unique(labels, return_inverse=True)[1]"
        )
    return array


def one_number(name: str, value: Any) -> float:
    """Return what a metric returned as a float; raise unless it is one number, and not NaN."""
    real = isinstance(value, Real) or (
        np.ndim(value) == 0 and np.asarray(value).dtype.kind in "biuf"
    )
    if not real:
        raise InvalidTypeError(
            f"the metric {name!r} must return one number, got {describe_value(value)}"
        )
    number = float(value)
    if math.isnan(number):
        raise InvalidValueError(
            f"the metric {name!r} is NaN, which is neither better nor worse than any number: the "
            "predictions hold NaN, or it is not defined for these rows and must say so by an error"
        )
    return number
