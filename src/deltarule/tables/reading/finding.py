"""The dialect, the columns and the first row of a delimited text, found in its head."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from deltarule.base.errors import FileFormatError
from deltarule.tables.reading.dialect import Dialect
from deltarule.tables.reading.header import Head, column_names, find_head
from deltarule.tables.reading.options import Options
from deltarule.tables.reading.records import ENDS, Record, records
from deltarule.tables.reading.sniffing import (
    find_comment,
    find_decimal,
    find_quote,
    find_separator,
    hint,
    is_comment,
)
from deltarule.tables.reading.words import LONG, ZERO_LED, is_missing, is_number

ROWS = 100
CELLS = 40_000
"""Of the head at most so many records and fields are looked at, but at least a few records."""

MOST_COLUMNS = 100_000

CONTROL = re.compile(r"[\x00\x02-\x08\x0e-\x19\x1b\x1c\x7f]")
OTHER_TEXT = (
    (r"<(?:!doctype|html|head|body|table)\b", "an HTML page; save the table itself as CSV"),
    (r"<\?xml|<svg|<\w+[ >][^\n]*</", "an XML file; export the table as CSV"),
    (r"\{\\rtf", "a document in rich text"),
    (r"%!PS", "a PostScript document"),
    (r"@relation\s", "an ARFF file; export the table as CSV"),
    (r"-----BEGIN ", "a key or a certificate"),
    (r"#!/", "a program"),
    (r"\{\s*(?:\"|\}|\n)", "JSON, but not one object per line; export the table as CSV"),
    (r"\[\s*[\[{]", "a JSON array; write one object per line, or export the table as CSV"),
)


@dataclass(frozen=True)
class Found:
    """What the head of a delimited text says.

    Parameters
    ----------
    dialect : Dialect
    names : tuple of str
        One for each column of the file, "" for one that has none.
    labels : tuple of str
        What the header's fields say, to know it again further below.
    text : frozenset of int
        Positions of the columns whose first values are no plain numbers.
    offset : int
        Where the first row begins, in bytes of UTF-8.
    line : int
        The line in which it begins.
    notes : tuple of str
    rows : tuple of Record
        The first rows.
    spaced : bool
        Whether spaces stand between separators and quotes.
    """

    dialect: Dialect
    names: tuple[str, ...]
    labels: tuple[str, ...]
    text: frozenset[int]
    offset: int
    line: int
    notes: tuple[str, ...]
    rows: tuple[Record, ...]
    spaced: bool


def refuse_other_text(text: str, name: str) -> None:
    """Raise FileFormatError for text that is no table, and for bytes that are no text."""
    sample = text[:4096].lstrip("\ufeff \t\r\n")
    for pattern, what in OTHER_TEXT:
        if re.match(pattern, sample, re.IGNORECASE):
            raise FileFormatError(f"{name} is no table but {what}")
    odd = len(CONTROL.findall(text[: 1 << 16]))
    if "\x00" in text or odd > 0.02 * min(len(text), 1 << 16) + 1:
        line = len(ENDS.findall(text[: text.find("\x00")])) + 1 if "\x00" in text else 1
        what = f"a byte 0 in line {line}" if "\x00" in text else "control characters"
        raise FileFormatError(
            f"{name} is no text: it has {what}; give a text file such as CSV, or Parquet"
        )


def find(content: str, whole: bool, name: str, options: Options) -> Found:
    """Find the dialect, names and first row in the head of a text, which ends with a line."""
    notes: list[str] = []
    start, line = 0, 1
    told = hint(content)
    for _ in range((options.skip or 0) + (told is not None)):
        match = ENDS.search(content, start)
        start, line = (match.end() if match else len(content)), line + 1
    comment = options.comment if options.comment is not None else find_comment(content[start:])
    start, line, commented = _past_comments(content, start, line, comment or None)
    body = content[start:]
    if not body.strip():
        raise FileFormatError(
            f"{name} has no rows: nothing but {'comments' if start else 'blanks'}"
        )
    separator = options.separator or told
    escape: str | None = None
    if separator is None:
        separator, quote, escape = find_separator(body, options.quote, comment)
    elif options.quote is None:
        quote, escape = find_quote(body, separator)
    else:
        quote = options.quote
    quote = quote or None
    _refuse_too_wide(body, separator, name)
    sample = _sample(body, whole, separator, quote, escape, comment)
    decimal = options.decimal or find_decimal(sample, separator)
    wanted = options.header
    if wanted is not None and not isinstance(wanted, bool):
        wanted -= line - 1
        if wanted < 1:
            raise FileFormatError(f"{name} has no header in line {options.header}: it is skipped")
    head = find_head(sample, decimal, wanted)
    if (wanted is None or wanted is True) and commented:
        head = _commented_header(sample, head, commented, separator, quote, decimal)
    names, repaired = column_names(head)
    notes += repaired
    if quote is None and options.quote is None and '"' in body:
        notes.append("quotation marks are read as they stand: they do not enclose fields")
    first = head.rows[0] if head.rows else None
    above = head.second or head.header
    if above is not None and above.end > 0 and head.in_table:
        offset, first_line = above.end, above.line + 1
    else:
        offset, first_line = (first.start, first.line) if first else (0, 1)
    text = frozenset(
        position for position in range(len(names)) if _is_text(head.rows, position, decimal)
    )
    header_line = None
    if head.header is not None:
        header_line = head.header.line + line - 1 if head.in_table else line - 1
    top = header_line or first_line + line - 1
    dialect = Dialect(
        separator=separator or None,
        quote=quote,
        escape=escape,
        decimal=decimal,
        comment=comment or None,
        header=header_line,
        skipped=top - 1,
        units=head.second is not None,
    )
    if head.second is not None:
        notes.append(
            f"line {head.second.line + line - 1} is a second line of the header, not a row"
        )
    if header_line and not head.in_table:
        notes.append(f"the header is the comment in line {header_line}")
    if head.row_names:
        notes.append("the header has one name less than the rows have fields: the first is unnamed")
    return Found(
        dialect,
        tuple(names),
        _labels(head, len(names)),
        text,
        len(content[: start + offset].encode("utf-8", "replace")),
        first_line + line - 1,
        tuple(notes),
        head.rows,
        any(record.spaced for record in sample),
    )


def _past_comments(
    content: str, start: int, line: int, comment: str | None
) -> tuple[int, int, str | None]:
    """Return where the first line stands that is no comment, and the last comment before it."""
    last = None
    while comment and start < len(content):
        match = ENDS.search(content, start)
        stop, after = (match.start(), match.end()) if match else (len(content), len(content))
        piece = content[start:stop]
        if piece.strip() and not is_comment(piece, comment):
            break
        last = piece.strip(' \t"').removeprefix(comment) if piece.strip() else last
        start, line = after, line + 1
    return start, line, last


def _refuse_too_wide(body: str, separator: str, name: str) -> None:
    match = ENDS.search(body)
    end = match.start() if match else len(body)
    if separator and separator != " " and body.count(separator, 0, end) >= MOST_COLUMNS:
        raise FileFormatError(
            f"{name} is too wide: its first line has {body.count(separator, 0, end) + 1:,} fields, "
            f"and at most {MOST_COLUMNS:,} columns are read"
        )


def _sample(
    body: str,
    whole: bool,
    separator: str,
    quote: str | None,
    escape: str | None,
    comment: str | None,
) -> list[Record]:
    wide = records(body, separator, quote, escape, 4)
    width = max(len(record.fields) for record in wide)
    found = records(body, separator, quote, escape, max(8, min(ROWS, CELLS // width)))
    if not whole and len(found) > 1 and not found[-1].closed:
        found.pop()
    if comment:
        found = [r for r in found if not is_comment(body[r.start : r.start + 80], comment)]
    return found


def _commented_header(
    sample: Sequence[Record],
    head: Head,
    comment: str,
    separator: str,
    quote: str | None,
    decimal: str,
) -> Head:
    """Return a head whose names are those of a comment, where it has one for each column."""
    found = records(comment.strip(), separator, quote, None, 1)
    if not found or len(found[0].fields) != head.width or head.width < 2:
        return head
    names = [field.strip() for field in found[0].fields]
    if not all(names) or any(is_number(name, decimal) for name in names):
        return head
    if head.header is not None and not any(is_number(f, decimal) for f in head.header.fields):
        return head
    rows = tuple(record for record in sample if record.filled)
    return Head(found[0], None, rows, head.width, in_table=False)


def _labels(head: Head, width: int) -> tuple[str, ...]:
    """Return the fields of the header without outer spaces, one for each column."""
    fields = [] if head.header is None else [field.strip() for field in head.header.fields]
    labels = [""] * head.row_names + fields
    return tuple(labels + [""] * (width - len(labels)))


def _is_text(rows: Sequence[Record], position: int, decimal: str) -> bool:
    for record in rows:
        if position < len(record.fields):
            field = record.fields[position].strip()
            if not field or is_missing(field):
                continue
            if not is_number(field, decimal) or ZERO_LED.fullmatch(field) or LONG.fullmatch(field):
                return True
    return False
