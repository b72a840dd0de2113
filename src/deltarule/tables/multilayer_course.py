"""The course of a fit by scikit-learn's rules: orders, reported losses, when to stop."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from deltarule.base.types import Array
from deltarule.data.source import Orders
from deltarule.network.network import Network
from deltarule.tables.multilayer_choices import Reported
from deltarule.training.callbacks import Callback
from deltarule.training.state import State


class DrawnOrders(Orders):
    """The order of the rows in each epoch, drawn as scikit-learn draws it.

    Each epoch shuffles the order of the one before. ``epoch`` counts over the life of a trainer;
    those before ``first`` were not drawn here.
    """

    def __init__(self, rows: int, random: np.random.RandomState, first: int) -> None:
        self._random, self._next = random, first
        self._last = np.arange(rows)
        self._drawn: dict[int, Array] = {}

    def of_epoch(self, epoch: int) -> Array:
        """Return the order of an epoch."""
        while self._next <= epoch:
            chosen = np.arange(len(self._last))
            self._random.shuffle(chosen)
            self._last = self._drawn[self._next] = self._last[chosen]
            self._next += 1
        return self._drawn[epoch]

    def forget(self, before: int) -> None:
        """Forget the orders of epochs that are over."""
        for epoch in [epoch for epoch in self._drawn if epoch < before]:
            del self._drawn[epoch]


class Course(Callback):
    """scikit-learn's rules of a fit: what is reported, when the rate falls, when it ends.

    It goes on from call to call: warm starts and ``partial_fit`` add to its curves.

    Parameters
    ----------
    estimator : the estimator
        Whose parameters are followed.

    Attributes
    ----------
    loss_curve : list of float
    validation_scores : list of float or None
        None without early stopping.
    best_loss, best_score : float or None
    no_improvement : int
        Epochs in a row without an improvement of at least ``tol``.
    learning_rate : float
        The current one.
    n_iter, seen : int
        Epochs of the last call; rows seen over all calls.
    best : (vector, state vector) or None
        The parameters with the best validation score.
    """

    def __init__(self, estimator: Any, *, validates: bool) -> None:
        self.loss_curve: list[float] = []
        self.validation_scores: list[float] | None = [] if validates else None
        self.best_score: float | None = -math.inf if validates else None
        self.best_loss: float | None = None if validates else math.inf
        self.no_improvement = 0
        self.n_iter = self.seen = 0
        self.learning_rate = float(estimator.learning_rate_init)
        self.best: tuple[Array, Array] | None = None
        self.stopped = False

    def begin(
        self,
        estimator: Any,
        *,
        rows: int,
        batch_size: int,
        reported: Reported,
        constants: Array | None = None,
        weights: Array | None = None,
        orders: DrawnOrders | None = None,
        first_epoch: int = 0,
        score: Callable[[Network], float] | None = None,
        incremental: bool = False,
    ) -> Course:
        """Prepare for a call; return the course.

        ``constants``: what the reported loss of each row has more than ours.
        """
        self._tol, self._patience = estimator.tol, estimator.n_iter_no_change
        self._verbose = estimator.verbose
        self._first_rate = float(estimator.learning_rate_init)
        schedule = estimator.solver == "sgd" and estimator.optimizer is None
        self._schedule = estimator.learning_rate if schedule else "constant"
        self._power = estimator.power_t
        self._reported, self._score = reported, score
        self._rows, self._starts = rows, np.arange(0, rows, batch_size)
        self._shares = np.diff(self._starts, append=rows) / rows
        self._constants, self._weights, self._orders = constants, weights, orders
        self._first_epoch = first_epoch
        if incremental and self.stopped:
            self.no_improvement = 0
        self.n_iter, self.stopped = 0, False
        if not incremental:
            self.learning_rate = self._first_rate
        return self

    def __getstate__(self) -> dict[str, Any]:
        # What belongs to one call: its data, and the estimator itself.
        of_call = ("_score", "_orders", "_constants", "_weights", "_starts", "_shares")
        return {name: value for name, value in self.__dict__.items() if name not in of_call}

    def on_start(self, state: State) -> None:
        """Go on with the rate of the last call."""
        state.rate_factor = self.learning_rate / self._first_rate

    def epochs_at_once(self, state: State) -> int:
        """Return how many epochs cannot end the fit, nor change the rate, before the last one."""
        if self._verbose or self._score is not None or self._schedule == "invscaling":
            return 1
        return int(max(1, min(self._patience + 1 - self.no_improvement, 1 << 30)))

    def on_epoch(self, state: State) -> None:
        """Report the epochs that were done, and decide how it goes on."""
        steps = state.step_losses.reshape(-1, len(self._starts), 2)
        losses = self._reported.data * steps[:, :, 0] + self._reported.penalty * steps[:, :, 1]
        if self._constants is not None:
            losses = losses + [
                self._constant(self._first_epoch + self.n_iter + i) for i in range(len(losses))
            ]
        for loss in (losses @ self._shares).tolist():
            self._one(loss, state)
        if self._orders is not None:
            self._orders.forget(self._first_epoch + self.n_iter)
        state.rate_factor = self.learning_rate / self._first_rate
        if self.stopped:
            state.stop = "converged"

    def _constant(self, epoch: int) -> Array:
        """Return each batch's mean of the rows' constants."""
        assert self._constants is not None
        constants, weights = self._constants, self._weights
        if weights is None:
            weights = np.ones(self._rows)
        if self._orders is not None:
            order = self._orders.of_epoch(epoch)
            constants, weights = constants[order], weights[order]
        total = np.add.reduceat(weights, self._starts)
        return np.add.reduceat(weights * constants, self._starts) / np.maximum(total, 1e-300)

    def _one(self, loss: float, state: State) -> None:
        self.n_iter += 1
        self.seen += self._rows
        self.loss_curve.append(loss)
        self._say(f"Iteration {self.n_iter}, loss = {loss:.8f}")
        if self._score is None:
            self._judge_loss(loss)
        else:
            self._judge_score(self._score(state.network), state.network)
        if self._schedule == "invscaling":
            self.learning_rate = self._first_rate / (self.seen + 1) ** self._power
        if self.no_improvement > self._patience:
            self._end_or_slow_down()

    def _judge_loss(self, loss: float) -> None:
        if self.best_loss is None:  # an earlier call had validation data
            self.best_loss = math.inf
        self.no_improvement = self.no_improvement + 1 if loss > self.best_loss - self._tol else 0
        self.best_loss = min(loss, self.best_loss)

    def _judge_score(self, score: float, network: Network) -> None:
        if self.validation_scores is None or self.best_score is None:
            self.validation_scores, self.best_score = [], -math.inf
        self.validation_scores.append(score)
        self._say(f"Validation score: {score:f}")
        worse = score < self.best_score + self._tol
        self.no_improvement = self.no_improvement + 1 if worse else 0
        if score > self.best_score:
            self.best_score = score
            self.best = (network.vector.copy(), network.state_vector.copy())

    def _say(self, line: str) -> None:
        if self._verbose:
            print(line)  # noqa: T201 - on standard output, as scikit-learn does

    def _end_or_slow_down(self) -> None:
        """End the fit; with the adaptive schedule only once the rate is small."""
        what = "Training loss" if self._score is None else "Validation score"
        message = (
            f"{what} did not improve more than tol={self._tol:f} for {self._patience} "
            "consecutive epochs."
        )
        if self._schedule != "adaptive":
            ending = "Stopping."
        elif self.learning_rate <= 1e-6:
            ending = "Learning rate too small. Stopping."
        else:
            self.learning_rate /= 5
            ending = f"Setting learning rate to {self.learning_rate:f}"
            self.no_improvement = 0
        self._say(f"{message} {ending}")
        self.stopped = ending.endswith("Stopping.")

    def diverged(self) -> None:
        """Report the epoch in which a number was no longer finite."""
        self.n_iter += 1
        self.seen += self._rows
        self.loss_curve.append(math.nan)
        if self._score is not None and self.validation_scores is not None:
            self.validation_scores.append(math.nan)
