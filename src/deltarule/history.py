"""What training reported. Of a run: one list of numbers per column, one number per epoch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from deltarule.errors import missing_extra, unknown_key
from deltarule.types import Array

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.figure import Figure

    from deltarule.callbacks import Callback


class History(Mapping[str, list[float]]):
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
        Which engine ran.
    stopped : str
        Why the run ended before all its epochs; "" where it did not.
    """

    def __init__(self, engine: str) -> None:
        self._columns: dict[str, list[float]] = {}
        self._pending: dict[str, list[Array]] = {}
        self.epochs = 0
        self.steps = 0
        self.seconds = 0.0
        self.engine = engine
        self.stopped = ""

    def extend(self, epochs: int, rows: Mapping[str, Array]) -> None:
        """Add some epochs: one array (epochs,) per column."""
        # A run of tiny steps adds a million epochs: they become Python numbers only when read.
        for name, values in rows.items():
            self._columns.setdefault(name, [])
            self._pending.setdefault(name, []).append(values)
        self.epochs += epochs

    def __getitem__(self, name: str) -> list[float]:
        if name not in self._columns:
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
            from deltarule.report.figures import history_figure
        except ImportError:
            raise missing_extra("history.plot()", "report") from None
        return history_figure(self)

    def report(self, path: str | Path, **contents: Any) -> Path:
        """Write a one-file HTML report, see :func:`deltarule.report.write_report`."""
        try:
            from deltarule.report import write_report
        except ImportError:
            raise missing_extra("history.report()", "report") from None
        return write_report(path, self, **contents)

    def __repr__(self) -> str:
        numbers = ", ".join(f"{name} {value:.6g}" for name, value in self.last().items())
        stopped = f"; stopped: {self.stopped}" if self.stopped else ""
        return (
            f"History({self.epochs} epochs, {self.steps} steps, {self.seconds:.2f} s, "
            f"{self.engine} engine: {numbers}{stopped})"
        )


@dataclass(frozen=True, eq=False, repr=False)
class Restarts:
    """What training from several initialisations gave; printed, it is a table.

    All sequences have one item per restart, in the order of their numbers.

    Attributes
    ----------
    best : int
        Number of the restart that the network now holds.
    monitor : str
        The column of the histories that decided.
    scores : tuple of float
        Its value for the parameters each restart ended with; NaN where a restart diverged, or an
        interrupt came before its first whole epoch.
    seeds : tuple of int
        Of the initial parameters; that of restart 0 is the network's own.
    histories : tuple of History or None
        None where an interrupt came before a restart began.
    callbacks : tuple of Callback
        The best restart's copies of the callbacks.
    seconds : float
        Wall-clock time of all.
    stopped : str
        "interrupted" after Ctrl-C, otherwise "".
    """

    best: int
    monitor: str
    scores: tuple[float, ...]
    seeds: tuple[int, ...]
    histories: tuple[History | None, ...]
    callbacks: tuple[Callback, ...]
    seconds: float
    stopped: str

    @property
    def history(self) -> History:
        """The best restart's history."""
        history = self.histories[self.best]
        assert history is not None
        return history

    def __len__(self) -> int:
        return len(self.seeds)

    def __repr__(self) -> str:
        finite = [score for score in self.scores if math.isfinite(score)]
        spread = f", all {min(finite):.6g} to {max(finite):.6g}" if finite else ""
        stopped = f"; stopped: {self.stopped}" if self.stopped else ""
        return (
            f"Restarts({len(self)} restarts, best {self.best}: {self.monitor} "
            f"{self.scores[self.best]:.6g}{spread}; {self.seconds:.2f} s{stopped})"
        )

    def __str__(self) -> str:
        rows = [("restart", "seed", self.monitor, "epochs", "ended")]
        for i, history in enumerate(self.histories):
            ended = "not begun" if history is None else history.stopped
            score = "" if math.isnan(self.scores[i]) else f"{self.scores[i]:.6g}"
            epochs = 0 if history is None else history.epochs
            rows.append((str(i), str(self.seeds[i]), score, str(epochs), ended))
        widths = [max(len(row[j]) for row in rows) for j in range(5)]
        lines = []
        for i, row in enumerate(rows):
            cells = [cell.rjust(width) for cell, width in zip(row[:4], widths, strict=False)]
            mark = "*" if i == self.best + 1 else " "
            lines.append("  ".join([mark + cells[0], *cells[1:], row[4]]).rstrip())
        return "\n".join(lines)
