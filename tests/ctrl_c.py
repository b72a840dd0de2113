"""Ctrl-C while training runs: pressed by another thread, counted in steps and never in seconds."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import deltarule as dr

DELAYS = (0.02, 0.1, 0.5, 2.5, 12.5)
"""Seconds; on a busy machine the first may pass before a single step is done."""


def press() -> None:
    os.kill(os.getpid(), signal.SIGINT)


@contextmanager
def pressed_in(trainer: Any, delay: float) -> Iterator[None]:
    """Press so long after the trainer has first called its engine."""
    executor = type(trainer._executor)
    run, timers = executor.run, []

    def timed(*arguments: Any) -> Any:
        if not timers:
            timers.append(threading.Timer(delay, press))
            timers[0].start()
        return run(*arguments)

    with mock.patch.object(executor, "run", timed):
        yield
    timers[0].join()


def interrupted(make: Callable[[], Any], run: Callable[[Any], Any]) -> tuple[Any, Any]:
    """Return a trainer that Ctrl-C stopped after at least one step, and its history."""
    for delay in DELAYS:
        trainer = make()
        with pressed_in(trainer, delay):
            try:
                history = run(trainer)
            except dr.TrainingInterrupted as interrupt:
                history = interrupt.history
        if trainer.steps:
            return trainer, history
    raise AssertionError(f"not one step within {DELAYS[-1]} s")
