"""Which kind a column is, from its cells, and what is done with each kind."""

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
from deltarule.tables.parsing import has_leading_zeros, spelling_of
from deltarule.tables.sentinels import outliers
from deltarule.tables.words import (
    frequent_words,
    inner_keys,
    inner_numbers,
    is_wordy,
    shape_numbers,
    shape_of,
)

MOST_LEVELS = 128
MOST_CODES = 4096
FEWEST = 3
"""A level that occurs less often is one of the others."""

ABSENT = (
    "?", "-", "--", "–", ".", "NULL", "null", "NaN", "nan", "N/A", "n/a", "#N/A", "<NA>", "\\N",  # noqa: RUF001
    "NaT", "None given",
)  # fmt: skip
NOT_AVAILABLE = "NA"
_NUMBERLESS = (
    "na|none|nil|missing|unknown|n.a.|n.a|tbd|tba|nan|null|not available|not applicable|undefined|"
    "no data"
)
NUMBERLESS = frozenset(_NUMBERLESS.split("|"))
"""What people write in the place of a number, in small letters."""

TRUE = ("true", "yes", "y", "t", "on", "1")
FALSE = ("false", "no", "n", "f", "off", "0")

_ID = re.compile(
    r"(?:^|[\W_]|(?<=[a-z]))(?:ID|Id|id|IDs|UUID|uuid|Uuid|GUID|guid)$|^(?:unnamed.*|index|row|"
    r"row[\W_]?(?:number|id|no|num)|#|no\.?|nr\.?|s\.?no\.?|sl\.?no\.?|sr\.?no\.?|rownames|"
    r"serial.*|.*[\W_](?:key|uid))$"
)
_NUMBERED = re.compile(r"(?i)(?:number|num|no\.?|nr\.?|code|key|index|serial)$")
_TIMELY = re.compile(
    r"(?i)year|jahr|month|day|week|time|date|hour|minute|second|age|period|quarter"
)
_EPOCH = re.compile(r"(?i)time|date|stamp|epoch|created|updated|(?:^|_)(?:ts|at)$")


def find(
    name: str, cells: Cells, asked: str | None = None, *, codes_above: int | None = None
) -> Column:
    """Return what a column is; ``asked`` is the kind (or "left out") that the user wants."""
    if asked in ("left out", "identifier"):
        kind = "identifier" if asked == "identifier" else _plain_kind(cells)
        return Column(name, kind, "left out", "as asked", missing=_share(cells.missing()))
    if cells.is_text:
        return _of_text(name, cells, asked, codes_above)
    gone = cells.missing()
    known: dict[str, Any] = {"missing": _share(gone)}
    if gone.all():
        return Column(name, "empty", "left out", "it has no value", **known)
    if asked in ("category", "text"):
        return _levels(name, cells.as_text(), asked, known, codes_above)
    assert cells.numbers is not None
    numbers = cells.numbers[~gone] if gone.any() else cells.numbers
    ordered = np.sort(numbers.astype(np.float64))
    if cells.type in ("moment", "clock") and asked in (None, "date"):
        return _date(name, ordered, "clock" if cells.type == "clock" else "", known)
    return _of_numbers(name, cells, ordered, asked, known)


def _plain_kind(cells: Cells) -> str:
    if cells.is_text:
        return "category"
    return {"moment": "date", "clock": "date", "boolean": "boolean"}.get(cells.type, "number")


def _share(gone: Array) -> float:
    return float(gone.mean()) if len(gone) else 0.0


def _of_numbers(
    name: str, cells: Cells, ordered: Array, asked: str | None, known: dict[str, Any]
) -> Column:
    """Return the kind of a column of plain numbers, given in ascending order too."""
    first, last = float(ordered[0]), float(ordered[-1])
    if first == last and asked is None:
        if known["missing"] > 0.2:
            return _presence(name, cells.as_text().values[0], known)
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
        moments = _of_epoch(name, ordered, asked == "date")
        if moments is not None:
            return _date(name, moments[1], moments[0], known)
        if asked is None and (reason := _identifies(name, cells, ordered)):
            return Column(name, "identifier", "left out", reason, **known)
    if asked == "date":
        raise InvalidValueError(
            f"column {name!r} is asked to be a date, but {ordered[0]:.10g} is none; dates are "
            "yyyymmdd, seconds since 1970, or text"
        )
    return _number(name, ordered, asked, known)


def _of_epoch(name: str, ordered: Array, asked: bool) -> tuple[str, Array] | None:
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


def _identifies(name: str, cells: Cells, ordered: Array) -> str:
    """Return why a column of whole numbers identifies rows; "" if it does not."""
    assert cells.numbers is not None
    n = len(ordered)
    if n < 10:
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
        return "it counts the rows"
    return ""


