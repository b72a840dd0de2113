"""Ctrl-C between steps: the step in progress ends first, so that no parameter is half updated."""

from __future__ import annotations

import signal
import threading
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
    in_main_thread = threading.current_thread() is threading.main_thread()
    usual = signal.getsignal(signal.SIGINT)
    if not in_main_thread or not callable(usual):
        yield interrupt
        return

    def request(signum: int, frame: FrameType | None) -> None:
        if interrupt.requested:
            usual(signum, frame)
        interrupt.requested = True

    signal.signal(signal.SIGINT, request)
    try:
        yield interrupt
    finally:
        signal.signal(signal.SIGINT, usual)
