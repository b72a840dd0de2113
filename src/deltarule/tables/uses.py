"""From cells to numbers: what each use of a column writes."""

from __future__ import annotations

import numpy as np

from deltarule.base.types import Array
from deltarule.tables.cells import Cells
from deltarule.tables.column import Column


def outputs(column: Column) -> tuple[str, ...]:
    """Return the names of the numbers that a column becomes."""
    name = column.name
    if column.use == "left out":
        return ()
    if column.use == "number":
        found = [name]
    elif column.use == "indicator":
        found = [f"{name}={column.levels[1]}"]
    else:
        found = [f"{name}={level}" for level in column.levels]
        found += [f"{name}: other"] * column.others
    return (*found, *[f"{name}: missing"] * column.indicator)


def write(column: Column, cells: Cells, out: Array) -> None:
    """Write a column's numbers into ``out`` (n, outputs), which is all zeros."""
    if column.use == "number":
        gone = _write_number(column, cells, out)
    else:
        gone = _write_levels(column, cells.as_text().without(column.absent), out)
    if column.indicator:
        out[:, -1] = gone


def squash(z: Array) -> Array:
    """Return z / sqrt(1 + (z / 3)^2): nearly z around 0, never beyond +-3."""
    z = np.clip(z, -1e9, 1e9)
    return z / np.sqrt(1 + np.square(z / 3))


def _write_number(column: Column, cells: Cells, out: Array) -> Array:
    if cells.numbers is None:
        numbers = np.array([_parsed(value) for value in cells.values] + [np.nan])[cells.codes]
    else:
        numbers = cells.numbers
    gone = np.isnan(numbers)
    out[:, 0] = np.where(gone, 0.0, squash((numbers - column.centre) / column.scale))
    return gone


def _parsed(value: str) -> float:
    try:
        return float(value)
    except ValueError:
        return float("nan")


def _write_levels(column: Column, cells: Cells, out: Array) -> Array:
    assert cells.codes is not None
    gone = cells.codes < 0
    if column.use == "indicator":
        sign = dict(zip(column.levels, (-1.0, 1.0), strict=True))
        out[:, 0] = np.array([sign.get(value, 0.0) for value in cells.values] + [0.0])[cells.codes]
        return gone
    width = len(column.levels) + column.others
    place = {level: i for i, level in enumerate(column.levels)}
    rest = len(column.levels) if column.others else -1
    codes = np.array([place.get(value, rest) for value in cells.values] + [-1])[cells.codes]
    rows = np.flatnonzero(codes >= 0)
    out[:, :width][rows, codes[rows]] = 1.0
    return gone
