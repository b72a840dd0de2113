"""The reference engine: plain NumPy, and the oracle of every other engine."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from deltarule.base.returned import as_returned, changed_in_place
from deltarule.base.types import Array
from deltarule.data import Dataset
from deltarule.data.source import Stretch
from deltarule.engines.protocol import Engine, Executor, Outputs, Record, Run
from deltarule.engines.reference.passes import (
    Context,
    Pass,
    backward,
    endless_statistics,
    example_losses,
    first_not_finite,
    forward,
    gather,
    loss_scale,
    loss_sum,
    move_state,
    weight_sum,
)
from deltarule.formulas.clipping import sum_of_squares
from deltarule.network.network import Network
from deltarule.plan import Plan

_CELLS_PER_BLOCK = 1 << 20  # of all slots together, where rows are only evaluated


class ReferenceExecutor:
    """A plan bound to a network's arrays."""

    checks_batches = False

    def __init__(self, plan: Plan, network: Network) -> None:
        self.plan = plan
        self.vector = network.vector
        self.parameters = list(network.parameters.values())
        self.state = list(network.state.values())
        self._scalars: Iterator[Array] = iter(())
        self.optimizer_state = np.zeros((0, len(network.vector)), dtype=plan.dtype)
        if plan.optimizer is not None:
            self.optimizer_state = as_returned(
                f"{type(plan.optimizer).__name__}.initial_state",
                plan.optimizer.initial_state(len(network.vector)),
                (len(plan.optimizer.state_names), len(network.vector)),
                plan.dtype,
                "one row for each of its state_names",
            )

    def run(self, run: Run, record: Record) -> None:
        """Do the steps of a run, one after the other."""
        with np.errstate(all="ignore"):
            for stretch in run.batches.stretches(run.epoch, run.batch, run.steps):
                outputs = Outputs(stretch, self.plan) if run.observer else None
                before = record.steps_done
                self._scalars = self._scalars_of(run, stretch, before)
                going = self._stretch(run, record, stretch, outputs)
                if outputs is not None and run.observer is not None:
                    outputs.show(run.observer, record.steps_done - before)
                if not going:
                    return

    def step(self, *_: object) -> None:
        """Leave every step to :meth:`run`."""

    def _scalars_of(self, run: Run, stretch: Stretch, first: int) -> Iterator[Array]:
        """Yield the scalars of each step, (groups, scalars)."""
        optimizer = self.plan.optimizer
        assert optimizer is not None
        rates, count = run.rates[first : first + stretch.steps], len(optimizer.scalar_names)
        table = as_returned(
            f"{type(optimizer).__name__}.scalars",
            run.counts.scalars(optimizer, rates, stretch.weighted()),
            (len(rates), run.counts.groups * count),
            np.float64,
            "a row for each step and a column for each of its scalar_names",
        )
        return iter(table.reshape(len(rates), -1, count))

    def _stretch(self, run: Run, record: Record, stretch: Stretch, outputs: Outputs | None) -> bool:
        """Do the steps of a stretch; return whether the run goes on."""
        at = 0
        for epoch, rows in stretch.batches():
            if run.interrupt.requested:
                record.interrupted = True
                return False
            count = len(stretch.data.X[rows])
            place = None
            if outputs is not None:
                place = outputs.array, rows if outputs.by_row else slice(at, at + count)
            at += count
            if not self._step(run, record, epoch, stretch.data, rows, place):
                return False
            record.steps_done += 1
        return True

    def _step(
        self,
        run: Run,
        record: Record,
        epoch: int,
        data: Dataset,
        rows: slice | Array,
        place: tuple[Array, slice | Array] | None,
    ) -> bool:
        """Do one step; return False, without an update, where a value is not finite.

        ``place``: where outputs are stored, if they are wanted.
        """
        plan = self.plan
        assert plan.loss is not None
        step = run.first_step + record.steps_done
        scalars = next(self._scalars)
        x, t, w = gather(plan, data, rows)
        total = weight_sum(w, len(x))
        if total == 0 and place is None:
            return True

        # Rows: forward, deltas, gradients.
        seed = run.batches.seed
        context = Context(
            self.parameters,
            self.state,
            training=True,
            seed=seed,
            step=step,
            bfloat16=plan.bfloat16,
        )
        done = forward(plan, x, context)
        if place is not None:
            outputs, there = place
            outputs[there] = done.values[plan.output_slots[1]]
        if total == 0:
            return True
        backward(plan, done, t, w, context, whole=False)
        data_loss = loss_sum(done.losses, w)
        penalty = plan.penalty(self.vector, total)
        if not np.isfinite(data_loss + penalty):
            record.diverged_at = first_not_finite(plan, done)
            return False

        record.diverged_at = endless_statistics(plan, done, context)
        if record.diverged_at is not None:
            return False

        # Parameters: penalty, clipping, update, constraint.
        scale = loss_scale(plan, total)
        trained = [i for i, parameter in enumerate(plan.parameters) if parameter.factor]
        gradients = done.gradients
        for i, parameter in enumerate(plan.parameters):
            gradients[i] = scale * gradients[i]
            if parameter.penalty:
                gradients[i] = gradients[i] + parameter.penalty_gradient(self.parameters[i], total)
        squares = [sum_of_squares(g) for g in gradients]
        finite = [bool(np.isfinite(g).all()) for g in gradients]
        if not all(finite):
            record.diverged_at = plan.parameters[finite.index(False)].name
            return False
        if plan.clip:
            changed_in_place(
                f"{type(plan.clip).__name__}.apply",
                plan.clip.apply(tuple(gradients[i] for i in trained)),  # type: ignore[func-returns-value]
            )
        before = self.vector.copy(), self.optimizer_state.copy()
        for i in trained:
            self._update(i, gradients[i], scalars[run.counts.group[i]])
        record.diverged_at = self._not_finite(trained)
        if record.diverged_at is not None:
            self.vector[:], self.optimizer_state[:] = before
            return False
        move_state(plan, done, context)

        record.loss_sum[epoch] += data_loss
        record.weight_sum[epoch] += total
        record.penalty_sum[epoch] += penalty
        mean = plan.loss.reduction == "mean"
        record.step_losses[record.steps_done] = data_loss / total if mean else data_loss, penalty
        record.gradient_squares[epoch] += squares
        record.updates[epoch] += 1
        run.counts.since += 1
        return True

    def _not_finite(self, trained: list[int]) -> str | None:
        """Return the first parameter of which a value or its state is not finite, or None."""
        for i in trained:
            place = self.plan.parameters[i]
            for array in (self.vector[place.slice], self.optimizer_state[:, place.slice]):
                if not np.isfinite(array).all():
                    return place.name
        return None

    def _update(self, i: int, gradient: Array, scalars: Array) -> None:
        assert self.plan.optimizer is not None
        parameter, W = self.plan.parameters[i], self.parameters[i]
        returned = self.plan.optimizer.update(  # type: ignore[func-returns-value]
            W.reshape(-1),
            gradient.reshape(-1),
            self.optimizer_state[:, parameter.slice],
            scalars,
            parameter.factor,
            parameter.is_weight,
        )
        changed_in_place(f"{type(self.plan.optimizer).__name__}.update", returned)
        if parameter.constraint:
            changed_in_place(
                f"{type(parameter.constraint).__name__}.apply",
                parameter.constraint.apply(W),  # type: ignore[func-returns-value]
            )

    def predict(self, X: Array, batch_size: int | None) -> Array:
        """Return the outputs for ``X``, block by block."""
        outputs = np.empty((len(X), self.plan.outputs), dtype=self.plan.dtype)
        for rows in self._blocks(len(X), batch_size):
            with np.errstate(over="ignore"):  # a value beyond the dtype is carried as infinity
                x = X[rows].astype(self.plan.dtype, copy=False)
            done = self._forward(x)
            outputs[rows] = done.values[self.plan.output_slots[1]]
        return outputs

    def evaluate(self, data: Dataset, outputs: Array | None = None) -> tuple[float, float]:
        """Return the sums of ``w_i l_i`` and of ``w_i``, block by block."""
        losses = total = 0.0
        for rows in self._blocks(len(data), None):
            x, t, w = gather(self.plan, data, rows)
            done = self._forward(x)
            with np.errstate(all="ignore"):
                losses += loss_sum(example_losses(self.plan, done, t, w), w)
            total += weight_sum(w, len(x))
            if outputs is not None:
                outputs[rows] = done.values[self.plan.output_slots[1]]
        return losses, total

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
