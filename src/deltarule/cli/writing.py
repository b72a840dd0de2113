"""Output that grows block by block: CSV or Parquet, whole under its name or not there at all."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from deltarule.base.errors import InvalidValueError
from deltarule.base.files import check_writable

_PARQUET = {".parquet", ".pq"}
_TEXT = {".csv", ".txt", ".tsv", ".tab"}
_NEEDS_QUOTES = '["\r\n%s]'
_CODE = r"^[+-]?(0\d+|\d{19,})$"
"""Digits that are no number: it would lose zeros in front, or its last digits."""


def has_types(path: Path | None) -> bool:
    """Return whether a file says of each column what it holds: Parquet does, CSV does not."""
    return path is not None and path.suffix.lower() in _PARQUET


@contextmanager
def writer(path: Path | None) -> Iterator[Callable[[Any], None]]:
    """Give a function that writes Arrow tables; without a path, as CSV to standard output.

    A file is written under a temporary name and renamed at the end. After an error there is what
    was there before.
    """
    if path is None:
        yield _Text(sys.stdout.buffer, ",").write
        sys.stdout.flush()
        return
    suffix = path.suffix.lower()
    if suffix not in _PARQUET | _TEXT:
        raise InvalidValueError(f"--out is FILE.csv or FILE.parquet, got {str(path)!r}")
    check_writable(path)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        if suffix in _PARQUET:
            with _Parquet(part) as growing:
                yield growing.write
        else:
            with part.open("wb") as file:
                yield _Text(file, "\t" if suffix in (".tsv", ".tab") else ",").write
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


class _Text:
    """Delimited text. It has no types: each block is written as it is."""

    def __init__(self, file: Any, separator: str) -> None:
        self._file, self._separator = file, separator
        self._begun = False

    def write(self, table: Any) -> None:
        """Write a block."""
        import pyarrow as pa
        import pyarrow.compute as pc
        from pyarrow import csv

        if not self._begun:
            names = [_quoted(name, self._separator) for name in table.column_names]
            self._file.write((self._separator.join(names) + "\n").encode())
            self._begun = True
        marks = _NEEDS_QUOTES % self._separator
        texts = [column for column in table.columns if pa.types.is_string(column.type)]
        quotes = any(pc.any(pc.match_substring_regex(text, marks)).as_py() for text in texts)
        options = csv.WriteOptions(
            include_header=False,
            delimiter=self._separator,
            quoting_style="needed" if quotes else "none",
        )
        csv.write_csv(table, self._file, options)


def _quoted(name: str, separator: str) -> str:
    """Return a name as CSV has it: pyarrow puts quotes around each."""
    if not any(mark in name for mark in (separator, '"', "\n", "\r")):
        return name
    return '"' + name.replace('"', '""') + '"'


class _Parquet:
    """A Parquet file whose types are those that fit all blocks.

    A block that does not fit the types of those before it has the file written anew with wider
    ones: whole numbers become floating-point ones, and text where some are no numbers.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer: Any = None
        self._types: dict[str, Any] = {}  # of the columns that have had a value

    def __enter__(self) -> _Parquet:
        return self

    def __exit__(self, *error: object) -> None:
        self._close()

    def write(self, table: Any) -> None:
        """Write a block."""
        for name, column in zip(table.column_names, table.columns, strict=True):
            if column.null_count < len(column):
                known = self._types.get(name)
                self._types[name] = column.type if known is None else _common(known, column.type)
        schema = self._schema_of(table)
        if self._writer is not None and self._writer.schema != schema:
            self._write_anew(schema)
        if self._writer is None:
            self._open(schema)
        self._writer.write_table(_cast(table, schema))

    def _schema_of(self, table: Any) -> Any:
        import pyarrow as pa

        fields = []
        for name, kind in zip(table.column_names, table.schema.types, strict=True):
            empty = pa.string() if pa.types.is_null(kind) else kind
            fields.append((name, self._types.get(name, empty)))
        return pa.schema(fields)

    def _open(self, schema: Any) -> None:
        from pyarrow import parquet

        self._writer = parquet.ParquetWriter(str(self._path), schema)

    def _close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _write_anew(self, schema: Any) -> None:
        """Write what there is with other types, one row group after the other."""
        from pyarrow import parquet

        self._close()
        before = self._path.with_name(f"{self._path.name}.before")
        self._path.replace(before)
        try:
            self._open(schema)
            with parquet.ParquetFile(str(before)) as file:
                for group in range(file.num_row_groups):
                    self._writer.write_table(_cast(file.read_row_group(group), schema))
        finally:
            before.unlink()


def _common(one: Any, other: Any) -> Any:
    """Return the type that holds the values of two."""
    import pyarrow as pa

    if one == other:
        return one
    numbers = [kind for kind in (one, other) if pa.types.is_integer(kind) or _is_floating(kind)]
    return pa.float64() if len(numbers) == 2 else pa.string()


def _is_floating(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_floating(kind))


def _cast(table: Any, schema: Any) -> Any:
    return table.cast(schema, safe=False)


def as_numbers(column: Any, decimal: str) -> Any:
    """Return text as numbers where all of it is numbers that keep their digits, else as it is."""
    import pyarrow.compute as pc

    from deltarule.tables.reading import tidying

    if pc.any(pc.match_substring_regex(column, _CODE)).as_py():
        return column
    numbers = tidying.as_numbers(column, decimal)
    return column if numbers is None else numbers
