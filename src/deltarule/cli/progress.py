"""Progress of a study: a bar on a terminal, a line for each step elsewhere; on standard error."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

from deltarule.cli.output import console
from deltarule.training.callbacks import Callback
from deltarule.training.state import State


class Watch(Callback):
    """Shows which of the trainings runs, and how far it is."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._console = console(stderr=True)
        self._quiet = quiet
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> Self:
        if not self._quiet and self._console.is_terminal:
            from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.completed:.0f}/{task.total:.0f}"),
                TimeElapsedColumn(),
                TextColumn("{task.fields[state]}"),
                console=self._console,
                transient=True,
            )
            self._bar.start()
            self._task = self._bar.add_task("", total=1, state="")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def stage(self, words: str, done: int, total: int) -> None:
        """Note that the next of the steps begins."""
        if self._bar is not None:
            self._bar.update(self._task, description=words, completed=done, total=total, state="")
        elif not self._quiet:
            self._console.print(f"[{done}/{total}] {words}", markup=False)

    def on_epoch(self, state: State) -> None:
        """Show the epoch, where there is a bar."""
        if self._bar is not None:
            last = state.history.last()
            loss = last.get("val_loss", last.get("loss"))
            shown = "" if loss is None else f", validation loss {loss:.4g}"
            self._bar.update(self._task, state=f"epoch {state.epoch}{shown}")
