"""A delimited text becomes a table: one pass of pyarrow, then what is no row is taken out."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from deltarule.base.errors import FileFormatError
from deltarule.tables.reading.dialect import Dialect
from deltarule.tables.reading.opening import arrow
from deltarule.tables.reading.words import MISSING

INSIDE = "\x1f"
"""Stands for separators that pyarrow does not know: several characters, or any number of spaces."""

NULLS = [
    *MISSING,
    *(f" {token}" for token in MISSING),
    *(f"{token} " for token in MISSING),
    *(f" {token} " for token in MISSING),
    "  ", "   ", "    ",
]  # fmt: skip


def delimiter(dialect: Dialect) -> str:
    """Return the separator that pyarrow is given."""
    separator = dialect.separator or ","
    return separator if len(separator) == 1 and separator != " " and separator.isascii() else INSIDE


def prepared(content: bytes, dialect: Dialect) -> bytes:
    """Return text whose separators and quotes are those that pyarrow reads."""
    separator, quote = dialect.separator or ",", (dialect.quote or "").encode()
    if separator == " ":
        if quote and quote in content:
            pattern = rb"(%b[^%b]*%b)|[ \t]+" % (quote, quote, quote)
            content = re.sub(pattern, lambda m: m[1] or INSIDE.encode(), content)
        else:
            content = re.sub(rb"[ \t]+", INSIDE.encode(), content)
        return re.sub(rb"(?m)^\x1f|\x1f(?=\r?$)|\x1f(?=\r)", b"", content)
    if delimiter(dialect) == INSIDE and separator != INSIDE:
        content = content.replace(separator.encode(), INSIDE.encode())
        separator = INSIDE
    if quote:
        mark = separator.encode()
        content = content.replace(mark + b" " + quote, mark + quote)
    return content


def needs_preparing(dialect: Dialect, head: str) -> bool:
    """Return whether a text must be rewritten before pyarrow reads it."""
    separator, quote = dialect.separator or ",", dialect.quote
    if delimiter(dialect) != separator:
        return True
    return bool(quote) and f"{separator} {quote}" in head


def parse(
    stream: Any,
    size: int,
    names: Sequence[str],
    text: Sequence[str],
    dialect: Dialect,
    on_bad: Callable[[Any], str],
    threads: bool = True,
) -> Any:
    """Read a stream that begins with the first row into a table."""
    pa = arrow()
    from pyarrow import csv

    block = 1 << 20
    within = False
    start = stream.tell()
    while True:
        try:
            return csv.read_csv(
                stream,
                read_options=csv.ReadOptions(
                    column_names=list(names), block_size=block, use_threads=threads
                ),
                parse_options=csv.ParseOptions(
                    delimiter=delimiter(dialect),
                    quote_char=dialect.quote or False,
                    double_quote=True,
                    escape_char=dialect.escape or False,
                    newlines_in_values=within,
                    invalid_row_handler=on_bad,
                ),
                convert_options=csv.ConvertOptions(
                    column_types=dict.fromkeys(text, pa.string()),
                    null_values=NULLS,
                    true_values=[],
                    false_values=[],
                    decimal_point=dialect.decimal,
                ),
            )
        except pa.ArrowInvalid as error:
            message = str(error)
            if ("straddl" in message or "out of sync" in message) and (
                not within or block < max(size, 1)
            ):
                block = min(block * 8, 2**31 - 1) if within else block
                within = True
                stream.seek(start)
                continue
            raise
        except pa.ArrowKeyError as error:
            raise FileFormatError(str(error)) from None
