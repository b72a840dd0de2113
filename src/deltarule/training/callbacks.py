"""Callbacks: what may happen between epochs.

A callback is an object with any of the three methods of :class:`Callback`. Each receives one
small :class:`State`.
"""

from __future__ import annotations

import inspect
import math
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar

import numpy as np

from deltarule.base.errors import (
    InUseError,
    InvalidAttributeError,
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
from deltarule.network.network import Network
from deltarule.training.history import History


@helpful
class State(Guarded):
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

    rate_factor: float
    stop: str
    _instead: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("lr", "learning_rate"), "set state.rate_factor, a factor on the scheduled rate"
    ) | dict.fromkeys(
        ("stop_training", "stopped", "should_stop"), "set state.stop to a reason to end the run"
    )

    def __init__(
        self,
        network: Network,
        history: History,
        columns: tuple[str, ...],
        epochs: int,
        score: Callable[[str], float],
    ) -> None:
        self._network, self._history = network, history
        self._columns, self._epochs, self._score = columns, epochs, score
        self.rate_factor, self.stop = 1.0, ""
        self._step_losses, self._pending = np.empty((0, 2)), list[Array]()

    @property
    def network(self) -> Network:
        """The network that is trained; its values may be changed."""
        return self._network

    @property
    def history(self) -> History:
        """All finished epochs of this run."""
        return self._history

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that the history will have."""
        return self._columns

    @property
    def step_losses(self) -> Array:
        """Data loss and penalty, (steps, 2), of the epoch that was just finished, before each step.

        0 where all weights of a batch were 0. After several epochs at once it has the steps of all.
        """
        return self._step_losses

    def _took(self, losses: Array, unfinished: int) -> None:
        """Take the losses of steps, of which the last ones belong to an epoch in progress."""
        self._pending.append(losses)
        steps = np.concatenate(self._pending)
        end = len(steps) - unfinished
        self._step_losses, self._pending = steps[:end], [steps[end:]]

    @property
    def epochs(self) -> int:
        """The number of epochs of this run."""
        return self._epochs

    @property
    def epoch(self) -> int:
        """How many epochs are finished."""
        return self._history.epochs

    def score(self, column: str) -> float:
        """Return a loss or metric of the network as it is now, by its column's name.

        The history's training columns are measured during an epoch, each batch before its step:
        they belong to no network that is left. Whoever keeps a network by a number calls this. For
        "loss" or a metric it evaluates the network on the training data, with their sample and
        class weights, as :func:`deltarule.evaluate` does: without dropout, with BatchNorm's running
        statistics. For "val_..." it returns the history's number, unless a callback has changed the
        network since; then it evaluates it on the validation data.
        """
        return self._score(column)


class Callback:
    """Base of the callbacks; every method does nothing by default.

    ``on_end`` is called where ``on_start`` has succeeded, however the run ends.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name, value in vars(cls).items():
            if callable(value) and not name.startswith("_"):
                _check_hook(cls, name)

    def on_start(self, state: State) -> None:
        """Called before the first epoch."""

    def on_epoch(self, state: State) -> None:
        """Called after each epoch, with the history up to date."""

    def epochs_at_once(self, state: State) -> int:
        """Return how many epochs may be done before :meth:`on_epoch` is next called; 1 by default.

        More spare the engine a return to Python after each of many short epochs. Where another
        callback, a metric or validation data want each epoch, it is called after each.
        """
        return 1

    def on_end(self, state: State) -> None:
        """Called once at the end, also after an interrupt or a divergence."""


def check_rate_factor(state: State) -> float:
    """Return the factor on the learning rate that the callbacks have set, or raise."""
    return check_number("state.rate_factor", state.rate_factor, at_least=0)


_HOOKS = {
    "on_start": "on_train_begin on_train_start on_fit_start on_fit_begin on_begin before_train "
    "before_fit before_training training_start train_begin setup_run",
    "on_epoch": "on_epoch_end on_train_epoch_end on_validation_end on_validation_epoch_end "
    "after_epoch epoch_end after_iteration",
    "on_end": "on_train_end on_fit_end on_finish after_train after_fit after_training training_end "
    "train_end",
}
_NO_HOOKS = (
    "on_epoch_begin on_epoch_start on_train_epoch_start before_epoch on_batch_end on_batch_begin "
    "on_train_batch_end on_train_batch_begin on_train_batch_start on_batch_start on_step "
    "on_step_end on_step_begin on_test_begin on_test_end on_predict_end on_validation_start "
    "after_batch before_batch on_batch on_after_backward on_before_optimizer_step"
)


def _check_hook(cls: type, name: str) -> None:
    """Raise where a method is a hook by another library's name, or a misspelt one."""
    if name in _HOOKS or name == "epochs_at_once":
        return
    others = {other: ours for ours, names in _HOOKS.items() for other in names.split()}
    meant = others.get(name)
    if meant is None and name not in _NO_HOOKS.split():
        near = nearest(name, _HOOKS)
        alike = near is not None and (name.startswith("on") or name.lower().startswith("on"))
        meant = near if alike and abs(len(name) - len(near or "")) <= 2 else None
    if meant is not None or name in _NO_HOOKS.split():
        hint = f"call it {meant}" if meant else "there is none for this moment"
        raise InvalidAttributeError(
            f"{cls.__name__}.{name} would never be called; {hint}: the hooks of a callback are "
            "on_start, on_epoch (after each epoch) and on_end, each with the State as its one "
            "argument"
        )


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
            measured = [name for name in known if name != "learning_rate"]
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

    def on_end(self, state: State) -> None:
        """Put the best parameters back."""
        self._run = None
        if self._kept is not None:
            state.network.vector[:], state.network.state_vector[:] = self._kept
            self._kept = None


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

    def on_end(self, state: State) -> None:
        """Be free for another run."""
        self._run = None


def is_of_network(column: str) -> bool:
    """Return whether a column is a number of a network, and not of the steps of an epoch."""
    return column != "learning_rate" and not column.startswith("gradient_norm.")


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
        for name in _HOOKS:
            _check_takes_state(callback, name)
    return list(callbacks)


def _check_takes_state(callback: Callback, name: str) -> None:
    """Raise where a hook cannot be called with one argument."""
    hook = getattr(callback, name)
    if getattr(hook, "__func__", None) is getattr(Callback, name):
        return
    try:
        inspect.signature(hook).bind(None)
    except TypeError:
        raise InvalidTypeError(
            f"{type(callback).__name__}.{name} must take one argument, the State of the run: "
            f"def {name}(self, state)"
        ) from None
    except ValueError:  # of a builtin, which tells nothing
        pass