def _number(
    name: str, ordered: Array, asked: str | None, known: dict[str, Any], **more: Any
) -> Column:
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
    shown = " and ".join(f"{value:g}" for value in found)
    reason = f"{shown} stands for no value: it occurs often and lies far from all others"
    changed = replace(column, sentinels=found, missing=missing, indicator=True, reason=reason)
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


def _date(name: str, ordered: Array, form: str, known: dict[str, Any], **more: Any) -> Column:
    parts = ("hour",) if form == "clock" else dates.parts_of(ordered)
    if ordered[0] == ordered[-1]:
        return Column(name, "constant", "left out", "every value is the same date", **known)
    column = Column(
        name, "date", "date parts", indicator=known["missing"] > 0 or "unread" in more, form=form,
        parts=parts, **known, **more,
    )  # fmt: skip
    return standardised(column, ordered)


def _of_text(name: str, cells: Cells, asked: str | None, codes_above: int | None) -> Column:
    empty = bool(cells.missing().any())
    absent = tuple(token for token in ABSENT if token in cells.values)
    if NOT_AVAILABLE in cells.values and (
        not (empty or absent) or len(cells.values) == len(absent) + 1
    ):
        absent += (NOT_AVAILABLE,)  # beside empty cells, NA is an answer of its own
    all_cells, cells = cells, cells.without(absent)
    known: dict[str, Any] = {"missing": _share(cells.missing()), "absent": absent}
    if not cells.values:
        return Column(name, "empty", "left out", "it has no value", **known)
    if asked in ("category", "text"):
        return _levels(name, cells, asked, known, codes_above)
    values = cells.values
    if asked in (None, "boolean"):
        if len(values) == 1 and asked is None:
            if known["missing"] >= 0.01:
                return _presence(name, values[0], known)
            reason = f"every value is {_short(values[0])}"
            return Column(name, "constant", "left out", reason, **known)
        if column := _boolean(name, values, known):
            return column
        if asked:
            raise InvalidValueError(
                f"column {name!r} is asked to be a boolean, but its values are "
                f"{', '.join(map(_short, values[:3]))}; expected a pair such as yes and no"
            )
    found = _of_written_numbers(name, all_cells, asked) if asked in (None, "number") else None
    if found is None and asked in (None, "date"):
        found = _of_written_dates(name, all_cells)
    if found is None and asked is None:
        found = _of_shape(name, cells, known)
    if found is None and asked in ("number", "date"):
        raise InvalidValueError(
            f"column {name!r} is asked to be a {asked}, but its values are such as "
            f"{', '.join(map(_short, values[:3]))}"
        )
    return found or _levels(name, cells, None, known, codes_above)


def _presence(name: str, value: str, known: dict[str, Any]) -> Column:
    reason = f"it is {_short(value)} or has no value, as a box that may be ticked"
    return Column(name, "category", "one-hot", reason, levels=(value,), **known)


def _boolean(name: str, values: tuple[str, ...], known: dict[str, Any]) -> Column | None:
    plain = {value.casefold() for value in values}
    for false, true in zip(FALSE, TRUE, strict=True):
        if plain == {false, true}:
            return Column(
                name, "boolean", "indicator", indicator=known["missing"] > 0,
                levels=(_spelt(false, values), _spelt(true, values)), **known,
            )  # fmt: skip
    return None


def _spelt(plain: str, values: tuple[str, ...]) -> str:
    return next(value for value in values if value.casefold() == plain)


def _tokens(cells: Cells) -> tuple[str, ...]:
    """Return the texts that people write in the place of a number or a date."""
    return tuple(v for v in cells.values if v in ABSENT or v.casefold() in NUMBERLESS)


def _of_written_numbers(name: str, cells: Cells, asked: str | None) -> Column | None:
    absent = _tokens(cells)
    cells = cells.without(absent)
    if not cells.values or (asked is None and has_leading_zeros(cells.values)):
        return None
    counts = cells.counts()
    found = spelling_of(cells.values, counts)
    if found is None:
        return None
    spelling, numbers = found
    bad = np.isnan(numbers)
    known: dict[str, Any] = {"missing": 0.0, "absent": absent}
    known["unread"] = tuple(v for v, wrong in zip(cells.values, bad, strict=True) if wrong)[:5]
    rows = np.append(numbers, np.nan)[cells.codes]
    known["missing"] = _share(np.isnan(rows))
    ordered = np.sort(rows[~np.isnan(rows)])
    written = {
        "decimal": spelling.decimal, "thousands": spelling.thousands, "ranges": spelling.ranges,
        "units": {} if spelling.units == {"": 1.0} else spelling.units,
    }  # fmt: skip
    if asked is None and ordered[0] == ordered[-1] and not known["missing"]:
        return Column(name, "constant", "left out", f"every value is {ordered[0]:.6g}", **known)
    if asked is None and (ordered == np.round(ordered)).all():
        moments = _of_epoch(name, ordered, False)
        if moments is not None:
            return _date(name, moments[1], moments[0], known)
        number_cells = Cells("integer", numbers=rows[~np.isnan(rows)])
        if reason := _identifies(name, number_cells, ordered):
            return Column(name, "identifier", "left out", reason, **known)
    return _number(name, ordered, asked, known, **written)


