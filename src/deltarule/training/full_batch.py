"""The loss of all rows at once and its gradient, as functions of the flat vector of parameters."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from deltarule.base.interrupt import Interrupt, deferred_interrupt
from deltarule.base.types import Array
from deltarule.data.source import Batches
from deltarule.engines import Executor, Record, Run, UpdateCounts, select_engine
from deltarule.formulas.optimizers import SGD
from deltarule.network.network import Network
from deltarule.plan import LossLike, PenaltyLike, Plan, compile_network

CARRIER = SGD(momentum=1e-300)
"""After one step its velocity is the gradient; with a rate of 0 the step moves nothing."""


class Losses(NamedTuple):
    """The loss of all rows: data loss, penalty, and the sum of weights."""

    data: float
    penalty: float
    weight: float

    @property
    def sum(self) -> float:
        """Data loss plus penalty."""
        return self.data + self.penalty


class Evaluation(NamedTuple):
    """Loss and gradient at some parameters.

    ``diverged_at`` names what is not finite; then the loss is infinite and the gradient NaN.
    """

    vector: Array
    losses: Losses
    gradient: Array
    diverged_at: str | None


class LossAndGradient:
    """Evaluates a network on one batch of all rows.

    Parameters
    ----------
    plan : Plan
        Its optimizer is :data:`CARRIER`.
    network : Network
        Has the parameters of the last call.
    executor : Executor
        Of this plan and network.
    """

    def __init__(self, plan: Plan, network: Network, executor: Executor) -> None:
        self._network, self._executor = network, executor
        self._mean = plan.loss is not None and plan.loss.reduction == "mean"
        count = len(plan.parameters)
        self._counts = UpdateCounts(np.zeros(count, dtype=np.int64), np.ones(count, dtype=bool))

    def __call__(self, vector: Array, batches: Batches, interrupt: Interrupt) -> Evaluation | None:
        """Evaluate; return None after an interrupt."""
        self._network.vector = vector
        record = Record.empty(1, len(self._counts.group), 1)
        run = Run(
            batches=batches,
            epoch=0,
            batch=0,
            steps=1,
            first_step=0,
            rates=np.zeros(1),
            counts=self._counts,
            interrupt=interrupt,
        )
        self._executor.run(run, record)
        if record.diverged_at is not None:
            losses, gradient = Losses(math.inf, 0.0, 0.0), np.full(len(vector), np.nan)
            return Evaluation(vector, losses, gradient, record.diverged_at)
        if not record.steps_done:
            return None
        data_loss, penalty = record.step_losses[0].tolist()
        losses = Losses(data_loss, penalty, float(record.weight_sum[0]))
        gradient = self._executor.optimizer_state[0].astype(np.float64)
        return Evaluation(vector, losses, gradient, None)


class FullBatch:
    """The loss and its gradient over all rows of some data.

    Parameters
    ----------
    network : Network
        Has the parameters of the last call.
    X, y, loss, penalty, sample_weight, engine, threads
        As in :func:`deltarule.train`.
    """

    def __init__(
        self,
        network: Network,
        X: Any,
        y: Any,
        *,
        loss: LossLike,
        penalty: PenaltyLike = None,
        sample_weight: Any = None,
        seed: int = 0,
        threads: int | None = None,
        engine: str = "auto",
    ) -> None:
        self._network = network
        plan = compile_network(network, loss=loss, optimizer=CARRIER, penalty=penalty)
        data = plan.expected.examples(X, y, sample_weight)
        self._batches = plan.expected.batches(data, None, seed=seed)
        executor = select_engine(engine, plan).executor(plan, network, threads=threads)
        self._at = LossAndGradient(plan, network, executor)

    def __call__(self, vector: Array) -> tuple[float, float, Array]:
        """Return data loss, penalty, and the gradient of their sum, float64.

        Where the loss or the gradient is not finite, the loss is infinite and the gradient NaN.
        Ctrl-C raises KeyboardInterrupt.
        """
        with self._network.being_trained(), deferred_interrupt() as interrupt:
            found = self._at(vector, self._batches, interrupt)
        if interrupt.requested or found is None:
            raise KeyboardInterrupt
        return found.losses.data, found.losses.penalty, found.gradient
