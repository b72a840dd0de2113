"""A file, compressed or not, as a stream of bytes; what is no table is told by its first bytes."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import lzma
import os
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from deltarule.base.errors import (
    FileFormatError,
    InvalidTypeError,
    MissingFileError,
    describe_value,
    missing_extra,
)
from deltarule.base.files import check_path, is_file_object, shown

COMPRESSIONS = (
    (b"\x1f\x8b", "gzip"),
    (b"BZh", "bz2"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"\x04\x22\x4d\x18", "lz4"),
    (b"PK\x03\x04", "zip"),
)

FOREIGN = (
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an Excel workbook (xls); save it as CSV"),
    (b"PK\x05\x06", "an empty zip archive"),
    (b"%PDF", "a PDF document"),
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"GIF8", "a GIF picture"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive; unpack it"),
    (b"Rar!", "a rar archive; unpack it"),
    (b"\x89HDF", "an HDF5 file; export the table as CSV or Parquet"),
    (b"SQLite format 3", "an SQLite database; export the table as CSV"),
    (b"\x7fELF", "a program"),
    (b"MZ\x90", "a program"),
    (b"<stata_dta>", "a Stata file; export the table as CSV"),
    (b"$FL2", "an SPSS file; export the table as CSV"),
    (b"RDX", "an R data file; write the table with write.csv()"),
    (b"RDA", "an R data file; write the table with write.csv()"),
    (b"X\n\x00\x00\x00", "an R object; write the table with write.csv()"),
    (b"\x93NUMPY", "a NumPy array; load it with numpy.load and pass the array"),
    (b"\x80\x04\x95", "a pickle; load it and pass the frame"),
    (b"\x80\x05\x95", "a pickle; load it and pass the frame"),
    (b"ORC", "an ORC file; export the table as CSV or Parquet"),
    (b"Obj\x01", "an Avro file; export the table as CSV or Parquet"),
    (b"version https://git-lfs", "a pointer of Git LFS, not the file itself; run git lfs pull"),
)

OFFICE = (
    ("xl/", "an Excel workbook; save it as CSV"),
    ("word/", "a Word document"),
    ("ppt/", "a presentation"),
    ("content.xml", "an OpenDocument file; save it as CSV"),
)

BROKEN = (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError, zipfile.BadZipFile,
          RuntimeError, NotImplementedError)  # fmt: skip
"""What reading a compressed stream raises when it is cut or altered (pyarrow's is a ValueError)."""


def arrow() -> Any:
    """Return pyarrow."""
    try:
        import pyarrow
    except ImportError:
        raise missing_extra("reading a table from a file", "tables") from None
    return pyarrow


class Peeked(io.RawIOBase):
    """A stream whose first bytes can be looked at before they are read."""

    def __init__(self, raw: Any) -> None:
        self._raw = raw
        self._ahead = b""

    def readable(self) -> bool:  # noqa: D102
        return True

    def peek(self, size: int) -> bytes:
        """Return the next ``size`` bytes, or as many as there are, without taking them."""
        if len(self._ahead) < size:
            pieces = [self._ahead]
            left = size - len(self._ahead)
            while left > 0 and (piece := self._raw.read(min(left, 1 << 20))):
                pieces.append(bytes(piece))
                left -= len(piece)
            self._ahead = b"".join(pieces)
        return self._ahead[:size]

    def read(self, size: int | None = -1) -> bytes:
        """Return at most ``size`` bytes, all that are left for -1; b"" at the end."""
        if size is None or size < 0:
            pieces = [self._ahead]
            self._ahead = b""
            while piece := self._raw.read(1 << 22):
                pieces.append(bytes(piece))
            return b"".join(pieces)
        head, self._ahead = self._ahead[:size], self._ahead[size:]
        return head or bytes(self._raw.read(size) or b"")


class Source:
    """An open file: its name for messages, its compression, and its bytes, decompressed.

    Parameters
    ----------
    place : path or binary file object
        A file object is read from where it stands; it need not be seekable.
    """

    def __init__(self, place: Any) -> None:
        self._own = contextlib.ExitStack()
        self.path: Path | None = None
        if is_file_object(place, "read"):
            name = getattr(place, "name", None)
            self.name = shown(name) if isinstance(name, str) else "the input"
            raw = place
        elif isinstance(place, (str, os.PathLike)):
            self.path = check_path(place)
            self.name = shown(self.path)
            raw = self._own.enter_context(_open(self.path, self.name))
        else:
            raise InvalidTypeError(
                f"a table is read from a path or a binary file, got {describe_value(place)}"
            )
        self._stream = Peeked(raw)
        self.compression: str | None = None
        try:
            with self.reading():
                self._unpack()
        except BaseException:
            self._own.close()
            raise

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *_: object) -> None:
        self._own.close()

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """Turn what reading raises into one clear error."""
        try:
            yield
        except (FileFormatError, InvalidTypeError):
            raise
        except TypeError:
            raise InvalidTypeError(f"{self.name} gives no bytes; open it with 'rb'") from None
        except BROKEN as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            if self.compression is None:
                raise FileFormatError(f"cannot read {self.name}: {reason}") from None
            raise FileFormatError(
                f"{self.name} is cut or damaged: it cannot be decompressed "
                f"({self.compression}: {reason}); get a whole copy of it"
            ) from None

    def beside(self, file: Any) -> Any:
        """Return a file that is closed together with this one."""
        return self._own.enter_context(file)

    def peek(self, size: int) -> bytes:
        """Return the first ``size`` bytes, decompressed, or all where there are fewer."""
        with self.reading():
            return self._stream.peek(size)

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes, decompressed: exactly ``size`` unless the end comes first."""
        with self.reading():
            if size < 0:
                return self._stream.read()
            pieces, left = [], size
            while left > 0 and (piece := self._stream.read(left)):
                pieces.append(piece)
                left -= len(piece)
            return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    @property
    def plain(self) -> bool:
        """Whether the file's own bytes are the table's, so that it may be opened again."""
        return self.path is not None and self.compression is None and self.path.is_file()

    def _unpack(self) -> None:
        """Look through one layer of compression."""
        head = self._stream.peek(264)
        for magic, what in FOREIGN:
            if head.startswith(magic):
                raise FileFormatError(f"{self.name} is no table of text but {what}")
        self._refuse_tar(head)
        self.compression = next((n for magic, n in COMPRESSIONS if head.startswith(magic)), None)
        if self.compression is None:
            return
        self._stream = Peeked(self._own.enter_context(self._decompressed(self.compression)))
        inner = self._stream.peek(264)
        self._refuse_tar(inner)
        for magic, what in FOREIGN:
            if inner.startswith(magic):
                raise FileFormatError(f"{self.name} holds no table of text but {what}")

    def _refuse_tar(self, head: bytes) -> None:
        if head[257:262] == b"ustar":
            raise FileFormatError(f"{self.name} is a tar archive; unpack it and give one file")

    def _decompressed(self, compression: str) -> Any:
        if compression == "gzip":
            return gzip.GzipFile(fileobj=self._stream, mode="rb")
        if compression == "bz2":
            return bz2.BZ2File(self._stream, "rb")
        if compression == "xz":
            return lzma.LZMAFile(self._stream, "rb")  # type: ignore[arg-type]
        if compression == "zip":
            return self._member()
        return arrow().CompressedInputStream(arrow().PythonFile(self._stream, "r"), compression)

    def _member(self) -> Any:
        """Open the one file of a zip archive."""
        seekable: Any
        if self.path is not None:
            seekable = self._own.enter_context(self.path.open("rb"))
        else:
            seekable = io.BytesIO(self._stream.read())
        archive = self._own.enter_context(zipfile.ZipFile(seekable))
        names = [info.filename for info in archive.infolist() if not info.is_dir()]
        for start, what in OFFICE:
            if any(name.startswith(start) for name in names):
                raise FileFormatError(f"{self.name} is no table of text but {what}")
        names = [
            name
            for name in names
            if not name.startswith("__MACOSX/") and not name.rpartition("/")[2].startswith(".")
        ]
        if len(names) != 1:
            some = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
            raise FileFormatError(
                f"{self.name} is a zip archive of {len(names)} files"
                f"{f' ({some})' if names else ''}; unpack it and give one of them"
            )
        return archive.open(names[0])


def _open(path: Path, name: str) -> Any:
    try:
        if path.is_dir():
            raise FileFormatError(f"{name} is a folder; give a file in it")
        return path.open("rb")
    except FileNotFoundError:
        raise MissingFileError(f"there is no file {name}{_near(path)}") from None
    except PermissionError:
        raise FileFormatError(f"cannot read {name}: permission denied") from None
    except FileFormatError:
        raise
    except OSError as error:
        raise FileFormatError(f"cannot read {name}: {error.strerror or error}") from None


def _near(path: Path) -> str:
    """Return a hint at what the folder has instead."""
    from difflib import get_close_matches

    folder = path.parent
    try:
        names = sorted(entry.name for entry in folder.iterdir())[:10_000]
    except OSError:
        return f"; there is no folder {shown(folder)} either" if not folder.exists() else ""
    near = get_close_matches(path.name.lower(), [name.lower() for name in names], n=3, cutoff=0.6)
    stem = path.stem.lower()
    found = [n for n in names if n.lower() in near or n.lower().startswith(f"{stem}.")][:3]
    return f"; did you mean {' or '.join(shown(name) for name in found)}?" if found else ""
