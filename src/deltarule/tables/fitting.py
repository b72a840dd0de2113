"""The networks of a table model: which rows each one is trained on, and how long."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from deltarule.base.errors import DivergenceError, TrainingInterrupted
from deltarule.base.interrupt import deferred_interrupt
from deltarule.base.log import warn
from deltarule.base.random import Purpose, permutation, words
from deltarule.base.types import Array
from deltarule.data.split import split_rows
from deltarule.network.network import Network
from deltarule.tables.recipe import Recipe, Running, Task
from deltarule.training.callbacks import Callback
from deltarule.training.history import History
from deltarule.training.state import State


@dataclass(frozen=True)
class Rows:
    """Numbers for a network: X (n, inputs), y (n,) or (n, outputs), weights (n,)."""

    X: Array
    y: Array
    weights: Array

    def __len__(self) -> int:
        return len(self.X)

    def take(self, rows: Array) -> Rows:
        """Return some of the rows."""
        return Rows(self.X[rows], self.y[rows], self.weights[rows])

    @property
    def parts(self) -> tuple[Array, Array, Array]:
        """X, y and weights, as a recipe takes them."""
        return self.X, self.y, self.weights


@dataclass(frozen=True)
class Fitted:
    """Trained networks, and what they say of rows that they were not trained on.

    Attributes
    ----------
    networks : tuple of Network
    histories : tuple of History
        One for each network.
    unseen : Rows
        Rows held out, or the validation rows.
    outputs : array (rows, outputs)
        What the networks that were not trained on a row say of it, averaged.
    interrupted : bool
        Whether Ctrl-C was pressed.
    """

    networks: tuple[Network, ...]
    histories: tuple[History, ...]
    unseen: Rows
    outputs: Array
    interrupted: bool


class Deadline(Callback):
    """Ends a run at a moment of the monotonic clock; the best epoch so far is kept."""

    def __init__(self, moment: float) -> None:
        self.moment = moment

    def on_start(self, state: State) -> None:
        """Count the seconds of a run that goes on."""
        self.moment -= state.history.seconds

    def on_epoch(self, state: State) -> None:
        """Ask for the end when the time is over."""
        if time.monotonic() >= self.moment:
            state.stop = "time limit"


def fit_networks(
    recipe: Recipe,
    task: Task,
    rows: Rows,
    parts: Sequence[tuple[Array, Array]],
    *,
    validation: Rows | None = None,
    seed: int,
    running: Running,
    time_limit: float | None = None,
) -> Fitted:
    """Train one network for each part, with the rows that it leaves out as validation data.

    After Ctrl-C the network in training is left out, unless it is the only one.

    Parameters
    ----------
    parts : sequence of (rows trained on, rows held out)
        Where no row is held out, the rows trained on are the validation data too.
    validation : Rows, optional
        In the place of the rows held out.
    time_limit : float, optional
        Seconds for all networks together; each gets an equal share of what is left. There is
        always one network, trained for an epoch at least.

    Raises
    ------
    DivergenceError
        Each network diverged in its first epoch.
    """
    end = None if time_limit is None else time.monotonic() + time_limit
    networks: list[Network] = []
    histories: list[History] = []
    target = rows if validation is None else validation
    sums, counts = np.zeros((len(target), task.outputs)), np.zeros(len(target), np.int64)
    failure: DivergenceError | None = None
    with deferred_interrupt() as interrupt:
        for i, (kept, held) in enumerate(parts):
            own = running
            began = time.monotonic()
            if running.checkpoints is not None:
                own = replace(own, checkpoints=running.checkpoints / f"network-{i + 1}")
            if end is not None:
                left = end - began
                if networks and left <= 0:
                    break
                share = Deadline(began + left / (len(parts) - i))
                own = replace(own, callbacks=(*running.callbacks, share))
            member = int(words(seed, Purpose.RESTART, rows=i + 1, columns=1)[i, 0])
            seen = rows.take(kept)
            unseen = validation
            if unseen is None:
                unseen = rows.take(held) if len(held) else seen
            own_task = replace(task, rows=len(kept))
            network = recipe.network(own_task, seen.parts, member)
            try:
                history = recipe.train(network, own_task, seen.parts, unseen.parts, member, own)
            except TrainingInterrupted as error:
                history = error.history
            except DivergenceError as error:
                failure = error
                if error.history is None or not error.history.epochs:
                    continue
                history = error.history  # the network is as it was at its best epoch
                warn(f"network {i + 1} of {len(parts)}: {error}")
            if networks and history.stopped == "interrupted":
                break
            networks.append(network)
            histories.append(history)
            if end is not None:
                end -= seconds_before([history], began)
            judged = held if validation is None else np.arange(len(target))
            if len(judged):
                sums[judged] += network.predict(target.X[judged])
                counts[judged] += 1
            if interrupt.requested:
                break
    if not networks:
        assert failure is not None
        raise failure
    known = np.flatnonzero(counts)
    return Fitted(
        tuple(networks),
        tuple(histories),
        target.take(known),
        sums[known] / counts[known, None],
        interrupt.requested,
    )


def seconds_before(histories: Sequence[History], began: float) -> float:
    """Return the seconds of runs, up to now, that came before a moment of the monotonic clock.

    They are those of checkpoints from which runs went on.
    """
    return max(sum(found.seconds for found in histories) - (time.monotonic() - began), 0.0)


def in_two(n: int, fraction: float, labels: Array | None, seed: int) -> tuple[Array, Array]:
    """Return the rows trained on and those held out; every class is trained on."""
    kept, held = split_rows(n, fraction, labels, seed=seed)
    if labels is None:
        return kept, held
    unseen = ~np.isin(labels[held], labels[kept])
    return np.sort(np.concatenate([kept, held[unseen]])), held[~unseen]


def in_folds(n: int, folds: int, labels: Array | None, seed: int) -> Iterator[tuple[Array, Array]]:
    """Yield, for each fold, the rows trained on and those held out.

    Each row is held out once. With labels (n,) every class gives its share to each fold, to within
    one row; the row of a class that has no other is never held out.
    """
    order = permutation(seed, Purpose.SPLIT, n)
    alone = np.zeros(n, bool)
    if labels is not None:
        order = order[np.argsort(labels[order], kind="stable")]
        _, index, counts = np.unique(labels, return_inverse=True, return_counts=True)
        alone = counts[index] == 1
    fold = np.empty(n, np.int64)
    fold[order] = np.arange(n) % folds
    fold[alone] = -1
    for i in range(folds):
        yield np.flatnonzero(fold != i), np.flatnonzero(fold == i)
