"""The columns of a table: found on one frame, then any later frame becomes float32 numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from deltarule.base.errors import (
    InvalidTypeError,
    InvalidValueError,
    describe_value,
    unknown_name,
)
from deltarule.base.random import Purpose, uniform, words
from deltarule.base.settings import check_choice
from deltarule.base.types import Array
from deltarule.tables.cells import Cells
from deltarule.tables.column import Column
from deltarule.tables.frames import Frame, frame_of
from deltarule.tables.kinds import find
from deltarule.tables.kinds_of_numbers import COUNTS, without_sentinels
from deltarule.tables.uses import NumberWriter, is_plain, numbers_of, outputs, write

ASKED = ("number", "boolean", "category", "text", "date", "identifier", "left out")
"""What ``kinds`` may ask for."""

SAMPLE = 50_000
"""Kinds, centres and levels are found on so many rows at most, drawn at random."""

_CELLS_PER_BLOCK = 1 << 18
_ROWS_PER_LOOK = 1 << 18


class Differences(NamedTuple):
    """How the columns of a frame differ from the known ones.

    Attributes
    ----------
    missing : tuple of str
        Known columns that are used, and that the frame lacks.
    new : tuple of str
        Columns that are not known; they are not looked at.
    reordered : bool
        Whether the columns that both have stand in another order.
    """

    missing: tuple[str, ...]
    new: tuple[str, ...]
    reordered: bool


class Columns:
    """What the columns of a table are, and how they become numbers.

    Parameters
    ----------
    kinds : dict of str to str, optional
        Column name to kind ("number", "boolean", "category", "text", "date", "identifier") or
        "left out"; what is not named is found.

    Attributes
    ----------
    columns : tuple of Column
        In the order of the frame that was fitted.

    Examples
    --------
    >>> from deltarule.tables.columns import Columns
    >>> frame = {"size": [1.0, 2.0, None, 4.0], "colour": ["red", "blue", "red", "red"]}
    >>> columns = Columns().fit(frame)
    >>> columns.names_out
    ('size', 'size: missing', 'colour=blue')
    >>> columns.transform({"colour": ["blue"], "size": [2.0]})
    array([[0., 0., 1.]], dtype=float32)
    """

    def __init__(
        self, kinds: Mapping[str, str] | None = None, *, codes_above: int | None = None
    ) -> None:
        self.kinds = dict(kinds or {})
        for name, kind in self.kinds.items():
            if not isinstance(kind, str) or kind not in ASKED:
                raise unknown_name(f"kind of column {name!r}", kind, ASKED)
        self.codes_above = codes_above
        self.columns: tuple[Column, ...] = ()
        self.rows = 0

    def fit(self, frame: Any) -> Columns:
        """Find what the columns of a frame are; return self."""
        table = frame_of(frame)
        if unknown := [name for name in self.kinds if name not in table.names]:
            raise unknown_name("column", unknown[0], table.names)
        if not table.rows:
            raise InvalidValueError("X has no rows; expected at least one example")
        sample = table
        if table.rows > SAMPLE:
            sample = table.take(drawn(table.rows, SAMPLE))
        found = [
            find(name, sample.cells(i), self.kinds.get(name), codes_above=self.codes_above)
            for i, name in enumerate(table.names)
        ]
        if all(column.use == "left out" for column in found):  # then a count of rows is a time
            for i, column in enumerate(found):
                if column.reason == COUNTS:
                    found[i] = find(column.name, sample.cells(i), "number")
        proven = frozenset(value for column in found for value in column.sentinels)
        for i, column in enumerate(found):
            if proven and is_plain(column) and column.name not in self.kinds:
                found[i] = _without_proven(column, sample.cells(i), proven)
        if sample is not table:
            found = [self._extended(column, table, i) for i, column in enumerate(found)]
        self.columns = tuple(found)
        self.rows = table.rows
        return self

    def _extended(self, column: Column, table: Frame, at: int) -> Column:
        """Return a column that was found in a sample, with what the other rows add."""
        asked = self.kinds.get(column.name)
        if column.use == "left out" and (asked or column.kind not in ("constant", "empty")):
            return column
        gone, unknown = 0, False
        low, high = column.low, column.high
        levels = set(column.levels)
        for first in range(0, table.rows, _ROWS_PER_LOOK):
            rows = slice(first, min(first + _ROWS_PER_LOOK, table.rows))
            cells = table.cells(at, rows)
            if column.kind in ("number", "date") and cells.numbers is not None:
                numbers = numbers_of(column, cells)
                ends = np.array([numbers.min(), numbers.max()])
                if not np.isfinite(ends).all():
                    gone += int(np.isnan(numbers).sum())
                    numbers = numbers[np.isfinite(numbers)]
                    ends = np.array([numbers.min(), numbers.max()]) if len(numbers) else ends[:0]
                low, high = float(min(low, *ends)), float(max(high, *ends))
                continue
            texts = cells.as_text().without(column.absent)
            gone += int(texts.missing().sum())
            unknown = unknown or not levels.issuperset(texts.values)
        if column.kind in ("constant", "empty", "boolean") and unknown:
            return find(column.name, table.cells(at), asked, codes_above=self.codes_above)
        return replace(
            column,
            missing=gone / table.rows,
            indicator=column.indicator or (gone > 0 and column.use != "codes"),
            others=column.others or (unknown and column.use == "one-hot"),
            low=low,
            high=high,
        )

    @property
    def names_out(self) -> tuple[str, ...]:
        """Names of the numbers that :meth:`transform` returns, one for each of its columns."""
        return tuple(name for column in self.columns for name in outputs(column))

    @property
    def sources(self) -> tuple[str, ...]:
        """For each number, the name of the column that it comes from."""
        return tuple(column.name for column in self.columns for _ in outputs(column))

    @property
    def width(self) -> int:
        """How many numbers a row becomes."""
        return sum(len(outputs(column)) for column in self.columns)

    @property
    def code_columns(self) -> tuple[tuple[int, int], ...]:
        """(position, categories) of each column of codes, as ``dr.Embedding`` takes them."""
        found, at = [], 0
        for column in self.columns:
            if column.use == "codes":
                found.append((at, len(column.levels) + 1))
            at += len(outputs(column))
        return tuple(found)

    def check(self, frame: Any) -> Differences:
        """Return how the columns of a frame differ from the known ones."""
        return self._check(frame_of(frame))

    def _check(self, table: Frame) -> Differences:
        known = {column.name: column.use != "left out" for column in self.columns}
        has = set(table.names)
        common = [name for name in table.names if name in known]
        return Differences(
            tuple(name for name, used in known.items() if used and name not in has),
            tuple(name for name in table.names if name not in known),
            common != [name for name in known if name in has],
        )

    def transform(self, frame: Any, *, missing: str = "raise") -> Array:
        """Return a frame's rows as numbers (n, width), float32.

        Columns are found by name: their order, and further columns, make no difference.

        Parameters
        ----------
        frame : as for :meth:`fit`
        missing : "raise" or "fill"
            Whether a frame that lacks a used column is refused, or taken as if all its cells were
            missing.
        """
        check_choice("missing", missing, "raise", "fill")
        if not self.columns:
            raise InvalidValueError("the columns are not known yet; call fit first")
        table = frame_of(frame)
        lacking = self._check(table).missing
        if lacking and missing == "raise":
            raise InvalidValueError(_lacking(lacking, table.names))
        place = {name: i for i, name in enumerate(table.names)}
        plain, other = [], []
        start = 0
        for column in self.columns:
            stop = start + len(outputs(column))
            if is_plain(column):
                plain.append((column, place.get(column.name), start))
            elif stop > start:
                other.append((column, place.get(column.name), slice(start, stop)))
            start = stop
        out = np.zeros((table.rows, self.width), np.float32)
        step = max(1024, _CELLS_PER_BLOCK // max(1, self.width))
        writer = NumberWriter(
            [column for column, _, _ in plain], [to for _, _, to in plain], min(step, table.rows)
        )
        for first in range(0, table.rows, step):
            rows = slice(first, min(first + step, table.rows))
            gone = Cells("number", numbers=np.full(rows.stop - rows.start, np.nan))
            if plain:
                cells = (gone if at is None else table.cells(at, rows) for _, at, _ in plain)
                writer.write(cells, out[rows])
            for column, at, to in other:
                write(column, gone if at is None else table.cells(at, rows), out[rows, to])
        return out

    def describe(self) -> dict[str, Any]:
        """Return everything that :meth:`rebuild` needs as JSON values."""
        return {"rows": self.rows, "columns": [column.describe() for column in self.columns]}

    @classmethod
    def rebuild(cls, described: Mapping[str, Any]) -> Columns:
        """Return the columns that :meth:`describe` described: their numbers are identical."""
        if not isinstance(described, Mapping) or not isinstance(described.get("columns"), list):
            raise InvalidTypeError(f"no columns are described by {describe_value(described)}")
        self = cls()
        self.columns = tuple(map(Column.rebuild, described["columns"]))
        self.rows = int(described.get("rows", 0))
        return self


def _without_proven(column: Column, cells: Cells, proven: frozenset[float]) -> Column:
    """Return a column of numbers without those that another column has shown to be no values."""
    plain = replace(column, sentinels=())
    numbers = numbers_of(plain, cells)
    gone = np.isnan(numbers)
    plain = replace(plain, missing=float(gone.mean()))
    found = without_sentinels(plain, np.sort(numbers[~gone]), proven)
    return found if found.sentinels else column


def drawn(rows: int, count: int) -> Array:
    """Return the numbers of some rows, ascending: one at random of each stretch of rows."""
    shift = uniform(words(0, Purpose.SPLIT, rows=count, columns=1))[:, 0]
    return ((np.arange(count) + shift) * (rows / count)).astype(np.int64)


def _lacking(lacking: tuple[str, ...], names: tuple[str, ...]) -> str:
    shown = ", ".join(map(repr, lacking[:5])) + (" and more" if len(lacking) > 5 else "")
    one = len(lacking) == 1
    return (
        f"X lacks the column{'' if one else 's'} {shown}, which {'is' if one else 'are'} used; it "
        f"has {', '.join(map(repr, names[:5]))}{' and more' if len(names) > 5 else ''}. "
        f"Add {'it' if one else 'them'}; cells may be missing"
    )
