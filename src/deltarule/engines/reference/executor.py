"""The reference engine: plain NumPy, and the oracle of every other engine."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from deltarule.base.types import Array
from deltarule.data import Dataset
from deltarule.engines.protocol import Engine, Executor, Record, Run, steps_per_epoch
from deltarule.engines.reference.passes import (
    Context,
    Pass,
    backward,
    example_losses,
    first_not_finite,
    forward,
    gather,
    loss_scale,
)
from deltarule.formulas.clipping import sum_of_squares
from deltarule.network.network import Network
from deltarule.plan import Plan

_CELLS_PER_BLOCK = 1 << 20  # of all slots together, where rows are only evaluated


class ReferenceExecutor:
    """A plan bound to a network's arrays."""

    def __init__(self, plan: Plan, network: Network) -> None:
        self.plan = plan
        self.vector = network.vector
        self.parameters = list(network.parameters.values())
        self.state = list(network.state.values())
        self.moments = np.zeros((0, len(network.vector)), dtype=plan.dtype)
        if plan.optimizer is not None:
            self.moments = plan.optimizer.initial_state(len(network.vector)).astype(plan.dtype)

    def run(self, run: Run) -> Record:
        """Train for ``run.epochs`` epochs."""
        n, b = len(run.data), run.batch_size
        steps = steps_per_epoch(n, b, run.drop_last)
        record = Record.empty(run.epochs, len(self.plan.parameters))
        with np.errstate(all="ignore"):
            for epoch in range(run.epochs):
                order = run.order(epoch)
                for i in range(steps):
                    if run.interrupt.requested:
                        record.interrupted = True
                        return record
                    rows = slice(i * b, i * b + b) if order is None else order[i * b : i * b + b]
                    if not self._step(run, record, epoch, rows):
                        return record
                    record.steps_done += 1
                record.epochs_done += 1
        return record

    def _step(self, run: Run, record: Record, epoch: int, rows: slice | Array) -> bool:
        """Do one step; return False, without an update, where a value is not finite."""
        plan, data = self.plan, run.data
        assert plan.loss is not None
        step = run.first_step + record.steps_done
        x, t, w = gather(plan, data, rows)
        total = float(len(x)) if w is None else float(w.sum())
        if total == 0:
            return True

        # Rows: forward, deltas, gradients.
        context = Context(self.parameters, self.state, training=True, seed=run.seed, step=step)
        done = forward(plan, x, context)
        backward(plan, done, t, w, context, whole=False)
        losses = done.losses.astype(np.float64)
        loss_sum = float(losses.sum() if w is None else w @ losses)
        penalty = plan.penalty(self.vector)
        if not np.isfinite(loss_sum + penalty):
            record.diverged_at = first_not_finite(plan, done)
            return False
        if run.outputs is not None:
            run.outputs[rows] = done.values[plan.operations[-1].target]

        # Parameters: penalty, clipping, update, constraint.
        scale = loss_scale(plan, total)
        trained = [i for i, s in enumerate(plan.parameters) if s.factor]
        gradients = done.gradients
        for i, segment in enumerate(plan.parameters):
            gradients[i] = scale * gradients[i]
            if segment.penalty:
                gradients[i] = gradients[i] + segment.penalty.gradient(self.parameters[i])
        squares = [sum_of_squares(g) for g in gradients]
        if not np.isfinite(squares).all():
            record.diverged_at = plan.parameters[int(np.argmin(np.isfinite(squares)))].name
            return False
        if plan.clip:
            plan.clip.apply([gradients[i] for i in trained])
        for i in trained:
            self._update(i, gradients[i], run.rows[record.steps_done])
        self._move_running_statistics(done)

        record.loss_sum[epoch] += loss_sum
        record.weight_sum[epoch] += total
        record.penalty_sum[epoch] += penalty
        record.gradient_squares[epoch] += squares
        record.epoch_steps[epoch] += 1
        return True

    def _update(self, i: int, gradient: Array, row: Array) -> None:
        assert self.plan.optimizer is not None
        segment, W = self.plan.parameters[i], self.parameters[i]
        self.plan.optimizer.update(
            W.reshape(-1),
            gradient.reshape(-1),
            self.moments[:, segment.slice],
            row,
            segment.factor,
            segment.is_weight,
        )
        if segment.constraint:
            segment.constraint.apply(W)

    def _move_running_statistics(self, done: Pass) -> None:
        for op in self.plan.batch_norms:
            _, _, mean, variance, _ = done.caches[op.target]
            n = len(done.values[op.target])
            for index, batch in ((op.mean, mean), (op.variance, variance * (n / (n - 1)))):
                running = self.state[index]
                running *= 1 - op.momentum
                running += op.momentum * batch

    def predict(self, X: Array, batch_size: int | None) -> Array:
        """Return the outputs for ``X``, block by block."""
        outputs = np.empty((len(X), self.plan.outputs), dtype=self.plan.dtype)
        for rows in self._blocks(len(X), batch_size):
            with np.errstate(over="ignore"):  # a value beyond the dtype is carried as infinity
                x = X[rows].astype(self.plan.dtype, copy=False)
            done = self._forward(x)
            outputs[rows] = done.values[self.plan.operations[-1].target]
        return outputs

    def evaluate(self, data: Dataset, outputs: Array | None = None) -> tuple[float, float]:
        """Return the sums of ``w_i l_i`` and of ``w_i``, block by block."""
        loss_sum = weight_sum = 0.0
        for rows in self._blocks(len(data), None):
            x, t, w = gather(self.plan, data, rows)
            done = self._forward(x)
            with np.errstate(all="ignore"):
                losses = example_losses(self.plan, done, t).astype(np.float64)
            loss_sum += float(losses.sum() if w is None else w @ losses)
            weight_sum += float(len(x) if w is None else w.sum())
            if outputs is not None:
                outputs[rows] = done.values[self.plan.operations[-1].target]
        return loss_sum, weight_sum

    def _forward(self, x: Array) -> Pass:
        with np.errstate(all="ignore"):
            return forward(self.plan, x, Context(self.parameters, self.state, training=False))

    def _blocks(self, n: int, batch_size: int | None) -> Iterator[slice]:
        size = batch_size or max(1, _CELLS_PER_BLOCK // sum(self.plan.widths))
        return (slice(start, start + size) for start in range(0, n, size))


class ReferenceEngine:
    """NumPy, readable, extensible in Python, and the oracle of every other engine."""

    name = "reference"

    def describe(self) -> str:
        """Return the engine's name."""
        return "reference (NumPy)"

    def why_not(self, plan: Plan) -> str | None:
        """Return None: it runs every plan."""
        return None

    def executor(self, plan: Plan, network: Network, *, threads: int | None = None) -> Executor:
        """Return a new executor; ``threads`` is the business of NumPy's BLAS here."""
        return ReferenceExecutor(plan, network)


_: Engine = ReferenceEngine()
