"""Files that are either written whole or not at all."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

from deltarule.base.errors import (
    FileFormatError,
    InvalidTypeError,
    InvalidValueError,
    WriteError,
    describe_value,
)

PART = ".part"
"""How the temporary name of a file ends that is being written."""


def check_path(value: Any, what: str = "path", *, or_file: bool = True) -> Path:
    """Return a path, or raise a clear error; ``or_file``: whether an open file would do."""
    try:
        name = os.fspath(value)
    except Exception:
        name = None
    if not isinstance(name, str):
        raise InvalidTypeError(
            f"{what} must be a path (str or Path){' or a binary file' if or_file else ''}, got "
            f"{describe_value(value)}"
        )
    try:
        valid = b"\0" not in os.fsencode(name) and bool(name)
    except UnicodeEncodeError:
        valid = False
    if not valid or len(name) > 4096:
        raise InvalidValueError(f"{what} is not one that a file can have: {describe_value(value)}")
    return Path(name)


def shown(path: object) -> str:
    """Return a path as a message names it."""
    return str(path) if str(path).isprintable() else repr(str(path))


def named(path: object) -> str:
    """Return what a message calls the place of a file: its path, or "the file" of an open one."""
    return shown(path) if isinstance(path, (str, os.PathLike)) else "the file"


def is_file_object(value: Any, method: str) -> bool:
    """Return whether a value is an open file with a method; raise if it is one of text."""
    if isinstance(value, (str, os.PathLike)) or not callable(getattr(value, method, None)):
        return False
    if isinstance(value, io.TextIOBase):
        mode = "wb" if method == "write" else "rb"
        raise InvalidTypeError(
            f"the file is open for text; open it in binary mode: open(path, {mode!r})"
        )
    return True


def write_to(file: Any, content: bytes) -> None:
    """Write into an open binary file, from where it stands."""
    left = memoryview(content)
    try:
        while left:
            done = file.write(left)
            left = left[done if isinstance(done, int) and done > 0 else len(left) :]
    except TypeError as error:
        raise InvalidTypeError(f"the file takes no bytes, open(path, 'wb'): {error}") from None
    except (OSError, ValueError, AttributeError) as error:
        raise WriteError(f"cannot write into {describe_value(file)}: {error}") from None


def read_from(file: Any) -> bytes:
    """Return what an open binary file has, from where it stands."""
    try:
        content = file.read()
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise FileFormatError(f"cannot read from {describe_value(file)}: {error}") from None
    if not isinstance(content, (bytes, bytearray, memoryview)):
        raise InvalidTypeError(
            f"the file must give bytes, open(path, 'rb'); got {describe_value(content)}"
        )
    return bytes(content)


def check_writable(path: Any) -> Path:
    """Raise WriteError if no file could be written at this path; write nothing."""
    path = check_path(path)
    try:
        folder = path.is_dir()
    except OSError as error:
        raise _write_error(path, error) from None
    if folder:
        raise WriteError(f"cannot write {shown(path)}: it is a folder; add a file name")
    try:
        handle, part = _open_part(path)
        os.close(handle)
        part.unlink()
    except OSError as error:
        raise _write_error(path, error) from None
    return path


def write_atomically(path: Any, content: bytes) -> Path:
    """Write a file under a temporary name, flush it to disk, then rename it.

    After a crash at any moment there is either the complete old file or the complete new one.

    Raises
    ------
    WriteError
        An OSError with the system's errno; the old file is unchanged.
    """
    path = Path(os.path.realpath(check_writable(path)))  # of a link, the file it points to
    part: Path | None = None
    try:
        handle, part = _open_part(path)
        try:
            left = memoryview(content)
            while left:
                left = left[os.write(handle, left) :]
            os.fsync(handle)
        finally:
            os.close(handle)
        part.chmod(_usual_mode(path))
        part.replace(path)
        _sync_folder(path.absolute().parent)
    except OSError as error:
        raise _write_error(path, error) from error
    finally:
        if part is not None:
            part.unlink(missing_ok=True)
    return path


def _open_part(path: Path) -> tuple[int, Path]:
    import tempfile

    folder = path.absolute().parent
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=PART, dir=folder)
    return handle, Path(name)


def _write_error(path: Path, error: OSError) -> WriteError:
    reason = error.strerror or str(error)
    if isinstance(error, FileNotFoundError) and not path.absolute().parent.is_dir():
        reason = f"there is no folder {path.absolute().parent}"
    return WriteError(error.errno, f"cannot write {shown(path)}: {reason}")


def _usual_mode(path: Path) -> int:
    """Return the mode of the file, or that of a new one; temporary files are private."""
    if path.exists():
        return path.stat().st_mode & 0o777
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask


def _sync_folder(folder: Path) -> None:
    """Make the rename itself durable, where the system can."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