def _of_written_dates(name: str, cells: Cells) -> Column | None:
    absent = _tokens(cells)
    cells = cells.without(absent)
    if not cells.values:
        return None
    found = dates.format_of(cells.values, cells.counts())
    if found is None:
        return None
    form, numbers, reason = found
    rows = np.append(numbers, np.nan)[cells.codes]
    gone = np.isnan(rows)
    known: dict[str, Any] = {"missing": _share(gone), "absent": absent, "reason": reason}
    bad = [v for v, wrong in zip(cells.values, np.isnan(numbers), strict=True) if wrong]
    more = {"unread": tuple(bad[:5])} if bad else {}
    return _date(name, np.sort(rows[~gone]), form, known | more)


def _of_shape(name: str, cells: Cells, known: dict[str, Any]) -> Column | None:
    shape = shape_of(cells.values, cells.counts())
    if not shape:
        return None
    table = shape_numbers(cells.values, shape)
    bad = np.isnan(table[:, 0])
    few = tuple(v for v, wrong in zip(cells.values, bad, strict=True) if wrong)[:5]
    rows = np.vstack([table, np.full((1, table.shape[1]), np.nan)])[cells.codes]
    gone = np.isnan(rows[:, 0])
    centres, scales = _standards(rows[~gone])
    return Column(
        name, "number", "number", f"several numbers in one text, as {shape}",
        indicator=bool(gone.any()), shape=shape, unread=few, centres=centres, scales=scales,
        **(known | {"missing": _share(gone)}),
    )  # fmt: skip


def _standards(rows: Array) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return centres and scales of the columns of a table of numbers."""
    pairs = [robust(np.sort(column[np.isfinite(column)])) for column in rows.T]
    return tuple(pair[0] for pair in pairs), tuple(pair[1] for pair in pairs)


def _levels(
    name: str, cells: Cells, asked: str | None, known: dict[str, Any], codes_above: int | None
) -> Column:
    """Return a category, a text of many words, or an identifier."""
    counts, values = cells.counts(), cells.values
    total, distinct = int(counts.sum()), len(values)
    many = distinct > MOST_LEVELS or (distinct > 0.5 * total and total >= 20)
    if asked == "text" or (asked is None and many and is_wordy(values)):
        return _words(name, cells, counts, known)
    order = sorted(range(distinct), key=lambda i: (-counts[i], values[i]))
    frequent = [i for i in order if counts[i] >= FEWEST]
    if asked is None and many and (distinct > 0.5 * total or len(frequent) < 2):
        indicator = 0.05 <= known["missing"] <= 0.95
        reason = f"{distinct} of {total} values differ"
        if indicator:
            reason += "; only whether there is a value is used"
        return Column(
            name, "identifier", "indicator" if indicator else "left out", reason,
            indicator=indicator, **known,
        )  # fmt: skip
    indicator = known["missing"] > 0
    if distinct == 2:
        pair = (values[order[0]], values[order[1]])
        return Column(name, "category", "indicator", indicator=indicator, levels=pair, **known)
    use, most = "one-hot", MOST_LEVELS
    if codes_above is not None and distinct > codes_above:
        use, most, indicator = "codes", MOST_CODES, False
    levels = tuple(values[i] for i in (frequent or order)[:most])
    inner = _inner(cells, counts) if asked is None and use == "one-hot" else {}
    return Column(
        name, "category", use, indicator=indicator, levels=levels, others=len(levels) < distinct,
        **known, **inner,
    )  # fmt: skip


def _words(name: str, cells: Cells, counts: Array, known: dict[str, Any]) -> Column:
    words = frequent_words(cells.values, counts)
    inner = _inner(cells, counts)
    indicator = known["missing"] > 0
    reason = f"{len(cells.values)} different texts: their frequent words are used"
    use = "words" if words or inner or indicator else "left out"
    if not words and not inner:
        reason = f"{len(cells.values)} different texts that share no words"
    return Column(name, "text", use, reason, indicator=indicator, words=words, **known, **inner)


def _inner(cells: Cells, counts: Array) -> dict[str, Any]:
    """Return the numbers with units inside texts, with centres and scales."""
    keys = inner_keys(cells.values, counts)
    if not keys:
        return {}
    table = inner_numbers(cells.values, keys)
    rows = np.vstack([table, np.full((1, table.shape[1]), np.nan)])[cells.codes]
    centres, scales = _standards(rows)
    return {"inner": keys, "centres": centres, "scales": scales}


def _short(value: str) -> str:
    return repr(value if len(value) <= 40 else f"{value[:37]}...")
