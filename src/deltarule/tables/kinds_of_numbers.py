"""Which kind a column of numbers is: number, boolean, date, identifier, constant."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np

from deltarule.base.errors import InvalidValueError
from deltarule.base.types import Array
from deltarule.tables import dates
from deltarule.tables.cells import Cells
from deltarule.tables.column import Column
from deltarule.tables.sentinels import in_words, outliers

_ID = re.compile(
    r"(?:^|[\W_]|(?<=[a-z]))(?:ID|Id|id|IDs|UUID|uuid|Uuid|GUID|guid)$|^(?:[Uu]nnamed.*|[Ii]ndex|row|"
    r"row[\W_]?(?:number|id|no|num)|#|no\.?|nr\.?|s\.?no\.?|sl\.?no\.?|sr\.?no\.?|rownames|"
    r"serial.*|.*[\W_](?:key|uid))$"
)
_NUMBERED = re.compile(r"(?i)(?:number|num|no\.?|nr\.?|code|key|index|serial)$")
_TIMELY = re.compile(
    r"(?i)year|jahr|month|day|week|time|date|hour|minute|second|age|period|quarter"
)
_EPOCH = re.compile(r"(?i)time|date|stamp|epoch|created|updated|(?:^|_)(?:ts|at)$")

COUNTS = "it counts the rows"
"""Why a column of 1, 2, 3, ... is left out, unless there is no other."""


def of_numbers(
    name: str, cells: Cells, ordered: Array, asked: str | None, known: dict[str, Any]
) -> Column:
    """Return the kind of a column of plain numbers, given in ascending order too."""
    first, last = float(ordered[0]), float(ordered[-1])
    if first == last and asked is None:
        if known["missing"] > 0.2:
            return presence(name, cells.as_text().values[0], known)
        return Column(name, "constant", "left out", f"every value is {first:.6g}", **known)
    pair = cells.type == "boolean" or (first == 0 and last == 1)
    if asked == "boolean" or (asked is None and pair):
        inside = ordered[np.searchsorted(ordered, first, "right") :]
        if cells.type == "boolean" or inside[0] == last:
            values = cells.as_text().values
            if len(values) == 2:
                return Column(
                    name, "boolean", "indicator", indicator=known["missing"] > 0,
                    levels=(values[0], values[1]), **known,
                )  # fmt: skip
    if asked == "boolean":
        raise InvalidValueError(
            f"column {name!r} is asked to be a boolean, but it has more than two values"
        )
    whole = bool((ordered == np.round(ordered)).all())
    if whole and asked in (None, "date"):
        moments = of_epoch(name, ordered, asked == "date")
        if moments is not None:
            return date_of(name, moments[1], moments[0], known)
        if asked is None and (reason := identifies(name, cells, ordered)):
            return Column(name, "identifier", "left out", reason, **known)
    if asked == "date":
        raise InvalidValueError(
            f"column {name!r} is asked to be a date, but {ordered[0]:.10g} is none; dates are "
            "yyyymmdd, seconds since 1970, or text"
        )
    return number_of(name, ordered, asked, known)


def of_epoch(name: str, ordered: Array, asked: bool) -> tuple[str, Array] | None:
    """Return the form and the days of whole numbers that are dates."""
    first, last = ordered[0], ordered[-1]
    if first >= 18000101 and last <= 20991231 and (asked or len(np.unique(ordered)) >= 3):
        days = dates.read([str(int(number)) for number in ordered], "yyyymmdd")
        if not np.isnan(days).any():
            return "yyyymmdd", days
    if asked or _EPOCH.search(name):
        for form, factor in (("epoch seconds", 1.0), ("epoch milliseconds", 1e3)):
            if 1e8 * factor <= first and last <= 5e9 * factor:
                return form, ordered / (86400 * factor)
    return None


def identifies(name: str, cells: Cells, ordered: Array) -> str:
    """Return why a column of whole numbers identifies rows; "" if it does not."""
    assert cells.numbers is not None
    n = len(ordered)
    if n < 10 or not np.isfinite(ordered[[0, -1]]).all():
        return ""
    distinct = 1 + int(np.count_nonzero(np.diff(ordered)))
    named = bool(_ID.search(name))
    if named and distinct >= 0.2 * n:
        return "its name and its many different values are those of an identifier"
    if distinct < 0.98 * n or _TIMELY.search(name):
        return ""
    if _NUMBERED.search(name):
        return "every value differs, and its name is that of an identifier"
    counts_up = ordered[-1] - ordered[0] == n - 1 and ordered[0] in (0.0, 1.0)
    if counts_up and len(name) > 1 and (np.diff(cells.numbers) > 0).all():
        return COUNTS
    return ""


def number_of(
    name: str, ordered: Array, asked: str | None, known: dict[str, Any], **more: Any
) -> Column:
    """Return a column of numbers, given in ascending order."""
    column = Column(
        name, "number", "number", indicator=known["missing"] > 0, **known, **more
    )  # fmt: skip
    return standardised(without_sentinels(column, ordered) if asked is None else column, ordered)


def without_sentinels(
    column: Column, ordered: Array, proven: frozenset[float] = frozenset()
) -> Column:
    """Return a column in which numbers that stand for "no value" count as missing.

    ``ordered`` are its numbers, ascending; ``proven`` are such values of other columns.
    """
    found = outliers(ordered, proven)
    if not found:
        return column
    absent = sum(int(np.count_nonzero(ordered == value)) for value in found) / len(ordered)
    missing = column.missing + (1 - column.missing) * absent
    changed = replace(
        column, sentinels=found, missing=missing, indicator=True, reason=in_words(found)
    )
    return standardised(changed, ordered)


def standardised(column: Column, ordered: Array) -> Column:
    """Return a column with the centre, scale and range of ascending numbers."""
    for value in column.sentinels:
        ordered = ordered[ordered != value]
    finite = ordered[np.isfinite(ordered)] if not np.isfinite(ordered[[0, -1]]).all() else ordered
    centre, scale = robust(finite)
    low, high = (float(finite[0]), float(finite[-1])) if len(finite) else (0.0, 0.0)
    return replace(column, centre=centre, scale=scale, low=low, high=high)


def robust(ordered: Array) -> tuple[float, float]:
    """Return the median of ascending numbers, and a scale that is 1 for a standard normal.

    The scale is the interquartile range / 1.349; where half of the values are equal, the standard
    deviation; 1 where all are.
    """
    if not len(ordered):
        return 0.0, 1.0
    at = np.array((0.25, 0.5, 0.75)) * (len(ordered) - 1)
    below = ordered[at.astype(np.int64)]
    above = ordered[np.ceil(at).astype(np.int64)]
    lower, centre, upper = (below + (above - below) * (at % 1)).tolist()
    scale = (upper - lower) / 1.349
    if not scale > 0:
        with np.errstate(over="ignore"):
            scale = float(ordered.std())
    return centre, scale if 0 < scale < np.inf else 1.0


def date_of(name: str, ordered: Array, form: str, known: dict[str, Any], **more: Any) -> Column:
    """Return a column of dates, given as days in ascending order."""
    parts = ("hour",) if form == "clock" else dates.parts_of(ordered)
    if ordered[0] == ordered[-1]:
        reason = {"reason": "every value is the same date"}
        return Column(name, "constant", "left out", **(known | reason))
    column = Column(
        name, "date", "date parts", indicator=known["missing"] > 0 or "unread" in more, form=form,
        parts=parts, **known, **more,
    )  # fmt: skip
    return standardised(column, ordered)


def presence(name: str, value: str, known: dict[str, Any]) -> Column:
    """Return a column of one value, of which only matters where it stands."""
    reason = f"it is {short(value)} or has no value, as a box that may be ticked"
    return Column(name, "category", "one-hot", reason, levels=(value,), **known)


def hardly_repeats(distinct: int, rows: int) -> bool:
    """Return whether values are names of rows rather than classes or levels: most occur once."""
    return rows >= 4 and distinct > 0.9 * rows


def share(gone: Array) -> float:
    """Return which share of the cells is missing."""
    return float(gone.mean()) if len(gone) else 0.0


def short(value: str) -> str:
    """Return a text in quotes, cut if it is long."""
    return repr(value if len(value) <= 40 else f"{value[:37]}...")
