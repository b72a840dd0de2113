"""What pyarrow read becomes rows: text is stripped, and what is no row is found."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from deltarule.tables.reading import arrays
from deltarule.tables.reading.opening import arrow
from deltarule.tables.reading.words import LONG, MISSING, ZERO_LED, is_missing, is_number

GROUPED = r"^[+-]?(\d+|\d{1,3}([. \x{00a0}\x{202f}']\d{3})+)?(,\d+)?([eE][+-]?\d+)?$"
GROUPS = r"[. \x{00a0}\x{202f}']"

NOTE = re.compile(r"\S\s|:|(?i:total|sum|source|note|end)\b")
"""What the last line says where it is no row."""


def is_numeric(column: Any) -> bool:
    """Return whether a column holds numbers."""
    types = arrow().types
    return types.is_integer(column.type) or types.is_floating(column.type)


def as_text(column: Any) -> Any:
    """Return a column of text without outer spaces; what is blank is missing."""
    import pyarrow.compute as pc

    pa = arrow()
    if pa.types.is_null(column.type):
        return column.cast(pa.string())
    if all(map(arrays.is_bare, column.chunks)):
        return column
    column = pc.utf8_trim_whitespace(column)
    return pc.if_else(pc.equal(column, arrays.constant("")), arrays.nothing(), column)


def first_values(column: Any, count: int = 100) -> list[str]:
    """Return the first values of a column of text that are not missing."""
    for piece in (column.slice(0, 10 * count), column):
        values = [
            v for v in piece.drop_null().slice(0, 20 * count).to_pylist() if not is_missing(v)
        ]
        if values:
            break
    return values[:count]


def as_numbers(column: Any, decimal: str, *, known: bool = False) -> Any | None:
    """Return a column of stripped text as numbers, or None if something in it is none.

    Codes such as 00501 are no numbers, unless the column is ``known`` to hold numbers.
    """
    import pyarrow.compute as pc

    pa = arrow()
    some = first_values(column)
    if not (some or known) or not all(is_number(value, decimal) for value in some):
        return None
    if not known and any(ZERO_LED.fullmatch(value) or LONG.fullmatch(value) for value in some):
        return None
    missing = pc.is_in(column, value_set=arrays.strings(MISSING))
    column = pc.if_else(missing, arrays.nothing(), column)
    if decimal == ",":
        if not pc.all(pc.match_substring_regex(column, GROUPED)).as_py():
            return None
        column = _pointed(column)
    column = pc.replace_substring_regex(column, r"^\+", "")
    for kind in (pa.int64(), pa.float64()):
        try:
            return pc.cast(column, kind)
        except pa.ArrowInvalid:
            continue
    return None


def _pointed(column: Any) -> Any:
    """Return text of numbers with decimal commas as Python writes them."""
    import pyarrow.compute as pc

    return pc.replace_substring(pc.replace_substring_regex(column, GROUPS, ""), ",", ".")


def as_known(column: Any, kind: Any, decimal: str) -> Any:
    """Return a column as near as it comes to the type that it is known to have.

    Text among numbers stays; the numbers beside it get decimal points.
    """
    import pyarrow.compute as pc

    pa = arrow()
    if column.type == kind:
        return column
    if column.null_count == len(column):
        return pa.chunked_array([pa.nulls(len(column), kind)])
    if pa.types.is_floating(kind) and pa.types.is_integer(column.type):
        return pc.cast(column, kind, safe=False)
    if decimal == "," and not pa.types.is_string(kind) and pa.types.is_string(column.type):
        numbers = pc.match_substring_regex(column, GROUPED)
        return pc.if_else(numbers, _pointed(column), column)
    return column


def blank_rows(table: Any) -> np.ndarray:
    """Return which rows have no value at all, in a table of several columns."""
    return _missing_in(table, table.columns) if table.num_columns > 1 else _none(table)


def header_rows(table: Any, labels: Sequence[str]) -> np.ndarray:
    """Return which rows say the header again."""
    import pyarrow.compute as pc

    pa = arrow()
    again = ~_none(table)
    if not table.num_rows or not any(labels):
        return _none(table)
    for column, label in zip(table.columns, labels, strict=True):
        if not label:
            same = column.is_null()
        elif is_numeric(column):
            if is_missing(label):  # a column called Na, of sodium, whose cell of that name is gone
                same = column.is_null()
            elif not is_number(label):
                return _none(table)
            else:
                same = pc.equal(column.cast(pa.float64(), safe=False), float(label))
        else:
            same = pc.equal(column, arrays.constant(label))
        again &= arrays.flags(same)
        if not again.any():
            break
    return again


def title_rows(
    table: Any, no_rows: np.ndarray, last: bool, after_no_row: bool, numbers: bool | None
) -> np.ndarray:
    """Return which rows are titles or footers: they have a value in the first column only.

    They are beside lines that are no rows, or at the end of the file, or words where the first
    column has numbers; whether it has (``numbers``) is found for None.
    """
    if table.num_columns < 3 or is_numeric(table.column(0)):
        return _none(table)
    alone = _missing_in(table, table.columns[1:]) & ~no_rows
    if not alone.any():
        return alone
    column = table.column(0)
    places = np.flatnonzero(alone)
    words = np.array([not is_number(column[place].as_py()) for place in places.tolist()])
    if numbers is None:
        some = np.flatnonzero(~(alone | no_rows))[:500].tolist()
        others = [v for v in (column[place].as_py() for place in some) if v is not None]
        numbers = bool(others) and all(is_number(v) or is_missing(v) for v in others)
    if numbers:
        alone[places[~words]] = False
        return alone
    titles = _none(table)
    beside = np.concatenate([[after_no_row], no_rows, [False]])
    for place in places.tolist():
        titles[place] = beside[place] or beside[place + 2]
    if last:
        place = len(alone) - 1
        while place >= 0 and alone[place] and NOTE.search(column[place].as_py()):
            titles[place] = True
            place -= 1
    return titles


def comment_rows(table: Any, mark: str) -> np.ndarray:
    """Return which rows are comments that have as many separators as a row."""
    import pyarrow.compute as pc

    if not table.num_columns or is_numeric(table.column(0)):
        return _none(table)
    return arrays.flags(pc.starts_with(table.column(0), mark))


def counts_rows(column: Any) -> bool:
    """Return whether a column without a name holds an integer of its own for each row."""
    import pyarrow.compute as pc

    if not arrow().types.is_integer(column.type) or column.null_count:
        return False
    return pc.count_distinct(column).as_py() == len(column)


def _none(table: Any) -> np.ndarray:
    return np.zeros(table.num_rows, bool)


def _missing_in(table: Any, columns: Sequence[Any]) -> np.ndarray:
    """Return in which rows all of some columns are missing."""
    if not table.num_rows or any(column.null_count == 0 for column in columns):
        return _none(table)
    missing = ~_none(table)
    for column in columns:
        missing &= arrays.flags(column.is_null())
        if not missing.any():
            break
    return missing
