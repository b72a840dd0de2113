"""From cells to numbers: what each use of a column writes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from deltarule.base.types import Array
from deltarule.tables import dates
from deltarule.tables.cells import Cells
from deltarule.tables.column import LIMIT, Column
from deltarule.tables.kinds_of_text import FALSE, TRUE
from deltarule.tables.parsing import Spelling
from deltarule.tables.words import inner_names, inner_numbers, shape_numbers, word_table


def outputs(column: Column) -> tuple[str, ...]:
    """Return the names of the numbers that a column becomes."""
    name, use = column.name, column.use
    if use == "left out":
        return ()
    found: list[str] = []
    if use in ("number", "codes"):
        several = len(column.centres) > 1
        found += [f"{name}[{i + 1}]" for i in range(len(column.centres))] if several else [name]
    elif use == "indicator":
        found += [f"{name}={level}" for level in column.levels[1:]]
    elif use == "date parts":
        found.append(name)
        for part in column.parts:
            found += [f"{name}: {part} sine", f"{name}: {part} cosine"]
    else:
        found += [f"{name}={level}" for level in column.levels]
        found += [f"{name}: other"] * column.others
        found += [f"{name}: {word}" for word in column.words]
    if not column.shape:
        found += [f"{name} [{key}]" for key in inner_names(column.inner)]
    return (*found, *[f"{name}: missing"] * column.indicator)


def is_plain(column: Column) -> bool:
    """Whether a column is written by :class:`NumberWriter`, many at once."""
    return column.use == "number" and not column.shape


class NumberWriter:
    """Writes many columns of plain numbers at once, without new memory for each block of rows.

    Parameters
    ----------
    columns : columns for which :func:`is_plain` holds
    at : for each the place of its number among the outputs
    rows : the most rows of a block
    """

    def __init__(self, columns: Sequence[Column], at: Sequence[int], rows: int) -> None:
        self.columns = columns
        self._centre = np.array([column.centre for column in columns])[:, None]
        self._factor = 1 / np.array([column.scale for column in columns])[:, None]
        contiguous = len(at) > 0 and list(at) == list(range(at[0], at[0] + len(at)))
        self._at: Any = slice(at[0], at[-1] + 1) if contiguous else np.array(at, np.int64)
        self._places = at
        self._z = np.empty((len(columns), rows))
        self._small = np.empty((2, len(columns), rows), np.float32)
        self._gone = np.empty((len(columns), rows), bool)

    def write(self, cells: Iterable[Cells], out: Array) -> None:
        """Write the numbers of a block of rows, for each column its cells, into ``out``."""
        n = len(out)
        z, gone = self._z[:, :n], self._gone[:, :n]
        found, square = self._small[:, :, :n]
        for row, column, of_column in zip(z, self.columns, cells, strict=True):
            row[:] = numbers_of(column, of_column)
        np.subtract(z, self._centre, out=z)
        np.multiply(z, self._factor, out=z)
        np.isnan(z, out=gone)
        _squash(z, found, square)
        some = np.flatnonzero(gone.any(axis=1)).tolist()
        for i in some:
            found[i, gone[i]] = 0.0
        out[:, self._at] = found.T
        for i in some:
            if self.columns[i].indicator:
                out[:, self._places[i] + 1] = gone[i]


def write(column: Column, cells: Cells, out: Array) -> None:
    """Write a column's numbers into ``out`` (n, outputs), which is all zeros."""
    if column.use == "date parts":
        gone = _write_date(column, numbers_of(column, cells), out)
    elif column.use == "number":
        gone = _write_several(column, cells, out)
    else:
        gone = _write_text(column, cells.as_text().without(column.absent), out)
    if column.indicator:
        out[:, -1] = gone


def squash(z: Array) -> Array:
    """Return z / sqrt(1 + (z / LIMIT)^2), float32: nearly z around 0, never beyond +-LIMIT."""
    found, square = np.empty((2, *z.shape), np.float32)
    _squash(np.array(z, np.float64), found, square)
    return found


def _squash(z: Array, found: Array, square: Array) -> None:
    """Write squashed numbers into ``found``; ``z`` and ``square`` are used up."""
    np.clip(z, -1e9, 1e9, out=z)  # infinity too; the limit of the formula is +-LIMIT
    found[...] = z
    np.multiply(found, np.float32(1 / LIMIT), out=square)
    np.square(square, out=square)
    np.add(square, np.float32(1), out=square)
    np.sqrt(square, out=square)
    np.divide(found, square, out=found)


