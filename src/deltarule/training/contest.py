"""Several restarts: independent trainings, of which the best is kept."""

from __future__ import annotations

import copy
import math
import threading
import time
from dataclasses import dataclass, field
from typing import Any

from deltarule.base.errors import (
    DivergenceError,
    InvalidTypeError,
    InvalidValueError,
    TrainingInterrupted,
)
from deltarule.base.guards import fixed
from deltarule.base.interrupt import Interrupt, deferred_interrupt, obeying
from deltarule.base.log import warn
from deltarule.base.words import helpful
from deltarule.network.network import Network
from deltarule.training.callbacks import Callback
from deltarule.training.halving import Halving, Rung
from deltarule.training.history import History
from deltarule.training.progress import Quiet, SharedProgress
from deltarule.training.trainer import Trainer
from deltarule.training.watching import Monitor

_NO_NUMBER = 2
"""How a restart is ranked that has no number to compare: after 0, those that ended, and 1."""
_LOOK = 0.1
"""Seconds between two looks of the waiting thread at Ctrl-C and progress."""


@helpful
@fixed
@dataclass(frozen=True, eq=False, repr=False)
class Restarts:
    """The result of training from several initialisations; printed, it is a table.

    All sequences have one item per restart, in the order of their numbers.

    Attributes
    ----------
    best : int
        Number of the restart that the network now holds.
    monitor : str
        The loss or metric that decided.
    scores : tuple of float
        Its value for the network that each restart ended with, measured on that network; NaN where
        a restart diverged, or an interrupt came before its first whole epoch.
    seeds : tuple of int
        Seeds of the initial parameters; that of restart 0 is the network's own.
    histories : tuple of History or None
        None where an interrupt came before a restart began.
    networks : tuple of Network
        Copies of the ``keep`` best, the best first; fewer where others diverged or were left out.
        ``dr.Ensemble(found.networks)`` averages their outputs.
    callbacks : tuple of Callback
        The best restart's copies of the callbacks.
    seconds : float
        Wall-clock time of all restarts together.
    stopped : str
        "interrupted" after Ctrl-C, otherwise "".
    """

    best: int
    monitor: str
    scores: tuple[float, ...]
    seeds: tuple[int, ...]
    histories: tuple[History | None, ...]
    networks: tuple[Network, ...]
    callbacks: tuple[Callback, ...]
    seconds: float
    stopped: str

    @property
    def history(self) -> History:
        """The best restart's history."""
        history = self.histories[self.best]
        assert history is not None
        return history

    def __len__(self) -> int:
        return len(self.seeds)

    def __repr__(self) -> str:
        finite = [score for score in self.scores if math.isfinite(score)]
        spread = f", all {min(finite):.6g} to {max(finite):.6g}" if finite else ""
        stopped = f"; stopped: {self.stopped}" if self.stopped else ""
        return (
            f"Restarts({len(self)} restarts, best {self.best}: {self.monitor} "
            f"{self.scores[self.best]:.6g}{spread}; {self.seconds:.2f} s{stopped})"
        )

    def __str__(self) -> str:
        rows = [("restart", "seed", self.monitor, "epochs", "ended")]
        for i, history in enumerate(self.histories):
            ended = "not begun" if history is None else history.stopped
            score = "" if math.isnan(self.scores[i]) else f"{self.scores[i]:.6g}"
            epochs = 0 if history is None else history.epochs
            rows.append((str(i), str(self.seeds[i]), score, str(epochs), ended))
        widths = [max(len(row[j]) for row in rows) for j in range(5)]
        lines = []
        for i, row in enumerate(rows):
            cells = [cell.rjust(width) for cell, width in zip(row[:4], widths, strict=False)]
            mark = "*" if i == self.best + 1 else " "
            lines.append("  ".join([mark + cells[0], *cells[1:], row[4]]).rstrip())
        return "\n".join(lines)


