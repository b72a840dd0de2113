"""Progress: a bar of tqdm on a terminal or in a notebook, plain lines elsewhere.

Nothing here ends a run: see :class:`Quiet`.
"""

from __future__ import annotations

import os
import sys
import threading
import time
import warnings
from collections.abc import Callable
from functools import cache
from typing import Any, Protocol, runtime_checkable

from deltarule.base.errors import InvalidValueError, describe_value
from deltarule.base.log import warn
from deltarule.training.history import History

_WAIT = 1.0
"""Seconds before anything is shown, where progress is "auto"."""
_REDRAW = 0.1
"""Seconds between two redraws of a bar."""
_PLAIN_PAUSE = 1.0
"""The smallest number of seconds between two plain lines."""
_PLAIN_LINES = 20
"""About the largest number of lines if the output is not a terminal."""
_PLAIN = "{desc}: {n_fmt}/{total_fmt} [{elapsed}<{remaining}{postfix}]"


@runtime_checkable
class Display(Protocol):
    """Receives the progress of a run.

    An error that it raises does not end the run: it is logged, and the display is not called again.
    """

    def show(self, history: History, *, final: bool = False) -> None:
        """Called whenever an engine returns, and once at the end."""
        ...


class Quiet:
    """A display whose first error is logged and whose silence follows; the run goes on."""

    def __init__(self, show: Callable[..., None]) -> None:
        self._show: Callable[..., None] | None = show

    def show(self, *arguments: Any, **keywords: Any) -> None:
        """Let the display show something, while it can."""
        if self._show is not None:
            try:
                self._show(*arguments, **keywords)
            except Exception as error:
                self._show = None
                warn(
                    "progress is no longer shown, as its display failed (%s: %s); the training "
                    "goes on",
                    type(error).__name__,
                    describe_value(error),
                    error=None if isinstance(error, (OSError, ValueError)) else error,
                )


class _Line:
    """A line on standard error that says what part of a total is done.

    Parameters
    ----------
    mode : "auto", True or False
        "auto" shows nothing if the run ends within a second. False touches no stream.
    total : int
        Epochs.
    """

    def __init__(self, mode: bool | str, total: int) -> None:
        if not (isinstance(mode, bool) or (isinstance(mode, str) and mode == "auto")):
            raise InvalidValueError(
                f"progress must be True, False or 'auto', got {describe_value(mode)}"
            )
        self._silent = mode is False
        self._total = total
        self._start = time.perf_counter()
        self._quiet_until = self._start + (_WAIT if mode == "auto" else 0.0)
        self._output: _Bar | _PlainLines | None = None

    def draw(self, done: int, text: Callable[[], tuple[str, str]], *, final: bool = False) -> None:
        """Show the state, if it is time to; ``text`` returns what stands before and after."""
        if self._silent:
            return
        now = time.perf_counter()
        if self._output is None:
            if now < self._quiet_until:
                return
            stream = sys.stderr
            if stream is None:  # in a service, for instance
                self._silent = True
                return
            self._output = _output(stream, self._total, self._start)
        if final or self._output.is_due(now, done):
            self._output.draw(now, done, *text(), final=final)


class Progress(_Line):
    """Shows epochs, the newest numbers and the time left of one run."""

    def show(self, history: History, *, final: bool = False) -> None:
        """Show the state after an epoch, if it is time to."""

        def text() -> tuple[str, str]:
            numbers = ", ".join(
                f"{name} {value:.4g}"
                for name, value in history.last().items()
                if name.removeprefix("val_") not in ("data_loss", "penalty", "learning_rate")
            )
            return "epochs", numbers

        self.draw(history.epochs, text, final=final)


class SharedProgress(_Line):
    """Shows how many of several runs are finished, the best so far, and the time left.

    Attributes
    ----------
    best : str
        The best so far, in words.
    """

    def __init__(self, mode: bool | str, runs: int, epochs: int) -> None:
        super().__init__(mode, runs * epochs)
        self.best = ""
        self.parts = [Part(epochs) for _ in range(runs)]

    def show(self, *, final: bool = False) -> None:
        """Show the state, if it is time to; always from one and the same thread."""

        def text() -> tuple[str, str]:
            finished = sum(part.finished for part in self.parts)
            best = self.best and f"best {self.best}"
            return f"{finished} of {len(self.parts)} restarts", best

        self.draw(sum(part.done for part in self.parts), text, final=final)


