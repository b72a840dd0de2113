"""Training from several initialisations; the best is kept."""

from __future__ import annotations

import copy
import logging
import math
import os
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from deltarule.callbacks import Callback, EarlyStopping, Monitor, check_best_is, check_callbacks
from deltarule.errors import DivergenceError, InvalidTypeError, InvalidValueError
from deltarule.history import History, Restarts
from deltarule.interrupt import deferred_interrupt, obeying
from deltarule.network import Network
from deltarule.plan import ClipLike, ConstraintLike, LossLike, OptimizerLike, PenaltyLike
from deltarule.progress import SharedProgress
from deltarule.random import Purpose, check_seed, words
from deltarule.settings import check_integer
from deltarule.trainer import Trainer

_log = logging.getLogger("deltarule")

_LOOK = 0.1
"""Seconds between two looks of the waiting thread at Ctrl-C and progress."""


def restart(
    network: Network,
    X: Any,
    y: Any,
    *,
    restarts: int = 16,
    monitor: str | None = None,
    best_is: str | None = None,
    loss: LossLike,
    optimizer: OptimizerLike = "adam",
    epochs: int = 10,
    batch_size: int | None = 32,
    drop_last: bool = False,
    shuffle: Any = True,
    validation: Any = None,
    metrics: Iterable[Any] = (),
    penalty: PenaltyLike = None,
    constraint: ConstraintLike = None,
    clip: ClipLike = None,
    sample_weight: Any = None,
    class_weight: Any = None,
    callbacks: Sequence[Callback] | None = None,
    seed: int = 0,
    threads: int | None = None,
    engine: str = "auto",
    progress: bool | str = "auto",
) -> Restarts:
    """Train a network from several initialisations at once and keep the best of them.

    The loss of a network with hidden layers has local minima, and the initial weights decide in
    which one descent ends. Restart 0 begins with the network's parameters as they are; restart
    ``i`` begins with those of ``seeds[i] = word(seed, RESTART, i)`` (see
    :mod:`deltarule.random`). All else is alike: the order of the rows, dropout masks and the
    validation rows are those of ``seed``. So restart ``i`` is, to the bit and whatever ``threads``
    and ``restarts`` are, ::

        train(network.copy().initialize(seeds[i]), X, y, ..., seed=seed)

    and ``restarts=1`` is :func:`train`.

    Parameters
    ----------
    network : Network
        Gets parameters, running statistics and ``seed`` of the best restart, when all have ended.
        Frozen parameters are the same in every restart.
    X, y
        As in :func:`train`.
    restarts : int
    monitor : str, optional
        The column of the history that decides; by default "val_loss" where there is a validation
        set, otherwise "loss". Its value counts after the last epoch or, under EarlyStopping, after
        the epoch whose parameters that puts back. Of equals the first is the best.
    best_is : "min", "max" or None
        None: by the metric's own direction, lower for losses; to be said for your own metrics.
    threads : int, optional
        How many restarts run at a time, each on one thread; by default one per core. (In the
        reference engine, whose BLAS has threads of its own, by default one.)
    callbacks : list of Callback, optional
        Every restart has deep copies of its own; those passed stay as they are. They are called
        from several threads, as are metrics of your own.
    progress : "auto", True or False
        One line for all restarts.
    loss, optimizer, epochs, batch_size, drop_last, shuffle, validation, metrics, penalty,
    constraint, clip, sample_weight, class_weight, seed, engine
        As in :func:`train`.

    Returns
    -------
    Restarts
        Histories, scores and seeds of all; the number of the best. Of the networks only the best
        is kept.

    Raises
    ------
    ValueError, TypeError
        Bad input, or a callback that cannot be copied: the network is as before.
    DivergenceError
        Every restart diverged (one that does loses to the others): the network is as before.

    Notes
    -----
    Ctrl-C ends all restarts after their steps in progress. The network gets the best as far as
    they have come, ``stopped`` is "interrupted", and the call returns as usual. An exception in a
    callback or metric ends all restarts too, and is raised.

    Examples
    --------
    >>> import numpy as np, deltarule as dr
    >>> X = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    >>> y = np.array([0, 1, 1, 0])
    >>> net = dr.Network([dr.Dense(2, "tanh"), dr.Dense(1, "sigmoid")], inputs=2, seed=1)
    >>> found = dr.restart(net, X, y, restarts=8, loss="binary_cross_entropy",
    ...                    optimizer=dr.Adam(0.1), epochs=200, batch_size=None)
    >>> found.scores[found.best] == min(found.scores)
    True
    >>> net.predict(X).round().ravel().tolist()
    [0.0, 1.0, 1.0, 0.0]
    """
    count = check_integer("restarts", restarts)
    check_integer("epochs", epochs)
    check_best_is(best_is)
    if threads is not None:
        check_integer("threads", threads)
    hooks = check_callbacks(callbacks)
    trainer = Trainer(
        network,
        loss,
        optimizer,
        penalty=penalty,
        constraint=constraint,
        clip=clip,
        metrics=metrics,
        class_weight=class_weight,
        seed=seed,
        threads=1,
        engine=engine,
    )
    if monitor is None:
        monitor = "loss" if validation is None else "val_loss"
    watch = Monitor(monitor, best_is=best_is)
    watch.check(trainer.column_names(validation is not None))
    contest = _Contest(
        trainer,
        restart_seeds(network, check_seed(seed), count),
        hooks,
        watch,
        SharedProgress(progress, count, epochs),
        {
            # Bad data raise here and now; a data frame becomes an array once.
            "X": trainer.plan.examples(X, y, sample_weight).X,
            "y": y,
            "epochs": epochs,
            "batch_size": batch_size,
            "drop_last": drop_last,
            "shuffle": shuffle,
            "validation": validation,
            "sample_weight": sample_weight,
        },
    )
    if threads is None:
        # The reference engine's BLAS has a thread per core already; several at a time would fight.
        threads = _cores() if trainer.engine.name == "native" else 1
    return contest.run(min(count, threads))


