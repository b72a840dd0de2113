"""Interleaved measurement: A B C, B C A, C A B, ... so that disturbances affect all alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

_PAUSE = 0.1
"""Seconds between turns, in which thread pools that keep spinning after their work come to rest.

OpenBLAS's threads, which scikit-learn uses, spin for a little more than 30 ms."""


@dataclass(frozen=True)
class Budget:
    """How long measuring may take.

    Attributes
    ----------
    turn : float
        Seconds that one turn should last, if a single unit of work does not take longer.
    total : float
        Seconds for all rounds of one comparison; a round that has begun is finished.
    rounds : int
        The largest number of rounds.
    least : int
        The smallest number of rounds, even if they take longer than ``total``.
    """

    turn: float
    total: float
    rounds: int
    least: int = 3


class Clock:
    """A time limit in seconds that starts when the clock is made."""

    def __init__(self, seconds: float) -> None:
        self._end = time.perf_counter() + seconds

    @property
    def left(self) -> float:
        """Seconds left, negative once the limit is passed."""
        return self._end - time.perf_counter()


@dataclass
class Task:
    """Something to be timed.

    Attributes
    ----------
    work : function (count)
        Does ``count`` units of work and returns when they are done.
    units : int
        Reported units in one unit of work (steps per epoch, rows per call).
    before : function, optional
        Runs before each turn, untimed.
    """

    work: Callable[[int], object]
    units: int = 1
    before: Callable[[], object] | None = None
    count: int = 1

    def calibrate(self, seconds: float) -> None:
        """Choose how many units of work make a turn of about ``seconds``."""
        self.count = 1
        while (elapsed := self._time(self.count)) < seconds / 2:
            growth = seconds / max(elapsed, 1e-9)
            # The first calls may be slow, so a large jump could miss by far.
            self.count = max(self.count + 1, int(self.count * min(growth, 10.0)))

    def turn(self) -> float:
        """Return microseconds per unit."""
        if self.before is not None:
            self.before()
        return 1e6 * self._time(self.count) / (self.count * self.units)

    def _time(self, count: int) -> float:
        start = time.perf_counter()
        self.work(count)
        return time.perf_counter() - start


def interleave(tasks: Mapping[str, Task], budget: Budget) -> dict[str, list[float]]:
    """Return each task's microseconds per unit in every round; all lists are equally long."""
    samples: dict[str, list[float]] = {name: [] for name in tasks}
    names = list(tasks)
    if not names:
        return samples
    start = time.perf_counter()
    for done in range(budget.rounds):
        spent = time.perf_counter() - start
        if done >= budget.least and spent * (done + 1) / done > budget.total:
            break
        for name in names[done % len(names) :] + names[: done % len(names)]:
            time.sleep(_PAUSE)
            samples[name].append(tasks[name].turn())
    return samples
