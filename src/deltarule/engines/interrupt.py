"""Ctrl-C between steps: the step in progress ends first, so that no parameter is half updated."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupt:
    """Whether Ctrl-C was pressed."""

    def __init__(self) -> None:
        self.requested = False


@contextmanager
def deferred_interrupt() -> Iterator[Interrupt]:
    """Turn SIGINT into a flag within the block.

    Outside the main thread, or where Python does not handle SIGINT, nothing changes.
    """
    interrupt = Interrupt()
    in_main_thread = threading.current_thread() is threading.main_thread()
    if not in_main_thread or not callable(signal.getsignal(signal.SIGINT)):
        yield interrupt
        return

    def request(signum: int, frame: FrameType | None) -> None:
        interrupt.requested = True

    previous = signal.signal(signal.SIGINT, request)
    try:
        yield interrupt
    finally:
        signal.signal(signal.SIGINT, previous)
