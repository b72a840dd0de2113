"""One pass over a plan, forward and backward, as a textbook writes it.

Rows are examples. ``deltas`` are dL/d(slot); in here they carry an example's weight ``w_i`` alone,
and the factor ``1 / sum(w)`` of a mean enters where a gradient is used. The formulas of the layers
are in :mod:`deltarule.engines.reference.formulas`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from deltarule.base.errors import InvalidValueError
from deltarule.base.returned import as_returned, read_only
from deltarule.base.types import Array
from deltarule.data.arrays import Dataset
from deltarule.data.weights import row_weights
from deltarule.engines.reference.formulas import Here, formulas_of
from deltarule.plan import Operation, Plan


@dataclass
class Pass:
    """What one forward and backward pass leaves behind.

    Attributes
    ----------
    values : list of arrays (n, width)
        The content of each slot.
    caches : dict
        What the backward formula of an operation needs, by the operation's target slot.
    deltas : dict
        dL/d(slot), by slot; weighted by ``w_i`` alone.
    gradients : list of arrays
        dL/dp of each parameter, summed over rows.
    losses : array (n,)
        Each example's loss, unweighted; with weights for each output ``sum_j w_ij l_ij``.
    """

    values: list[Array]
    caches: dict[int, Any] = field(default_factory=dict)
    deltas: dict[int, Array] = field(default_factory=dict)
    gradients: list[Array] = field(default_factory=list)
    losses: Array = field(default_factory=lambda: np.zeros(0))


@dataclass(frozen=True)
class Context:
    """What a pass depends on beside the plan: parameters, running statistics, mode, randomness."""

    parameters: list[Array]
    state: list[Array]
    training: bool
    seed: int = 0
    step: int = 0
    bfloat16: bool = False

    def here(self, op: Operation, values: list[Array], **backward: Any) -> Here:
        """Return what an operation's formulas may read."""
        return Here(
            op=op,
            parameters={name: self.parameters[i] for name, i in op.parameters.items()},
            state={name: self.state[i] for name, i in op.state.items()},
            training=self.training,
            seed=self.seed,
            step=self.step,
            bfloat16=self.bfloat16,
            inputs=tuple(values[slot] for slot in op.sources),
            **backward,
        )


def forward(plan: Plan, x: Array, context: Context) -> Pass:
    """Run all operations forward on ``x`` (n, inputs)."""
    x = read_only(x)
    done = Pass(values=[x] + [x] * (len(plan.widths) - 1))
    for op in plan.operations:
        value, done.caches[op.target] = _forward(op, done.values, context)
        done.values[op.target] = read_only(value)
    return done


def _forward(op: Operation, values: list[Array], context: Context) -> tuple[Array, Any]:
    """Return an operation's output and what its backward formula needs beside values."""
    return formulas_of(op.layer).forward(context.here(op, values))


def output(plan: Plan, done: Pass) -> tuple[Array, Array]:
    """Return the last preactivation z and activation a; they are one where there is no function."""
    z, a = plan.output_slots
    return done.values[z], done.values[a]


def example_losses(plan: Plan, done: Pass, t: Array, weights: Array | None = None) -> Array:
    """Return each example's loss, (n,): unweighted, or ``sum_j w_ij l_ij`` for weights (n, k)."""
    assert plan.loss is not None
    z, a = output(plan, done)
    by_row = weights is None or weights.ndim == 1
    if not by_row:  # a loss that is a sum or a mean over outputs, of one output alone
        z, a, t = (x.reshape(-1, 1) for x in (z, a, t))
    value = plan.loss.canonical_value(z, a, t) if plan.canonical else plan.loss.value(a, t)
    what = f"{type(plan.loss).__name__}.value"
    losses = as_returned(what, value, (len(a),), a.dtype, "one loss per example")
    if weights is None or by_row:
        return losses
    if plan.loss.over_outputs == "mean":
        losses = losses / weights.shape[1]
    cells = weighted(weights.astype(plan.dtype), losses.reshape(weights.shape))
    sums: Array = cells.sum(axis=1)
    return sums


def weighted(w: Array, x: Array) -> Array:
    """Return ``w x``, and 0 where w is 0, even if x is not finite."""
    return np.where(w == 0, 0, w * x)


def loss_sum(losses: Array, weights: Array | None) -> float:
    """Return ``sum_i w_i l_i`` in float64; weights of single outputs are in the losses already."""
    losses = losses.astype(np.float64)
    if weights is None or weights.ndim == 2:
        return float(losses.sum())
    return float(weights @ np.where(weights == 0, 0, losses))


