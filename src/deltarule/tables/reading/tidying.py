"""What pyarrow read becomes rows: what is no row goes, text is stripped."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from deltarule.tables.reading.dialect import Dialect
from deltarule.tables.reading.opening import arrow
from deltarule.tables.reading.words import MISSING, ZERO_LED


def as_text(column: Any) -> Any:
    """Return a column of text without outer spaces; what is blank is missing."""
    import pyarrow.compute as pc

    pa = arrow()
    column = pc.utf8_trim_whitespace(column)
    return pc.if_else(pc.equal(column, ""), pa.scalar(None, pa.string()), column)


def as_numbers(column: Any, dialect: Dialect) -> Any | None:
    """Return a stripped column of text as numbers, or None if something in it is none."""
    import pyarrow.compute as pc

    pa = arrow()
    some = column.drop_null().slice(0, 50).to_pylist()
    if any(not re.match(r"[+\-.,\d\s]*[\d?]|\W|[NnIi]", value) for value in some):
        return None
    missing = pc.is_in(column, value_set=pa.array(MISSING))
    column = pc.if_else(missing, pa.scalar(None, pa.string()), column)
    some = column.drop_null().slice(0, 200).to_pylist()
    if not some or any(ZERO_LED.fullmatch(value) for value in some):
        return None
    if dialect.decimal == ",":
        grouped = r"^[+-]?(\d+|\d{1,3}([. \x{00a0}\x{202f}']\d{3})+)?(,\d+)?([eE][+-]?\d+)?$"
        if not pc.all(pc.match_substring_regex(column, grouped)).as_py():
            return None
        column = pc.replace_substring_regex(column, r"[. \x{00a0}\x{202f}']", "")
        column = pc.replace_substring(column, ",", ".")
    for kind in (pa.int64(), pa.float64()):
        try:
            return pc.cast(column, kind)
        except pa.ArrowInvalid:
            continue
    return None


def empty_rows(table: Any) -> np.ndarray:
    """Return which rows have no value at all."""
    none = np.zeros(table.num_rows, bool)
    if not table.num_rows or any(column.null_count == 0 for column in table.columns):
        return none
    none[:] = True
    for column in table.columns:
        none &= column.is_null().to_numpy()
        if not none.any():
            break
    return none


def repeated_header(table: Any, names: Sequence[str]) -> np.ndarray:
    """Return which rows say the header again; only a table all of text can have any."""
    import pyarrow.compute as pc

    pa = arrow()
    again = np.zeros(table.num_rows, bool)
    if not table.num_rows or not all(pa.types.is_string(c.type) for c in table.columns):
        return again
    again[:] = True
    for column, name in zip(table.columns, names, strict=True):
        if not name:
            continue
        same = pc.fill_null(pc.equal(column, name), False).to_numpy()
        again &= same
        if not again.any():
            break
    return again


def lonely_rows(table: Any) -> np.ndarray:
    """Return which rows have a value in the first column only."""
    none = np.zeros(table.num_rows, bool)
    if table.num_columns < 3 or not table.num_rows or table.column(0).null_count == table.num_rows:
        return none
    others = table.columns[1:]
    if any(column.null_count == 0 for column in others):
        return none
    none[:] = ~table.column(0).is_null().to_numpy()
    for column in others:
        none &= column.is_null().to_numpy()
        if not none.any():
            break
    return none