class Part:
    """The progress of one of several runs: noted by its thread, drawn by another."""

    def __init__(self, epochs: int) -> None:
        self._epochs = epochs
        self.done = 0
        self.finished = False

    def show(self, history: History, *, final: bool = False) -> None:
        """Note how far the run is; one that stopped early has nothing left to do."""
        self.done = self._epochs if final else history.epochs
        self.finished = final


# ------------------------------------------------------------------------ what a line is made of


def _output(stream: Any, total: int, start: float) -> _Bar | _PlainLines:
    made, in_notebook = _tqdm()
    isatty = getattr(stream, "isatty", None)
    if in_notebook or (callable(isatty) and isatty()):
        return _Bar(made, stream, total, start)
    return _PlainLines(made, stream, total, start)


_importing = threading.Lock()
"""Two threads that catch warnings at once leave the filters of one to all: here, none is shown."""


def _forked() -> None:
    global _importing
    _importing = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


@cache
def _tqdm() -> tuple[Any, bool]:
    """Return tqdm's bar for where this runs, and whether that is a notebook.

    It is imported with the first line that is shown: that takes as long as the whole package.
    """
    with _importing, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about missing widgets: then it is a line of text
        import tqdm.auto
        import tqdm.std

    class Bar(tqdm.auto.tqdm):  # type: ignore[misc]
        monitor_interval = 0  # no thread of its own

        def __del__(self) -> None:
            """Write nothing: only :meth:`close` does, where an error can be seen."""

    # A lock of its own: tqdm's would start a process on some systems. A fork may find it held.
    Bar.set_lock(threading.RLock())
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=lambda: Bar.set_lock(threading.RLock()))
    return Bar, tqdm.auto.tqdm.__mro__[1].__module__ == "tqdm.notebook"


class _Bar:
    """A bar that redraws itself, of the width that the terminal has then."""

    def __init__(self, made: Any, stream: Any, total: int, start: float) -> None:
        # The delay keeps it from drawing within its constructor.
        self._bar = made(
            total=total, file=stream, unit=" epochs", dynamic_ncols=True, delay=1e-9, disable=False
        )
        self._bar.start_t -= time.perf_counter() - start + 1e-6
        self._encoding = getattr(stream, "encoding", None) or "utf-8"
        self._last_drawn = -1.0

    def is_due(self, now: float, done: int) -> bool:
        return now - self._last_drawn >= _REDRAW

    def draw(self, now: float, done: int, before: str, after: str, *, final: bool) -> None:
        self._last_drawn = now
        self._bar.n = done
        self._bar.desc = f"{before}: "
        self._bar.postfix = _encodable(after, self._encoding)
        self._bar.display()
        if final:
            self._bar.close()


class _PlainLines:
    """Some twenty lines, for files and pipes."""

    def __init__(self, made: Any, stream: Any, total: int, start: float) -> None:
        self._format, self._stream, self._total, self._start = (
            made.format_meter,
            stream,
            total,
            start,
        )
        self._encoding = getattr(stream, "encoding", None) or "utf-8"
        self._last_drawn, self._last_done = -1.0, 0

    def is_due(self, now: float, done: int) -> bool:
        every = -(-self._total // _PLAIN_LINES)
        return done - self._last_done >= every and now - self._last_drawn >= _PLAIN_PAUSE

    def draw(self, now: float, done: int, before: str, after: str, *, final: bool) -> None:
        if final and self._last_drawn >= 0 and done == self._last_done:
            return
        self._last_drawn, self._last_done = now, done
        line = self._format(
            done,
            self._total,
            now - self._start,
            prefix=before,
            postfix=_encodable(after, self._encoding),
            bar_format=_PLAIN,
        )
        self._stream.write(f"{line}\n")
        self._stream.flush()


def _encodable(text: str, encoding: str) -> str:
    """Return a text with "?" for what a stream cannot write, on one line."""
    return " ".join(text.encode(encoding, "replace").decode(encoding).split())
