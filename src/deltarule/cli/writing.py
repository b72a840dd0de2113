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


@contextmanager
def writer(path: Path | None) -> Iterator[Callable[[Any], None]]:
    """Give a function that writes Arrow tables; without a path, as CSV to standard output.

    A file is written under a temporary name and renamed at the end. After an error there is what
    was there before.
    """
    if path is None:
        with _text(sys.stdout.buffer, ",") as write:
            yield write
        sys.stdout.flush()
        return
    suffix = path.suffix.lower()
    if suffix not in _PARQUET | _TEXT:
        raise InvalidValueError(f"--out is FILE.csv or FILE.parquet, got {str(path)!r}")
    check_writable(path)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            if suffix in _PARQUET:
                with _parquet(file) as write:
                    yield write
            else:
                with _text(file, "\t" if suffix in (".tsv", ".tab") else ",") as write:
                    yield write
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def _text(file: Any, separator: str) -> Iterator[Callable[[Any], None]]:
    from pyarrow import csv

    options = csv.WriteOptions(include_header=False, delimiter=separator, quoting_style="needed")

    def make(schema: Any) -> Any:
        names = [_quoted(name, separator) for name in schema.names]
        file.write((separator.join(names) + "\n").encode())
        return csv.CSVWriter(file, schema, write_options=options)

    with _Growing(make) as growing:
        yield growing.write


def _quoted(name: str, separator: str) -> str:
    """Return a name as CSV has it: pyarrow puts quotes around each."""
    if not any(mark in name for mark in (separator, '"', "\n", "\r")):
        return name
    return '"' + name.replace('"', '""') + '"'


@contextmanager
def _parquet(file: Any) -> Iterator[Callable[[Any], None]]:
    from pyarrow import parquet

    with _Growing(lambda schema: parquet.ParquetWriter(file, schema)) as growing:
        yield growing.write


class _Growing:
    """A writer that is made with the first block, whose types the others are given."""

    def __init__(self, make: Callable[[Any], Any]) -> None:
        self._make = make
        self._writer: Any = None
        self._schema: Any = None

    def __enter__(self) -> _Growing:
        return self

    def __exit__(self, *error: object) -> None:
        if self._writer is not None:
            self._writer.close()

    def write(self, table: Any) -> None:
        """Write a block."""
        if self._writer is None:
            self._schema = table.schema
            self._writer = self._make(table.schema)
        self._writer.write_table(table.cast(self._schema))
