"""Where a table begins, and what its columns are called."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from deltarule.tables.reading.records import Record
from deltarule.tables.reading.sniffing import modal_width
from deltarule.tables.reading.words import DATE, MEASURE, NUMBER, is_missing, is_number

RULE = re.compile(r"\s*(?:[-=:_]{2,}\s*)?")
"""A field of a line that is drawn below the header."""

YEAR = re.compile(r"(?:18|19|20)\d\d")

LOOKED_AT = 300
"""How many columns are looked at to tell a header from a row."""


@dataclass(frozen=True)
class Head:
    """The header's record or None, the records of rows that follow, and the width of the table."""

    header: Record | None
    second: Record | None
    rows: tuple[Record, ...]
    width: int
    row_names: bool = False  # the rows have one field more than the header: a name for each row
    in_table: bool = True  # the header is a line of the table, not a comment above it


def find_head(found: Sequence[Record], decimal: str, header: bool | int | None) -> Head:
    """Find the header among the first records; ``header`` says whether or in which line it is."""
    filled = [record for record in found if record.filled]
    if not filled:
        return Head(None, None, (), 1)
    if header is not None and not isinstance(header, bool):
        top = next((r for r in found if r.line >= header), filled[0])
        rows = [record for record in found if record.start > top.start]
        return _head(top, rows, decimal)
    width = modal_width(filled)
    start = next(
        (i for i, record in enumerate(filled) if _begins(record, width, filled[i + 1 :], decimal)),
        0,
    )
    top, rows = filled[start], filled[start + 1 :]
    if _is_title(top, rows, width, decimal):
        top, rows = rows[0], rows[1:]
    is_header = looks_like_header(top, rows, decimal) if header is None else header
    if is_header:
        return _head(top, rows, decimal)
    return Head(None, None, (top, *rows), modal_width([top, *rows]))


def _is_title(top: Record, rows: Sequence[Record], width: int, decimal: str) -> bool:
    """Return whether a record is a title with separators in it, above the header."""
    if len(top.fields) == width or len(rows) < 3 or len(rows[0].fields) != width:
        return False
    if not looks_like_header(rows[0], rows[1:], decimal):
        return False
    # One name less than columns may be a header without a name for the first of them: then the next
    # record must be a header beyond doubt, or stand apart.
    apart = rows[0].line > top.line + 1
    return (
        len(top.fields) != width - 1 or apart or _has_words_for_numbers(rows[0], rows[1:], decimal)
    )


def _has_words_for_numbers(record: Record, rows: Sequence[Record], decimal: str) -> bool:
    """Return whether a record has something else where the rows below it have numbers."""
    return any(
        not _valued(record.fields[i], decimal)
        for i in _numeric_columns(rows, decimal)
        if i < len(record.fields)
    )


def _begins(record: Record, width: int, following: Sequence[Record], decimal: str) -> bool:
    """Return whether the table may begin with this record: it is no title above it."""
    fields = len(record.fields)
    if width == 1 or not following:
        return fields == width or not following
    if fields == 1 and width > 2:
        return False
    if fields < width - 1 and fields < 0.6 * width:
        return False
    fullest = max(other.filled for other in following[:3])
    if width == fields == 2 and not record.fields[0].strip():  # row names have no name
        return not _has_words_for_numbers(following[0], following[1:], decimal)
    return not (record.filled == 1 and fullest > 1 and fields != width - 1) and (
        record.filled >= 0.3 * fullest
    )


def _head(top: Record, rows: Sequence[Record], decimal: str) -> Head:
    rows = [record for record in rows if record.filled]
    second = None
    if len(rows) > 2 and _is_units(rows[0], rows[1:], decimal):
        second, rows = rows[0], rows[1:]
    width, named = modal_width(rows) if rows else len(top.fields), len(top.fields)
    row_names = False
    if named > width and any(len(record.fields) > width for record in rows):
        width = named
    elif named == width - 1:
        last = [record.fields[-1] for record in rows if len(record.fields) == width]
        row_names = any(field.strip() for field in last)
    return Head(top, second, tuple(rows), width, row_names)


def _is_units(candidate: Record, rows: Sequence[Record], decimal: str) -> bool:
    """Return whether a record below the header is a second line of it, such as one of units."""
    if all(RULE.fullmatch(field) for field in candidate.fields):
        return True
    numeric = _numeric_columns(rows, decimal)
    inside = [i for i in numeric if i < len(candidate.fields)]
    words = [i for i in inside if not _valued(candidate.fields[i], decimal)]
    return len(inside) >= 2 and len(words) >= 0.6 * len(inside)


def _valued(field: str, decimal: str) -> bool:
    return is_number(field, decimal) or is_missing(field) or bool(DATE.fullmatch(field.strip()))


def _numeric_columns(rows: Sequence[Record], decimal: str) -> list[int]:
    """Return the positions of columns that hold numbers (or measures) in most rows."""
    found = []
    for position in range(min(modal_width(rows), LOOKED_AT)):
        cells = [r.fields[position].strip() for r in rows if position < len(r.fields)]
        cells = [cell for cell in cells if not is_missing(cell)]
        like = sum(
            is_number(cell, decimal) or bool(DATE.fullmatch(cell) or MEASURE.fullmatch(cell))
            for cell in cells
        )
        if cells and like >= 0.8 * len(cells):
            found.append(position)
    return found


