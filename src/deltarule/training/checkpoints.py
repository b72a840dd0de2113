"""Checkpoints: a run that is killed goes on from the last one with the same bits."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from deltarule.base.guards import Guarded
from deltarule.base.settings import check_choice, check_integer, check_number
from deltarule.base.words import helpful
from deltarule.training.callbacks import Callback
from deltarule.training.state import State
from deltarule.training.watching import Monitor, check_best_is, check_monitor, is_of_network

if TYPE_CHECKING:
    import os
    from pathlib import Path

    from deltarule.training.checkpoint_folder import Folder


@helpful
@dataclass
class Checkpoint(Guarded, Callback):
    """Write all that a run is into a folder, so that :func:`deltarule.resume` goes on with it.

    Each checkpoint is one file: parameters, running statistics, the optimizer's state, the
    position, the history, the state of the callbacks and the settings. It is written under a
    temporary name, flushed to disk and renamed, so that a run that is killed at any moment leaves
    whole ones. :func:`deltarule.load` returns the network of one.

    The first is written when the run starts: a folder that cannot be written to, or a full disk, is
    found out then. The last is written when the run ends, or when Ctrl-C or SIGTERM, as batch
    systems send it, end it after the step in progress; after SIGTERM the process then exits with
    143.

    Parameters
    ----------
    folder : str or Path
        It is made where it does not exist. One that has checkpoints of another run is refused.
    every : int
        Epochs, or steps, from one checkpoint to the next.
    unit : "epoch" or "step"
        What ``every`` counts.
    keep : int
        So many of the latest checkpoints are kept; earlier ones are deleted.
    monitor : str, optional
        A column of the history: the checkpoint of its best epoch is kept too. ``every`` epochs do
        not count for it.
    best_is : "min", "max" or None
        As in :class:`EarlyStopping`.
    share : float
        Writing takes at most this share of the run's time: a checkpoint that is due before that is
        left out. 1 writes each. The first, the last, the best and that of an interrupt are always
        written.

    Attributes
    ----------
    latest, best : Path or None
        The files of the last and the best checkpoint.

    Raises
    ------
    OSError
        A checkpoint cannot be written. The run ends; earlier checkpoints and the network in memory
        are whole.
    ValueError
        The folder has checkpoints of another run.

    Examples
    --------
    >>> import tempfile, numpy as np, deltarule as dr
    >>> X = np.linspace(0, 1, 20)[:, None]
    >>> net = dr.Network([dr.Dense(1)], inputs=1, seed=0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     history = dr.train(net, X, 2 * X, loss="squared_error", epochs=4,
    ...                        callbacks=[dr.Checkpoint(folder)])
    ...     net, history = dr.resume(folder, X, 2 * X, epochs=10)
    >>> history.epochs
    10
    """

    folder: str | os.PathLike[str]
    every: int = 1
    unit: str = "epoch"
    keep: int = 2
    monitor: str | None = None
    best_is: str | None = None
    share: float = 0.01
    _checks: ClassVar[Mapping[str, Any]] = {
        "folder": lambda what, value: _check_folder(what, value),
        "every": check_integer,
        "unit": lambda what, value: check_choice(what, value, "epoch", "step"),
        "keep": check_integer,
        "monitor": lambda what, value: _check_column(what, value),
        "best_is": check_best_is,
        "share": partial(check_number, above=0, at_most=1),
    }
    _after_others: ClassVar[bool] = True

    def __post_init__(self) -> None:
        self._files: Folder | None = None  # of the last run
        self._watch: Monitor | None = None
        self._at: tuple[int, int] | None = None  # where the last was made
        self._start = self._spent = self._took = 0.0  # seconds: in all, and for the last

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self._checks:
            self._checks[name](name, value)
        super().__setattr__(name, value)

    @property
    def latest(self) -> Path | None:
        """The file of the last checkpoint."""
        return self._files.files[-1] if self._files and self._files.files else None

    @property
    def best(self) -> Path | None:
        """The file of the best checkpoint, where a column is monitored."""
        return self._files.best if self._files else None

    @property
    def every_steps(self) -> int:  # type: ignore[override]
        """Steps from one call of :meth:`on_steps` to the next."""
        return self.every if self.unit == "step" else 0

    def epochs_at_once(self, state: State) -> int:
        """Return the epochs until the next checkpoint."""
        if self.monitor is not None:
            return 1
        left = state.epochs - state.epoch
        return min(self.every - state.epoch % self.every, left) if self.unit == "epoch" else left

    def on_start(self, state: State) -> None:
        """Make the folder; write the first checkpoint, or see that one could be written."""
        from pathlib import Path

        from deltarule.training.checkpoint_folder import Folder

        watch = None
        if self.monitor is not None:
            watch = Monitor(self.monitor, best_is=self.best_is)
            watch.check(state.columns)
        folder = Folder(Path(self.folder), self.keep, resumed=state.resumed)
        self._watch, self._files, self._at = watch, folder, None
        self._start, self._spent, self._took = time.perf_counter(), 0.0, 0.0
        if not state.resumed:
            self._write(state)

    def on_epoch(self, state: State) -> None:
        """Write a checkpoint where one is due, or where this epoch is the best."""
        best = self._watch is not None and self._is_best(state, self._watch)
        last = state.epoch >= state.epochs or bool(state.stop)
        due = self.unit == "epoch" and state.epoch % self.every == 0
        if best or last or (due and self._may()):
            self._write(state, best=best)

    def on_steps(self, state: State) -> None:
        """Write a checkpoint."""
        if self._may():
            self._write(state)

    def on_interrupt(self, state: State) -> None:
        """Write a checkpoint of the step at which the run ends."""
        self._write(state)

    def get_state(self) -> Mapping[str, Any]:
        """Return what has been best."""
        if self._watch is None:
            return {}
        best = None if self.best is None else self.best.name
        return {"best": best, "watch": self._watch.get_state()}

    def set_state(self, saved: Mapping[str, Any]) -> None:
        """Take the checkpoints that there are."""
        from deltarule.training.checkpoint_folder import checkpoints_in

        assert self._files is not None
        self._files.files = checkpoints_in(self._files.path)
        if self._watch is not None:
            self._watch.set_state(saved["watch"])
            there = [path for path in self._files.files if path.name == saved["best"]]
            self._files.best = there[0] if there else None

    def _is_best(self, state: State, watch: Monitor) -> bool:
        assert self.monitor is not None
        of_network = is_of_network(self.monitor)
        value = state.score(self.monitor) if of_network else state.history.latest(self.monitor)
        return watch.improved(value)

    def _may(self) -> bool:
        """Return whether another checkpoint keeps to the share of time."""
        so_far = time.perf_counter() - self._start
        return self.share == 1 or self._spent + self._took <= self.share * so_far

    def _write(self, state: State, *, best: bool = False) -> None:
        from deltarule.training.checkpoint_folder import Place

        at = state._place()
        if at is None or at == self._at:
            return  # some callbacks have seen the last epoch and others not; or it is written
        assert self._files is not None
        start = time.perf_counter()
        self._files.write(Place(*at), state._content, best=best)
        self._at, self._took = at, time.perf_counter() - start
        self._spent += self._took


def _check_folder(what: str, value: object) -> None:
    from deltarule.base.files import check_path

    check_path(value, what, or_file=False)


def _check_column(what: str, value: object) -> None:
    if value is not None:
        check_monitor(what, value)
