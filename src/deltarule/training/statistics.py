"""Running statistics of BatchNorm for other weights than those that they were gathered with."""

from __future__ import annotations

import numpy as np

from deltarule.base.errors import InvalidValueError
from deltarule.base.interrupt import Interrupt
from deltarule.base.types import Array
from deltarule.data.source import Batches, InMemory
from deltarule.engines import Record, Run, UpdateCounts
from deltarule.formulas.losses import Loss
from deltarule.formulas.optimizers import SGD
from deltarule.network.layers import BatchNorm
from deltarule.network.network import Network
from deltarule.plan import compile_network
from deltarule.training.executors import bind


def renewed_statistics(
    network: Network, loss: Loss, batches: Batches, engine: str, threads: int | None
) -> Array:
    """Return the running statistics, in the order of ``network.state_vector``, of its weights.

    ::

        mean = mean over batches of each batch's mean; variance likewise, of the unbiased variances

    over the batches of the first epoch, with the dropout masks of its steps. Layers that are frozen
    or have ``momentum=0`` keep theirs, and so do layers of the user's own.

    The engine does steps of rate 0, each from the same weights and from statistics of 0, after
    which these are the batch's times the momentum.
    """
    if not network.state_vector.size:
        return network.state_vector
    worker = network.copy()
    plan = compile_network(worker, loss=loss, optimizer=SGD(1.0))
    momenta = np.zeros(len(network.state_vector))
    for op in plan.operations:
        if isinstance(op.layer, BatchNorm) and not op.frozen:
            for name in op.state.values():
                momenta[plan.state[name].slice] = op.layer.momentum
    renewed = momenta > 0
    if not renewed.any():
        return network.state_vector.copy()
    _, executor = bind(engine, plan, worker, threads)
    trained = np.array([place.factor != 0 for place in plan.parameters])
    counts = UpdateCounts(np.zeros(len(trained), dtype=np.int64), trained)
    total, steps = np.zeros(len(momenta)), 0
    for stretch in batches.stretches(0, 0, batches.steps_per_epoch):
        for _, rows in stretch.batches():
            part = stretch.data.take(rows)
            if part.weights is not None and not part.weights.any():
                continue  # which moves no statistics in training either
            worker.vector, worker.state_vector = network.vector, network.state_vector
            worker.state_vector[renewed] = 0
            run = Run(
                batches=Batches(InMemory(part), len(part), seed=batches.seed),
                epoch=0,
                batch=0,
                steps=1,
                first_step=steps,
                rates=np.zeros(1),
                counts=counts,
                interrupt=Interrupt(),
                observer=None,
            )
            record = Record.empty(1, len(plan.parameters), 1)
            executor.run(run, record)
            if record.diverged_at is not None:
                raise InvalidValueError(
                    "the average of the weights gives values that are not finite; average fewer "
                    "epochs, later ones, or train at a lower learning rate"
                )
            total += worker.state_vector
            steps += 1
    found = network.state_vector.astype(np.float64)
    found[renewed] = total[renewed] / momenta[renewed] / max(steps, 1)
    return found
