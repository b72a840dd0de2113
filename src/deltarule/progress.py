"""Progress of a run: one line that redraws itself on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from typing import TextIO

from deltarule.errors import InvalidValueError, describe_value
from deltarule.history import History

_WAIT = 1.0
"""Seconds before anything is shown, where progress is "auto"."""
_REDRAW = 0.1
"""Seconds between two redraws on a terminal."""
_PLAIN_PAUSE = 1.0
"""At least so many seconds between two plain lines."""
_PLAIN_LINES = 20
"""At most about so many lines where the output is no terminal."""


class Progress:
    """Shows epochs, the newest numbers and the time left, on standard error.

    Parameters
    ----------
    mode : "auto", True or False
        "auto" shows nothing of a run that ends within a second.
    epochs : int
        How many the run has.
    """

    def __init__(self, mode: bool | str, epochs: int, stream: TextIO | None = None) -> None:
        if mode not in (True, False, "auto"):
            raise InvalidValueError(
                f"progress must be True, False or 'auto', got {describe_value(mode)}"
            )
        self._stream = stream or sys.stderr
        self._epochs = epochs
        self._start = time.perf_counter()
        self._quiet_until = self._start + (_WAIT if mode == "auto" else 0.0)
        self._silent = mode is False
        self._terminal = self._stream.isatty()
        self._last_drawn = -1.0
        self._last_epoch = 0
        self._width = 0

    def show(self, history: History, *, final: bool = False) -> None:
        """Show the state after an epoch, if it is time to."""
        now = time.perf_counter()
        shown_before = self._last_drawn >= 0
        if self._silent or (now < self._quiet_until and not (final and shown_before)):
            return
        if not final and not self._is_due(now, history.epochs):
            return
        if final and not self._terminal and self._last_epoch == history.epochs:
            return
        self._last_drawn, self._last_epoch = now, history.epochs
        line = self._line(history, now)
        if self._terminal:
            padded = line.ljust(self._width)
            self._width = len(line)
            self._stream.write(f"\r{padded}" + ("\n" if final else ""))
        else:
            self._stream.write(line + "\n")
        self._stream.flush()

    def _is_due(self, now: float, epoch: int) -> bool:
        if self._terminal:
            return now - self._last_drawn >= _REDRAW
        every = -(-self._epochs // _PLAIN_LINES)
        return epoch - self._last_epoch >= every and now - self._last_drawn >= _PLAIN_PAUSE

    def _line(self, history: History, now: float) -> str:
        done, total = history.epochs, self._epochs
        numbers = "  ".join(
            f"{name} {value:.4g}"
            for name, value in history.last().items()
            if name.removeprefix("val_") not in ("data_loss", "penalty", "learning_rate")
        )
        elapsed = now - self._start
        left = elapsed / done * (total - done) if done else 0.0
        bar = ""
        if self._terminal:
            filled = 20 * done // total
            bar = f"[{'=' * filled}{' ' * (20 - filled)}] "
        clock = f"{left:.0f} s left" if done < total else f"{elapsed:.1f} s"
        return f"{bar}epoch {done}/{total}  {numbers}  {clock}"
