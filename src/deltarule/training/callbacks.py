"""Callbacks: what may happen between epochs, or between steps.

A callback is an object with any of the methods of :class:`Callback`. Each receives one small
:class:`State`.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, ClassVar

from deltarule.base.errors import (
    InvalidAttributeError,
    InvalidTypeError,
    describe_value,
    nearest,
)
from deltarule.training.state import State


class Callback:
    """Base of the callbacks; every method does nothing by default.

    ``on_end`` is called where ``on_start`` has succeeded, however the run ends.

    Attributes
    ----------
    every_steps : int
        ``on_steps`` is called after every so many steps of the run; 0, the default, is never.
    """

    every_steps: int = 0
    # Whether its hooks come before, or after, those of the others.
    _before_others: ClassVar[bool] = False
    _after_others: ClassVar[bool] = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name, value in vars(cls).items():
            if callable(value) and not name.startswith("_"):
                _check_hook(cls, name)

    def on_start(self, state: State) -> None:
        """Called before the first epoch."""

    def on_epoch(self, state: State) -> None:
        """Called after each epoch, with the history up to date."""

    def on_steps(self, state: State) -> None:
        """Called after every ``every_steps`` steps; at the end of an epoch, after ``on_epoch``."""

    def epochs_at_once(self, state: State) -> int:
        """Return how many epochs may be done before :meth:`on_epoch` is next called; 1 by default.

        More spare the engine a return to Python after each of many short epochs. Where another
        callback, a metric or validation data want each epoch, it is called after each.
        """
        return 1

    def on_interrupt(self, state: State) -> None:
        """Called where Ctrl-C, a signal or :attr:`State.stop` ends a run within an epoch.

        It comes before any ``on_end``, and at an epoch's end too where it was Ctrl-C or a signal.

        The network is still the one that was trained last; an ``on_end`` may restore another.
        """

    def on_end(self, state: State) -> None:
        """Called once at the end, also after an interrupt or a divergence."""

    def get_state(self) -> Mapping[str, Any]:
        """Return what a checkpoint has to keep of this callback, besides its settings.

        Names with numbers, strings, arrays, or lists and dictionaries of these. Nothing by default:
        a callback that counts or remembers across epochs returns it here.
        """
        return {}

    def set_state(self, saved: Mapping[str, Any]) -> None:
        """Take what :meth:`get_state` returned; called after ``on_start`` of a resumed run."""


_HOOKS = {
    "on_start": "on_train_begin on_train_start on_fit_start on_fit_begin on_begin before_train "
    "before_fit before_training training_start train_begin setup_run",
    "on_epoch": "on_epoch_end on_train_epoch_end on_validation_end on_validation_epoch_end "
    "after_epoch epoch_end after_iteration",
    "on_steps": "on_batch_end on_train_batch_end on_step on_step_end after_batch on_batch",
    "on_interrupt": "on_exception on_keyboard_interrupt",
    "on_end": "on_train_end on_fit_end on_finish after_train after_fit after_training training_end "
    "train_end",
}
_NO_HOOKS = (
    "on_epoch_begin on_epoch_start on_train_epoch_start before_epoch on_batch_begin "
    "on_train_batch_begin on_train_batch_start on_batch_start on_step_begin on_test_begin "
    "on_test_end on_predict_end on_validation_start before_batch on_after_backward "
    "on_before_optimizer_step"
)


def _check_hook(cls: type, name: str) -> None:
    """Raise where a method is a hook by another library's name, or a misspelt one."""
    if name in vars(Callback):
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
            "on_start, on_epoch (after each epoch), on_steps (after each every_steps steps), "
            "on_interrupt and on_end, each with the State as its one argument"
        )


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
