"""Separator, quotes, comments, decimal mark: found in the head of a file of text."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from deltarule.tables.reading.records import ENDS, Record, records
from deltarule.tables.reading.words import (
    COMMA_NUMBER,
    DATE,
    GROUPED,
    MEASURE,
    NUMBER,
    is_missing,
    is_number,
)

SEPARATORS = (",", "\t", ";", "|", "::", "||", " ", ":", "^", "~", "\x01", "\x1f", "¦", "§", "¬")
"""Candidates, the likelier first: of equals the first is taken."""

COMMENTS = ("#", "%", "//")

LEAST = 0.1
"""Below this score a text whose first line has no separator is a single column."""

SAMPLE = 60
"""How many records are looked at for each candidate."""


def hint(text: str) -> str | None:
    """Return the separator that a first line such as ``sep=;`` names."""
    match = re.match(r'"?[Ss][Ee][Pp]=(\t|[^\r\n"]{1,2})"?[ ,;]*(?:\r\n|\n|\r|\Z)', text)
    return match[1] if match else None


def is_comment(line: str, mark: str) -> bool:
    """Return whether a line is a comment."""
    return line.lstrip(' \t"').startswith(mark)


def find_comment(text: str) -> str | None:
    """Return what the lines above the table begin with, if they are comments."""
    lines = [line for line in ENDS.split(text[: 1 << 16])[:2000] if line.strip()]
    for mark in COMMENTS:
        if not lines or not is_comment(lines[0], mark):
            continue
        below = [line for line in lines[1:] if not is_comment(line, mark)]
        if len(below) == len(lines) - 1 and lines[0].lstrip(' \t"')[len(mark) :][:1] in ',;\t|"':
            continue  # a header whose first name is the mark alone
        return mark
    return None


def find_separator(
    text: str, quote: str | None, comment: str | None = None
) -> tuple[str, str | None, str | None]:
    """Return separator ("" for a single column), quote and escape of a text."""
    best: tuple[float, str, str | None, str | None] | None = None
    for separator in SEPARATORS:
        if separator not in text and not (separator == " " and "\t" in text):
            continue
        if separator in ("::", "||") and not _doubled(text, separator):
            continue
        if len(separator) == 1 and separator in ":|" and _doubled(text, separator * 2):
            continue
        for mark, escape in _quotes(text, separator) if quote is None else ((quote, None),):
            score = _score(text, separator, mark, escape, comment)
            if best is None or score > best[0] + 1e-9:
                best = (score, separator, mark, escape)
    if best is not None and best[1] == "," and _is_decimal_column(text):
        best = None
    if best is None or best[0] <= 0:
        mark = '"' if quote is None else quote
        return "", mark, None
    if best[0] < LEAST:
        first = next(r for r in records(text, best[1], best[2], best[3]) if r.filled)
        if len(first.fields) == 1:
            return "", best[2], best[3]
    return best[1:]


def _is_decimal_column(text: str) -> bool:
    """Return whether a text is a single column of numbers with a decimal comma."""
    lines = [line.strip() for line in ENDS.split(text[: 1 << 14]) if line.strip()]
    body = lines[1:-1] or lines[1:]
    return bool(body) and "," not in lines[0] and all(map(COMMA_NUMBER.fullmatch, body))


def find_quote(text: str, separator: str) -> tuple[str | None, str | None]:
    """Return quote and escape for a known separator."""
    found = [(_score(text, separator, mark, escape), mark, escape)
             for mark, escape in _quotes(text, separator)]  # fmt: skip
    best = max(found, key=lambda entry: entry[0])
    return best[1], best[2]


def _doubled(text: str, pair: str) -> bool:
    """Return whether a mark occurs in pairs only."""
    return pair in text and pair[0] not in text.replace(pair, "")


def _quotes(text: str, separator: str) -> list[tuple[str | None, str | None]]:
    """Return the quotes that a text may use, with the escapes."""
    kinds: list[tuple[str | None, str | None]] = []
    edge = re.escape(separator)
    if '"' in text:
        if '\\"' in text:
            kinds.append(('"', "\\"))
        kinds.append(('"', None))
    if "'" in text:
        whole = re.findall(rf"(?:^|{edge}|[\r\n]) ?'[^'\r\n]*'(?={edge}|[\r\n]|\Z)", text)
        if len(whole) >= 2:
            kinds.append(("'", None))
    if not kinds:
        return [('"', None)]
    kinds.append((None, None))
    return kinds


def _score(
    text: str, separator: str, quote: str | None, escape: str | None, comment: str | None = None
) -> float:
    """Return how well a text is a table with this separator: 0 if not at all."""
    found = records(text, separator, quote, escape, 4)
    width = max(len(record.fields) for record in found)
    found = records(text, separator, quote, escape, max(8, min(SAMPLE, 20_000 // width)))
    if len(found) > 1 and not found[-1].closed:
        found.pop()
    found = [record for record in found if record.filled or len(record.fields) > 1]
    if comment:
        found = [r for r in found if not is_comment(text[r.start : r.start + 80], comment)]
    width = modal_width(found)
    if width < 2:
        return 0.0
    first = next(i for i, record in enumerate(found) if len(record.fields) == width)
    body = found[first:]
    share = sum(len(record.fields) == width for record in body) / len(body)
    share *= 1 - 0.3 * first / len(found)
    rows = [record for record in body if len(record.fields) == width]
    cells = [
        (field, quoted)
        for record in rows[:40]
        for field, quoted in zip(record.fields[:30], record.quoted[:30], strict=True)
    ]
    fit = sum(_fit(field, quoted, quote) for field, quoted in cells) / len(cells)
    if separator in " :" and not _believable(rows, separator, found):
        return 0.0
    long = sum(len(record.fields) > 1 and not record.closed for record in found)
    plausible = (0.5 if long else 1.0) * (0.75 if separator == " " else 1.0)
    return share**2 * (1 - 1 / (width + 1)) * fit * plausible


def _believable(rows: Sequence[Record], separator: str, found: Sequence[Record]) -> bool:
    """Return whether spaces or colons separate fields, rather than words or hours."""
    cells = [field for record in rows[1:] or rows for field in record.fields]
    numbers = sum(is_number(cell) or is_number(cell, ",") or is_missing(cell) for cell in cells)
    alike = len({len(record.fields) for record in found}) == 1
    return numbers / max(len(cells), 1) >= (0.3 if alike else 0.5)


def _fit(field: str, quoted: bool, quote: str | None) -> float:
    """Return how much a field looks like one value."""
    field = field.strip()
    if quoted:
        return 1.0 if quote is None or quote not in field[-1:] else 0.7
    if not field:
        return 0.9
    if is_missing(field) or NUMBER.fullmatch(field) or COMMA_NUMBER.fullmatch(field):
        return 1.0
    if DATE.fullmatch(field) or MEASURE.fullmatch(field) or GROUPED.fullmatch(field):
        return 1.0
    if field[0] == '"' or field[-1] == '"':
        return 0.1
    if re.search(r"[;\t|~^\x01\x1f¦]", field):
        return 0.1
    if re.search(r"\S,\S|:\S+:|\S {2,}\S|\d \d", field):
        return 0.3
    return 0.8 if re.fullmatch(r"[\w.\-/()]+", field) else 0.7


def modal_width(found: Sequence[Record]) -> int:
    """Return the most frequent number of fields; of equals, the larger."""
    widths = Counter(len(record.fields) for record in found)
    return max(widths, key=lambda width: (widths[width], width)) if widths else 0


def find_decimal(rows: Sequence[Record], separator: str) -> str:
    """Return the decimal mark of the rows' numbers."""
    comma = point = grouped = 0
    for record in rows:
        for field in record.fields:
            field = field.strip()
            if "," in field and COMMA_NUMBER.fullmatch(field):
                if GROUPED.fullmatch(field) and not field.lstrip("+-").startswith("0,"):
                    grouped += 1
                else:
                    comma += 1
            elif "." in field and NUMBER.fullmatch(field):
                point += 1
    if separator == ";" and grouped and not point:
        return ","
    if comma and comma + grouped > point:
        return ","
    return "."