def looks_like_header(top: Record, rows: Sequence[Record], decimal: str) -> bool:
    """Return whether a record names the columns of the rows below it."""
    names = [field.strip() for field in top.fields]
    if not rows:
        return not any(is_number(name, decimal) for name in names)
    if len(names) == modal_width(rows) - 1:
        names.insert(0, "")
    rows = [record for record in rows if record.fields != top.fields]  # it may be said again
    if not rows:
        return True
    numeric = set(_numeric_columns(rows[:60], decimal))
    votes = 0.0
    words = 0
    for position, name in enumerate(names[:LOOKED_AT]):
        if not name:
            continue
        below = [r.fields[position].strip() for r in rows[:60] if position < len(r.fields)]
        if position in numeric:
            like = (
                is_number(name, decimal)
                or is_missing(name)
                or (bool(DATE.fullmatch(name) or MEASURE.fullmatch(name)) and name in below)
                or bool(DATE.fullmatch(name))
            )
            if not like:
                votes += 1
                words += 1
            elif not is_missing(name):
                votes -= 1
        elif is_number(name, decimal):
            votes -= 0.2
        elif name in below:
            votes -= 1
        else:
            words += 1
            few = len(set(below)) <= max(2, len(below) // 2)
            votes += 0.5 if few else 0.2
    if _numbered(names, rows) or _are_years(names, rows) or _are_bounds(names, rows):
        return True
    return votes > 0 and words > 0


def _numbered(names: Sequence[str], rows: Sequence[Record]) -> bool:
    """Return whether names are numbers in equal steps, as positions, years and wavelengths are."""
    numbers = _in_steps(names)
    if not numbers or all(_in_steps([f.strip() for f in row.fields]) for row in rows[:9]):
        return False
    if len(numbers) >= 5 or (numbers[0] > 1000 and len(numbers) < len(names)):
        return True
    whole = all("." not in name for name in names)
    finer = any("." in field for row in rows[:9] for field in row.fields)
    return whole and finer and (numbers[0] in (0, 1) or len(numbers) < len(names))


def _are_years(names: Sequence[str], rows: Sequence[Record]) -> bool:
    """Return whether two names or more are years, one after the other, and no value below is."""
    places = [i for i, name in enumerate(names) if YEAR.fullmatch(name)]
    years = [int(names[i]) for i in places]
    if len(years) < 2 or len(years) == len(names) or any(b <= a for a, b in pairwise(years)):
        return False
    below = [row.fields[i].strip() for row in rows[:9] for i in places if i < len(row.fields)]
    return not any(YEAR.fullmatch(field) for field in below)


def _are_bounds(names: Sequence[str], rows: Sequence[Record]) -> bool:
    """Return whether numbers that grow stand over a table whose first column has no name."""
    numbers = [float(name) for name in names[1:] if NUMBER.fullmatch(name)]
    if names[0] or len(numbers) < max(3, len(names) - 1):
        return False
    if not all(row.fields[0].strip() for row in rows[:9]):
        return False
    below = [[float(f) for f in row.fields[1:] if NUMBER.fullmatch(f.strip())] for row in rows[:9]]
    return _grow(numbers) and not all(map(_grow, below))


def _grow(numbers: Sequence[float]) -> bool:
    return all(b > a for a, b in pairwise(numbers))


def _in_steps(names: Sequence[str]) -> list[float]:
    """Return the numbers among some fields if they are most of them and grow by equal steps."""
    numbers = [float(name) for name in names if NUMBER.fullmatch(name)]
    if len(numbers) < max(3, 0.6 * len(names)):
        return []
    step = numbers[1] - numbers[0]
    even = step > 0 and all(
        abs(b - a - step) <= 1e-6 * max(1.0, abs(b)) for a, b in pairwise(numbers)
    )
    return numbers if even else []


def column_names(head: Head) -> tuple[list[str], list[str]]:
    """Return one distinct name per column ("" where there is none), and what was repaired."""
    if head.header is None:
        return [str(position) for position in range(head.width)], []
    names = [" ".join(field.split()) for field in head.header.fields]
    if head.row_names:
        names.insert(0, "")
    names = [name.strip("\ufeff") for name in names]
    names += [""] * (head.width - len(names))
    counts = Counter(names)
    if head.second is not None and any(not n or counts[n] > 1 for n in names):
        names = _joined(names, head.second)
    notes = []
    seen: dict[str, int] = {}
    taken = set(names)
    for position, name in enumerate(names):
        if not name:
            continue
        seen[name] = seen.get(name, 0) + 1
        if seen[name] > 1:
            count = seen[name]
            while (new := f"{name}.{count}") in taken:
                count += 1
            seen[name] = count
            taken.add(new)
            names[position] = new
            notes.append(f"the name {name!r} occurs again in column {position + 1}: it is {new!r}")
    if len(notes) > 4:
        notes = [*notes[:3], f"{len(notes) - 3} more names occur again and got a number"]
    return names, notes


def _joined(names: Sequence[str], second: Record) -> list[str]:
    """Return names with what stands below them; a name may stand over several columns."""
    below = ["" if RULE.fullmatch(field) else " ".join(field.split()) for field in second.fields]
    below += [""] * (len(names) - len(below))
    counts = Counter(names)
    over = ""
    joined = []
    for position, (name, under) in enumerate(zip(names, below, strict=False)):
        over = name or over
        spread = counts[name] > 1 or (name and under and names[position + 1 : position + 2] == [""])
        joined.append(f"{over} {under}".strip() if under and (not name or spread) else name)
    return joined