@dataclass
class Contest:
    """Restarts of one trainer, and the best of them so far.

    They are independent: no thread waits for another, and one that is done takes the next restart.
    Where they are halved, each has a thread of its own, and waits for the others at the rungs.
    """

    trainer: Trainer
    seeds: tuple[int, ...]
    callbacks: list[Callback]
    watch: Monitor
    display: SharedProgress
    settings: dict[str, Any]
    names: tuple[str, ...] | None = None
    keep: int = 1
    halves: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)
    kept: list[_Entrant] = field(default_factory=list)  # the best so far, the best first

    def __post_init__(self) -> None:
        self.histories: list[History | None] = [None] * len(self.seeds)
        self.scores = [math.nan] * len(self.seeds)
        self.divergences: dict[int, DivergenceError] = {}
        self.shown = Quiet(self.display.show)

    def run(self, threads: int, *, raises: bool) -> Restarts:
        """Run all restarts and give the network the best of them; ``raises``: whether Ctrl-C does.

        Its threads are daemons where this one is: they keep no process alive that it would not.
        """
        start = time.perf_counter()
        numbers, failures = iter(range(len(self.seeds))), dict[int, BaseException]()
        with deferred_interrupt() as interrupt:
            stop = Interrupt(interrupt)
            halving: Halving | None = None
            if self.halves:  # restarts wait for each other: each has a thread of its own
                places, threads = threading.Semaphore(threads), len(self.seeds)
                epochs = self.settings["epochs"]
                halving = Halving(threads, epochs, places, lambda: stop.requested)

            def work() -> None:
                with obeying(stop):
                    while (i := next(numbers, None)) is not None:
                        # The first always begins, so that there is a history after an early Ctrl-C.
                        if i == 0 or not stop.requested:
                            try:
                                self.attempt(i, halving)
                            except BaseException as error:
                                failures[i] = error
                                stop.request()

            workers = [
                threading.Thread(target=work, name=f"deltarule-restart_{k}") for k in range(threads)
            ]
            try:
                for worker in workers:
                    worker.start()
                for worker in workers:
                    while worker.is_alive() and not stop.requested:
                        worker.join(_LOOK)
                        self.shown.show()
            finally:
                stop.request()  # whatever still runs ends now
                for worker in workers:
                    while worker.is_alive():  # a signal just before a wait begins does not end it
                        worker.join(_LOOK)
        if failures:
            raise failures[min(failures)]
        self.shown.show(final=True)
        result = self.result(time.perf_counter() - start, interrupted=interrupt.requested)
        if interrupt.requested:
            begun = sum(history is not None for history in self.histories)
            message = (
                f"training interrupted after {begun} of {len(self.seeds)} restarts had begun; the "
                f"network is that of restart {result.best}, the best so far"
            )
            if raises:
                raise TrainingInterrupted(
                    f"{message}; .restarts of this exception is the result",
                    history=result.history,
                    restarts=result,
                )
            warn(message)
        return result

    def attempt(self, i: int, halving: Halving | None) -> None:
        """Run one restart; the network goes with it unless it is one of the best so far."""
        if halving is None:
            self._attempt(i, [])
            return
        halving.begin()
        cost = math.nan
        try:
            rung = Rung(halving, i, lambda state: self.watch.cost(state.score(self.watch.monitor)))
            cost = self._attempt(i, [rung])
        finally:
            halving.end(i, cost)

    def _attempt(self, i: int, rungs: list[Rung]) -> float:
        """Run one restart; return its cost, NaN where it cannot be compared."""
        trainer = copy.deepcopy(self.trainer)
        trainer.network.feature_names = self.names
        if i > 0:
            trainer.network.initialize(self.seeds[i])
        callbacks = _copies(self.callbacks)
        try:
            history, score = trainer._run_and_score(
                **self.settings,
                callbacks=[*callbacks, *rungs],
                progress=self.display.parts[i],
                monitor=self.watch.monitor,
            )
        except DivergenceError as error:
            self.histories[i] = error.history
            self.divergences[i] = error.with_traceback(None)  # which would keep the network
            return math.nan
        self.histories[i] = history
        self.scores[i] = score
        # Interrupted before its first epoch it has no score.
        cost = self.watch.cost(score) if history.epochs else math.nan
        # What was left out comes after all that were not, and after it what has no number.
        left_out = any(rung.left_out for rung in rungs)
        rank = (int(left_out), cost, i) if math.isfinite(cost) else (_NO_NUMBER, 0.0, i)
        with self.lock:
            self.kept.append(_Entrant(rank, trainer.network, callbacks))
            self.kept.sort(key=lambda entrant: entrant.rank)
            del self.kept[self.keep :]
            best = self.kept[0].rank[-1]
            self.display.best = f"{self.watch.monitor} {self.scores[best]:.4g}"
        return cost

    def result(self, seconds: float, *, interrupted: bool) -> Restarts:
        """Give the network the final parameters of the best restart."""
        if not self.kept:
            raise _all_diverged(self.divergences)
        best = self.kept[0]
        kind, _, number = best.rank
        if kind == _NO_NUMBER and not interrupted:
            raise InvalidValueError(
                f"no restart ended with a finite {self.watch.monitor!r}, so there is no best; got "
                f"{', '.join(f'{score:g}' for score in self.scores[:5])}, ...: choose another "
                "monitor="
            )
        self.trainer.network.take_over(best.network)
        return Restarts(
            best=number,
            monitor=self.watch.monitor,
            scores=tuple(self.scores),
            seeds=self.seeds,
            histories=tuple(self.histories),
            networks=tuple(
                entrant.network.copy() for entrant in self.kept if entrant.rank[0] == kind
            ),
            callbacks=tuple(best.callbacks),
            seconds=seconds,
            stopped="interrupted" if interrupted else "",
        )


@dataclass(frozen=True)
class _Entrant:
    """A restart that ended: the lower the rank, the better."""

    rank: tuple[int, float, int]
    network: Network
    callbacks: list[Callback]


def _copies(callbacks: list[Callback]) -> list[Callback]:
    try:
        return copy.deepcopy(callbacks)
    except Exception as error:
        raise InvalidTypeError(
            "every restart needs callbacks of its own, and these cannot be copied "
            f"({type(error).__name__}: {error}); give the class a __deepcopy__, which may return "
            "self where all restarts may share it"
        ) from error


def _all_diverged(divergences: dict[int, DivergenceError]) -> DivergenceError:
    number, first = min(divergences.items())
    error = DivergenceError(
        f"every restart that began ({len(divergences)}) diverged; the network is unchanged. "
        f"Restart {number}: {first}",
        epoch=first.epoch,
        step=first.step,
        layer=first.layer,
    )
    error.history = first.history
    return error
