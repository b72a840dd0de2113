"""Leaks: columns that tell the target by themselves, by being empty, or by adding up to it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deltarule.base.random import Purpose, permutation
from deltarule.base.types import Array
from deltarule.tables.cells import Cells
from deltarule.tables.column import Column
from deltarule.tables.uses import numbers_of

BINS = 50
CERTAIN = 0.93
"""Share of the errors of a constant answer that a column alone must avoid to look like a leak."""
FITTED_ALONE = 0.95
"""Share of the variance of a regression's target that a column alone must explain."""
CERTAIN_BY_GAPS = 0.8
"""The same where all that is looked at is whether there is a value."""
_RANKED = 0.99
_FITTED = 0.998
_MOST_TERMS = 60


@dataclass(frozen=True)
class Power:
    """How well a column alone tells the target.

    Attributes
    ----------
    alone : float
        Share of a constant answer's errors that its values avoid, on rows that were not used to
        find that out: 0 is useless, 1 is certain.
    gaps : float
        The same of nothing but whether there is a value.
    pure : (bool, int, float) or None
        Rows with (or without) a value that are of one class nearly always: which of both, how
        many, and how rare such a row of the class would be by chance.
    ranked : float
        Of a regression, the absolute rank correlation.
    auc : float
        Of two classes, the area under the ROC curve of the values alone, on unseen rows.
    """

    alone: float
    gaps: float
    pure: tuple[bool, int, int] | None = None
    ranked: float = 0.0
    auc: float = 0.5


