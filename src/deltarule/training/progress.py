"""Progress: one line that redraws itself on a terminal, plain lines elsewhere."""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Callable
from typing import Protocol, TextIO, runtime_checkable

from deltarule.base.errors import InvalidValueError, describe_value
from deltarule.training.history import History

_WAIT = 1.0
"""Seconds before anything is shown, where progress is "auto"."""
_REDRAW = 0.1
"""Seconds between two redraws on a terminal."""
_PLAIN_PAUSE = 1.0
"""The smallest number of seconds between two plain lines."""
_PLAIN_LINES = 20
"""About the largest number of lines if the output is not a terminal."""


@runtime_checkable
class Display(Protocol):
    """Receives the progress of a run."""

    def show(self, history: History, *, final: bool = False) -> None:
        """Called whenever an engine returns, and once at the end."""
        ...


class _Line:
    """A line on standard error that says what part of a total is done.

    Parameters
    ----------
    mode : "auto", True or False
        "auto" shows nothing if the run ends within a second.
    total : int
        Epochs.
    """

    def __init__(self, mode: bool | str, total: int, stream: TextIO | None = None) -> None:
        if not (isinstance(mode, bool) or (isinstance(mode, str) and mode == "auto")):
            raise InvalidValueError(
                f"progress must be True, False or 'auto', got {describe_value(mode)}"
            )
        self._stream = stream or sys.stderr or io.StringIO()  # none, for instance in a service
        self._total = total
        self._start = time.perf_counter()
        self._quiet_until = self._start + (_WAIT if mode == "auto" else 0.0)
        self._silent = mode is False
        self._terminal = self._stream.isatty()
        self._last_drawn = -1.0
        self._last_done = 0
        self._width = 0

    def draw(self, done: int, text: Callable[[], str], *, final: bool = False) -> None:
        """Show the state, if it is time to."""
        now = time.perf_counter()
        shown_before = self._last_drawn >= 0
        if self._silent or (now < self._quiet_until and not (final and shown_before)):
            return
        if not final and not self._is_due(now, done):
            return
        if final and not self._terminal and self._last_done == done:
            return
        self._last_drawn, self._last_done = now, done
        line = self._line(done, text(), now)
        if self._terminal:
            padded = line.ljust(self._width)
            self._width = len(line)
            self._stream.write(f"\r{padded}" + ("\n" if final else ""))
        else:
            self._stream.write(line + "\n")
        self._stream.flush()

    def _is_due(self, now: float, done: int) -> bool:
        if self._terminal:
            return now - self._last_drawn >= _REDRAW
        every = -(-self._total // _PLAIN_LINES)
        return done - self._last_done >= every and now - self._last_drawn >= _PLAIN_PAUSE

    def _line(self, done: int, text: str, now: float) -> str:
        total, elapsed = self._total, now - self._start
        left = elapsed / done * (total - done) if done else 0.0
        bar = ""
        if self._terminal:
            filled = 20 * done // total
            bar = f"[{'=' * filled}{' ' * (20 - filled)}] "
        clock = f"{left:.0f} s left" if done < total else f"{elapsed:.1f} s"
        return f"{bar}{text}  {clock}"


class Progress(_Line):
    """Shows epochs, the newest numbers and the time left of one run."""

    def show(self, history: History, *, final: bool = False) -> None:
        """Show the state after an epoch, if it is time to."""

        def text() -> str:
            numbers = "  ".join(
                f"{name} {value:.4g}"
                for name, value in history.last().items()
                if name.removeprefix("val_") not in ("data_loss", "penalty", "learning_rate")
            )
            return f"epoch {history.epochs}/{self._total}  {numbers}"

        self.draw(history.epochs, text, final=final)


class SharedProgress(_Line):
    """Shows how many of several runs are finished, the best so far, and the time left.

    Attributes
    ----------
    best : str
        The best so far, in words.
    """

    def __init__(
        self, mode: bool | str, runs: int, epochs: int, stream: TextIO | None = None
    ) -> None:
        super().__init__(mode, runs * epochs, stream)
        self.best = ""
        self.parts = [Part(epochs) for _ in range(runs)]

    def show(self, *, final: bool = False) -> None:
        """Show the state, if it is time to; always from one and the same thread."""

        def text() -> str:
            finished = sum(part.finished for part in self.parts)
            best = f"  best {self.best}" if self.best else ""
            return f"restart {finished}/{len(self.parts)}{best}"

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
