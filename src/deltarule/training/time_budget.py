"""A run that ends after so many seconds."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from deltarule.base.guards import Guarded
from deltarule.base.settings import check_number
from deltarule.base.words import helpful
from deltarule.training.callbacks import Callback
from deltarule.training.state import State


@helpful
@dataclass
class TimeBudget(Guarded, Callback):
    """End a run after some seconds, within an epoch too, after the step in progress.

    A resumed run counts the seconds of what came before.

    Parameters
    ----------
    seconds : float
        Wall-clock time of the run, validation and other callbacks included.

    Examples
    --------
    >>> import numpy as np, deltarule as dr
    >>> net = dr.Network([dr.Dense(1)], inputs=1, seed=0)
    >>> history = dr.train(net, np.ones((4, 1)), np.ones(4), loss="squared_error",
    ...                    epochs=10**9, callbacks=[dr.TimeBudget(0.05)])
    >>> history.stopped
    'the time budget of 0.05 s is used up'
    """

    seconds: float
    _checks: ClassVar[Mapping[str, Callable[[str, Any], object]]] = {
        "seconds": partial(check_number, above=0)
    }

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self._checks:
            self._checks[name](name, value)
        super().__setattr__(name, value)

    def on_start(self, state: State) -> None:
        """Tell the run when it ends."""
        left = self.seconds - state.history.seconds
        state.end_at(time.monotonic() + left, f"the time budget of {self.seconds:g} s is used up")

    def epochs_at_once(self, state: State) -> int:
        """Return any number: the run itself looks at the clock."""
        return 1 << 30
