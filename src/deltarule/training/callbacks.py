"""Callbacks: what may happen between epochs.

A callback is an object with any of the three methods of :class:`Callback`. Each receives one
small :class:`State`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from deltarule.base.errors import InvalidTypeError, InvalidValueError, describe_value
from deltarule.base.settings import check_choice, check_integer, check_number, members
from deltarule.base.types import Array
from deltarule.base.words import helpful
from deltarule.formulas.metrics import Metric
from deltarule.network.network import Network
from deltarule.training.history import History


@helpful
@dataclass
class State:
    """What a callback sees and may change.

    Attributes
    ----------
    network : Network
    history : History
        All finished epochs of this run; ``history["val_loss"][-1]`` is the last value.
    columns : tuple of str
        The columns that the history will have.
    epochs, epoch : int
        The number of epochs of this run, and how many of them are finished.
    rate_factor : float
        A factor on the scheduled learning rate; what :class:`ReduceOnPlateau` changes.
    stop : str
        Set it to a reason to end the run.
    """

    network: Network
    history: History
    columns: tuple[str, ...]
    epochs: int
    epoch: int = 0
    rate_factor: float = 1.0
    stop: str = ""


class Callback:
    """Base of the callbacks; every method does nothing by default."""

    def on_start(self, state: State) -> None:
        """Called before the first epoch."""

    def on_epoch(self, state: State) -> None:
        """Called after each epoch, with the history up to date."""

    def on_end(self, state: State) -> None:
        """Called once at the end, also after an interrupt or a divergence."""


def lower_is_better(monitor: str) -> bool:
    """Return whether a history column gets better as it falls: losses and errors do."""
    name = monitor.removeprefix("val_")
    if name in members("metric"):
        return Metric.resolve(name).best == "min"
    return True


def _direction_is_known(monitor: str) -> bool:
    name = monitor.removeprefix("val_")
    losses = ("loss", "data_loss", "penalty")
    return name in losses or name in members("metric") or name.startswith("gradient_norm.")


@dataclass
class Monitor:
    """Watches one column of the history for its best value."""

    monitor: str
    min_delta: float = 0.0
    best_is: str | None = None
    best: float = math.inf
    waited: int = 0

    def check(self, columns: tuple[str, ...]) -> None:
        """Raise where a run will have no such column, or its direction is not known."""
        if not isinstance(self.monitor, str):
            raise InvalidTypeError(
                "monitor must be the name of a column of the history, got "
                f"{describe_value(self.monitor)}"
            )
        if self.best_is is None and not _direction_is_known(self.monitor):
            raise InvalidValueError(
                f"{describe_value(self.monitor)} is a metric of your own: "
                "say best_is='min' or best_is='max'"
            )
        if self.monitor not in columns:
            known = [name for name in columns if not name.startswith("gradient_norm.")]
            hint = "pass validation=; " if self.monitor.startswith("val_") else ""
            raise InvalidValueError(
                f"the history will have no {self.monitor!r} to watch; {hint}it will have: "
                f"{', '.join(known)} and the gradient norms"
            )

    def cost(self, value: float) -> float:
        """Return a value of the column so that lower is better."""
        low = lower_is_better(self.monitor) if self.best_is is None else self.best_is == "min"
        return value if low else -value

    def improved(self, state: State) -> bool:
        """Take the newest value; return whether it is the best so far."""
        cost = self.cost(state.history[self.monitor][-1])
        if cost < self.best - self.min_delta:
            self.best, self.waited = cost, 0
            return True
        self.waited += 1
        return False


def check_best_is(value: str | None) -> None:
    """Raise where the direction of a column is none."""
    check_choice("best_is", value, "min", "max", None)


@helpful
@dataclass
class EarlyStopping(Callback):
    """End the run when a column of the history no longer improves; restore the best weights.

    Parameters
    ----------
    monitor : str
        The column: "val_loss", "val_accuracy", "loss", ...
    patience : int
        The run ends after this many epochs in a row without improvement.
    min_delta : float
        Smaller changes do not count as an improvement.
    restore_best : bool
        Whether the parameters and running statistics of the best epoch are restored at the end,
        also after an interrupt or a divergence.
    best_is : "min", "max" or None
        None uses the metric's own direction, lower for losses. Metrics of your own need it.

    Source: Prechelt, "Early stopping - but when?" (1998).
    """

    monitor: str = "val_loss"
    patience: int = 10
    min_delta: float = 0.0
    restore_best: bool = True
    best_is: str | None = None
    best_epoch: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        check_integer("patience", self.patience)
        check_number("min_delta", self.min_delta, at_least=0)
        check_best_is(self.best_is)

    def on_start(self, state: State) -> None:
        """Forget any earlier run; refuse a column that there will not be."""
        self._watch = Monitor(self.monitor, self.min_delta, self.best_is)
        self._watch.check(state.columns)
        self._kept: tuple[Array, Array] | None = None
        self.best_epoch = 0

    def on_epoch(self, state: State) -> None:
        """Keep the best parameters; ask for the end when patience is used up."""
        if self._watch.improved(state):
            self.best_epoch = state.epoch
            if self.restore_best:
                self._kept = (state.network.vector.copy(), state.network.state_vector.copy())
        elif self._watch.waited >= self.patience:
            state.stop = f"{self.monitor} has not improved for {self._watch.waited} epochs"

    def on_end(self, state: State) -> None:
        """Put the best parameters back."""
        if self._kept is not None:
            state.network.vector[:], state.network.state_vector[:] = self._kept


@helpful
@dataclass
class ReduceOnPlateau(Callback):
    """Multiply the learning rate by ``factor`` when a column of the history stops improving.

    Parameters
    ----------
    monitor, min_delta, best_is
        As in :class:`EarlyStopping`.
    factor : float
        Below 1. (``min_delta`` is absolute; PyTorch's is relative by default.)
    patience : int
        The rate falls after this many epochs in a row without improvement. (PyTorch waits one
        epoch more.)
    smallest : float
        The factor on the scheduled rate never falls below this.
    """

    monitor: str = "val_loss"
    factor: float = 0.1
    patience: int = 10
    min_delta: float = 0.0
    smallest: float = 0.0
    best_is: str | None = None

    def __post_init__(self) -> None:
        check_number("factor", self.factor, above=0, below=1)
        check_integer("patience", self.patience)
        check_number("min_delta", self.min_delta, at_least=0)
        check_number("smallest", self.smallest, at_least=0)
        check_best_is(self.best_is)

    def on_start(self, state: State) -> None:
        """Forget any earlier run; refuse a column that there will not be."""
        self._watch = Monitor(self.monitor, self.min_delta, self.best_is)
        self._watch.check(state.columns)

    def on_epoch(self, state: State) -> None:
        """Lower the rate when patience is used up."""
        if not self._watch.improved(state) and self._watch.waited >= self.patience:
            state.rate_factor = max(state.rate_factor * self.factor, self.smallest)
            self._watch.waited = 0


def check_callbacks(callbacks: object) -> list[Callback]:
    """Return callbacks as a list, or raise a clear error."""
    if callbacks is None:
        return []
    if not isinstance(callbacks, (list, tuple)):
        raise InvalidTypeError(f"callbacks must be a list, got {describe_value(callbacks)}")
    for callback in callbacks:
        if isinstance(callback, type) or not isinstance(callback, Callback):
            raise InvalidTypeError(
                "a callback is an object derived from deltarule.Callback, such as "
                f"EarlyStopping(); got {describe_value(callback)}"
            )
    return list(callbacks)
