"""Callbacks that watch a column of the history: early stopping, lower rates on a plateau."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar

import numpy as np

from deltarule.base.errors import (
    InUseError,
    InvalidTypeError,
    InvalidValueError,
    describe_value,
    nearest,
)
from deltarule.base.guards import Guarded
from deltarule.base.settings import check_choice, check_flag, check_integer, check_number, members
from deltarule.base.types import Array
from deltarule.base.words import helpful
from deltarule.formulas.metrics import Metric
from deltarule.formulas.optimizers import reported_columns
from deltarule.training.callbacks import Callback
from deltarule.training.state import State


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
        check_monitor("monitor", self.monitor)
        if self.monitor not in columns:
            known = [name for name in columns if not name.startswith("gradient_norm.")]
            measured = [name for name in known if name not in reported_columns()]
            held_out = [f"val_{n}" for n in measured if not n.startswith("val_")]
            meant = self.monitor if self.monitor in held_out else None
            meant = meant or nearest(self.monitor, [*columns, *held_out])
            hint = f"did you mean {meant!r}? " if meant and meant != self.monitor else ""
            if (meant or self.monitor).startswith("val_") and "val_loss" not in columns:
                hint += "pass validation=, from which the columns val_... come; "
            raise InvalidValueError(
                f"monitor: the history will have no {describe_value(self.monitor)} to watch; "
                f"{hint}it will have: {', '.join(known)} and the gradient norms"
            )
        if self.best_is is None and not _direction_is_known(self.monitor):
            raise InvalidValueError(
                f"monitor: {self.monitor!r} is a metric of your own: say best_is='min' or "
                "best_is='max'"
            )

    def cost(self, value: float) -> float:
        """Return a value of the column so that lower is better; raise where it is NaN."""
        if math.isnan(value):
            raise InvalidValueError(
                f"monitor: {self.monitor!r} is NaN, which tells nothing about improvement; the "
                "network's outputs are not finite, or the number is not defined for these data. "
                "Scale the data, lower the learning rate, or monitor another column"
            )
        low = lower_is_better(self.monitor) if self.best_is is None else self.best_is == "min"
        return value if low else -value

    def get_state(self) -> dict[str, Any]:
        """Return what has been best, and how long nothing has been better."""
        return {"best": self.best, "waited": self.waited}

    def set_state(self, saved: Any) -> None:
        """Go on from what :meth:`get_state` returned."""
        best, waited = (saved[name] for name in ("best", "waited"))
        if type(best) is not float or type(waited) is not int:
            raise InvalidValueError(f"no state of a callback: {describe_value(saved)}")
        self.best, self.waited = best, waited

    def improved(self, value: float) -> bool:
        """Take a new value; return whether it is the best so far."""
        cost = self.cost(value)
        if cost < self.best - self.min_delta:
            self.best, self.waited = cost, 0
            return True
        self.waited += 1
        return False


def check_best_is(what: str, value: object) -> None:
    """Raise where the direction of a column is none."""
    check_choice(what, value, "min", "max", None)


def check_monitor(what: str, value: object) -> None:
    """Raise where a column's name is none."""
    if not isinstance(value, str):
        raise InvalidTypeError(
            f"{what} must be the name of a column of the history, got {describe_value(value)}"
        )


class _Watching(Guarded, Callback):
    """A callback that follows one column through one run at a time."""

    monitor: str
    min_delta: float
    best_is: str | None
    _run: weakref.ref[State] | None = None
    _checks: ClassVar[Mapping[str, Callable[[str, Any], object]]] = {}

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self._checks:
            self._checks[name](name, value)
        super().__setattr__(name, value)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_run"}

    def _begin(self, state: State) -> None:
        """Watch a run from its beginning, or raise and stay as it is."""
        if self._run is not None and self._run() is not None:
            raise InUseError(
                f"this {type(self).__name__} is following another run, and can follow one at a "
                "time; give each run its own"
            )
        watch = Monitor(self.monitor, self.min_delta, self.best_is)
        watch.check(state.columns)
        self._watch, self._run = watch, weakref.ref(state)


