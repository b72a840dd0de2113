"""Ctrl-C between steps: the current step is finished first, so no parameter is half updated."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

# Below the module's functions, which make an enum of every handler: 2 us each, three times a step.
_signals: Any = sys.modules.get("_signal", signal)


class Interrupt:
    """Whether Ctrl-C was pressed; engines look at it between steps.

    One that is within another is requested where the outer one is, and not the other way round.
    """

    __slots__ = ("_outer", "_requested")

    def __init__(self, outer: Interrupt | None = None) -> None:
        self._outer, self._requested = outer, False

    @property
    def requested(self) -> bool:
        """Whether whatever runs is to end."""
        return self._requested or (self._outer is not None and self._outer.requested)

    def request(self) -> None:
        """Let whatever runs end."""
        self._requested = True


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
    """Turn the first KeyboardInterrupt of a SIGINT within the block into a flag.

    The handler that was there is called as always, a user's own too; only if it raises
    KeyboardInterrupt, as Python's does, the flag is set instead. A second one is raised at once.
    A block within another one shares its flag.

    Outside the main thread, in a subinterpreter, or where Python does not handle SIGINT (a shell
    starts what runs in the background with SIGINT ignored), signals are left as they are; the flag
    there is the one that the thread obeys, if any.
    """

    def __init__(self) -> None:
        self._interrupt = Interrupt()
        self._usual: Any = None

    def __enter__(self) -> Interrupt:
        if threading.get_ident() != threading.main_thread().ident:
            found: Interrupt = getattr(_obeyed, "interrupt", self._interrupt)
            return found
        usual = _signals.getsignal(signal.SIGINT)
        outer = getattr(usual, "__self__", None)
        if isinstance(outer, deferred_interrupt):
            return outer._interrupt
        if callable(usual):
            self._usual = usual
            try:
                _signals.signal(signal.SIGINT, self._request)
            except ValueError:  # not the main interpreter, or not what it takes for the main thread
                self._usual = None
        return self._interrupt

    def __exit__(self, *exception: object) -> None:
        if self._usual is not None:
            found = _signals.signal(signal.SIGINT, self._usual)
            if getattr(found, "__self__", None) is not self:
                _signals.signal(signal.SIGINT, found)  # which a callback has installed meanwhile

    def _request(self, signum: int, frame: FrameType | None) -> None:
        if self._interrupt.requested:
            self._usual(signum, frame)
            return
        try:
            self._usual(signum, frame)
        except KeyboardInterrupt:
            self._interrupt.request()
