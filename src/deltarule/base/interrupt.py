"""Ctrl-C between steps: the current step is finished first, so no parameter is half updated."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


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


class deferred_interrupt:  # noqa: N801 - used as a function is
    """Turn the first SIGINT within the block into a flag; a second one acts as usual.

    Outside the main thread, or where Python does not handle SIGINT, signals are left as they are;
    the flag there is the one that the thread obeys, if any.
    """

    def __init__(self, *, shared: bool = False) -> None:
        self._interrupt = Interrupt(shared=shared)
        self._usual: Any = None

    def __enter__(self) -> Interrupt:
        in_main_thread = threading.get_ident() == threading.main_thread().ident
        usual = signal.getsignal(signal.SIGINT)
        if not in_main_thread or not callable(usual):
            found: Interrupt = getattr(_obeyed, "interrupt", self._interrupt)
            return found
        self._usual = usual
        signal.signal(signal.SIGINT, self._request)
        return self._interrupt

    def __exit__(self, *exception: object) -> None:
        if self._usual is not None:
            signal.signal(signal.SIGINT, self._usual)

    def _request(self, signum: int, frame: FrameType | None) -> None:
        if self._interrupt.requested:
            self._usual(signum, frame)
        self._interrupt.requested = True
