"""How the prediction moves with one column: partial dependence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from deltarule.base.random import Purpose, permutation
from deltarule.base.types import Array
from deltarule.tables.column import LIMIT, Column
from deltarule.tables.model import TableModel

_POINTS = 24
_ROWS = 300
_CURVES = 4


@dataclass(frozen=True)
class Importance:
    """How much of the main score is lost on unseen rows when a column is shuffled."""

    name: str
    mean: float
    spread: float


@dataclass(frozen=True, eq=False)
class Effect:
    """The mean prediction over rows in which one column is set to each value of a grid.

    Attributes
    ----------
    name : str
        The column.
    grid : array (g,)
        Values, ascending: from the 1st to the 99th percentile.
    curves : dict of str to array (g,)
        Of a classification, the probability of each class that is shown; of a regression, one
        curve with the name "".
    values : array
        The column's values in the rows, to show where they are.
    """

    name: str
    grid: Array
    curves: dict[str, Array]
    values: Array


def partial_dependence(
    model: TableModel, frame: Any, names: list[str], *, seed: int = 0
) -> list[Effect]:
    """Return how the prediction moves with each of some numeric columns.

    Of two classes the second is shown, of more the four most probable. The mean is over at most 300
    rows, drawn at random.

    Source: Friedman, "Greedy function approximation: a gradient boosting machine" (2001), section
    8.2.
    """
    X = model.columns.transform(frame)
    if not len(X):
        return []
    rows = np.sort(permutation(seed, Purpose.SPLIT, len(X))[:_ROWS])
    some = X[rows]
    columns = {column.name: column for column in model.columns.columns}
    sources = np.array(model.columns.sources, object)
    shown = _shown_classes(model, some)
    effects = []
    for name in names:
        at = np.flatnonzero(sources == name)
        values = numbers_of(columns[name], X[:, at])
        grid = _grid(values)
        if len(grid) < 2:
            continue
        written = model.columns.transform({name: grid}, missing="fill")[:, at]
        many = np.repeat(some, len(grid), axis=0)
        many[:, at] = np.tile(written, (len(some), 1))
        outputs = model.outputs_of(many).reshape(len(some), len(grid), -1).mean(axis=0)
        if model.target.classes is None:
            curves = {"": np.asarray(model.target.decode(outputs)).reshape(len(grid), -1)[:, 0]}
        else:
            curves = {str(model.target.classes[k]): outputs[:, k] for k in shown}
        effects.append(Effect(name, grid, curves, values))
    return effects


def numbers_of(column: Column, written: Array) -> Array:
    """Return the numbers (m,) of a column that is used as a number; those missing are left out.

    What was written is turned back: ``z = (x - centre) / scale`` was squashed to
    ``z / sqrt(1 + (z / LIMIT)^2)``.
    """
    squashed = written[:, 0].astype(np.float64)
    if column.indicator:
        squashed = squashed[written[:, -1] <= 0]
    inside = np.clip(squashed / LIMIT, -0.9999, 0.9999)
    return column.centre + column.scale * LIMIT * inside / np.sqrt(1 - inside**2)


def _grid(values: Array) -> Array:
    """Return the values that are tried: the distinct ones if they are few."""
    if not len(values):
        return values
    distinct = np.unique(np.float32(values)).astype(np.float64)
    if len(distinct) <= _POINTS:
        return distinct
    low, high = np.quantile(values, [0.01, 0.99])
    if low == high:
        low, high = values.min(), values.max()
    return np.linspace(low, high, _POINTS)


def _shown_classes(model: TableModel, X: Array) -> list[int]:
    classes = model.target.classes
    if classes is None:
        return []
    if len(classes) == 2:
        return [1]
    mean = model.outputs_of(X).mean(axis=0)
    return sorted(np.argsort(-mean, kind="stable")[:_CURVES].tolist())
