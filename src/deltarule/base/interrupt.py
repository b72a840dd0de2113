"""Ctrl-C between steps: the current step is finished first, so no parameter is half updated."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupt:
    """Whether Ctrl-C was pressed; engines look at it between steps.

    Attributes
    ----------
    requested : bool
    shared : bool
        Whether it ends several runs at once. Then their common caller tells the user, not each run.
    """

    def __init__(self, *, shared: bool = False) -> None:
        self.requested = False
        self.shared = shared


_obeyed = threading.local()


@contextmanager
def obeying(interrupt: Interrupt) -> Iterator[None]:
    """Make runs in this thread, which receives no signals, end when ``interrupt`` says so."""
    _obeyed.interrupt = interrupt
    try:
        yield
    finally:
        del _obeyed.interrupt


@contextmanager
def deferred_interrupt(*, shared: bool = False) -> Iterator[Interrupt]:
    """Turn the first SIGINT within the block into a flag; a second one acts as usual.

    Outside the main thread, or where Python does not handle SIGINT, signals are left as they are;
    the flag there is the one that the thread obeys, if any.
    """
    interrupt = Interrupt(shared=shared)
    in_main_thread = threading.get_ident() == threading.main_thread().ident
    usual = signal.getsignal(signal.SIGINT)
    if not in_main_thread or not callable(usual):
        yield getattr(_obeyed, "interrupt", interrupt)
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
