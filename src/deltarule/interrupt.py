"""Ctrl-C between steps: the step in progress ends first, so that no parameter is half updated."""

from __future__ import annotations

import threading

# What signal.py wraps into enums, at the cost of a small network's step.
from _signal import SIGINT, getsignal, signal  # type: ignore[import-not-found]
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupt:
    """Whether Ctrl-C was pressed; engines look at it between steps."""

    def __init__(self) -> None:
        self.requested = False


@contextmanager
def deferred_interrupt() -> Iterator[Interrupt]:
    """Turn the first SIGINT within the block into a flag; a second one acts as usual.

    Outside the main thread, or where Python does not handle SIGINT, nothing changes.
    """
    interrupt = Interrupt()
    in_main_thread = threading.get_ident() == threading.main_thread().ident
    usual = getsignal(SIGINT)
    if not in_main_thread or not callable(usual):
        yield interrupt
        return

    def request(signum: int, frame: FrameType | None) -> None:
        if interrupt.requested:
            usual(signum, frame)
        interrupt.requested = True

    signal(SIGINT, request)
    try:
        yield interrupt
    finally:
        signal(SIGINT, usual)
