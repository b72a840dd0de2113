"""Weights of examples: those given, and those of their classes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from deltarule.base.errors import InvalidValueError, describe_value
from deltarule.base.types import Array
from deltarule.data.arrays import check_finite, largest
from deltarule.data.numbers import numeric

_FLOAT64 = np.dtype(np.float64)


def as_weights(
    weights: Any,
    n: int,
    *,
    dtype: np.dtype = _FLOAT64,
    outputs: int = 1,
    what: str = "sample_weight",
    rows_alone: Callable[[], str] = str,
) -> Array | None:
    """Return weights as float64, (n,) or with several ``outputs`` also (n, outputs), or None.

    Parameters
    ----------
    dtype : dtype
        The network's; the range of the weights must leave room in it.
    rows_alone : function () -> str
        Why the outputs cannot have weights of their own; "" where they can.
    """
    if weights is None:
        return None
    array = numeric(weights, what)
    if array.shape == (n, 1):
        array = array[:, 0]
    by_output = outputs > 1 and array.shape == (n, outputs)
    if by_output and (why := rows_alone()):
        raise InvalidValueError(
            f"{why}, so {what} must have shape ({n},), one weight per row of X; got shape "
            f"{array.shape}"
        )
    if array.shape != (n,) and not by_output:
        also = "" if outputs == 1 or rows_alone() else f", or ({n}, {outputs}), one per output"
        raise InvalidValueError(
            f"{what} must have shape ({n},), one weight per row of X{also}; got shape {array.shape}"
        )
    check_finite(array, what, _FLOAT64, source=weights)
    if (array < 0).any():
        where = tuple(np.argwhere(array < 0)[0].tolist())
        place = f"row {where[0]}" + (f", column {where[1]}" if by_output else "")
        raise InvalidValueError(f"{what} must be >= 0; {place} has {array[where].item()!r}")
    most = largest(dtype) ** 0.5
    used = array[array > 0]
    if used.size and not (used.min() >= 1 / most and used.max() <= most):
        raise InvalidValueError(
            f"{what} must be 0 or from {1 / most:.0e} to {most:.0e} for {dtype}; "
            f"got {used.min():.3g} to {used.max():.3g}; scale them (a mean loss depends on their "
            "ratios only)"
        )
    return array.astype(np.float64, order="C")


def row_weights(weights: Array) -> Array:
    """Return what each row weighs (n,): its weight, or the mean of those of its outputs."""
    rows: Array = weights if weights.ndim == 1 else weights.mean(axis=1)
    return rows


def without_unweighted(y: Array, weights: Array | None) -> Array:
    """Return targets with those that weigh nothing and are not finite replaced by some that count.

    What has weight 0 changes nothing, so it need not be known; but it should not turn sums into
    NaN either. Where nothing is replaced, ``y`` itself is returned.
    """
    if weights is None or y.dtype.kind != "f":
        return y
    per_cell = weights.ndim == 2
    if per_cell and weights.shape != y.shape:
        return y
    unknown: Array = np.logical_not(np.isfinite(y))
    if not per_cell and y.ndim == 2:
        unknown = np.any(unknown, axis=1)
    replaced = unknown & (weights == 0)
    if not replaced.any() or not weights.any():
        return y
    y = y.copy()
    if not per_cell:
        y[replaced] = y[np.argmax(weights > 0)]
        return y
    anything = y.flat[np.argmax(weights > 0)]
    for column, (known, gaps) in enumerate(zip((weights > 0).T, replaced.T, strict=True)):
        y[gaps, column] = y[np.argmax(known), column] if known.any() else anything
    return y


def check_some_weight(weights: Array | None, where: str) -> None:
    """Raise where no example counts."""
    if weights is not None and not weights.any():
        raise InvalidValueError(f"all weights are 0 {where}; at least one example must count")


def class_weights(
    class_weight: Any, y: Array, outputs: int, weights: Array | None = None
) -> Array | None:
    """Return each row's class weight, float64 (n,), or None.

    Parameters
    ----------
    class_weight : mapping class -> weight, sequence of one weight per class, "balanced", or None
        Classes absent from a mapping weigh 1. "balanced" gives every class the same total
        weight, ``n / (k * count)``, where rows of sample weight 0 do not count.
    y : array
        Checked targets: labels (n,), or one column per class.
    outputs : int
        Outputs of the network; a single one means the two classes 0 and 1.
    weights : array, optional
        The sample weights.
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
        counted = labels if weights is None else labels[row_weights(weights) > 0]
        table = balanced_weights(counted, k)
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
