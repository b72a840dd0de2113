"""Which columns matter: how much worse the predictions are when a column's cells are shuffled."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from typing import Any

import numpy as np

from deltarule.base.guards import fixed
from deltarule.base.random import Purpose, permutation
from deltarule.base.settings import check_choice, check_integer
from deltarule.base.types import Array
from deltarule.tables.model import TableModel

_TINY = np.finfo(np.float64).tiny


@fixed
@dataclass(frozen=True, eq=False)
class Importances:
    """Permutation importances of the columns of a table; printed, they are a table.

    Attributes
    ----------
    names : tuple of str
        The columns, as the frame has them.
    values : array (columns, repeats)
        By how much the score falls when the column's cells are shuffled.
    metric : str
        "accuracy", "r2" or "loss". A loss counts by how much it rises.
    score : float
        The score with nothing shuffled.
    """

    names: tuple[str, ...]
    values: Array
    metric: str
    score: float

    @property
    def mean(self) -> Array:
        """The mean over the repeats (columns,)."""
        found: Array = self.values.mean(axis=1)
        return found

    @property
    def spread(self) -> Array:
        """The standard deviation over the repeats (columns,)."""
        found: Array = self.values.std(axis=1)
        return found

    def ranked(self) -> list[tuple[str, float, float]]:
        """Return name, mean and spread of the columns, the most important first."""
        order = np.argsort(-self.mean, kind="stable")
        return [(self.names[i], float(self.mean[i]), float(self.spread[i])) for i in order]

    def __str__(self) -> str:
        width = max((len(name) for name in self.names), default=0)
        lines = [f"{'column':{width}}  fall of {self.metric} from {self.score:.4g}"]
        lines += [
            f"{name:{width}}  {mean:.4f} +- {spread:.4f}" for name, mean, spread in self.ranked()
        ]
        return "\n".join(lines)


def permutation_importances(
    model: TableModel,
    frame: Any,
    encoded: Array,
    weights: Array | None = None,
    *,
    repeats: int = 5,
    metric: str = "score",
    rows: int | None = None,
    only: Container[str] | None = None,
    seed: int = 0,
) -> Importances:
    """Return by how much the score falls when the cells of one column are shuffled among the rows.

    All numbers that a column became are shuffled together, so a category or a date counts as one.
    Columns that say the same share what they are worth: shuffling one of them harms little.

    Parameters
    ----------
    model : TableModel
    frame : frame with the model's columns
    encoded : array
        Class numbers (n,), or standardised values (n, outputs), of the frame's rows.
    weights : array (n,), optional
    repeats : int
        Shuffles of each column.
    metric : "score" or "loss"
        Accuracy or R2; or cross-entropy or half the mean squared error, which also see changes
        that turn no label.
    rows : int, optional
        At most so many rows are used, drawn at random.
    only : collection of str, optional
        The columns that are shuffled; the others count as 0.
    seed : int

    Source: Breiman, "Random forests" (2001), section 10; over the columns of the raw table.
    """
    check_integer("repeats", repeats)
    check_choice("metric", metric, "score", "loss")
    X = model.columns.transform(frame)
    y, w = np.asarray(encoded), np.ones(len(X)) if weights is None else np.asarray(weights)
    if rows is not None and rows < len(X):
        kept = np.sort(permutation(seed, Purpose.SPLIT, len(X))[: check_integer("rows", rows)])
        X, y, w = X[kept], y[kept], w[kept]
    classifies = model.target.task == "classification"
    measure = _MEASURES[classifies, metric]
    sign = -1.0 if metric == "loss" else 1.0
    whole = measure(model.outputs_of(X), y, w)
    places: dict[str, list[int]] = {}
    for at, source in enumerate(model.columns.sources):
        places.setdefault(source, []).append(at)
    names = tuple(column.name for column in model.columns.columns)
    values = np.zeros((len(names), repeats))
    for i, name in enumerate(names):
        if name not in places or (only is not None and name not in only):
            continue
        of_column = places[name]
        kept_cells = X[:, of_column].copy()
        for r in range(repeats):
            order = permutation(seed, Purpose.SHUFFLE, len(X), step=i * repeats + r)
            X[:, of_column] = kept_cells[order]
            values[i, r] = sign * (whole - measure(model.outputs_of(X), y, w))
        X[:, of_column] = kept_cells
    shown = "loss" if metric == "loss" else "accuracy" if classifies else "r2"
    return Importances(names, values, shown, whole)


def accuracy(outputs: Array, y: Array, w: Array) -> float:
    """Return the weighted share of rows whose largest output is that of their class."""
    return float(np.average(outputs.argmax(axis=1) == y, weights=w))


def _cross_entropy(outputs: Array, y: Array, w: Array) -> float:
    of_class = outputs[np.arange(len(y)), y]
    return float(np.average(-np.log(np.maximum(of_class, _TINY)), weights=w))


def r2(outputs: Array, y: Array, w: Array) -> float:
    """Return the mean over outputs of 1 - residual / total squares; 0 where y does not vary."""
    y = y.reshape(len(y), -1)
    total = np.average((y - np.average(y, axis=0, weights=w)) ** 2, axis=0, weights=w)
    left = np.average((y - outputs) ** 2, axis=0, weights=w)
    return float(np.mean(np.where(total > 0, 1 - left / np.where(total > 0, total, 1), 0.0)))


def _half_squares(outputs: Array, y: Array, w: Array) -> float:
    squares = 0.5 * ((y.reshape(len(y), -1) - outputs) ** 2).mean(axis=1)
    return float(np.average(squares, weights=w))


_MEASURES = {
    (True, "score"): accuracy,
    (True, "loss"): _cross_entropy,
    (False, "score"): r2,
    (False, "loss"): _half_squares,
}
