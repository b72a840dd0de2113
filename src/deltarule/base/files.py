"""Files that are either written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

from deltarule.base.errors import WriteError


def check_writable(path: str | Path) -> Path:
    """Raise WriteError if no file could be written at this path; write nothing."""
    path = Path(path)
    if path.is_dir():
        raise WriteError(f"cannot write {path}: it is a folder; add a file name")
    try:
        _create_part(path).unlink()
    except OSError as error:
        raise _write_error(path, error) from None
    return path


def write_atomically(path: str | Path, content: bytes) -> Path:
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
        part = _create_part(path)
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.chmod(_usual_mode(path))
        part.replace(path)
        _sync_folder(path.absolute().parent)
    except OSError as error:
        raise _write_error(path, error) from error
    finally:
        if part is not None:
            part.unlink(missing_ok=True)
    return path


def _create_part(path: Path) -> Path:
    import tempfile

    folder = path.absolute().parent
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=folder)
    os.close(handle)
    return Path(name)


def _write_error(path: Path, error: OSError) -> WriteError:
    reason = error.strerror or str(error)
    if isinstance(error, FileNotFoundError) and not path.absolute().parent.is_dir():
        reason = f"there is no folder {path.absolute().parent}"
    return WriteError(error.errno, f"cannot write {path}: {reason}")


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
