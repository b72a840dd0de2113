"""The folder of a training that `deltarule resume` can go on with.

``training.json`` has the arguments of the command, the folder in which it was given, a fingerprint
of the file, and those of the model and the report once they are about to be written. Beside it,
each network has a folder of checkpoints, in ``part-1/network-1`` and so on.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import deltarule
from deltarule.base.errors import FileFormatError, InvalidValueError, MissingFileError, WriteError
from deltarule.base.files import PART, check_writable, shown, write_atomically
from deltarule.base.log import warn
from deltarule.cli.asked import Asked
from deltarule.cli.output import INTERRUPTED, TERMINATED, fail
from deltarule.network.model_file import describing

NAME = "training.json"
_SCHEMA = 1


class Kept:
    """A training and its folder.

    Attributes
    ----------
    folder : Path
    written : dict of str to str
        Digests of "model" and "report", once they are about to be written.
    """

    def __init__(self, folder: Path, about: dict[str, Any]) -> None:
        self.folder, self._about = folder, about

    @property
    def written(self) -> dict[str, str]:
        """Digests of "model" and "report", once they are about to be written."""
        found: dict[str, str] = self._about["written"]
        return found

    @classmethod
    def new(cls, folder: Path, asked: Asked) -> Kept:
        """Return a training that has not begun; raise where the folder cannot be one for it."""
        if asked.file == "-":
            raise InvalidValueError(
                "standard input cannot be read again; --checkpoint needs the path of a file"
            )
        if folder.exists() and not folder.is_dir():
            raise InvalidValueError(f"{shown(folder)} is a file; --checkpoint takes a folder")
        about = {
            "format": "deltarule training",
            "schema": _SCHEMA,
            "version": deltarule.__version__,
            "directory": str(Path.cwd()),
            "file": digest_of_file(Path(asked.file)),
            "arguments": asdict(asked),
            "written": {},
        }
        if (folder / NAME).exists():
            raise InvalidValueError(_belongs(folder, about, asked))
        if folder.exists() and any(not path.name.endswith(PART) for path in folder.iterdir()):
            raise InvalidValueError(
                f"{shown(folder)} is not empty; --checkpoint takes a new folder"
            )
        parent = next(p for p in (folder, *folder.absolute().parents) if p.is_dir())
        check_writable(parent / NAME)
        return cls(folder, about)

    @classmethod
    def of(cls, folder: Path) -> tuple[Kept, Asked]:
        """Return the training of a folder, and what was asked for; raise where there is none."""
        about = _read(folder)
        arguments = about["arguments"]
        with describing(folder / NAME, "a training"):
            asked = Asked(**arguments | {name: tuple(arguments[name]) for name in ("kind", "drop")})
        if about["version"] != deltarule.__version__:
            warn(
                f"the training was begun by deltarule {about['version']}, this is "
                f"{deltarule.__version__}: it goes on, and its last bits may differ"
            )
        path = Path(about["directory"]) / asked.file
        if digest_of_file(path) != about["file"]:
            raise InvalidValueError(
                f"{shown(path)} is not as it was when the training in {shown(folder)} began; "
                "train anew with another folder"
            )
        return cls(folder, about), asked

    @property
    def directory(self) -> Path:
        """The folder to which the paths that were given belong."""
        return Path(self._about["directory"])

    def begin(self) -> None:
        """Write what is known, where nothing is written yet."""
        if not (self.folder / NAME).exists():
            self._write()

    def will_write(self, contents: dict[str, bytes]) -> None:
        """Note that a "model" and a "report" of these contents are about to be written."""
        self._about["written"] = {what: _digest(content) for what, content in contents.items()}
        self._write()

    def _write(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            reason = error.strerror or error
            raise WriteError(
                error.errno, f"cannot make the folder {shown(self.folder)}: {reason}"
            ) from None
        write_atomically(self.folder / NAME, json.dumps(self._about, indent=1).encode())


def _read(folder: Path) -> dict[str, Any]:
    """Return what a folder says of its training, in the form that it must have."""
    path = folder / NAME
    try:
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise MissingFileError(
            f"{shown(folder)} has no training to go on with ({NAME}); `deltarule train FILE "
            "--checkpoint FOLDER` begins one"
        ) from None
    with describing(path, "a training"):
        about = json.loads(content)
        if not isinstance(about, dict) or about.get("format") != "deltarule training":
            raise FileFormatError(f"{shown(path)} does not describe a training of deltarule")
        if about["schema"] != _SCHEMA:
            raise FileFormatError(
                f"{shown(path)} has schema {about['schema']!r}, this version knows {_SCHEMA}; "
                "update deltarule"
            )
        _check(about)
    return about


def _check(about: dict[str, Any]) -> None:
    """Raise ValueError where a description has not its form."""
    arguments, written = about["arguments"], about["written"]
    texts = [about[name] for name in ("version", "directory", "file")]
    texts += [*arguments["kind"], *arguments["drop"], *written.values()]
    known = {field.name: field for field in fields(Asked)}
    if arguments.keys() != known.keys() or not all(isinstance(text, str) for text in texts):
        raise InvalidValueError("its arguments are not those of deltarule train")
    for name, field in known.items():
        value = arguments[name]
        kinds = str(field.type).replace("tuple[str, ...]", "list").split(" | ")
        kind = "None" if value is None else type(value).__name__
        if kind not in kinds and not (kind == "int" and "float" in kinds):
            raise InvalidValueError(f"{name} cannot be {value!r}")
        if name in ("seed", "skip") and value is not None and value < 0:
            raise InvalidValueError(f"{name} must be at least 0, got {value}")


def _belongs(folder: Path, about: dict[str, Any], asked: Asked) -> str:
    """Say what training a folder has, to somebody who asked for one."""
    there = _read(folder)
    if there["file"] != about["file"]:
        return (
            f"{shown(folder)} has the training of another file, "
            f"{there['arguments']['file']}; --checkpoint takes a new folder"
        )
    for name, value in json.loads(json.dumps(about["arguments"])).items():
        if there["arguments"][name] != value and name not in ("file", "force"):
            option = "--" + name.replace("_", "-")
            return (
                f"{shown(folder)} has a training with other arguments ({option} was "
                f"{there['arguments'][name]!r}, here it is {value!r}); --checkpoint takes a new "
                "folder"
            )
    return f"{shown(folder)} has this training already; `deltarule resume {folder}` goes on with it"


@contextmanager
def going_on(folder: Path | None) -> Iterator[None]:
    """Say after Ctrl-C and SIGTERM how the training goes on, where it has begun."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit) as error:
        if folder is None or not (folder / NAME).exists():
            raise
        if isinstance(error, KeyboardInterrupt):
            words, code = "interrupted", INTERRUPTED
        elif error.code == TERMINATED:
            words, code = "terminated", TERMINATED
        else:
            raise
        raise fail(f"{words}; `deltarule resume {folder}` goes on with it", code=code) from None


def digest_of_file(path: Path) -> str:
    """Return the digest of a file's content."""
    from hashlib import blake2b, file_digest

    if not path.is_file():
        raise MissingFileError(f"no such file: {shown(path)}")
    with path.open("rb") as file:
        return file_digest(file, lambda: blake2b(digest_size=32)).hexdigest()


def _digest(content: bytes) -> str:
    from hashlib import blake2b

    return blake2b(content, digest_size=32).hexdigest()
