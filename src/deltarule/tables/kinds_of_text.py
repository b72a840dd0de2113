"""Which kind a column of text is, and what its cells say: numbers, dates, levels, words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from deltarule.base.errors import InvalidValueError
from deltarule.base.types import Array
from deltarule.tables import dates
from deltarule.tables.cells import Cells
from deltarule.tables.column import Column
from deltarule.tables.kinds_of_numbers import (
    date_of,
    hardly_repeats,
    identifies,
    number_of,
    of_epoch,
    presence,
    robust,
    share,
    short,
)
from deltarule.tables.parsing import has_leading_zeros, spelling_of
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
    "no data|1.#qnan|-1.#ind|1.#ind|1.#inf|-1.#inf"
)
NUMBERLESS = frozenset(_NUMBERLESS.split("|"))
"""What people write in the place of a number, in small letters."""

TRUE = ("true", "yes", "y", "t", "on", "1")
FALSE = ("false", "no", "n", "f", "off", "0")


def absent_among(values: Sequence[str]) -> tuple[str, ...]:
    """Return the texts that stand for no value; "-" beside "+" is an answer."""
    return tuple(t for t in ABSENT if t in values and not (t == "-" and "+" in values))


def of_text(name: str, cells: Cells, asked: str | None, codes_above: int | None) -> Column:
    """Return what a column of text is; ``asked`` is the kind that the user wants."""
    empty = bool(cells.missing().any())
    absent = absent_among(cells.values)
    if NOT_AVAILABLE in cells.values and (
        not (empty or absent) or len(cells.values) == len(absent) + 1
    ):
        absent += (NOT_AVAILABLE,)  # beside empty cells, NA is an answer of its own
    all_cells, cells = cells, cells.without(absent)
    known: dict[str, Any] = {"missing": share(cells.missing()), "absent": absent}
    if not cells.values:
        return Column(name, "empty", "left out", "it has no value", **known)
    if asked in ("category", "text"):
        return levels_of(name, cells, asked, known, codes_above)
    values = cells.values
    if asked in (None, "boolean"):
        if len(values) == 1 and asked is None:
            if known["missing"] >= 0.01:
                return presence(name, values[0], known)
            reason = f"every value is {short(values[0])}"
            return Column(name, "constant", "left out", reason, **known)
        if column := _boolean(name, values, known):
            return column
        if asked:
            raise InvalidValueError(
                f"column {name!r} is asked to be a boolean, but its values are "
                f"{', '.join(map(short, values[:3]))}; expected a pair such as yes and no"
            )
    found = _of_written_numbers(name, all_cells, asked) if asked in (None, "number") else None
    if found is None and asked in (None, "date"):
        found = _of_written_dates(name, all_cells)
    if found is None and asked is None:
        found = _of_shape(name, cells, known)
    if found is None and asked in ("number", "date"):
        raise InvalidValueError(
            f"column {name!r} is asked to be a {asked}, but its values are such as "
            f"{', '.join(map(short, values[:3]))}"
        )
    return found or levels_of(name, cells, None, known, codes_above)


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
    known["missing"] = share(np.isnan(rows))
    ordered = np.sort(rows[~np.isnan(rows)])
    written = {
        "decimal": spelling.decimal, "thousands": spelling.thousands, "ranges": spelling.ranges,
        "units": {} if spelling.units == {"": 1.0} else spelling.units,
    }  # fmt: skip
    if asked is None and ordered[0] == ordered[-1] and not known["missing"]:
        return Column(name, "constant", "left out", f"every value is {ordered[0]:.6g}", **known)
    if asked is None and (ordered == np.round(ordered)).all():
        moments = of_epoch(name, ordered, False)
        if moments is not None:
            return date_of(name, moments[1], moments[0], known)
        number_cells = Cells("integer", numbers=rows[~np.isnan(rows)])
        if reason := identifies(name, number_cells, ordered):
            return Column(name, "identifier", "left out", reason, **known)
    return number_of(name, ordered, asked, known, **written)


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
    known: dict[str, Any] = {"missing": share(gone), "absent": absent, "reason": reason}
    bad = [v for v, wrong in zip(cells.values, np.isnan(numbers), strict=True) if wrong]
    more = {"unread": tuple(bad[:5])} if bad else {}
    return date_of(name, np.sort(rows[~gone]), form, known | more)


def _of_shape(name: str, cells: Cells, known: dict[str, Any]) -> Column | None:
    shape = shape_of(cells.values, cells.counts())
    if not shape or _are_few_levels(shape, len(cells.values), len(cells) * (1 - known["missing"])):
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
        **(known | {"missing": share(gone)}),
    )  # fmt: skip


def _are_few_levels(shape: str, distinct: int, rows: float) -> bool:
    """Whether texts of several numbers are levels: two of them, or few as genotypes (1/2) are."""
    fraction = set(shape) <= set("#/| ")
    return distinct == 2 or (fraction and distinct <= 20 and rows >= 5 * distinct)


def _standards(rows: Array) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return centres and scales of the columns of a table of numbers."""
    pairs = [robust(np.sort(column[np.isfinite(column)])) for column in rows.T]
    return tuple(pair[0] for pair in pairs), tuple(pair[1] for pair in pairs)


def levels_of(
    name: str, cells: Cells, asked: str | None, known: dict[str, Any], codes_above: int | None
) -> Column:
    """Return a category, a text of many words, or an identifier."""
    counts, values = cells.counts(), cells.values
    total, distinct = int(counts.sum()), len(values)
    many = distinct > MOST_LEVELS or (distinct > 0.5 * total and total >= 20)
    many |= hardly_repeats(distinct, total)
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