def power(column: Column, cells: Cells, y: Array, classes: int) -> Power:
    """Return how well a column tells class numbers, or values where ``classes`` is 0."""
    codes, gone = _codes(column, cells)
    halves = permutation(0, Purpose.SPLIT, len(y))
    first = np.zeros(len(y), bool)
    first[halves[: len(y) // 2]] = True

    def score(of: Array) -> float:
        return (
            _share_of_classes(of, y, classes, first) if classes else _share_of_squares(of, y, first)
        )

    some = bool(gone.any()) and not gone.all()
    gaps = score(gone.astype(np.int64)) if some else 0.0
    pure = _pure(gone, y, classes) if some and classes else None
    ranked = 0.0
    if not classes and not cells.is_text:
        ranked = _rank_correlation(numbers_of(column, cells), y)
    auc = _area(codes, y, first) if classes == 2 else 0.5
    return Power(score(codes), gaps, pure, ranked, auc)


def _area(codes: Array, y: Array, first: Array) -> float:
    """Return the area under the ROC curve of the share of class 1 at each value."""
    size = int(codes.max()) + 1
    areas = []
    for learn in (first, ~first):
        ones = np.bincount(codes[learn], weights=y[learn], minlength=size)
        counts = np.bincount(codes[learn], minlength=size)
        mean = float(y[learn].mean())
        score = ((ones + 2 * mean) / (counts + 2))[codes[~learn]]
        goal = y[~learn] == 1
        positive, negative = int(goal.sum()), int((~goal).sum())
        if not positive or not negative:
            return 0.5
        above = float(_ranks(score)[goal].sum()) - positive * (positive + 1) / 2
        areas.append(above / (positive * negative))
    return float(np.mean(areas))


def _codes(column: Column, cells: Cells) -> tuple[Array, Array]:
    """Return the cells as few whole numbers, 0 for missing, and which are missing."""
    if column.kind in ("number", "date") and not column.shape:
        numbers = numbers_of(column, cells)
        gone = np.isnan(numbers)
        known = numbers[~gone]
        if not len(known):
            return np.zeros(len(numbers), np.int64), gone
        distinct = np.unique(known)
        edges = distinct
        if len(distinct) > BINS:
            edges = np.unique(np.quantile(known, np.linspace(0, 1, BINS + 1)[1:]))
        return np.where(gone, 0, 1 + np.searchsorted(edges, numbers)), gone
    text = cells.as_text().without(column.absent)
    assert text.codes is not None
    return text.codes.astype(np.int64) + 1, text.codes < 0


def _share_of_classes(codes: Array, y: Array, classes: int, first: Array) -> float:
    size = int(codes.max()) + 1
    right, base = 0, 0
    for learn in (first, ~first):
        counts = np.bincount(codes[learn] * classes + y[learn], minlength=size * classes)
        counts = counts.reshape(size, classes)
        total = counts.sum(axis=0)
        answer = np.where(counts.sum(axis=1) > 0, counts.argmax(axis=1), total.argmax())
        right += int((answer[codes[~learn]] == y[~learn]).sum())
        base += int((y[~learn] == total.argmax()).sum())
    return (right - base) / max(1, len(y) - base)


def _share_of_squares(codes: Array, y: Array, first: Array) -> float:
    size = int(codes.max()) + 1
    left, base = 0.0, 0.0
    for learn in (first, ~first):
        counts = np.bincount(codes[learn], minlength=size)
        sums = np.bincount(codes[learn], weights=y[learn], minlength=size)
        mean = float(y[learn].mean())
        answer = np.where(counts > 0, sums / np.maximum(counts, 1), mean)
        left += float(np.square(y[~learn] - answer[codes[~learn]]).sum())
        base += float(np.square(y[~learn] - mean).sum())
    return 1 - left / base if base > 0 else 0.0


def _pure(gone: Array, y: Array, classes: int) -> tuple[bool, int, int] | None:
    """Return whether the rows with or those without a value are nearly all of one class.

    That is: 30 rows or more, 99% of one class, which has at most 90% of all rows.
    """
    base = np.bincount(y, minlength=classes) / len(y)
    for empty in (True, False):
        part = np.bincount(y[gone == empty], minlength=classes)
        rows, top = int(part.sum()), int(part.argmax())
        if rows >= 30 and part[top] >= 0.99 * rows and base[top] <= 0.9:
            return empty, rows, top
    return None


def _rank_correlation(x: Array, y: Array) -> float:
    known = ~np.isnan(x)
    if known.sum() < 20:
        return 0.0
    a, b = (_ranks(values[known]) for values in (x, y))
    a, b = a - a.mean(), b - b.mean()
    below = float(np.sqrt((a @ a) * (b @ b)))
    return abs(float(a @ b)) / below if below > 0 else 0.0


def _ranks(values: Array) -> Array:
    """Return the ranks of values; equal ones share the mean of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return (ends - (counts - 1) / 2.0)[inverse]


def is_leak(found: Power, classes: int) -> bool:
    """Whether a column alone tells the target suspiciously well."""
    return (
        found.alone >= (CERTAIN if classes else FITTED_ALONE)
        or found.gaps >= CERTAIN_BY_GAPS
        or found.pure is not None
        or found.ranked >= _RANKED
    )


def adds_up(columns: list[tuple[str, Array]], y: Array) -> tuple[str, tuple[str, ...]] | None:
    """Return how numeric columns give the target exactly: "sum" or "product", and their names.

    A linear model of up to 60 columns (of their logarithms, for a product) is fitted to one half of
    the rows and must explain 99.8% of the variance in the other.
    """
    usable = [(name, x) for name, x in columns if np.isfinite(x).mean() >= 0.8][:_MOST_TERMS]
    rows = np.isfinite(y)
    for _, x in usable:
        rows &= np.isfinite(x)
    usable = [(name, x[rows]) for name, x in usable if rows.any() and np.ptp(x[rows]) > 0]
    y = y[rows]
    if len(usable) < 2 or len(y) < 4 * len(usable) + 20 or not np.ptp(y) > 0:
        return None
    for how in ("sum", "product"):
        part, goal = usable, y
        if how == "product":
            part = [(name, np.log(x)) for name, x in usable if (x > 0).all()]
            if len(part) < 2 or not (y > 0).all():
                break
            goal = np.log(y)
        if named := _linear(part, goal):
            return how, named
    return None


def _linear(columns: list[tuple[str, Array]], y: Array) -> tuple[str, ...]:
    X = np.stack([(x - x.mean()) / x.std() for _, x in columns], axis=1)
    y = (y - y.mean()) / y.std()
    half = permutation(0, Purpose.SPLIT, len(y))
    learn, test = half[: len(y) // 2], half[len(y) // 2 :]
    X = np.hstack([X, np.ones((len(y), 1))])
    try:
        weights = np.linalg.lstsq(X[learn], y[learn], rcond=1e-10)[0]
    except np.linalg.LinAlgError:  # no convergence, as of equal columns in some LAPACKs
        return ()
    left = y[test] - X[test] @ weights
    if float(left @ left) > (1 - _FITTED) * float(y[test] @ y[test]):
        return ()
    strong = np.abs(weights[:-1]) > 0.02
    return tuple(name for (name, _), kept in zip(columns, strong, strict=True) if kept)
