"""A file of any size as a stream of tables, in bounded memory."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from deltarule.base.errors import FileFormatError, InvalidTypeError, InvalidValueError
from deltarule.tables.reading import columnar, encodings
from deltarule.tables.reading.delimited import NotUtf8Error, needs_rewriting, rewritten
from deltarule.tables.reading.dialect import Dialect
from deltarule.tables.reading.opening import Source
from deltarule.tables.reading.options import Options
from deltarule.tables.reading.reader import (
    Encoding,
    columns_by_type,
    find_in,
    peek,
    undecodable,
)
from deltarule.tables.reading.rows import Rows, Stretch

LARGEST_RECORD = 1 << 28
MOST_TITLES = 1 << 16
"""Bytes of lines, one below the other, that may be titles or a footer."""


class Blocks:
    """An iterator over the tables of a file; made by :func:`read_blocks`.

    Attributes
    ----------
    dialect : Dialect
        How the file writes its table.
    names : tuple of str
        The columns of every block.
    notes : tuple of str
        What was noticed in the blocks that have been read.
    rows_dropped : int
        How many lines in the blocks that have been read are no rows.
    """

    def __init__(
        self, place: Any, dialect: Dialect | None, block_bytes: int, options: Options
    ) -> None:
        self._source = Source(place)
        self._block_bytes = block_bytes
        self._rows: Rows | None = None
        self._notes: list[str] = []
        try:
            head, whole = peek(self._source)
            kind = columnar.kind_of(head)
            if kind is not None:
                self.dialect = columnar.dialect_of(self._source, kind)
                self._tables = self._columnar(kind)
            else:
                self._tables = self._delimited(head, whole, dialect, options)
            self._first = next(self._tables, None)
        except BaseException:
            self.close()
            raise
        if self._first is None:
            self.close()
            raise FileFormatError(f"{self._source.name} has a header but no rows")
        self.names: tuple[str, ...] = tuple(self._first.column_names)

    def __iter__(self) -> Blocks:
        return self

    def __next__(self) -> Any:
        if self._first is not None:
            table, self._first = self._first, None
            return table
        try:
            return next(self._tables)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Blocks:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file, if it was opened by path."""
        self._source.__exit__()

    @property
    def notes(self) -> tuple[str, ...]:
        """What was noticed in the blocks that have been read."""
        rows = () if self._rows is None else self._rows.summary()
        return (*self._notes, *rows)

    @property
    def rows_dropped(self) -> int:
        """How many lines in the blocks that have been read are no rows."""
        return 0 if self._rows is None else self._rows.dropped

    def _delimited(
        self, head: bytes, whole: bool, dialect: Dialect | None, options: Options
    ) -> Iterator[Any]:
        source = self._source
        known = dialect if dialect is not None and dialect.format == "delimited" else None
        fallback = known.encoding if known and not known.encoding.startswith("utf") else None
        if options.encoding:
            encoding = Encoding(options.encoding)
        else:
            encoding = Encoding.of(head, whole, source.name, fallback)
        if known is not None:
            options = _as_before(options, known, head)
        found = find_in(source.name, head, whole, encoding, options)
        rows = self._rows = Rows(source.name, found, options)
        rewrite = needs_rewriting(found.dialect, found.spaced)
        self._notes = encoding.note()
        self.dialect = replace(
            found.dialect,
            compression=source.compression,
            encoding=encoding.name.removesuffix("-sig"),
        )
        line = found.line
        skip = found.offset
        for piece, last in self._records(encoding, skip, len(found.names)):
            if not piece:
                continue
            text = rewritten(piece, found.dialect, found.spaced) if rewrite else piece
            try:
                table = rows.read(Stretch.of(text, line), last)
            except NotUtf8Error:
                if options.encoding is not None:
                    raise undecodable(piece, options.encoding, source.name) from None
                name, errors = (fallback, "strict") if fallback else encodings.older(head + piece)
                older = Encoding(name, errors)
                self._notes = older.note()
                self.dialect = replace(self.dialect, encoding=older.name)
                text = b"".join(encodings.decoded([text], older.name, "replace"))
                table = rows.read(Stretch.of(text, line), last)
            if rows.rows == table.num_rows > 0:  # the first block says what columns hold
                index = "" if rows.indexed else None
                self.dialect = replace(self.dialect, index=index, **columns_by_type(table))
            rows.learn(table)
            line += piece.count(b"\n") or piece.count(b"\r")
            if table.num_rows:
                yield table

    def _records(self, encoding: Encoding, skip: int, width: int) -> Iterator[tuple[bytes, bool]]:
        """Yield the text below the header in pieces that end with a record, if they can a row."""
        dialect = self.dialect
        carry = bytearray()
        pieces = self._text(encoding)
        following = next(pieces, None)
        while following is not None:
            piece, following = following, next(pieces, None)
            if skip:
                skip, piece = max(0, skip - len(piece)), piece[skip:]
            carry += piece
            if len(carry) < self._block_bytes or following is None:
                continue
            end = last_record(carry, dialect)
            if end and dialect.separator and width > 2:
                end = last_row(carry, end, dialect)
            if end:
                yield bytes(memoryview(carry)[:end]), False
                carry = carry[end:]
            elif len(carry) > LARGEST_RECORD:
                raise FileFormatError(
                    f"{self._source.name} has a record of more than {LARGEST_RECORD >> 20} MiB: "
                    "probably a quote that is never closed; read it without quotes (quote='')"
                )
        yield bytes(carry), True

    def _text(self, encoding: Encoding) -> Iterator[bytes]:
        """Yield the file as UTF-8, in pieces."""
        size = max(4, min(self._block_bytes, 1 << 20))  # a byte order mark is not cut
        raw = iter(lambda: self._source.read(size), b"")
        if encoding.is_utf8:
            first = True
            for piece in raw:
                yield piece.removeprefix(b"\xef\xbb\xbf") if first else piece
                first = False
            return
        try:
            yield from encodings.decoded(raw, encoding.name, encoding.errors)
        except UnicodeError as error:
            raise FileFormatError(
                f"{self._source.name} is not {encoding.name} throughout: {error}"
            ) from None

    def _columnar(self, kind: str) -> Iterator[Any]:
        rows = 1 << 16
        first = True
        for table in columnar.tables(self._source, kind, rows):
            notes: list[str] = []
            table = columnar.plain(table, notes)
            self._notes = notes if first else self._notes
            first = False
            for start in range(0, table.num_rows, rows):
                yield table.slice(start, rows)


