"""A stretch of delimited text becomes rows; what is no row is counted and said."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from deltarule.base.errors import FileFormatError
from deltarule.tables.reading import arrays, tidying
from deltarule.tables.reading.delimited import NotUtf8Error, delimiter, parse, with_lines
from deltarule.tables.reading.dialect import Dialect
from deltarule.tables.reading.finding import Found
from deltarule.tables.reading.opening import arrow
from deltarule.tables.reading.options import Options
from deltarule.tables.reading.records import records
from deltarule.tables.reading.sniffing import is_comment

MOST_BAD = 0.25
"""A larger share of lines with a wrong number of fields makes a text no table."""
ENOUGH = 100_000
"""After so many lines this is judged, before the file has been read to its end."""


class Stretch:
    """A stretch of text that begins with a row: a stream for pyarrow, and the bytes if asked."""

    def __init__(
        self, stream: Callable[[], Any], size: int, content: Callable[[], bytes], line: int
    ) -> None:
        self.stream = stream
        self.size = size
        self.content = content
        self.line = line

    @classmethod
    def of(cls, content: bytes, line: int) -> Stretch:
        """Return the stretch that some bytes are."""
        return cls(lambda: arrow().BufferReader(content), len(content), lambda: content, line)


class Rows:
    """Reads one stretch of text after another into tables with the same columns.

    Parameters
    ----------
    name : str
        Of the file, for messages.
    found : Found
        What its head says.
    options : Options
        Which columns are text, whatever is in them, or hold numbers; and whether a nameless first
        column of distinct integers is left out (None: if it is one).
    """

    def __init__(self, name: str, found: Found, options: Options) -> None:
        pa = arrow()
        self.name = name
        self.dialect: Dialect = found.dialect
        self.found = found
        self.index = options.index
        self.keys = _distinct(found.names)
        verbatim = options.verbatim(self.keys) if options.verbatim else ()
        self.fixed = {*options.text, *verbatim}
        self.types: dict[str, Any] = {  # what columns are known to hold
            **dict.fromkeys(options.integers, pa.int64()),
            **dict.fromkeys(options.floats, pa.float64()),
            **dict.fromkeys(self.fixed, pa.string()),
        }
        self.text = {self.keys[i] for i in found.text} | (self.fixed & set(self.keys))
        self.width = max((len(r.fields) for r in found.rows), default=len(self.keys))
        self.width = min(max(self.width, 1), len(self.keys))
        self.kept: list[int] | None = None  # columns of the file that are delivered
        self.after_no_row = False
        self.notes: list[str] = list(found.notes)
        self.dropped = 0
        self.rows = 0
        self.padded = self.shortened = self.odd = 0
        self.first_odd = ""
        self.wrong: list[str] = []  # what is said of lines that are no rows
        self.indexed = False

    def learn(self, table: Any) -> None:
        """Read further columns as those of this table, where it has values."""
        types = arrow().types
        for field, column in zip(table.schema, table.columns, strict=True):
            if field.name in self.types or column.null_count == len(column):
                continue
            self.types[field.name] = field.type
            if types.is_string(field.type):
                self.fixed.add(field.name)
                self.text.add(field.name)

    def read(self, stretch: Stretch, last: bool) -> Any:
        """Return the rows of a stretch as a table; ``last`` if the file ends with it."""
        pa = arrow()
        table, bad = self._parse(stretch)
        if bad:
            fixes = self._fixes(bad, stretch, last)
            if fixes:
                content = with_lines(stretch.content(), fixes)
                table, bad = self._parse(Stretch.of(content, stretch.line))
            self._count_bad(bad, table.num_rows, stretch, last)
        if last:
            self._check_end(table, stretch)
        columns = [
            column if tidying.is_numeric(column) else tidying.as_text(column)
            for column in table.columns
        ]
        table = pa.Table.from_arrays(columns, names=table.column_names)
        table = self._only_rows(table, stretch, last, len(bad))
        self.rows += table.num_rows
        return self._kept(table)

    def _parse(self, stretch: Stretch) -> tuple[Any, list[Any]]:
        """Return what pyarrow reads, and the records that have too many or too few fields."""
        pa = arrow()
        bad: list[Any] = []

        def skip(row: Any) -> str:
            bad.append(row)
            return "skip"

        while True:
            bad.clear()
            names = self.keys[: self.width]
            stream = stretch.stream()
            try:
                table = parse(
                    stream, stretch.size, names, self.text & set(names), self.dialect, skip
                )
            except pa.ArrowInvalid as error:
                raise FileFormatError(f"cannot read {self.name}: {error}") from None
            finally:
                stream.close()
            bad = list({id(row): row for row in bad}.values())
            if any(self.width < row.actual_columns <= len(self.keys) for row in bad):
                self.width = len(self.keys)
                continue
            types = {n: c.type for n, c in zip(names, table.columns, strict=True)}
            if any(pa.types.is_binary(kind) for kind in types.values()):
                raise NotUtf8Error
            odd = {n for n, c in zip(names, table.columns, strict=True) if not _expected(c)}
            if not odd:
                break
            self.text |= odd  # dates and times, whose text is delivered as it stands
        for key in self.keys[self.width :]:
            table = table.append_column(key, pa.nulls(table.num_rows, pa.string()))
        return table, bad

    def _fields(self, text: str) -> tuple[tuple[str, ...], bool]:
        """Return the fields of a record, and whether its quotes are closed."""
        mark, quote = delimiter(self.dialect), self.dialect.quote
        if quote is None or quote not in text:
            return tuple(text.split(mark)), True
        record = records(text, mark, quote, self.dialect.escape, 1)[0]
        return record.fields, record.closed

    def _fixes(self, bad: Sequence[Any], stretch: Stretch, last: bool) -> dict[bytes, bytes]:
        """Return the records that need only empty fields more or less, with what they become."""
        mark = delimiter(self.dialect)
        fixes: dict[bytes, bytes] = {}
        short = long = 0
        ending = ""
        for row in bad:
            fields, closed = self._fields(row.text)
            filled = sum(1 for field in fields if field.strip())
            if not closed:
                self._unclosed(row.text, stretch)
            if filled < 2 or self._is_comment(row.text):
                continue
            if len(fields) < self.width:
                fixes[row.text.encode()] = (row.text + mark * (self.width - len(fields))).encode()
                short += 1
                ending = row.text
            elif not any(field.strip() for field in fields[self.width :]):
                extra = len(fields) - self.width
                text = row.text.rstrip(" ")
                while extra and text.endswith(mark):
                    text, extra = text[: -len(mark)].rstrip(" "), extra - 1
                if not extra:
                    fixes[row.text.encode()] = text.encode()
                    long += 1
        if short == 1 and not self.padded and last and _ends_with(stretch.content(), ending):
            fixes.pop(ending.encode())  # the file was cut, or this is a footer
            short = 0
        self.padded += short
        self.shortened += long
        return fixes

    def _is_comment(self, text: str) -> bool:
        return bool(self.dialect.comment) and is_comment(text, self.dialect.comment or "")

    def _count_bad(self, bad: Sequence[Any], rows: int, stretch: Stretch, last: bool) -> None:
        """Note the lines that have a wrong number of fields; raise if they are many."""
        bad = [row for row in bad if not self._is_comment(row.text)]
        odd = [row for row in bad if sum(1 for f in self._fields(row.text)[0] if f.strip()) > 1]
        if odd and not self.odd:
            place = _place(odd[0].text, stretch)
            self.first_odd = f"{place} has {odd[0].actual_columns}"
        self.odd += len(odd)
        lines = self.rows + rows + self.odd
        if self.odd > MOST_BAD * lines and (last or lines >= ENOUGH):
            raise FileFormatError(
                f"{self.name} is no table: {self.odd:,} of {lines:,} lines do not have "
                f"{self.width} fields; {self.first_odd}; fields that contain the separator "
                f"{self.dialect.separator!r} must be quoted, or name another separator"
            )
        for row in bad[: max(0, 4 - len(self.wrong))]:
            fields = "1 field" if row.actual_columns == 1 else f"{row.actual_columns} fields"
            self.wrong.append(
                f"{_place(row.text, stretch)} is no row: it has {fields}, not {self.width} "
                f"({_short(row.text)})"
            )
        self.dropped += len(bad)

    def _unclosed(self, text: str, stretch: Stretch) -> None:
        raise FileFormatError(
            f"{self.name} is cut or a quote is missing: the file ends within the quotes that are "
            f"opened in {_place(text, stretch)}; get a whole copy, or read it without quotes "
            "(quote='')"
        )

    def _check_end(self, table: Any, stretch: Stretch) -> None:
        """Raise FileFormatError if the last field is quoted and its quotes are not closed."""
        quote = self.dialect.quote
        if not quote or not table.num_rows or self.width < len(self.keys):
            return
        value = table.column(self.width - 1)[-1].as_py()
        if not isinstance(value, str) or not value:
            return
        if "\n" not in value and "\r" not in value and stretch.size > 1 << 26:
            return  # an open quote before the last few letters of a large file
        raw = (quote + value.replace(quote, quote * 2)).encode()
        content = stretch.content()
        start = len(content) - len(raw)
        if content.endswith(raw) and (
            start == 0
            or content[start - 1 : start] in (delimiter(self.dialect).encode(), b"\n", b"\r")
        ):
            self._unclosed(content[:start].rpartition(b"\n")[2].decode() + raw.decode(), stretch)

    def _only_rows(self, table: Any, stretch: Stretch, last: bool, skipped: int) -> Any:
        """Return a table without blank rows, repeated headers, titles and comments."""
        out = tidying.blank_rows(table)
        if self.dialect.header is not None:
            out |= tidying.header_rows(table, self.found.labels)
        first = self.types.get(self.keys[0])
        numbers = None if first is None or first == arrow().string() else True
        out |= tidying.title_rows(table, out, last, self.after_no_row, numbers)
        if len(out):
            self.after_no_row = bool(out[-1])
        comments = None
        if self.dialect.comment:
            comments = tidying.comment_rows(table, self.dialect.comment)
            out = out & ~comments
        if out.any():
            self.dropped += int(out.sum())
            if len(self.wrong) < 4:
                self.wrong.append(_runs(np.flatnonzero(out), table, stretch, skipped))
        if comments is not None:
            out = out | comments
        if not out.any():
            return table
        table = table.filter(arrays.mask(~out))
        columns = []
        for key, column in zip(table.column_names, table.columns, strict=True):
            numbers = None
            if not tidying.is_numeric(column) and key not in self.fixed:
                numbers = self._as_numbers(key, column)
            columns.append(column if numbers is None else numbers)
        return arrow().Table.from_arrays(columns, names=table.column_names)

    def _as_numbers(self, key: str, column: Any) -> Any | None:
        return tidying.as_numbers(column, self.dialect.decimal, known=key in self.types)

    def _kept(self, table: Any) -> Any:
        """Return a table with the columns that are delivered."""
        if self.kept is None:
            self.kept = self._choose(table)
        columns = []
        names = [self.keys[position] for position in self.kept]
        for position, name in zip(self.kept, names, strict=True):
            column = table.column(position)
            if not tidying.is_numeric(column) and name not in self.fixed:
                numbers = self._as_numbers(name, column)
                column = column if numbers is None else numbers
            if (known := self.types.get(name)) is not None:
                column = tidying.as_known(column, known, self.dialect.decimal)
            columns.append(column)
        return arrow().Table.from_arrays(columns, names=names)

    def _choose(self, table: Any) -> list[int]:
        """Return the positions of the columns that are delivered."""
        kept: list[int] = []
        nameless = []
        for position, (name, key) in enumerate(zip(self.found.names, self.keys, strict=True)):
            column = table.column(position)
            known = key in self.types
            if not name and column.null_count == len(column) and not known:
                nameless.append(position + 1)
                continue
            unnamed = name in ("", "Unnamed: 0")
            if position == 0 and unnamed and not known and self._is_index(column):
                self.indexed = True
                self.notes.append("the first column has no name and numbers the rows: left out")
                continue
            if not name:
                self.notes.append(f"column {position + 1} has no name: it is called {key!r}")
            kept.append(position)
        if nameless:
            those = ", ".join(map(str, nameless[:8])) + (", ..." if len(nameless) > 8 else "")
            self.notes.append(
                f"column {those} has neither a name nor a value: left out"
                if len(nameless) == 1
                else f"columns {those} have neither names nor values: left out"
            )
        if not kept:
            raise FileFormatError(f"{self.name} has no columns with a name or a value")
        return kept

    def _is_index(self, column: Any) -> bool:
        if self.index is not None:
            return self.index
        if not tidying.is_numeric(column):
            numbers = tidying.as_numbers(column, self.dialect.decimal)
            column = column if numbers is None else numbers
        return tidying.counts_rows(column) and len(self.found.names) > 1

    def summary(self) -> tuple[str, ...]:
        """Return what was noticed until now, one sentence each."""
        notes = [*self.notes, *self.wrong]
        if self.padded:
            notes.append(f"{_lines(self.padded)} fewer fields than columns: the last are missing")
        if self.shortened:
            notes.append(f"{_lines(self.shortened)} empty fields too many: they are left out")
        told = len(self.wrong)
        if self.dropped and told >= 4:
            notes.append(f"in all, {self.dropped:,} lines below the header are no rows")
        return tuple(notes)


def _distinct(names: Sequence[str]) -> list[str]:
    """Return names in which a column without one is called by its position."""
    taken = set(names)
    found = []
    for position, name in enumerate(names):
        if not name:
            name = str(position)
            while name in taken:
                name += ".2"
            taken.add(name)
        found.append(name)
    return found


def _ends_with(content: bytes, line: str) -> bool:
    """Return whether a line is the last of a text."""
    before, found, _ = content.rstrip().rpartition(line.rstrip().encode())
    return bool(found) and content.rstrip().endswith(found) and before[-1:] in (b"", b"\n", b"\r")


def _lines(count: int) -> str:
    return "1 line has" if count == 1 else f"{count:,} lines have"


def _expected(column: Any) -> bool:
    types = arrow().types
    kind = column.type
    return tidying.is_numeric(column) or types.is_string(kind) or types.is_null(kind)


def _short(text: str) -> str:
    text = " ".join(text[:200].split())
    return text if len(text) <= 40 else f"{text[:37]}..."


def _place(text: str, stretch: Stretch) -> str:
    """Return the line of a record as a message names it."""
    content = stretch.content()
    where = content.find(text.encode())
    if where < 0:
        return "a line"
    end = b"\n" if b"\n" in content else b"\r"
    return f"line {stretch.line + content.count(end, 0, where):,}"


def _runs(places: np.ndarray, table: Any, stretch: Stretch, skipped: int) -> str:
    """Say which rows of a table are none, by their lines where rows are lines."""
    content = stretch.content()
    end = b"\n" if b"\n" in content else b"\r"
    lines = content.count(end) + (not content.endswith(end))
    exact = lines == table.num_rows and not skipped
    first = stretch.line if exact else 1
    runs = np.split(places, np.flatnonzero(np.diff(places) > 1) + 1)
    shown = [
        f"{run[0] + first:,}" if len(run) == 1 else f"{run[0] + first:,} to {run[-1] + first:,}"
        for run in runs[:5]
    ]
    if len(runs) > 5:
        shown.append("others")
    word = "line" if exact else "row"
    one = len(places) == 1
    return (
        f"{word}{'' if one else 's'} {', '.join(shown)} {'is no row' if one else 'are no rows'} "
        "of the table: blank, a title, a footer or the header again"
    )
