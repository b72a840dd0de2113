"""The history of a run: one list of numbers per column, with one number per epoch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from deltarule.base.errors import missing_extra, unknown_key
from deltarule.base.types import Array
from deltarule.base.upward import upward
from deltarule.base.words import Leading, helpful

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.figure import Figure


@helpful
class History(Leading, Mapping[str, list[float]]):
    """Columns by name: ``history["val_loss"]`` is a list with one number per finished epoch.

    Columns are "loss", the metrics, "val_loss" and "val_..." where there is a validation set,
    "data_loss" and "penalty" (their sum is "loss") where there is a penalty, "learning_rate" (of
    the epoch's last step) and, for each parameter, "gradient_norm.0.weight" and so on: the root
    mean square over the epoch's steps of the gradient's norm, before clipping.

    Attributes
    ----------
    epochs, steps : int
        Finished in this run.
    seconds : float
        Wall-clock time of the run.
    engine : str
        The engine that ran.
    stopped : str
        Why the run ended before its last epoch; "" if it did not.
    unfinished : dict of str to float
        The losses of the last epoch, where it was cut short, over the steps that were done.
    """

    def __init__(self, engine: str) -> None:
        self._columns: dict[str, list[float]] = {}
        self._pending: dict[str, list[Array]] = {}
        self.epochs = 0
        self.steps = 0
        self.seconds = 0.0
        self.engine = engine
        self.stopped = ""
        self.unfinished: dict[str, float] = {}

    def extend(self, epochs: int, rows: Mapping[str, Array]) -> None:
        """Add some epochs: one array (epochs,) per column."""
        # A run of tiny steps adds a million epochs: they become Python numbers only when read.
        for name, values in rows.items():
            self._columns.setdefault(name, [])
            self._pending.setdefault(name, []).append(values)
        self.epochs += epochs

    def __getitem__(self, name: str) -> list[float]:
        if not isinstance(name, str) or name not in self._columns:
            raise unknown_key("column", name, self)
        column = self._columns[name]
        for values in self._pending.pop(name, []):
            column.extend(values.tolist())
        return column

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)

    def latest(self, name: str) -> float:
        """Return a column's value of the last epoch."""
        if name in self._columns and name in self._pending:
            return float(self._pending[name][-1][-1])
        return self[name][-1]

    def last(self) -> dict[str, float]:
        """Return the last epoch's numbers, without the gradient norms."""
        shown = (name for name in self if not name.startswith("gradient_norm."))
        return {name: self.latest(name) for name in shown}

    def plot(self) -> Figure:
        """Return a matplotlib figure of losses, metrics and gradient norms."""
        try:
            history_figure = upward("history.plot")
        except ImportError:
            raise missing_extra("history.plot()", "report") from None
        figure: Figure = history_figure(self)
        return figure

    def report(self, path: str | Path, **contents: Any) -> Path:
        """Write an HTML report of one file, see :func:`deltarule.report.write_report`."""
        try:
            write_report = upward("history.report")
        except ImportError:
            raise missing_extra("history.report()", "report") from None
        written: Path = write_report(path, self, **contents)
        return written

    def __repr__(self) -> str:
        numbers = ", ".join(f"{name} {value:.6g}" for name, value in self.last().items())
        stopped = f"; stopped: {self.stopped}" if self.stopped else ""
        return (
            f"History({self.epochs} epochs, {self.steps} steps, {self.seconds:.2f} s, "
            f"{self.engine} engine: {numbers}{stopped})"
        )
