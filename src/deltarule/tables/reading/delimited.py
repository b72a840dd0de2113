"""One pass of pyarrow over a delimited text, and what makes any text one that pyarrow reads."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from deltarule.tables.reading.dialect import Dialect
from deltarule.tables.reading.opening import arrow
from deltarule.tables.reading.words import MISSING

INSIDE = "\x1f"
"""Stands for separators that pyarrow does not know: several characters, or any number of spaces."""

NULLS = [
    *(before + token + after for token in MISSING for before in ("", " ") for after in ("", " ")),
    *(" " * count for count in range(2, 9)),
]

LARGEST_BLOCK = 2**31 - 1


class NotUtf8Error(Exception):
    """Bytes below the head are not UTF-8."""


def delimiter(dialect: Dialect) -> str:
    """Return the separator that pyarrow is given."""
    separator = dialect.separator or INSIDE
    return separator if len(separator) == 1 and separator != " " and separator.isascii() else INSIDE


def needs_rewriting(dialect: Dialect, spaced: bool) -> bool:
    """Return whether a text must be rewritten before pyarrow reads it."""
    return spaced or bool(dialect.separator and delimiter(dialect) != dialect.separator)


def rewritten(content: bytes, dialect: Dialect, spaced: bool) -> bytes:
    """Return a text whose separators and quotes are those that pyarrow reads."""
    separator, quote = (dialect.separator or "").encode(), (dialect.quote or "").encode()
    inside = INSIDE.encode()
    if separator == b" ":
        if quote and quote in content:
            pattern = rb"(%b[^%b]*%b)|[ \t]+" % ((re.escape(quote),) * 3)
            content = re.sub(pattern, lambda match: match[1] or inside, content)
        else:
            content = re.sub(rb"[ \t]+", inside, content)
        return re.sub(rb"(?<![^\r\n])\x1f|\x1f(?=[\r\n]|\Z)", b"", content)
    if separator and delimiter(dialect) == INSIDE != dialect.separator:
        content = content.replace(separator, inside)
        separator = inside
    if quote and spaced:
        inside = rb"%b(?:[^%b]|%b%b)*+%b" % ((re.escape(quote),) * 5)
        pattern = rb"(%b)|%b +(?=%b)" % (inside, re.escape(separator), re.escape(quote))
        content = re.sub(pattern, lambda match: match[1] or separator, content)
    return content


def parse(
    stream: Any,
    size: int,
    names: Sequence[str],
    text: Iterable[str],
    dialect: Dialect,
    on_bad: Callable[[Any], str],
) -> Any:
    """Read a stream that stands at the first row into a table.

    Raise NotUtf8Error, or pyarrow's ArrowInvalid for what is no table.
    """
    from pyarrow import csv

    pa = arrow()
    start = stream.tell()
    block, across = 1 << 20, False
    while True:
        try:
            with _undecodable_rows(on_bad) as found:
                table = csv.read_csv(
                    stream,
                    read_options=csv.ReadOptions(column_names=list(names), block_size=block),
                    parse_options=csv.ParseOptions(
                        delimiter=delimiter(dialect),
                        quote_char=dialect.quote or False,
                        escape_char=dialect.escape or False,
                        newlines_in_values=across,
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
            if found:
                raise NotUtf8Error
            return table
        except pa.ArrowInvalid as error:
            if found or "UTF8" in str(error):
                raise NotUtf8Error from None
            if not re.search("straddl|out of sync", str(error)):
                raise
            if across and block >= min(max(size, 1), LARGEST_BLOCK):
                raise
            # A record is longer than a block, or a block ends within quotes.
            block = min(block * 16, LARGEST_BLOCK) if across else block
            across = True
            stream.seek(start)


@contextmanager
def _undecodable_rows(on_bad: Callable[[Any], str]) -> Iterator[list[object]]:
    """Give a list that gets an entry where pyarrow cannot decode a row for ``on_bad``.

    pyarrow does not raise then: it prints a traceback, by way of `sys.unraisablehook`.
    """
    found: list[object] = []
    before = sys.unraisablehook

    def hook(raised: Any) -> None:
        if raised.object is on_bad and isinstance(raised.exc_value, UnicodeDecodeError):
            found.append(raised.exc_type)
        else:
            before(raised)

    sys.unraisablehook = hook
    try:
        yield found
    finally:
        sys.unraisablehook = before


def with_lines(content: bytes, replaced: dict[bytes, bytes]) -> bytes:
    """Return a text in which some records stand otherwise."""
    end = b"\n" if b"\n" in content else b"\r"
    lines = content.split(end)
    carriage = b"\r" if end == b"\n" else b""
    several = {old: new for old, new in replaced.items() if end in old}
    for number, line in enumerate(lines):
        bare = line.rstrip(b"\r") if carriage else line
        if (new := replaced.get(bare)) is not None:
            lines[number] = new + line[len(bare) :]
    content = end.join(lines)
    for old, new in several.items():
        content = content.replace(old, new)
    return content