def restart_seeds(network: Network, seed: int, count: int) -> tuple[int, ...]:
    """Return the seeds of the initial parameters: the network's own, then one word each."""
    drawn = words(seed, Purpose.RESTART, rows=count, columns=1)[1:, 0]
    return (network.seed, *drawn.tolist())


@dataclass
class _Contest:
    """Restarts of one trainer, and the best of them so far.

    They are independent: no thread waits for another, and one that is done takes the next restart.
    """

    trainer: Trainer
    seeds: tuple[int, ...]
    callbacks: list[Callback]
    watch: Monitor
    display: SharedProgress
    settings: dict[str, Any]
    lock: threading.Lock = field(default_factory=threading.Lock)
    best: _Entrant | None = None

    def __post_init__(self) -> None:
        self.histories: list[History | None] = [None] * len(self.seeds)
        self.scores = [math.nan] * len(self.seeds)
        self.divergences: dict[int, DivergenceError] = {}

    def run(self, threads: int) -> Restarts:
        """Run all restarts and give the network the best of them."""
        # Only here, since it would be a part of every import of the package.
        from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait

        start = time.perf_counter()
        with (
            deferred_interrupt(shared=True) as interrupt,
            ThreadPoolExecutor(threads, "deltarule-restart") as pool,
        ):

            def attempt(i: int) -> None:
                # The first always begins, so that even the promptest Ctrl-C leaves a history.
                if i == 0 or not interrupt.requested:
                    with obeying(interrupt):
                        self.attempt(i)

            try:
                left = set(futures := [pool.submit(attempt, i) for i in range(len(self.seeds))])
                while left and not any(f.done() and f.exception() for f in futures):
                    _, left = wait(left, _LOOK, FIRST_EXCEPTION)
                    self.display.show()
                interrupted = interrupt.requested
            finally:
                interrupt.requested = True  # whatever still runs ends now
        for future in futures:
            future.result()
        self.display.show(final=True)
        return self.result("interrupted" if interrupted else "", time.perf_counter() - start)

    def attempt(self, i: int) -> None:
        """Run one restart; the network goes with it unless it is the best so far."""
        trainer = copy.deepcopy(self.trainer)
        if i > 0:
            trainer.network.initialize(self.seeds[i])
        callbacks = _copies(self.callbacks)
        try:
            history = trainer.run(
                **self.settings, callbacks=callbacks, progress=self.display.parts[i]
            )
        except DivergenceError as error:
            self.histories[i] = error.history
            self.divergences[i] = error.with_traceback(None)  # which would keep the network
            return
        self.histories[i] = history
        self.scores[i] = _score(history, self.watch.monitor, callbacks)
        cost = self.watch.cost(self.scores[i])
        # What has no number to compare comes after all that have one.
        rank = (0, cost, i) if math.isfinite(cost) else (1, 0.0, i)
        with self.lock:
            if self.best is None or rank < self.best.rank:
                self.best = _Entrant(rank, trainer.network, callbacks)
                self.display.best = f"{self.watch.monitor} {self.scores[i]:.4g}"

    def result(self, stopped: str, seconds: float) -> Restarts:
        """Give the network what the best restart ended with."""
        if self.best is None:
            raise _all_diverged(self.divergences)
        unranked, _, number = self.best.rank
        if unranked and not stopped:
            raise InvalidValueError(
                f"no restart ended with a finite {self.watch.monitor!r}, so there is no best; got "
                f"{', '.join(f'{score:g}' for score in self.scores[:5])}, ...: choose another "
                "monitor="
            )
        network, winner = self.trainer.network, self.best.network
        network.vector[:], network.state_vector[:] = winner.vector, winner.state_vector
        network.seed = winner.seed
        if stopped:
            begun = sum(history is not None for history in self.histories)
            _log.warning(
                "training interrupted after %d of %d restarts had begun; the network is that of "
                "restart %d, the best so far",
                begun,
                len(self.seeds),
                number,
            )
        return Restarts(
            best=number,
            monitor=self.watch.monitor,
            scores=tuple(self.scores),
            seeds=self.seeds,
            histories=tuple(self.histories),
            callbacks=tuple(self.best.callbacks),
            seconds=seconds,
            stopped=stopped,
        )


@dataclass(frozen=True)
class _Entrant:
    """A restart that ended: the lower the rank, the better."""

    rank: tuple[int, float, int]
    network: Network
    callbacks: list[Callback]


def _score(history: History, monitor: str, callbacks: Sequence[Callback]) -> float:
    """Return the monitored value that belongs to the parameters a run ended with."""
    if not history.epochs:
        return math.nan
    for callback in reversed(callbacks):
        if isinstance(callback, EarlyStopping) and callback.restore_best and callback.best_epoch:
            return history[monitor][callback.best_epoch - 1]
    return history.latest(monitor)


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
        f"every restart that began ({len(divergences)}) diverged, and the network is as before. "
        f"Restart {number}: {first}",
        epoch=first.epoch,
        step=first.step,
        layer=first.layer,
    )
    error.history = first.history
    return error


def _cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