@helpful
@dataclass
class EarlyStopping(_Watching):
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

    Attributes
    ----------
    best : float
        What the best network scores; NaN before the first epoch.
    best_epoch : int
        The epoch after which it was best; 0 before the first.

    Notes
    -----
    ``best`` is what :func:`deltarule.evaluate` gives for the network that is restored. A column
    of the validation data is measured after the epoch, so it is that number already. The columns of
    the training data are measured during the epoch, before each step; so where one of them is
    watched to restore the best weights, the network is evaluated on the training data after each
    epoch instead (see :meth:`State.score`), which costs a forward pass. With
    ``restore_best=False`` the column itself is watched. Gradient norms and learning rates belong to
    steps, not to a network: they can be watched with ``restore_best=False`` only.

    A value that is NaN cannot be compared and raises an error.

    Source: Prechelt, "Early stopping - but when?" (1998).
    """

    monitor: str = "val_loss"
    patience: int = 10
    min_delta: float = 0.0
    restore_best: bool = True
    best_is: str | None = None
    _best: float = field(default=math.nan, init=False, repr=False)
    _best_epoch: int = field(default=0, init=False, repr=False)
    _checks: ClassVar[Mapping[str, Callable[[str, Any], object]]] = {
        "monitor": check_monitor,
        "patience": check_integer,
        "min_delta": partial(check_number, at_least=0),
        "restore_best": check_flag,
        "best_is": check_best_is,
    }

    @property
    def best(self) -> float:
        """What the best network scores; NaN before the first epoch."""
        return self._best

    @property
    def best_epoch(self) -> int:
        """The epoch after which it was best; 0 before the first."""
        return self._best_epoch

    def on_start(self, state: State) -> None:
        """Forget any earlier run; refuse a column that there will not be."""
        self._begin(state)
        if self.restore_best and not is_of_network(self.monitor):
            self._run = None
            raise InvalidValueError(
                f"monitor: {self.monitor!r} belongs to the steps of an epoch, not to a network "
                "that could be restored; pass restore_best=False, or monitor a loss or metric"
            )
        self._kept: tuple[Array, Array] | None = None
        self._best, self._best_epoch = math.nan, 0

    def on_epoch(self, state: State) -> None:
        """Keep the best parameters; ask for the end when patience is used up."""
        if self.restore_best:
            value = state.score(self.monitor)
        else:
            value = state.history.latest(self.monitor)
        if self._watch.improved(value):
            self._best, self._best_epoch = value, state.epoch
            if self.restore_best:
                self._kept = (state.network.vector.copy(), state.network.state_vector.copy())
        elif self._watch.waited >= self.patience:
            state.stop = f"{self.monitor} has not improved for {self._watch.waited} epochs"

    def get_state(self) -> Mapping[str, Any]:
        """Return what has been best, and how long nothing has been better."""
        return {
            "best": self._best,
            "best_epoch": self._best_epoch,
            "kept": self._kept,
            "watch": self._watch.get_state(),
        }

    def set_state(self, saved: Mapping[str, Any]) -> None:
        """Go on from what :meth:`get_state` returned."""
        best, epoch, kept = saved["best"], saved["best_epoch"], saved["kept"]
        right = type(best) is float and type(epoch) is int
        state = self._run() if self._run is not None else None
        if kept is not None and state is not None:
            places = (state.network.vector, state.network.state_vector)
            right = right and isinstance(kept, tuple) and len(kept) == 2
            right = right and all(
                isinstance(array, np.ndarray) and array.shape == place.shape
                for array, place in zip(kept, places, strict=True)
            )
        if not right:
            raise InvalidValueError(f"no state of EarlyStopping: {describe_value(saved)}")
        self._best, self._best_epoch, self._kept = best, epoch, kept
        self._watch.set_state(saved["watch"])

    def on_end(self, state: State) -> None:
        """Put the best parameters back."""
        self._run = None
        kept, self._kept = self._kept, None
        if kept is not None:
            state.network.vector[:], state.network.state_vector[:] = kept


@helpful
@dataclass
class ReduceOnPlateau(_Watching):
    """Multiply the learning rate by ``factor`` when a column of the history stops improving.

    Parameters
    ----------
    monitor, min_delta, best_is
        As in :class:`EarlyStopping`. It keeps no weights, so it watches the column as it is.
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
    _checks: ClassVar[Mapping[str, Callable[[str, Any], object]]] = {
        "monitor": check_monitor,
        "factor": partial(check_number, above=0, below=1),
        "patience": check_integer,
        "min_delta": partial(check_number, at_least=0),
        "smallest": partial(check_number, at_least=0),
        "best_is": check_best_is,
    }

    def on_start(self, state: State) -> None:
        """Forget any earlier run; refuse a column that there will not be."""
        self._begin(state)

    def on_epoch(self, state: State) -> None:
        """Lower the rate when patience is used up."""
        value = state.history.latest(self.monitor)
        if not self._watch.improved(value) and self._watch.waited >= self.patience:
            # A factor that is below the smallest already stays.
            lower = max(state.rate_factor * self.factor, self.smallest)
            state.rate_factor = min(state.rate_factor, lower)
            self._watch.waited = 0

    def get_state(self) -> Mapping[str, Any]:
        """Return what has been best, and how long nothing has been better."""
        return {"watch": self._watch.get_state()}

    def set_state(self, saved: Mapping[str, Any]) -> None:
        """Go on from what :meth:`get_state` returned."""
        self._watch.set_state(saved["watch"])

    def on_end(self, state: State) -> None:
        """Be free for another run."""
        self._run = None


def is_of_network(column: str) -> bool:
    """Return whether a column is a number of a network, and not of the steps of an epoch."""
    return column not in reported_columns() and not column.startswith("gradient_norm.")
