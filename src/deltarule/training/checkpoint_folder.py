"""The files of checkpoints: their names, which are kept, which one a run goes on from."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from deltarule.base.errors import InvalidValueError, MissingFileError, WriteError
from deltarule.base.files import PART, check_path, check_writable, shown, write_atomically

_NAME = re.compile(r"epoch-(\d{6,15})(?:-batch-(\d{6,15}))?\.safetensors")


class Place(NamedTuple):
    """Where in a run a checkpoint was made: finished epochs, and steps of the next one."""

    epoch: int
    batch: int

    @property
    def name(self) -> str:
        """The name of its file."""
        batch = f"-batch-{self.batch:06d}" if self.batch else ""
        return f"epoch-{self.epoch:06d}{batch}.safetensors"


class Folder:
    """The folder of one run's checkpoints, while it runs.

    Parameters
    ----------
    path : Path
        It is made where it does not exist.
    keep : int
        So many of the latest files are kept, and the best.
    resumed : bool
        Whether the run goes on with the files that there are; else there must be none.

    Attributes
    ----------
    files : list of Path
        The checkpoints, the latest last.
    best : Path or None
    """

    def __init__(self, path: Path, keep: int, *, resumed: bool) -> None:
        self.path, self._keep = path, keep
        self.files: list[Path] = []
        self.best: Path | None = None
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            reason = error.strerror or error
            raise WriteError(
                error.errno, f"cannot make the folder {shown(path)}: {reason}"
            ) from None
        there = checkpoints_in(path)
        if there and not resumed:
            raise InvalidValueError(
                f"{shown(path)} has checkpoints of another run ({there[-1].name}): go on with it "
                "by dr.resume(folder, X, y), or choose another folder"
            )
        check_writable(path / Place(0, 0).name)
        for part in path.glob(f".epoch-*{PART}"):
            part.unlink(missing_ok=True)  # of a process that was killed

    def write(self, place: Place, content: Callable[[], bytes], *, best: bool) -> None:
        """Write a checkpoint; delete those that are no longer kept.

        ``content`` is called when :attr:`best` is what it will be.
        """
        path, former = self.path / place.name, self.best
        if best:
            self.best = path
        try:
            write_atomically(path, content())
        except BaseException:
            self.best = former
            raise
        self.files = [*(file for file in self.files if file != path), path]
        kept = {*self.files[-self._keep :], self.best}
        for old in self.files:
            if old not in kept:
                with suppress(OSError):
                    old.unlink()
        self.files = [file for file in self.files if file in kept]


def checkpoints_in(folder: Path) -> list[Path]:
    """Return the checkpoints of a folder, the latest last."""
    return sorted((p for p in folder.iterdir() if _NAME.fullmatch(p.name)), key=_place_of)


def _place_of(path: Path) -> Place:
    found = _NAME.fullmatch(path.name)
    assert found
    return Place(int(found[1]), int(found[2] or 0))


def checkpoint_at(path: Any) -> Path:
    """Return the file of a checkpoint: the latest of a folder, or the one that is given.

    Raises
    ------
    FileNotFoundError
        There is none.
    ValueError
        Later ones lie beside the one that is given.
    """
    path = check_path(path, or_file=False)
    if path.is_dir():
        there = checkpoints_in(path)
        if not there:
            raise MissingFileError(
                f"path: the folder {shown(path)} has no checkpoints (epoch-....safetensors)"
            )
        return there[-1]
    if not path.exists():
        raise MissingFileError(f"no such file or folder: {shown(path)}")
    if _NAME.fullmatch(path.name):
        later = [p for p in checkpoints_in(path.parent) if _place_of(p) > _place_of(path)]
        if later:
            raise InvalidValueError(
                f"{shown(path)} is not the latest checkpoint of its folder, that is "
                f"{later[-1].name}; delete the later ones, or copy it into a folder of its own"
            )
    return path
