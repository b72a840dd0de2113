"""Successive halving: restarts wait for each other at some epochs, and the better half goes on."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from deltarule.training.callbacks import Callback
from deltarule.training.state import State

_LOOK = 0.1
"""Seconds between two looks of a waiting thread at Ctrl-C and errors of others."""


def rungs(restarts: int, epochs: int) -> tuple[int, ...]:
    """Return the epochs after which the worse half is left out: a half of all, a quarter, ...

    So many that two or three restarts are left for the last half of the epochs. 16 restarts do
    5/16 of the epochs that they would do otherwise.

    Examples
    --------
    >>> rungs(16, 80), rungs(4, 5), rungs(3, 80)
    ((10, 20, 40), (3,), ())
    """
    count = restarts.bit_length() - 2
    found = {math.ceil(epochs / 2**power) for power in range(1, count + 1)}
    return tuple(sorted(epoch for epoch in found if epoch < epochs))


@dataclass
class Halving:
    """Who of several restarts, each in a thread of its own, goes on.

    At most ``places`` of them run at a time; one that waits for the others has given its place up.
    """

    restarts: int
    epochs: int
    places: threading.Semaphore
    stopped: Callable[[], bool]
    changed: threading.Condition = field(default_factory=threading.Condition)

    def __post_init__(self) -> None:
        self.rungs = rungs(self.restarts, self.epochs)
        self._left = list(range(self.restarts))  # restarts that are not left out
        self._costs: dict[int, float] = {}  # at the next rung
        self._ended: dict[int, float] = {}  # of restarts whose run is over, their last
        self._decided = 0  # rungs

    def begin(self) -> None:
        """Take a place, or none where all is over."""
        while not self.stopped():
            if self.places.acquire(timeout=_LOOK):
                return

    def end(self, restart: int, cost: float) -> None:
        """Give the place up: a run is over. NaN: it cannot win."""
        self.places.release()
        with self.changed:
            if restart in self._left:
                self._ended[restart] = cost
                self._decide()

    def goes_on(self, restart: int, cost: float) -> bool:
        """Wait at the next rung; return whether a restart of this cost is in the better half."""
        self.places.release()
        with self.changed:
            rung = self._decided
            self._costs[restart] = cost
            self._decide()
            while self._decided == rung and not self.stopped():
                self.changed.wait(_LOOK)
            found = restart in self._left
        self.begin()
        return found

    def _decide(self) -> None:
        """Leave the worse half out, where all that are left have come to the rung, or ended."""
        if self._decided == len(self.rungs):
            return
        costs = self._ended | self._costs
        if not costs.keys() >= set(self._left) or not self._costs:
            return

        def rank(restart: int) -> tuple[bool, float, int]:
            cost = costs[restart]
            return math.isnan(cost), 0.0 if math.isnan(cost) else cost, restart

        ranked = sorted(self._left, key=rank)
        self._left = sorted(ranked[: -(-len(ranked) // 2)])
        self._costs = {}
        self._decided += 1
        self.changed.notify_all()


class Rung(Callback):
    """Lets a restart wait at each rung, and ends it where it is left out."""

    def __init__(self, halving: Halving, restart: int, cost: Callable[[State], float]) -> None:
        self._halving, self._restart, self._cost = halving, restart, cost
        self.left_out = False

    def epochs_at_once(self, state: State) -> int:
        """Return the epochs until the next rung."""
        later = [rung for rung in self._halving.rungs if rung > state.epoch]
        return (later[0] if later else state.epochs) - state.epoch

    def on_epoch(self, state: State) -> None:
        """Wait for the others, at a rung."""
        if state.epoch not in self._halving.rungs or state.stop:
            return
        if not self._halving.goes_on(self._restart, self._cost(state)):
            self.left_out = True
            state.stop = f"left out after {state.epoch} epochs"