def _as_before(options: Options, known: Dialect, head: bytes) -> Options:
    """Return the options that read a file as another was read, where they can."""
    fits = known.separator is None or known.separator.encode() in head
    return replace(
        options,
        separator=options.separator or (known.separator if fits else None),
        decimal=options.decimal or (known.decimal if fits else None),
        header=known.header is not None if options.header is None else options.header,
        comment=options.comment or known.comment,
        text=(*options.text, *known.text),
        integers=known.integers,
        floats=known.floats,
    )


def last_record(content: bytes | bytearray, dialect: Dialect) -> int:
    """Return where the last complete record ends, 0 if there is none."""
    end = max(content.rfind(b"\n"), content.rfind(b"\r")) + 1
    if not dialect.quote or not end:
        return end
    quote = dialect.quote.encode()
    count = content.count(quote, 0, end)
    if dialect.escape:
        count -= content.count(dialect.escape.encode() + quote, 0, end)
    if count % 2 == 0:
        return end
    spans = _quoted(content, dialect)
    for start, stop, closed in reversed(spans):
        if closed and stop <= end:
            break
        end = max(content.rfind(b"\n", 0, start), content.rfind(b"\r", 0, start)) + 1
    return end


def last_row(content: bytes | bytearray, end: int, dialect: Dialect) -> int:
    """Return where the last record ends that has more than a first field.

    What follows may be a title or a footer: the lines below tell. Where no such record is near,
    or within quotes, ``end`` is returned.
    """
    separator, place = (dialect.separator or "").encode(), end
    while place > max(0, end - MOST_TITLES):
        start = max(content.rfind(b"\n", 0, place - 1), content.rfind(b"\r", 0, place - 1)) + 1
        rest = bytes(content[start:place]).lstrip().partition(separator)[2]
        if rest.replace(separator, b"").strip(b' "\t\r\n'):
            break
        place = start
    if place == end or not place or last_record(content[:place], dialect) != place:
        return end
    return place


def _quoted(content: bytes | bytearray, dialect: Dialect) -> list[tuple[int, int, bool]]:
    """Return start, end and whether it is closed of each quoted field."""
    q = re.escape((dialect.quote or "").encode())
    mark = re.escape((dialect.separator or "").encode())
    if dialect.escape:
        e = re.escape(dialect.escape.encode())
        inner = rb"(?:[^%b%b]|%b.)*+" % (q, e, e)
    else:
        inner = rb"(?:[^%b]|%b%b)*+" % (q, q, q)
    before = rb"\A|[\r\n]" + (b"|" + mark if mark else b"")
    pattern = re.compile(rb"(?:%b) *%b%b(%b|\Z)" % (before, q, inner, q), re.DOTALL)
    return [(m.start(), m.end(), bool(m[1])) for m in pattern.finditer(content)]


def read_blocks(
    place: Any, dialect: Dialect | None = None, *, block_bytes: int = 1 << 21, **options: Any
) -> Blocks:
    """Read a file of data of any size as a stream of Arrow tables with the same columns."""
    if dialect is not None and not isinstance(dialect, Dialect):
        raise InvalidTypeError(f"dialect must be a Dialect or None, got {type(dialect).__name__}")
    if isinstance(block_bytes, bool) or not isinstance(block_bytes, int):
        raise InvalidTypeError(f"block_bytes must be a whole number, got {block_bytes!r}")
    if block_bytes < 1:
        raise InvalidValueError(f"block_bytes must be at least 1, got {block_bytes}")
    return Blocks(place, dialect, block_bytes, Options(**options))
