"""What was found about how a file writes its table."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

from deltarule.base.errors import InvalidValueError


@dataclass(frozen=True)
class Dialect:
    r"""How a file writes its table: found by :func:`read_table`, or given.

    Parameters
    ----------
    format : str
        "delimited", "parquet", "arrow" or "json".
    compression : str or None
        "gzip", "bz2", "xz", "zstd", "lz4" or "zip".
    separator : str or None
        What stands between two fields; " " is any number of spaces and tabs.
    quote : str or None
        The character around fields that contain a separator or a new line; None if there is none.
    escape : str or None
        The character before a quote that belongs to the text, where quotes are not doubled.
    encoding : str
        Python's name of the encoding; "utf-8" also where the file begins with a byte order mark.
    decimal, thousands : str or None
        The decimal mark, and the mark between groups of three digits.
    header : int or None
        The line of the header, counted from 1; None if there is none.
    comment : str or None
        What the lines of comments begin with.
    skipped : int
        How many lines stand above the header, or above the first row if there is no header.
    units : bool
        Whether a second line of the header follows, such as one of units; it is not a row.
    index : str or None
        "" if the first column has no name and merely counts the rows: it is left out.
    text : tuple of str
        Columns that are read as text, verbatim; any other is read as numbers if it can be.
    integers, floats : tuple of str
        Columns of whole numbers, and of other numbers.
    """

    format: str = "delimited"
    compression: str | None = None
    separator: str | None = ","
    quote: str | None = '"'
    escape: str | None = None
    encoding: str = "utf-8"
    decimal: str = "."
    thousands: str | None = None
    header: int | None = 1
    comment: str | None = None
    skipped: int = 0
    units: bool = False
    index: str | None = None
    text: tuple[str, ...] = ()
    integers: tuple[str, ...] = ()
    floats: tuple[str, ...] = ()

    def describe(self) -> dict[str, Any]:
        """Return the settings as JSON values."""
        return {**asdict(self), **{name: list(getattr(self, name)) for name in _COLUMNS}}

    @classmethod
    def rebuild(cls, description: dict[str, Any]) -> Dialect:
        """Return the dialect that :meth:`describe` described."""
        known = {field.name for field in fields(cls)}
        if not isinstance(description, dict) or not description.keys() <= known:
            raise InvalidValueError(f"a dialect's description has the names {', '.join(known)}")
        columns = {name: tuple(description.get(name, ())) for name in _COLUMNS}
        return cls(**{**description, **columns})


_COLUMNS = ("text", "integers", "floats")


@dataclass(frozen=True)
class Reading:
    """A table that was read, and what was found while reading it.

    Parameters
    ----------
    table : pyarrow.Table
        Plain numbers are numbers; everything else is text without outer spaces.
    dialect : Dialect
        How the file writes its table.
    notes : tuple of str
        What was noticed, one sentence each.
    rows_dropped : int
        How many lines below the header, blank ones and comments aside, are no rows of the table.
    """

    table: Any
    dialect: Dialect
    notes: tuple[str, ...] = ()
    rows_dropped: int = 0
