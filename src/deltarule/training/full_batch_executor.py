"""What executes a plan whose optimizer takes all rows in each step.

It stands where an engine's executor stands, so the training loop, callbacks, validation and
history know nothing of it. Steps are computed in float64 on a twin of the network; a step that is
made is written to the network as a whole, so an interrupt leaves it as it was before.
"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import numpy as np

from deltarule.base.errors import InvalidValueError
from deltarule.base.types import Array
from deltarule.data.arrays import Dataset
from deltarule.data.source import Batches
from deltarule.engines import Engine, Executor, Record, Run
from deltarule.formulas.full_batch import FullBatchOptimizer
from deltarule.formulas.optimizers import Optimizer
from deltarule.network.layers import Dropout
from deltarule.network.network import Network
from deltarule.plan import Plan
from deltarule.training.full_batch import Losses


def check_full_batch(optimizer: Optimizer, batches: Batches) -> None:
    """Raise where an optimizer takes all rows in each step, and a step would have some of them."""
    if isinstance(optimizer, FullBatchOptimizer) and batches.size < batches.rows:
        raise InvalidValueError(
            f"{type(optimizer).__name__} takes all rows in each step: pass batch_size=None; "
            f"got batch_size {batches.size} for {batches.rows} rows"
        )


def check_has_rate(optimizer: Optimizer) -> None:
    """Raise where an optimizer has no learning rate that a callback could change."""
    if isinstance(optimizer, FullBatchOptimizer):
        raise InvalidValueError(
            f"state.rate_factor was changed, and {type(optimizer).__name__} has no learning rate: "
            "leave out the callback that changes it, such as ReduceOnPlateau"
        )


def check_plan(plan: Plan) -> None:
    """Raise where a plan has what a full-batch optimizer cannot train."""
    name = type(plan.optimizer).__name__
    for op in plan.operations:
        if op.couples_rows or (isinstance(op.layer, Dropout) and op.layer.rate):
            remedy = "leave it out" if isinstance(op.layer, Dropout) else f"freeze it ({op.path!r})"
            raise InvalidValueError(
                f"{name} needs a loss that is a function of the parameters alone, and "
                f"{type(op.layer).__name__} makes it one of chance or of the batch: {remedy}, "
                "or use another optimizer"
            )
    if plan.bfloat16:
        raise InvalidValueError(f"{name} computes in float64: leave out precision='bfloat16'")
    if plan.clip is not None:
        raise InvalidValueError(f"{name} chooses the length of its steps itself: leave out clip=")
    for parameter in plan.parameters:
        if parameter.constraint is not None and parameter.factor:
            raise InvalidValueError(
                f"{name} knows no constraints, and {parameter.name!r} has one: leave out "
                "constraint=, or use another optimizer"
            )
        if parameter.factor not in (0.0, 1.0):
            raise InvalidValueError(
                f"{name} has no learning rate, and {parameter.name!r} a factor "
                f"{parameter.factor:g} on it: only 0 (frozen) and 1 are possible"
            )


class FullBatchExecutor(Executor):
    """Base of the executors: the network, its twin in float64, and what evaluates both.

    Attributes
    ----------
    carrier : Optimizer or None
        What the engine runs on the twin; None where that is evaluated alone.
    plan, twin
        The plan of the twin, and the twin.
    trained : array of bool (parameters,)
        Which numbers of the flat vector are trained.
    """

    carrier: ClassVar[Optimizer | None] = None

    checks_batches = False

    def __init__(self, plan: Plan, network: Network, engine: Engine, threads: int | None) -> None:
        assert isinstance(plan.optimizer, FullBatchOptimizer)
        check_plan(plan)
        self._network, self._reported = network, plan.optimizer.reported
        self._outside = engine.executor(replace(plan, optimizer=None), network, threads=threads)
        self.plan = replace(plan, optimizer=self.carrier, dtype=np.dtype(np.float64))
        self.twin = network.copy(dtype="float64")
        self._inside = engine.executor(self.plan, self.twin, threads=threads)
        self._written: Array | None = None  # the network's vector as it was last written
        self.trained = np.repeat(
            [place.factor != 0 for place in plan.parameters],
            [place.size for place in plan.parameters],
        )

    @property
    def exact_vector(self) -> Array:
        """The parameters in float64; the network has them in its dtype."""
        return self.twin.vector.copy()

    @exact_vector.setter
    def exact_vector(self, vector: Array) -> None:
        self.twin.vector = vector
        self._written = self._network.vector.copy()

    def predict(self, X: Array, batch_size: int | None) -> Array:
        """Return the outputs for ``X``, in the network's dtype."""
        return self._outside.predict(X, batch_size)

    def evaluate(self, data: Dataset, outputs: Array | None = None) -> tuple[float, float]:
        """Return the sums of ``w_i l_i`` and of ``w_i``, in the network's dtype."""
        return self._outside.evaluate(data, outputs)

    def step(self, *_: object) -> None:
        """Leave every step to :meth:`run`."""

    def run(self, run: Run, record: Record) -> None:
        """Do some steps; each is an epoch."""
        for name in self._reported:
            record.columns[name] = np.full(run.steps, np.nan)
        data = next(run.batches.stretches(run.epoch, run.batch, 1)).data
        self._read()
        while record.steps_done < run.steps and not record.stopped:
            if run.interrupt.requested:
                record.interrupted = True
                return
            outputs = self._outputs(data) if run.observer else None
            before = record.steps_done
            if data.weights is None or data.weights.any():
                most = 1 if run.observer else run.steps - before
                with np.errstate(all="ignore"):
                    going = self._steps(data, run, record, most)
                run.counts.since += record.steps_done - before
                if not going:
                    return
            else:
                record.steps_done += 1
            if outputs is not None and run.observer is not None:
                run.observer.saw(data, None, outputs)

    def _outputs(self, data: Dataset) -> Array:
        outputs = np.empty((len(data), self.plan.outputs), dtype=self._network.dtype)
        self._outside.evaluate(data, outputs)
        return outputs

    def _steps(self, data: Dataset, run: Run, record: Record, most: int) -> bool:
        """Do and report at least one step; return False after an interrupt or a divergence."""
        raise NotImplementedError

    def _read(self) -> bool:
        """Take the network's values where somebody has changed them; return whether that was so.

        Where nobody did, the twin has them before they were rounded to the network's dtype.
        """
        self.twin.state_vector = self._network.state_vector
        if self._written is not None and np.array_equal(self._written, self._network.vector):
            return False
        self.twin.vector = self._network.vector
        self._written = self._network.vector.copy()
        return True

    def _write(self) -> None:
        """Give the network the twin's parameters."""
        self._network.vector = self.twin.vector
        self._written = self._network.vector.copy()

    def losses(self, data: Dataset) -> Losses:
        """Return the twin's loss."""
        assert self.plan.loss is not None
        data_loss, total = self._inside.evaluate(data)
        if self.plan.loss.reduction == "mean":
            data_loss /= total
        return Losses(data_loss, self.plan.penalty(self.twin.vector, total), total)

    def fits_dtype(self) -> bool:
        """Return whether the twin's parameters are finite in the network's dtype."""
        return bool(np.isfinite(self.twin.vector.astype(self._network.dtype)).all())


def report(plan: Plan, record: Record, losses: Losses, gradient: Array) -> None:
    """Note a step in a record: its loss, and the gradient (trained parameters,), before it."""
    assert plan.loss is not None
    step = record.steps_done
    mean = plan.loss.reduction == "mean"
    record.loss_sum[step] += losses.data * losses.weight if mean else losses.data
    record.weight_sum[step] += losses.weight
    record.penalty_sum[step] += losses.penalty
    record.step_losses[step] = losses.data, losses.penalty
    start = 0
    for i, parameter in enumerate(plan.parameters):
        if parameter.factor:
            part = gradient[start : start + parameter.size]
            record.gradient_squares[step, i] += part @ part
            start += parameter.size
    record.updates[step] += 1
    record.steps_done += 1
