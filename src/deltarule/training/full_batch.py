"""The loss of all rows at once and its gradient, for optimizers that search along a line."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from deltarule.base.interrupt import deferred_interrupt
from deltarule.base.types import Array
from deltarule.engines import Record, Run, UpdateCounts, select_engine
from deltarule.formulas.optimizers import SGD
from deltarule.network.network import Network
from deltarule.plan import LossLike, PenaltyLike, compile_network

_CARRIER = SGD(momentum=1e-300)
"""After one step its velocity is the gradient; with a rate of 0 the step moves nothing."""


class FullBatch:
    """The loss and its gradient over all rows, as functions of the flat vector of parameters.

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
        plan = compile_network(network, loss=loss, optimizer=_CARRIER, penalty=penalty)
        data = plan.expected.examples(X, y, sample_weight)
        self._batches = plan.expected.batches(data, None, seed=seed)
        self._parameters = len(plan.parameters)
        self._counts = UpdateCounts(
            np.zeros(self._parameters, dtype=np.int64), np.ones(self._parameters, dtype=bool)
        )
        chosen = select_engine(engine, plan)
        self._executor = chosen.executor(plan, network, threads=threads)

    def __call__(self, vector: Array) -> tuple[float, float, Array]:
        """Return data loss, penalty, and the gradient of their sum, float64.

        Where the loss or the gradient is not finite, the loss is infinite and the gradient NaN.
        Ctrl-C raises KeyboardInterrupt.
        """
        self._network.vector = vector
        record = Record.empty(1, self._parameters, 1)
        with self._network.being_trained(), deferred_interrupt() as interrupt:
            run = Run(
                batches=self._batches,
                epoch=0,
                batch=0,
                steps=1,
                first_step=0,
                rates=np.zeros(1),
                counts=self._counts,
                interrupt=interrupt,
            )
            self._executor.run(run, record)
        if interrupt.requested:
            raise KeyboardInterrupt
        if record.diverged_at is not None:
            return math.inf, 0.0, np.full(len(vector), np.nan)
        data_loss, penalty = record.step_losses[0].tolist()
        return data_loss, penalty, self._executor.optimizer_state[0].astype(np.float64)
