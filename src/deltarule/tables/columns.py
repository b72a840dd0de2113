"""The columns of a table: found on one frame, then any later frame becomes float32 numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from deltarule.base.errors import (
    InvalidTypeError,
    InvalidValueError,
    describe_value,
    unknown_name,
)
from deltarule.base.settings import check_choice
from deltarule.base.types import Array
from deltarule.tables.cells import Cells
from deltarule.tables.column import KINDS, Column
from deltarule.tables.frames import Frame, frame_of
from deltarule.tables.kinds import find
from deltarule.tables.uses import outputs, write

_CELLS_PER_BLOCK = 1 << 18


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
    ('size', 'size: missing', 'colour=red')
    >>> columns.transform({"colour": ["blue"], "size": [2.0]})
    array([[ 0.,  0., -1.]], dtype=float32)
    """

    def __init__(self, kinds: Mapping[str, str] | None = None) -> None:
        self.kinds = dict(kinds or {})
        for name, kind in self.kinds.items():
            if kind not in (*KINDS, "left out"):
                raise unknown_name(f"kind of column {name!r}", kind, (*KINDS, "left out"))
        self.columns: tuple[Column, ...] = ()
        self.rows = 0

    def fit(self, frame: Any) -> Columns:
        """Find what the columns of a frame are; return self."""
        table = frame_of(frame)
        if unknown := [name for name in self.kinds if name not in table.names]:
            raise unknown_name("column", unknown[0], table.names)
        if not table.rows:
            raise InvalidValueError("X has no rows; expected at least one example")
        self.columns = tuple(
            find(name, table.cells(i), self.kinds.get(name)) for i, name in enumerate(table.names)
        )
        self.rows = table.rows
        return self

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
        return ()

    def check(self, frame: Any) -> Differences:
        """Return how the columns of a frame differ from the known ones."""
        return self._check(frame_of(frame))

    def _check(self, table: Frame) -> Differences:
        known = [column.name for column in self.columns]
        has = set(table.names)
        used = [column.name for column in self.columns if column.use != "left out"]
        common = [name for name in table.names if name in set(known)]
        return Differences(
            tuple(name for name in used if name not in has),
            tuple(name for name in table.names if name not in set(known)),
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
        table = frame_of(frame)
        lacking = self._check(table).missing
        if lacking and missing == "raise":
            raise InvalidValueError(_lacking(lacking, table.names))
        place = {name: i for i, name in enumerate(table.names)}
        parts = []
        start = 0
        for column in self.columns:
            stop = start + len(outputs(column))
            if stop > start:
                parts.append((column, place.get(column.name), slice(start, stop)))
            start = stop
        out = np.zeros((table.rows, self.width), np.float32)
        step = max(1024, _CELLS_PER_BLOCK // max(1, self.width))
        for first in range(0, table.rows, step):
            rows = slice(first, min(first + step, table.rows))
            for column, at, to in parts:
                block = out[rows, to]
                gone = Cells("number", numbers=np.full(len(block), np.nan))
                write(column, gone if at is None else table.cells(at, rows), block)
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


def _lacking(lacking: tuple[str, ...], names: tuple[str, ...]) -> str:
    shown = ", ".join(map(repr, lacking[:5])) + (" and more" if len(lacking) > 5 else "")
    one = len(lacking) == 1
    return (
        f"X lacks the column{'' if one else 's'} {shown}, which {'is' if one else 'are'} used; it "
        f"has {', '.join(map(repr, names[:5]))}{' and more' if len(names) > 5 else ''}. "
        'missing="fill" takes absent columns as missing values'
    )