def weight_sum(weights: Array | None, n: int) -> float:
    """Return ``sum_i w_i``, where a row weighs the mean of its outputs' weights."""
    return float(n) if weights is None else float(row_weights(weights).sum())


def backward(
    plan: Plan, done: Pass, t: Array, weights: Array | None, context: Context, *, whole: bool
) -> None:
    """Fill in losses, deltas and gradients for targets ``t`` and weights (n,) or (n, outputs).

    ``whole``: dL/d(input) is wanted too; otherwise the first layer's is left out.
    """
    assert plan.loss is not None
    operations, (last_z, last_a) = plan.operations, plan.output_slots
    z, a = output(plan, done)
    done.losses = example_losses(plan, done, t, weights)
    name = type(plan.loss).__name__
    if plan.canonical:  # dL/dz at once: the last activation has been passed
        slot, what, delta = last_z, f"{name}.canonical_delta", plan.loss.canonical_delta(z, a, t)
        operations = operations[:-1] if last_z != last_a else operations
    else:
        slot, what, delta = last_a, f"{name}.gradient", plan.loss.gradient(a, t)
    delta = as_returned(what, delta, a.shape, a.dtype, "dl/da of each example and output")
    if weights is not None:
        w = weights if weights.ndim == 2 else weights[:, None]
        delta = weighted(w.astype(plan.dtype), delta)
    done.deltas[slot] = delta
    done.gradients = [np.zeros(0)] * len(plan.parameters)
    backward_through(operations, done, context, whole=whole)


def backward_through(
    operations: Sequence[Operation], done: Pass, context: Context, *, whole: bool
) -> None:
    """Take the delta of the last slot backward through operations, into deltas and gradients."""
    for op in reversed(operations):
        for slot, gradient in _backward(op, done, context, whole):
            if slot in done.deltas:
                done.deltas[slot] = done.deltas[slot] + gradient
            else:
                done.deltas[slot] = gradient


def _backward(
    op: Operation, done: Pass, context: Context, whole: bool
) -> Iterator[tuple[int, Array]]:
    """Yield (slot, its share of dL/dslot); store the gradients of the operation's parameters."""
    here = context.here(
        op,
        done.values,
        output=done.values[op.target],
        cache=done.caches[op.target],
        whole=whole,
    )
    gradient = read_only(done.deltas[op.target])
    shares, gradients = formulas_of(op.layer).backward(here, gradient)
    for name, i in op.parameters.items():
        if name not in gradients:
            raise InvalidValueError(
                f"layer {op.path!r} ({type(op.layer).__name__}) has a parameter {name!r} of which "
                "its formulas know no gradient; give it forward and backward of its own"
            )
        done.gradients[i] = gradients[name]
    for slot, share in zip(op.sources, shares, strict=True):
        if share is not None:
            yield slot, share


def move_state(plan: Plan, done: Pass, context: Context) -> None:
    """Move running statistics towards those of the batch, as a step does."""
    for op in plan.operations:
        move = formulas_of(op.layer).move_state
        if move is not None:
            move(context.here(op, done.values, cache=done.caches[op.target]))


def endless_statistics(plan: Plan, done: Pass, context: Context) -> str | None:
    """Return the first running statistic that could not follow the batch's, or None.

    ``done.values`` are finite, but the variance of large ones need not be.
    """
    for op in plan.operations:
        statistics = formulas_of(op.layer).batch_statistics
        if statistics is None:
            continue
        found = statistics(context.here(op, done.values, cache=done.caches[op.target]))
        for name, value in found.items():
            if not np.isfinite(value).all():
                return plan.state[op.state[name]].name
    return None


def loss_scale(plan: Plan, total_weight: float) -> float:
    """Return ``1 / sum(w)`` for a mean, 1 for a sum."""
    assert plan.loss is not None
    return 1 / total_weight if plan.loss.reduction == "mean" else 1.0


def gather(plan: Plan, data: Dataset, rows: slice | Array) -> tuple[Array, Array, Array | None]:
    """Return features, targets and weights of some rows, converted to the network's dtype."""
    assert plan.loss is not None
    x = data.X[rows].astype(plan.dtype, copy=False)
    t = as_returned(
        f"{type(plan.loss).__name__}.encode",
        plan.loss.encode(read_only(data.y[rows]), plan.outputs, plan.dtype),
        (len(x), plan.outputs),
        plan.dtype,
        "one target per example and output",
    )
    return x, read_only(t), None if data.weights is None else data.weights[rows]


def first_not_finite(plan: Plan, done: Pass) -> str:
    """Return the path of the first layer whose output is not finite, or ""."""
    for op in plan.operations:
        if not np.isfinite(done.values[op.target]).all():
            return op.path
    return ""
