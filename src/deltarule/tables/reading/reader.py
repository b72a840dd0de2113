"""Files become tables: the head of a file says how, then one pass reads all of it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from deltarule.base.errors import FileFormatError
from deltarule.tables.reading import columnar, encodings
from deltarule.tables.reading.delimited import NotUtf8Error, needs_rewriting, rewritten
from deltarule.tables.reading.dialect import Reading
from deltarule.tables.reading.finding import Found, find, refuse_other_text
from deltarule.tables.reading.opening import Source, arrow
from deltarule.tables.reading.options import Options
from deltarule.tables.reading.rows import Rows, Stretch

LINE_ENDS = re.compile(rb"\r\n|[\r\n]")

HEAD = 1 << 18
LARGEST_HEAD = 1 << 23
"""Bytes of the head in which the dialect is looked for: more where the lines are long."""


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
        head, whole = peek(source)
        kind = columnar.kind_of(head)
        if kind is not None:
            return columnar.read(source, kind)
        return _read_delimited(source, head, whole, options)


def peek(source: Source) -> tuple[bytes, bool]:
    """Return the head of a file, and whether it is all of it."""
    size = HEAD
    while True:
        head = source.peek(size)
        whole = len(head) < size
        if (
            whole
            or size >= LARGEST_HEAD
            or columnar.kind_of(head)
            or len(LINE_ENDS.findall(head)) >= 6
        ):
            break
        size *= 4
    if not head:
        raise FileFormatError(f"{source.name} is empty: it has no bytes")
    if not whole and not columnar.kind_of(head) and not LINE_ENDS.search(head):
        raise FileFormatError(
            f"{source.name} is no table: its first line has more than {len(head) >> 20} MiB"
        )
    return head, whole


@dataclass(frozen=True)
class Encoding:
    """The encoding of a file, and how errors in it are handled ("strict" or "replace")."""

    name: str
    errors: str = "strict"

    @property
    def is_utf8(self) -> bool:
        """Whether the bytes are those that pyarrow reads, a byte order mark aside."""
        plain = self.name.lower().replace("_", "-")
        return plain in ("utf-8", "utf8", "utf-8-sig", "ascii") and self.errors == "strict"

    @classmethod
    def of(cls, head: bytes, whole: bool, name: str, fallback: str | None = None) -> Encoding:
        """Return the encoding that the head of a file shows."""
        marked = encodings.marked(head)
        if marked == "utf-8-sig" and not encodings.is_utf8(head, whole):
            return cls("utf-8", "replace")
        if marked is not None:
            return cls(marked)
        if encodings.is_utf8(head, whole):
            return cls("utf-8")
        refuse_other_text(head[: 1 << 16].decode("latin-1"), name)
        return cls(fallback) if fallback else cls(*encodings.older(head))

    def note(self) -> list[str]:
        """Return what is said of it."""
        plain = self.name.removesuffix("-sig")
        if self.errors == "replace" and plain == "utf-8":
            return ["some bytes are not UTF-8: the replacement character stands for them"]
        return [] if plain == "utf-8" else [f"the text is not UTF-8: it is read as {plain}"]


def find_in(name: str, head: bytes, whole: bool, encoding: Encoding, options: Options) -> Found:
    """Return what the head of a file says."""
    pieces = encodings.decoded([head], encoding.name, "replace")
    text = b"".join(pieces).decode("utf-8", "replace")
    refuse_other_text(text, name)
    if not whole:
        cut = max(text.rfind("\n"), text.rfind("\r"))
        text = text[: cut + 1] if cut > 0 else text
        text = text.removesuffix("\r")
    return find(text, whole, name, options)


def _read_delimited(source: Source, head: bytes, whole: bool, options: Options) -> Reading:
    name = source.name
    encoding = Encoding(options.encoding) if options.encoding else Encoding.of(head, whole, name)
    content: bytes | None = None
    while True:
        found = find_in(name, head, whole, encoding, options)
        rows = Rows(name, found, options)
        rewrite = needs_rewriting(found.dialect, found.spaced)
        if content is None and source.plain and encoding.is_utf8 and not rewrite:
            stretch = _of_path(source, found, head)
        else:
            content = source.read() if content is None else content
            text, encoding = _as_utf8(content, encoding, options, name)
            text = text[found.offset :]
            stretch = Stretch.of(
                rewritten(text, found.dialect, found.spaced) if rewrite else text, found.line
            )
        if stretch.size <= 0:
            raise FileFormatError(f"{name} has a header but no rows")
        try:
            table = rows.read(stretch, last=True)
            break
        except NotUtf8Error:
            if content is None:
                content = source.read()
            if options.encoding is not None:
                raise undecodable(content, options.encoding, name) from None
            encoding = Encoding(*encodings.older(content))
    if not table.num_rows:
        raise FileFormatError(f"{name} has a header but no rows")
    if all(column.null_count == len(column) for column in table.columns):
        raise FileFormatError(f"{name} has no values: every field is blank")
    dialect = replace(
        found.dialect,
        compression=source.compression,
        encoding=encoding.name.removesuffix("-sig"),
        index="" if rows.indexed else None,
        **columns_by_type(table),
    )
    return Reading(table, dialect, (*encoding.note(), *rows.summary()), rows.dropped)


def columns_by_type(table: Any) -> dict[str, Any]:
    """Return which columns hold text, whole numbers and other numbers, as a dialect has them."""
    types = arrow().types
    kinds = {"text": types.is_string, "integers": types.is_integer, "floats": types.is_floating}
    known = [name for name in table.column_names if table[name].null_count < table.num_rows]
    return {
        kind: tuple(name for name in known if belongs(table.schema.field(name).type))
        for kind, belongs in kinds.items()
    }


def _of_path(source: Source, found: Found, head: bytes) -> Stretch:
    """Return the stretch of a file that is read by pyarrow itself."""
    path = source.path
    assert path is not None
    start = found.offset + (3 if head.startswith(b"\xef\xbb\xbf") else 0)
    cache: list[bytes] = []

    def stream() -> Any:
        file = arrow().OSFile(str(path))
        file.seek(start)
        return file

    def content() -> bytes:
        if not cache:
            with source.reading(), path.open("rb") as file:
                file.seek(start)
                cache.append(file.read())
        return cache[0]

    return Stretch(stream, path.stat().st_size - start, content, found.line)


def _as_utf8(
    content: bytes, encoding: Encoding, options: Options, name: str
) -> tuple[bytes, Encoding]:
    """Return text in UTF-8 without a byte order mark, and the encoding that it really had."""
    if encoding.is_utf8:
        return content.removeprefix(b"\xef\xbb\xbf"), encoding
    try:
        return b"".join(encodings.decoded([content], encoding.name, encoding.errors)), encoding
    except UnicodeError:
        if options.encoding is not None or encoding.name.startswith("utf"):
            raise undecodable(content, encoding.name, name) from None
    encoding = Encoding("latin-1")
    return b"".join(encodings.decoded([content], encoding.name)), encoding


def undecodable(content: bytes, encoding: str, name: str) -> FileFormatError:
    """Return the error for bytes that are no text in an encoding."""
    try:
        content.decode(encoding)
        where = ""
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        where = f" (byte 0x{content[error.start]:02x} in line {line:,})"
    except UnicodeError as error:
        where = f" ({error})"
    return FileFormatError(f"{name} is not {encoding}{where}; name its encoding, or none")
