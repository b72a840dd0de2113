"""Ctrl-C and SIGTERM between steps: the step is finished first, no parameter is half updated."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

# Below the module's functions, which make an enum of every handler: 2 us each, three times a step.
_signals: Any = sys.modules.get("_signal", signal)


class Interrupt:
    """Whether Ctrl-C was pressed; engines look at it between steps.

    One that is within another is requested where the outer one is, and not the other way round.

    Attributes
    ----------
    terminated : bool
        Whether it was SIGTERM.
    """

    __slots__ = ("_outer", "_requested", "terminated")

    def __init__(self, outer: Interrupt | None = None) -> None:
        self._outer, self._requested, self.terminated = outer, False, False

    @property
    def requested(self) -> bool:
        """Whether whatever runs is to end."""
        return self._requested or (self._outer is not None and self._outer.requested)

    def request(self) -> None:
        """Let whatever runs end."""
        self._requested = True


class Until(Interrupt):
    """An interrupt within another, which is also requested from a moment of the clock on.

    ``moment`` is of :func:`time.monotonic`.
    """

    __slots__ = ("_moment",)

    def __init__(self, outer: Interrupt, moment: float) -> None:
        super().__init__(outer)
        self._moment = moment

    @property
    def requested(self) -> bool:
        """Whether whatever runs is to end."""
        return time.monotonic() >= self._moment or super().requested


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

    ``terminates``: the flag is set by SIGTERM too, which would otherwise end the process at once. A
    handler of the user's own for SIGTERM stays.

    Outside the main thread, in a subinterpreter, or where Python does not handle SIGINT (a shell
    starts what runs in the background with SIGINT ignored), signals are left as they are; the flag
    there is the one that the thread obeys, if any.
    """

    def __init__(self, *, terminates: bool = False) -> None:
        self._interrupt = Interrupt()
        self._usual: Any = None
        self._terminates, self._unterminated = terminates, False

    def __enter__(self) -> Interrupt:
        if threading.get_ident() != threading.main_thread().ident:
            found: Interrupt = getattr(_obeyed, "interrupt", self._interrupt)
            return found
        usual = _signals.getsignal(signal.SIGINT)
        outer = getattr(usual, "__self__", None)
        if isinstance(outer, deferred_interrupt):
            self._interrupt = outer._interrupt
        elif callable(usual):
            self._usual = usual
            try:
                _signals.signal(signal.SIGINT, self._request)
            except ValueError:  # not the main interpreter, or not what it takes for the main thread
                self._usual = None
        if self._terminates and _signals.getsignal(signal.SIGTERM) == _signals.SIG_DFL:
            with suppress(ValueError):
                _signals.signal(signal.SIGTERM, self._terminate)
                self._unterminated = True
        return self._interrupt

    def __exit__(self, *exception: object) -> None:
        if self._unterminated:
            found = _signals.signal(signal.SIGTERM, _signals.SIG_DFL)
            if getattr(found, "__self__", None) is not self:
                _signals.signal(signal.SIGTERM, found)
        if self._usual is not None:
            found = _signals.signal(signal.SIGINT, self._usual)
            if getattr(found, "__self__", None) is not self:
                _signals.signal(signal.SIGINT, found)  # which a callback has installed meanwhile

    def _terminate(self, signum: int, frame: FrameType | None) -> None:
        self._interrupt.terminated = True
        self._interrupt.request()

    def _request(self, signum: int, frame: FrameType | None) -> None:
        if self._interrupt.requested:
            self._usual(signum, frame)
            return
        try:
            self._usual(signum, frame)
        except KeyboardInterrupt:
            self._interrupt.request()
