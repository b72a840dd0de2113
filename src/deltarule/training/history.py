"""The history of a run: named columns of numbers, with one number per epoch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, TypeAlias

import numpy as np

from deltarule.base.errors import FixedError, MissingExtraError, missing_extra, unknown_key
from deltarule.base.guards import Guarded, ReadOnly, ReadOnlyList
from deltarule.base.types import Array
from deltarule.base.upward import upward
from deltarule.base.words import Leading, helpful

if TYPE_CHECKING:
    from pathlib import Path

_BLOCKS = 64
"""Calls of an engine whose numbers are kept as they came, before they go into the table."""
_Parts: TypeAlias = tuple[Array, int, list[tuple[int, Mapping[str, "Array | float"]]]]

_READ = "what a run has reported stays; list(history['loss']) is a copy that can be changed"


class Restored(NamedTuple):
    """A step that diverged, the epochs that were finished, and the rate's factor from there."""

    step: int
    epoch: int
    rate_factor: float


@helpful
class History(Guarded, Leading, Mapping[str, list[float]]):
    """Columns by name: ``history["val_loss"]`` is a list with one number per finished epoch.

    Everything in it is to be read: changing a list raises an error, a slice or copy of it is an
    ordinary list.

    Columns are "loss", the metrics, "val_loss" and "val_..." where there is a validation set,
    "data_loss" and "penalty" (their sum is "loss") where there is a penalty, "learning_rate" (of
    the epoch's last step) and, for each parameter, "gradient_norm.0.weight" and so on: the root
    mean square over the epoch's steps of the gradient's norm, before clipping. Optimizers without a
    learning rate report other columns in its place.

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
    restored : tuple of Restored
        Where ``on_divergence="restore"`` has gone back: the step that diverged, the epochs
        that were finished, and the factor on the learning rate from there.
    unfinished : dict of str to float
        The losses of the last epoch, where it was cut short, over the steps that were done.
    """

    def __init__(self, engine: str) -> None:
        self._engine = engine
        self._rows: dict[str, int] = {}
        # A table (columns, room for epochs), how many epochs are in it, and the blocks after them.
        self._parts: _Parts = (np.empty((0, 0)), 0, [])
        self._lists: dict[str, ReadOnlyList[float]] = {}
        self._epochs = self._steps = 0
        self._seconds = 0.0
        self._stopped = ""
        self._unfinished: dict[str, float] = {}
        self._restored: list[Restored] = []

    def __getstate__(self) -> dict[str, Any]:
        numbers = [self._numbers(name) for name in self._rows]
        table = np.array(numbers) if numbers else np.empty((0, 0))
        return self.__dict__ | {"_parts": (table, self._epochs, []), "_lists": {}}

    @property
    def epochs(self) -> int:
        """Epochs finished in this run."""
        return self._epochs

    @property
    def steps(self) -> int:
        """Steps done in this run."""
        return self._steps

    @property
    def seconds(self) -> float:
        """Wall-clock time of the run."""
        return self._seconds

    @property
    def engine(self) -> str:
        """The engine that ran."""
        return self._engine

    @property
    def stopped(self) -> str:
        """Why the run ended before its last epoch; "" if it did not."""
        return self._stopped

    @property
    def restored(self) -> tuple[Restored, ...]:
        """Where the run diverged and went back to good parameters."""
        return tuple(self._restored)

    @property
    def unfinished(self) -> Mapping[str, float]:
        """The losses of the last epoch, where it was cut short, over the steps that were done."""
        return ReadOnly(self._unfinished, "history.unfinished", "dict(...) of it is a copy")

    def _extend(self, epochs: int, rows: Mapping[str, Array | float]) -> None:
        """Add some epochs: one array (epochs,) per column, or a number for a single epoch."""
        if not self._rows:
            self._rows = {name: i for i, name in enumerate(rows)}
            self._parts = (np.empty((len(rows), 0)), 0, [])
        table, start, blocks = self._parts
        blocks.append((epochs, rows))
        if len(blocks) >= _BLOCKS:
            end = start + sum(count for count, _ in blocks)
            if end > table.shape[1]:
                # An eighth more than needed: each number is copied some ten times in all.
                grown = np.empty((len(self._rows), end + end // 8))
                grown[:, :start] = table[:, :start]
                table = grown
            for count, block in blocks:
                for name, values in block.items():
                    table[self._rows[name], start : start + count] = values
                start += count
            self._parts = (table, end, [])  # at once: another thread may be reading
        self._epochs += epochs

    def _numbers(self, name: str, start: int = 0) -> Array:
        """Return a column's numbers from an epoch on, as an array."""
        table, done, blocks = self._parts
        later = [table[self._rows[name], start:done]]
        for count, block in list(blocks):
            later.append(np.broadcast_to(block[name], (count,))[max(start - done, 0) :])
            done += count
        return np.concatenate(later)

    def __getitem__(self, name: str) -> list[float]:
        if not isinstance(name, str) or name not in self._rows:
            raise unknown_key("column", name, self)
        column = self._lists.get(name)
        if column is None:
            column = self._lists[name] = ReadOnlyList((), f"history[{name!r}]", _READ)
        have = len(column)
        if have < self._epochs:  # two threads at once write the same, and none cuts it short
            later = self._numbers(name, have).tolist()
            list.__setitem__(column, slice(have, have + len(later)), later)
        return column

    def _cannot_change(self, *_: Any) -> NoReturn:
        raise FixedError(f"a history is read-only; {_READ}")

    __setitem__ = __delitem__ = _cannot_change

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def latest(self, name: str) -> float:
        """Return a column's value of the last epoch."""
        if not isinstance(name, str) or name not in self._rows:
            raise unknown_key("column", name, self)
        return float(self._numbers(name, self._epochs - 1)[0])

    def last(self) -> dict[str, float]:
        """Return the last epoch's numbers, without the gradient norms."""
        shown = (name for name in self if not name.startswith("gradient_norm."))
        return {name: self.latest(name) for name in shown}

    def to_frame(self) -> Any:
        """Return a data frame with one row per epoch, counted from 1, and one column per column.

        It is a pandas frame whose index is "epoch"; where pandas is not installed, a polars frame
        with a column "epoch".

        Raises
        ------
        MissingExtraError
            Neither is installed.
        """
        columns = {name: self._numbers(name) for name in self._rows}
        epochs = np.arange(1, self._epochs + 1)
        try:
            import pandas
        except ImportError:
            pass
        else:
            return pandas.DataFrame(columns, index=pandas.Index(epochs, name="epoch"), copy=True)
        try:
            import polars
        except ImportError:
            raise MissingExtraError(
                "history.to_frame() needs pandas or polars, which are optional; install one with: "
                "pip install pandas"
            ) from None
        return polars.DataFrame({"epoch": epochs, **columns})

    def plot(self, ax: Any = None) -> Array:
        """Draw losses, metrics, learning rate and gradient norms; return the matplotlib axes.

        Parameters
        ----------
        ax : matplotlib axes, optional
            The losses are drawn into these. By default there is a new figure with one plot each,
            which ``plt.show()`` shows; a notebook shows it by itself.

        Returns
        -------
        array of axes (plots,)
            Their figure is ``axes[0].figure``.
        """
        try:
            plot_history = upward("history.plot")
        except ImportError:
            raise missing_extra("history.plot()", "report") from None
        axes: Array = plot_history(self, ax)
        return axes

    def report(self, path: Any, **contents: Any) -> Path | None:
        """Write an HTML report of one file, see :func:`deltarule.report.write_report`."""
        try:
            write_report = upward("history.report")
        except ImportError:
            raise missing_extra("history.report()", "report") from None
        written: Path | None = write_report(path, self, **contents)
        return written

    def __repr__(self) -> str:
        done = f"{self.epochs} epochs, {self.steps} steps, {self.seconds:.2f} s"
        numbers = ", ".join(f"{name} {value:.6g}" for name, value in self.last().items())
        stopped = f"; restored {len(self._restored)} times" if self._restored else ""
        stopped += f"; stopped: {self.stopped}" if self.stopped else ""
        return f"History({done}, {self.engine} engine{numbers and f': {numbers}'}{stopped})"

    def _repr_html_(self) -> str:
        from deltarule.training.history_html import history_html  # which only notebooks need

        return history_html(self)
