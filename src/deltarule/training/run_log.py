"""The history of a run as a file that grows while it runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from deltarule.base.errors import InvalidValueError, WriteError
from deltarule.base.guards import Guarded
from deltarule.base.words import helpful
from deltarule.training.callbacks import Callback
from deltarule.training.state import State

if TYPE_CHECKING:
    import os
    from pathlib import Path


def _check_log_path(what: str, value: Any) -> None:
    from deltarule.base.files import check_path

    if check_path(value, what, or_file=False).suffix not in (".csv", ".jsonl"):
        raise InvalidValueError(f"{what} must end with .csv or .jsonl, got {str(value)[:200]!r}")


@helpful
@dataclass
class Log(Guarded, Callback):
    """Write a line for each epoch into a file: epoch, seconds and the columns of the history.

    Each line is there when the epoch ends, so that a run can be watched, and nothing of it is lost
    when the process is killed. Gradient norms are left out. A resumed run
    (:func:`deltarule.resume`) goes on with its file: lines of epochs after the checkpoint are
    written anew.

    Parameters
    ----------
    path : str or Path
        ``.csv``: a header and comma-separated numbers. ``.jsonl``: a JSON object in each line, with
        null where a number is not finite. An existing file is refused.

    Raises
    ------
    OSError
        The file cannot be written, or exists already.

    Examples
    --------
    >>> import tempfile, pathlib, numpy as np, deltarule as dr
    >>> net = dr.Network([dr.Dense(1)], inputs=1, seed=0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "run.csv")
    ...     _ = dr.train(net, np.ones((4, 1)), np.ones(4), loss="squared_error", epochs=2,
    ...                  callbacks=[dr.Log(path)])
    ...     lines = path.read_text().splitlines()
    >>> lines[0], len(lines)
    ('epoch,seconds,loss,learning_rate', 3)
    """

    path: str | os.PathLike[str]
    _checks: ClassVar[Mapping[str, Callable[[str, Any], object]]] = {"path": _check_log_path}

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self._checks:
            self._checks[name](name, value)
        super().__setattr__(name, value)

    def on_start(self, state: State) -> None:
        """Begin the file, or take what an earlier part of the run has written."""
        from pathlib import Path

        from deltarule.base.files import shown, write_atomically

        self._file = Path(self.path)
        names = ["epoch", "seconds"]
        names += [name for name in state.columns if not name.startswith("gradient_norm.")]
        self._names = names
        header = ",".join(names) + "\n" if self._is_csv else ""
        if not state.resumed and self._file.exists():
            raise WriteError(
                17, f"cannot write {shown(self._file)}: it exists already; choose another name"
            )
        kept = ""
        if state.resumed and self._file.exists():
            kept = _before(self._file, state.epoch + 1, is_csv=self._is_csv)
        write_atomically(self._file, (header + kept).encode())

    @property
    def _is_csv(self) -> bool:
        return self._file.suffix == ".csv"

    def on_epoch(self, state: State) -> None:
        """Add the line of an epoch."""
        from deltarule.base.files import shown

        history = state.history
        values: list[Any] = [state.epoch, history.seconds]
        values += [history.latest(name) for name in self._names[2:]]
        try:
            with self._file.open("a", encoding="utf-8", newline="") as file:
                file.write(self._line(values))
        except OSError as error:
            raise WriteError(
                error.errno, f"cannot write {shown(self._file)}: {error.strerror or error}"
            ) from None

    def _line(self, values: list[Any]) -> str:
        if self._is_csv:
            return ",".join(map(repr, values)) + "\n"
        import json

        finite = [value if abs(value) < float("inf") else None for value in values]
        return json.dumps(dict(zip(self._names, finite, strict=True))) + "\n"


def _before(path: Path, epoch: int, *, is_csv: bool) -> str:
    """Return the lines of earlier epochs; one that was cut by a kill is none of them."""
    import json

    kept = []
    for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
        try:
            number = int(line.split(",")[0]) if is_csv else json.loads(line)["epoch"]
        except (ValueError, KeyError, TypeError):
            continue
        if line.endswith("\n") and number < epoch:
            kept.append(line)
    return "".join(kept)