def numbers_of(column: Column, cells: Cells) -> Array:
    """Return the numbers (n,) of a column of numbers or dates; NaN for missing."""
    if cells.numbers is not None:
        numbers = _from_numbers(column, cells)
    else:
        read = np.append(_from_texts(column, cells.values), np.nan)
        numbers = read[cells.codes]
    for value in column.sentinels:
        numbers = np.where(numbers == value, np.nan, numbers)
    return numbers


def _from_numbers(column: Column, cells: Cells) -> Array:
    assert cells.numbers is not None
    numbers = cells.numbers
    if column.kind != "date":
        return numbers
    if cells.type == "moment":
        return numbers % 1.0 * 24 if column.form == "clock" else numbers
    if cells.type == "clock":
        return numbers if column.form == "clock" else np.full(len(numbers), np.nan)
    if column.form in _EPOCHS:
        return numbers / _EPOCHS[column.form]
    if column.form == "yyyymmdd":
        texts = Cells(cells.type, numbers=numbers).as_text()
        return np.append(dates.read(texts.values, column.form), np.nan)[texts.codes]
    return np.full(len(numbers), np.nan)


_EPOCHS = {"epoch seconds": 86400.0, "epoch milliseconds": 86400e3}


def _from_texts(column: Column, values: tuple[str, ...]) -> Array:
    if column.kind == "date" and column.form not in _EPOCHS:
        return dates.read(values, column.form or "year first")
    units = dict(column.units) or {"": 1.0}
    numbers = Spelling(column.decimal, column.thousands, units, column.ranges).read(values)
    return numbers / _EPOCHS.get(column.form, 1.0)


def _write_date(column: Column, numbers: Array, out: Array) -> Array:
    gone = np.isnan(numbers)
    out[:, 0] = np.where(gone, 0, squash((numbers - column.centre) / column.scale))
    kept = np.flatnonzero(~gone & np.isfinite(numbers))
    days = numbers[kept] / 24 if column.form == "clock" else numbers[kept]
    for i, part in enumerate(column.parts):
        out[kept, 1 + 2 * i : 3 + 2 * i] = dates.cycle(days, part)
    return gone


def _write_several(column: Column, cells: Cells, out: Array) -> Array:
    text = cells.as_text().without(column.absent)
    table = shape_numbers(text.values, column.shape)
    return _write_table(column, table, text, out)


def _write_table(column: Column, table: Array, cells: Cells, out: Array) -> Array:
    """Write numbers that each distinct text has (values, numbers); return where there are none."""
    z = squash((table - np.array(column.centres)) / np.array(column.scales))
    z = np.vstack([np.where(np.isnan(z), 0.0, z), np.zeros((1, table.shape[1]))])
    out[:, : table.shape[1]] = z[cells.codes]
    gone = np.append(np.isnan(table).all(axis=1), True)
    return gone[cells.codes]


def _write_text(column: Column, cells: Cells, out: Array) -> Array:
    assert cells.codes is not None
    gone = cells.codes < 0
    at = 0
    if column.use == "indicator" and column.levels:
        out[:, 0] = np.array([_sign(column, value) for value in cells.values] + [0.0])[cells.codes]
        at = 1
    elif column.use == "codes":
        place = {level: i + 1 for i, level in enumerate(column.levels)}
        out[:, 0] = np.array([place.get(value, 0) for value in cells.values] + [0])[cells.codes]
        at = 1
    elif column.levels:
        at = len(column.levels) + column.others
        place = {level: i for i, level in enumerate(column.levels)}
        rest = len(column.levels) if column.others else -1
        codes = np.array([place.get(value, rest) for value in cells.values] + [-1])[cells.codes]
        rows = np.flatnonzero(codes >= 0)
        out[rows, codes[rows]] = 1.0
    if column.words:
        out[:, at : at + len(column.words)] = word_table(cells.values, column.words)[cells.codes]
        at += len(column.words)
    if column.inner:
        _write_table(column, inner_numbers(cells.values, column.inner), cells, out[:, at:])
    return gone


def _sign(column: Column, value: str) -> float:
    """Return +1 or -1 for the two levels of an indicator, 0 for what is neither."""
    if value in column.levels:
        return 1.0 if value == column.levels[1] else -1.0
    if column.kind == "boolean":
        plain = value.casefold()
        return 1.0 if plain in TRUE else -1.0 if plain in FALSE else 0.0
    return 0.0
