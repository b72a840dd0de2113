"""The networks of a table model: which rows each one is trained on, and how long."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from deltarule.base.errors import DivergenceError
from deltarule.base.interrupt import deferred_interrupt
from deltarule.base.log import warn
from deltarule.base.random import Purpose, permutation, words
from deltarule.base.types import Array
from deltarule.data.split import split_rows
from deltarule.network.network import Network
from deltarule.tables.recipe import Recipe, Running, Task
from deltarule.training.callbacks import Callback, State
from deltarule.training.history import History


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
    """Trained networks, and what they said of rows that they were not trained on.

    Attributes
    ----------
    networks : tuple of Network
    histories : tuple of History
        One for each network.
    held_out : array of int
        Rows that at least one network did not see.
    outputs : array (rows held out, outputs)
        What the networks that did not see a row say of it, averaged.
    stopped : str
        "interrupted" after Ctrl-C, "time limit", otherwise "".
    """

    networks: tuple[Network, ...]
    histories: tuple[History, ...]
    held_out: Array
    outputs: Array
    stopped: str


class Deadline(Callback):
    """Ends a run at a moment of the monotonic clock; the best epoch so far is kept."""

    def __init__(self, moment: float) -> None:
        self.moment = moment

    def on_epoch(self, state: State) -> None:
        """Ask for the end when the time is over."""
        if time.monotonic() >= self.moment:
            state.stop = "time limit"


def fit_networks(
    recipe: Recipe,
    task: Task,
    rows: Rows,
    parts: list[tuple[Array, Array]],
    *,
    validation: Rows | None = None,
    seed: int,
    running: Running,
    time_limit: float | None = None,
) -> Fitted:
    """Train one network for each part, with the rows that it leaves out as validation data.

    Ctrl-C and the time limit end the training; what was trained until then is returned.

    Parameters
    ----------
    parts : list of (rows trained on, rows held out)
    validation : Rows, optional
        In the place of the rows held out.
    time_limit : float, optional
        Seconds for all networks together; each gets an equal share of what is left. There is
        always one network, trained for an epoch at least.

    Raises
    ------
    DivergenceError
        Training diverged in the first epoch of the first network.
    """
    begun = time.monotonic()
    networks: list[Network] = []
    histories: list[History] = []
    sums = np.zeros((len(rows), task.outputs))
    counts = np.zeros(len(rows), np.int64)
    stopped = ""
    with deferred_interrupt() as interrupt:
        for i, (kept, held) in enumerate(parts):
            if i and (interrupt.requested or stopped):
                break
            own = running
            if time_limit is not None:
                left = begun + time_limit - time.monotonic()
                if i and left <= 0:
                    stopped = "time limit"
                    break
                deadline = Deadline(time.monotonic() + left / (len(parts) - i))
                own = replace(running, callbacks=(*running.callbacks, deadline))
            member = int(words(seed, Purpose.RESTART, rows=i + 1, columns=1)[i, 0])
            seen, unseen = rows.take(kept), rows.take(held) if validation is None else validation
            own_task = replace(task, rows=len(kept))
            network = recipe.network(own_task, seen.X, member)
            try:
                history = recipe.train(network, own_task, seen.parts, unseen.parts, member, own)
            except DivergenceError as error:
                if not networks and (error.history is None or not error.history.epochs):
                    raise
                warn(f"network {i + 1} of {len(parts)}: {error}")
                if error.history is None or not error.history.epochs:
                    continue
                history = error.history
            networks.append(network)
            histories.append(history)
            if len(held):
                sums[held] += network.predict(rows.X[held])
                counts[held] += 1
            if history.stopped == "time limit":
                stopped = "time limit" if i + 1 == len(parts) else stopped
        if interrupt.requested:
            stopped = "interrupted"
    known = np.flatnonzero(counts)
    return Fitted(
        tuple(networks),
        tuple(histories),
        known,
        sums[known] / counts[known, None],
        stopped,
    )


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
