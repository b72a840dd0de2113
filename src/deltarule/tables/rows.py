"""Rows that are no examples of their own: repeated ones, and totals of the others."""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np

from deltarule.base.types import Array
from deltarule.tables.cells import Cells
from deltarule.tables.frames import Frame

_TOTAL = re.compile(
    r"(?i)\W*(?:(?:grand|sub|over)?[\s-]*total[s]?|sum|summe|gesamt|insgesamt|somme|suma|totale|"
    r"total\s*général|all\s+(?:rows|items|regions|countries)|average|mean|durchschnitt)\b.{0,30}"
)
_FACTOR = np.uint64(0x9E3779B97F4A7C15)


class Repeats(NamedTuple):
    """Repeated rows: how many repeat an earlier one, and how many of these have another target."""

    rows: int
    other: int


def repeats(frame: Frame, y: Array) -> Repeats:
    """Return how many rows repeat an earlier row in every column."""
    marks = row_marks(frame)
    _, first, inverse = np.unique(marks, return_index=True, return_inverse=True)
    again = np.arange(len(marks)) != first[inverse]
    same = y == y[first[inverse]]
    same |= (y != y) & (y[first[inverse]] != y[first[inverse]])
    return Repeats(int(again.sum()), int((again & ~same).sum()))


def row_marks(frame: Frame) -> Array:
    """Return one 64-bit number for each row; equal rows have equal ones, others hardly ever."""
    marks = np.zeros(frame.rows, np.uint64)
    for i in range(len(frame.names)):
        marks = _mixed(marks * _FACTOR + _mixed(_bits(frame.cells(i))))
    return marks


def _bits(cells: Cells) -> Array:
    if cells.numbers is not None:
        numbers = cells.numbers.astype(np.float64) + 0.0  # -0 and 0 are equal
        return np.where(np.isnan(numbers), np.nan, numbers).view(np.uint64)
    assert cells.codes is not None
    return cells.codes.astype(np.int64).view(np.uint64)


def _mixed(marks: Array) -> Array:
    marks = (marks ^ (marks >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    marks = (marks ^ (marks >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    found: Array = marks ^ (marks >> np.uint64(31))
    return found


def totals(frame: Frame) -> list[tuple[int, str, str]]:
    """Return rows that hold totals of the others: (row, name of its column, what it says).

    A row is one where a text such as "Total" stands in it, which few rows have, and either a number
    of it is the sum of the other rows' numbers or it is one of the last rows. The last row is also
    one where two numbers of it or more are the sums of those above, without any such text.
    """
    n = frame.rows
    if n < 4:
        return []
    numbers: list[Array] = []
    labelled: dict[int, tuple[str, str]] = {}
    for i, name in enumerate(frame.names):
        cells = frame.cells(i)
        if cells.numbers is not None:
            if cells.type in ("number", "integer"):
                numbers.append(cells.numbers.astype(np.float64))
            continue
        named = [k for k, value in enumerate(cells.values) if _TOTAL.fullmatch(value)]
        if named:
            assert cells.codes is not None
            rows = np.flatnonzero(np.isin(cells.codes, named))
            if len(rows) <= max(1, 0.05 * n):
                for row in rows.tolist():
                    labelled.setdefault(row, (name, cells.values[cells.codes[row]]))
    found = []
    excluded = np.zeros(n, bool)
    excluded[list(labelled)] = True
    plain = [np.where(excluded, np.nan, column) for column in numbers]
    sums = list(map(_sum, plain))
    for row, (name, label) in sorted(labelled.items()):
        if row >= n - 3 or _sums(row, numbers, sums):
            found.append((row, name, label))
    last = n - 1
    if not labelled:
        above = [_sum(column[:last]) for column in numbers]
        if _sums(last, numbers, above) >= 2:
            found.append((last, "", ""))
    return found


def _sum(column: Array) -> float:
    """Return the sum of the known numbers; NaN where it has both infinities."""
    with np.errstate(invalid="ignore", over="ignore"):
        return float(np.nansum(column))


def _sums(row: int, columns: list[Array], sums: list[float]) -> int:
    """Return how many numbers of a row are the sums that are given."""
    count = 0
    for column, total in zip(columns, sums, strict=True):
        value = float(column[row])
        if total and np.isfinite(total) and abs(value - total) <= 1e-3 * abs(total):
            count += int(np.count_nonzero(np.nan_to_num(np.delete(column, row)))) >= 3
    return count
