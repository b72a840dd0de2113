"""Parquet, Arrow and JSON lines: files that say themselves what their columns are."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from typing import Any

from deltarule.base.errors import FileFormatError
from deltarule.tables.reading.dialect import Dialect, Reading
from deltarule.tables.reading.opening import Source, arrow

MAGIC = (
    (b"PAR1", "parquet"),
    (b"ARROW1", "arrow"),
    (b"FEA1", "feather"),
    (b"\xff\xff\xff\xff", "stream"),
)
TITLES = {
    "parquet": "a Parquet file",
    "arrow": "an Arrow file",
    "feather": "a Feather file",
    "stream": "a stream of Arrow",
    "json": "a file of JSON lines",
}
JSON_LINE = re.compile(rb"(?:\xef\xbb\xbf)?\s*\{\s*\"[^\r\n]*\}[ \t]*(?:\r?\n|\Z)")


def kind_of(head: bytes) -> str | None:
    """Return which of these formats the first bytes are, or None."""
    kind = next((kind for magic, kind in MAGIC if head.startswith(magic)), None)
    return "json" if kind is None and JSON_LINE.match(head) else kind


def read(source: Source, kind: str) -> Reading:
    """Read a whole file."""
    pa = arrow()
    pieces = list(tables(source, kind, None))
    notes: list[str] = []
    table = pa.concat_tables(pieces, promote_options="permissive")
    table = plain(table, notes)
    if not table.num_rows or not table.num_columns:
        raise FileFormatError(f"{source.name} has no {'rows' if table.num_columns else 'columns'}")
    return Reading(table, dialect_of(source, kind), tuple(notes))


def dialect_of(source: Source, kind: str) -> Dialect:
    """Return what is said of such a file."""
    name = "arrow" if kind in ("feather", "stream") else kind
    return Dialect(name, source.compression, separator=None, quote=None, header=None)


def tables(source: Source, kind: str, rows: int | None) -> Iterator[Any]:
    """Yield the table in pieces of at most some rows; in one piece, or as stored, for None."""
    pa = arrow()
    try:
        for table in _tables(source, kind, rows):
            table.validate(full=True)
            _ = table.column_names  # raises where they are no text
            yield table
    except FileFormatError:
        raise
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        reason = " ".join(str(error).split())[:160]
        raise FileFormatError(
            f"{source.name} is {TITLES[kind]} that is cut or damaged ({reason}); "
            "get a whole copy of it"
        ) from None


def _tables(source: Source, kind: str, rows: int | None) -> Iterator[Any]:
    pa = arrow()
    if kind == "parquet":
        from pyarrow import parquet

        file = parquet.ParquetFile(_seekable(source))
        if rows is None:
            yield file.read()
            return
        for batch in file.iter_batches(batch_size=rows):
            yield pa.Table.from_batches([batch])
    elif kind == "json":
        from pyarrow import json

        yield json.read_json(pa.BufferReader(source.read()))
    elif kind == "feather":
        from pyarrow import feather

        yield feather.read_table(_seekable(source), memory_map=False)
    else:
        file = _seekable(source)
        reader = pa.ipc.open_file(file) if kind == "arrow" else pa.ipc.open_stream(file)
        batches = (
            (reader.get_batch(i) for i in range(reader.num_record_batches))
            if kind == "arrow"
            else reader
        )
        yield reader.schema.empty_table()
        for batch in batches:
            yield pa.Table.from_batches([batch])


def _seekable(source: Source) -> Any:
    """Return a file in which pyarrow can go back and forth."""
    if source.plain:
        return arrow().OSFile(str(source.path))
    file = source.beside(tempfile.TemporaryFile())  # noqa: SIM115  closed with the source
    while piece := source.read(1 << 22):
        file.write(piece)
    file.seek(0)
    return file


def plain(table: Any, notes: list[str]) -> Any:
    """Return a table of numbers, truth values, times and text, with distinct names."""
    pa = arrow()
    while any(pa.types.is_struct(field.type) for field in table.schema):
        table = table.flatten()
    names: list[str] = []
    columns = []
    for position, field in enumerate(table.schema):
        name, column = field.name.strip() or str(position), table.column(position)
        if re.fullmatch(r"__index_level_\d+__", field.name):
            notes.append("a column that only numbers or names the rows of a frame is left out")
            continue
        simple = _simple(column)
        if simple is None:
            notes.append(f"column {name!r} holds {field.type}: left out")
            continue
        count = 2
        new = name
        while new in names:
            new, count = f"{name}.{count}", count + 1
        if new != name:
            notes.append(f"the name {name!r} occurs again in column {position + 1}: it is {new!r}")
        names.append(new)
        columns.append(simple)
    return pa.Table.from_arrays(columns, names=names)


def _simple(column: Any) -> Any | None:
    """Return a column as numbers, truth values, times or text, or None if it is nested."""
    pa = arrow()
    types, kind = pa.types, column.type
    if isinstance(kind, pa.BaseExtensionType):
        column = pa.chunked_array([chunk.storage for chunk in column.chunks], kind.storage_type)
        kind = column.type
    if types.is_dictionary(kind):
        return _simple(column.cast(kind.value_type))
    if types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind):
        return column
    if types.is_temporal(kind):
        return column
    if types.is_decimal(kind):
        return column.cast(pa.float64())
    if types.is_null(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        return column.cast(pa.string())
    if types.is_string(kind):
        return column
    return None
