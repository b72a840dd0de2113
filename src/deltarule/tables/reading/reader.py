"""Files become tables: what is found in the head of a file, then one pass over all of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from deltarule.base.errors import FileFormatError, InvalidValueError
from deltarule.tables.reading import tidying
from deltarule.tables.reading.delimited import needs_preparing, parse, prepared
from deltarule.tables.reading.dialect import Dialect, Reading
from deltarule.tables.reading.header import Head, column_names, find_head
from deltarule.tables.reading.opening import Source, arrow
from deltarule.tables.reading.records import ENDS, records
from deltarule.tables.reading.sniffing import (
    find_comment,
    find_decimal,
    find_quote,
    find_separator,
    hint,
)
from deltarule.tables.reading.words import ZERO_LED, is_missing, is_number

HEAD = 1 << 18
"""Bytes of the head in which the dialect is looked for."""


@dataclass
class Found:
    """What the head of a delimited file says."""

    dialect: Dialect
    head: Head
    names: list[str]
    text: list[str]
    offset: int  # where the first row begins, in bytes of UTF-8 text
    notes: list[str]


def read_table(
    place: Any,
    *,
    separator: str | None = None,
    quote: str | None = None,
    encoding: str | None = None,
    decimal: str | None = None,
    header: bool | int | None = None,
    comment: str | None = None,
    skip: int | None = None,
    index: bool | None = None,
    text: Sequence[str] = (),
) -> Reading:
    """Read a file of data into an Arrow table, finding by itself how the file writes it."""
    options = Options(separator, quote, encoding, decimal, header, comment, skip, index, text)
    with Source(place) as source:
        head = source.peek(HEAD)
        if not head:
            raise FileFormatError(f"{source.name} is empty: it has no bytes")
        if head.startswith(b"PAR1"):
            return _parquet(source)
        return _delimited(source, head, options)


@dataclass(frozen=True)
class Options:
    """What the caller says instead of having it found."""

    separator: str | None = None
    quote: str | None = None
    encoding: str | None = None
    decimal: str | None = None
    header: bool | int | None = None
    comment: str | None = None
    skip: int | None = None
    index: bool | None = None
    text: Sequence[str] = ()


def _parquet(source: Source) -> Reading:
    pa = arrow()
    from pyarrow import parquet

    try:
        table = parquet.read_table(pa.BufferReader(source.read()))
    except (pa.ArrowException, OSError) as error:
        raise FileFormatError(f"{source.name} is a damaged Parquet file: {error}") from None
    return Reading(table, Dialect("parquet", source.compression, None, None))


def find_encoding(head: bytes) -> str:
    """Return the encoding that the first bytes show."""
    if head.startswith(b"\xef\xbb\xbf"):
        return "utf-8-sig"
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 4:
            return "cp1252"
    return "utf-8"


def find(head: bytes, whole: bool, name: str, options: Options) -> Found:
    """Find the dialect in the head of a file."""
    encoding = options.encoding or find_encoding(head)
    content = head.decode(encoding, errors="replace")
    if not whole:
        cut = max(content.rfind("\n"), content.rfind("\r"))
        content = content[: cut + 1] if cut > 0 else content
    notes: list[str] = []
    start = 0
    line = 1
    told = hint(content)
    if told:
        match = ENDS.search(content)
        start = match.end() if match else len(content)
        line += 1
    for _ in range(options.skip or 0):
        match = ENDS.search(content, start)
        start = match.end() if match else len(content)
        line += 1
    body = content[start:]
    comment = options.comment or find_comment(body)
    table_text = body
    if comment:
        kept = [
            piece for piece in body.splitlines(keepends=True)
            if not piece.lstrip(' \t"').startswith(comment)
        ]  # fmt: skip
        table_text = "".join(kept)
    sep = options.separator or told
    if sep:
        quote, escape = (options.quote, None) if options.quote else find_quote(table_text, sep)
    else:
        sep, quote, escape = find_separator(table_text, options.quote)
    cells = records(body, sep, quote, escape, 300)
    if not whole and len(cells) > 1 and not cells[-1].closed:
        cells.pop()
    if comment:
        cells = [r for r in cells if not body[r.start :].lstrip(' \t"').startswith(comment)]
    decimal = options.decimal or find_decimal(cells, sep)
    top = find_head(cells, decimal, options.header)
    names, repaired = column_names(top)
    notes += repaired
    after = top.second or top.header
    begin = after.end if after else top.rows[0].start if top.rows else 0
    offset = len(content[: start + begin].encode("utf-8"))
    if encoding == "utf-8-sig":
        offset += 0
    dialect = Dialect(
        separator=sep, quote=quote, escape=escape, encoding=encoding.removesuffix("-sig"),
        decimal=decimal, comment=comment,
        header=top.header.line + line - 1 if top.header else None,
        skipped=line - 1 + (top.header or top.rows[0]).line - 1 if top.header or top.rows else 0,
        units=top.second is not None,
    )  # fmt: skip
    text = []
    for position, column in enumerate(names):
        sample = [r.fields[position] for r in top.rows if position < len(r.fields)]
        sample = [field for field in sample if not is_missing(field)]
        if any(
            not is_number(field, decimal) or ZERO_LED.fullmatch(field.strip()) for field in sample
        ):
            text.append(column)
    return Found(dialect, top, names, text, offset, notes)


def _delimited(source: Source, head: bytes, options: Options) -> Reading:
    pa = arrow()
    found = find(head, len(head) < HEAD, source.name, options)
    dialect, notes = found.dialect, list(found.notes)
    content = source.read()
    if dialect.encoding == "utf-8":
        content = content.removeprefix(b"\xef\xbb\xbf")
        try:
            content.decode("utf-8")
        except UnicodeDecodeError:
            dialect = replace(dialect, encoding="cp1252")
    if dialect.encoding != "utf-8":
        try:
            decoded = content.decode(dialect.encoding)
        except UnicodeDecodeError:
            dialect = replace(dialect, encoding="latin-1")
            decoded = content.decode("latin-1")
        except LookupError:
            raise InvalidValueError(f"unknown encoding {dialect.encoding!r}") from None
        content = decoded.encode("utf-8")
        notes.append(f"the file is not UTF-8: it is read as {dialect.encoding}")
    content = content[found.offset :]
    if needs_preparing(dialect, head.decode("utf-8", "replace")):
        content = prepared(content, dialect)
    if not content.strip():
        raise FileFormatError(f"{source.name} has a header but no rows")
    bad: list[Any] = []

    def skip(row: Any) -> str:
        bad.append(row)
        return "skip"

    unique = [name or f"\x00{i}" for i, name in enumerate(found.names)]
    stream = pa.BufferReader(content)
    try:
        table = parse(stream, len(content), unique, found.text, dialect, skip)
    except pa.ArrowInvalid as error:
        raise FileFormatError(f"cannot read {source.name}: {error}") from None
    if len(bad) > table.num_rows:
        raise FileFormatError(
            f"{source.name} is no table: {len(bad)} of {len(bad) + table.num_rows} lines do not "
            f"have {len(unique)} fields"
        )
    for row in bad:
        notes.append(f"a line with {row.actual_columns} fields instead of {len(unique)} is no row")
    columns = {}
    for name, column in zip(unique, table.columns, strict=True):
        if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
            column = tidying.as_text(column.cast(pa.string()))
        columns[name] = column
    table = pa.table(columns)
    dropped = len(bad)
    again = tidying.repeated_header(table, found.names) if found.head.header else None
    out = tidying.empty_rows(table) | tidying.lonely_rows(table)
    if again is not None:
        out |= again
    if out.any():
        notes.append(f"{int(out.sum())} lines are no rows: blank, a title, or the header again")
        dropped += int(out.sum())
        table = table.filter(pa.array(~out))
    final = {}
    index = None
    for position, (name, column) in enumerate(zip(found.names, table.columns, strict=True)):
        if not name:
            if column.null_count == len(column):
                notes.append(f"column {position + 1} has neither name nor values: left out")
                continue
            if position == 0 and options.index is not False and _counts(column):
                notes.append("the first column has no name and counts the rows: left out")
                index = ""
                continue
            name = str(position)
        if pa.types.is_string(column.type) and name not in options.text:
            numbers = tidying.as_numbers(column, dialect)
            column = column if numbers is None else numbers
        final[name] = column
    table = pa.table(final)
    if not table.num_rows:
        raise FileFormatError(f"{source.name} has a header but no rows")
    text = tuple(n for n, c in final.items() if pa.types.is_string(c.type))
    dialect = replace(dialect, compression=source.compression, index=index, text=text)
    return Reading(table, dialect, tuple(notes), dropped)


def _counts(column: Any) -> bool:
    pa = arrow()
    if not pa.types.is_integer(column.type) or column.null_count:
        return False
    values = column.to_numpy()
    return bool(values[0] in (0, 1) and (np.diff(values) == 1).all())


def read_blocks(
    place: Any, dialect: Dialect | None = None, *, block_bytes: int = 16 << 20, **options: Any
) -> Any:
    """Read a file of data as a stream of Arrow tables."""
    settings = {}
    if dialect is not None and dialect.format == "delimited":
        settings = {
            "separator": dialect.separator, "quote": dialect.quote, "decimal": dialect.decimal,
            "header": dialect.header is not None, "comment": dialect.comment,
            "text": dialect.text,
        }  # fmt: skip
    reading = read_table(place, **{**settings, **options})
    rows = max(1, block_bytes // max(1, reading.table.nbytes // max(1, reading.table.num_rows)))
    for start in range(0, reading.table.num_rows, rows):
        yield reading.table.slice(start, rows)
