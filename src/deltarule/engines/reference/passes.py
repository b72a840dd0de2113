"""Backpropagation over a plan, in NumPy, as a textbook writes it.

Rows are examples. For each operation there is a forward function and, below it, the backward
function that inverts it. ``delta`` is dL/dz of an operation's input or output; in here it
carries the example's weight ``w_i`` alone, and the factor ``1 / sum(w)`` of a mean enters where
the gradient is used.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from deltarule.base.errors import InvalidValueError
from deltarule.base.random import keep_mask
from deltarule.base.types import Array
from deltarule.data import Dataset
from deltarule.plan import (
    ActivationOperation,
    AddOperation,
    BatchNormOperation,
    CustomOperation,
    DenseOperation,
    DropoutOperation,
    LayerNormOperation,
    Operation,
    Plan,
)

# ---------------------------------------------------------------- formulas, forward and backward


def dense_forward(a_prev: Array, W: Array, b: Array | None) -> Array:
    """``z = a_prev @ W + b``: (n, n_in) by (n_in, n_out) -> (n, n_out)."""
    z: Array = a_prev @ W
    if b is not None:
        z += b
    return z


def dense_backward(delta: Array, a_prev: Array, W: Array) -> tuple[Array, Array, Array]:
    """Return ``dL/da_prev = delta @ W.T``, ``dW = a_prev.T @ delta``, ``db = sum over rows``."""
    return delta @ W.T, a_prev.T @ delta, delta.sum(axis=0)


def batch_norm_forward(
    x: Array, scale: Array, shift: Array, mean: Array, variance: Array, epsilon: float
) -> tuple[Array, Array, Array]:
    """``y = scale * x_hat + shift``, ``x_hat = (x - mean) r``, ``r = 1/sqrt(variance + epsilon)``.

    Returns y, x_hat (n, columns) and r (columns,).
    """
    r = 1 / np.sqrt(variance + epsilon)
    x_hat = (x - mean) * r
    return scale * x_hat + shift, x_hat, r


def batch_norm_backward(
    gradient: Array, x_hat: Array, r: Array, scale: Array, of_batch: bool
) -> tuple[Array, Array, Array]:
    """Return dL/dx, dL/dscale, dL/dshift for ``gradient = dL/dy``.

    With the batch's own statistics, mean and variance depend on x, so from ``g = gradient * scale``
    its mean and its component along x_hat drop out: ``dx = r (g - mean(g) - x_hat mean(g x_hat))``.
    """
    g = gradient * scale
    if of_batch:
        g = g - g.mean(axis=0) - x_hat * (g * x_hat).mean(axis=0)
    return g * r, (gradient * x_hat).sum(axis=0), gradient.sum(axis=0)


def layer_norm_forward(
    x: Array, scale: Array, shift: Array, epsilon: float
) -> tuple[Array, Array, Array]:
    """As batch_norm_forward, with mean and variance of each row; r is (n, 1)."""
    mean = x.mean(axis=1, keepdims=True)
    variance = ((x - mean) ** 2).mean(axis=1, keepdims=True)
    r = 1 / np.sqrt(variance + epsilon)
    x_hat = (x - mean) * r
    return scale * x_hat + shift, x_hat, r


def layer_norm_backward(
    gradient: Array, x_hat: Array, r: Array, scale: Array
) -> tuple[Array, Array, Array]:
    """Return dL/dx, dL/dscale, dL/dshift; the means run over the columns of each row."""
    g = gradient * scale
    g = g - g.mean(axis=1, keepdims=True) - x_hat * (g * x_hat).mean(axis=1, keepdims=True)
    return g * r, (gradient * x_hat).sum(axis=0), gradient.sum(axis=0)


def dropout_forward(x: Array, keep: Array, rate: float) -> Array:
    """``y = x * keep / (1 - rate)``."""
    return np.where(keep, x / (1 - rate), x.dtype.type(0))


def dropout_backward(gradient: Array, keep: Array, rate: float) -> Array:
    """``dL/dx = dL/dy * keep / (1 - rate)``: the mask of the forward pass."""
    return dropout_forward(gradient, keep, rate)


# ---------------------------------------------------------------------------- one pass over a plan


@dataclass
class Pass:
    """What one forward and backward pass leaves behind.

    Attributes
    ----------
    values : list of arrays (n, width)
        The content of each slot.
    caches : dict
        What the backward of an operation needs, by the operation's target slot.
    deltas : dict
        dL/d(slot), by slot; weighted by ``w_i`` alone.
    gradients : list of arrays
        dL/dp of each parameter, summed over rows.
    losses : array (n,)
        Each example's loss, unweighted.
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


def forward(plan: Plan, x: Array, context: Context) -> Pass:
    """Run all operations forward on ``x`` (n, inputs)."""
    done = Pass(values=[x] + [x] * (len(plan.widths) - 1))
    for op in plan.operations:
        done.values[op.target], done.caches[op.target] = _forward(op, done.values, context)
    return done


def _forward(op: Operation, values: list[Array], c: Context) -> tuple[Array, Any]:
    """Return an operation's output and what its backward needs beside values."""
    x, p = values[op.source], c.parameters
    match op:
        case DenseOperation():
            return dense_forward(x, p[op.weight], None if op.bias is None else p[op.bias]), None
        case ActivationOperation():
            return op.function(x), None
        case BatchNormOperation():
            of_batch = c.training and not op.frozen
            mean = x.mean(axis=0) if of_batch else c.state[op.mean]
            variance = x.var(axis=0) if of_batch else c.state[op.variance]
            y, x_hat, r = batch_norm_forward(
                x, p[op.scale], p[op.shift], mean, variance, op.epsilon
            )
            return y, (x_hat, r, mean, variance, of_batch)
        case LayerNormOperation():
            y, x_hat, r = layer_norm_forward(x, p[op.scale], p[op.shift], op.epsilon)
            return y, (x_hat, r)
        case DropoutOperation():
            if not c.training or not op.rate:
                return x, None
            rows, columns = x.shape
            keep = keep_mask(
                c.seed, op.rate, rows=rows, columns=columns, step=c.step, layer=op.position
            )
            return dropout_forward(x, keep, op.rate), keep
        case AddOperation():
            return x + values[op.other], None
        case CustomOperation():
            returned = op.layer.forward(x, {name: p[i] for name, i in op.parameters}, c.training)
            if not (isinstance(returned, tuple) and len(returned) == 2):
                raise _custom(op, "forward must return (output, cache)", type(returned).__name__)
            _check_shape(op, "forward", returned[0], (len(x), op.layer.outputs(x.shape[1])))
            return returned
    raise TypeError(f"no formula for {type(op).__name__}")


def output(plan: Plan, done: Pass) -> tuple[Array, Array]:
    """Return the last preactivation z and activation a; they are one where there is no function."""
    last = plan.operations[-1]
    source = last.source if isinstance(last, ActivationOperation) else last.target
    return done.values[source], done.values[last.target]


def example_losses(plan: Plan, done: Pass, t: Array) -> Array:
    """Return each example's loss, (n,), unweighted."""
    assert plan.loss is not None
    z, a = output(plan, done)
    return plan.loss.canonical_value(z, a, t) if plan.canonical else plan.loss.value(a, t)


def backward(
    plan: Plan, done: Pass, t: Array, weights: Array | None, context: Context, *, whole: bool
) -> None:
    """Fill in losses, deltas and gradients for targets ``t`` and weights (n,).

    ``whole``: dL/d(input) is wanted too; otherwise the first layer's is left out.
    """
    assert plan.loss is not None
    operations, last = plan.operations, plan.operations[-1]
    z, a = output(plan, done)
    w = 1 if weights is None else weights[:, None].astype(plan.dtype)
    done.losses = example_losses(plan, done, t)
    if plan.canonical and isinstance(last, ActivationOperation):
        operations = operations[:-1]
        done.deltas[last.source] = w * plan.loss.canonical_delta(z, a, t)
    elif plan.canonical:  # the identity: z and a share a slot
        done.deltas[last.target] = w * plan.loss.canonical_delta(z, a, t)
    else:
        done.deltas[last.target] = w * plan.loss.gradient(a, t)
    done.gradients = [np.zeros(0)] * len(plan.parameters)
    for op in reversed(operations):
        for slot, gradient in _backward(op, done, context, whole):
            if slot in done.deltas:
                done.deltas[slot] = done.deltas[slot] + gradient
            else:
                done.deltas[slot] = gradient


def _backward(op: Operation, done: Pass, c: Context, whole: bool) -> Iterator[tuple[int, Array]]:
    """Yield (slot, its share of dL/dslot); store the gradients of the operation's parameters."""
    delta, x, cache = done.deltas[op.target], done.values[op.source], done.caches[op.target]
    p, g = c.parameters, done.gradients
    match op:
        case DenseOperation():
            if op.source == 0 and not whole:
                g[op.weight], db = x.T @ delta, delta.sum(axis=0)
            else:
                da_prev, g[op.weight], db = dense_backward(delta, x, p[op.weight])
                yield op.source, da_prev
            if op.bias is not None:
                g[op.bias] = db
        case ActivationOperation():
            yield op.source, op.function.backward(delta, x, done.values[op.target])
        case BatchNormOperation():
            x_hat, r, _, _, of_batch = cache
            dx, g[op.scale], g[op.shift] = batch_norm_backward(
                delta, x_hat, r, p[op.scale], of_batch
            )
            yield op.source, dx
        case LayerNormOperation():
            x_hat, r = cache
            dx, g[op.scale], g[op.shift] = layer_norm_backward(delta, x_hat, r, p[op.scale])
            yield op.source, dx
        case DropoutOperation():
            yield op.source, delta if cache is None else dropout_backward(delta, cache, op.rate)
        case AddOperation():
            yield op.source, delta
            yield op.other, delta
        case CustomOperation():
            dx, gradients = op.layer.backward(
                delta, cache, {name: p[i] for name, i in op.parameters}
            )
            _check_shape(op, "backward", dx, x.shape)
            for name, i in op.parameters:
                if name not in gradients:
                    raise _custom(op, f"backward must return a gradient of {name!r}", "none")
                _check_shape(op, f"backward of {name!r}", gradients[name], p[i].shape)
                g[i] = gradients[name]
            yield op.source, dx


def _custom(op: CustomOperation, expected: str, got: str) -> InvalidValueError:
    kind = type(op.layer).__name__
    return InvalidValueError(f"layer {op.path!r} ({kind}): {expected}, got {got}")


def _check_shape(op: CustomOperation, what: str, array: Any, shape: tuple[int, ...]) -> None:
    if np.shape(array) != shape:
        raise _custom(op, f"{what} must return shape {shape}", str(np.shape(array)))


def loss_scale(plan: Plan, total_weight: float) -> float:
    """Return ``1 / sum(w)`` for a mean, 1 for a sum."""
    assert plan.loss is not None
    return 1 / total_weight if plan.loss.reduction == "mean" else 1.0


def gather(plan: Plan, data: Dataset, rows: slice | Array) -> tuple[Array, Array, Array | None]:
    """Return features, targets and weights of some rows, converted to the network's dtype."""
    assert plan.loss is not None
    x = data.X[rows].astype(plan.dtype, copy=False)
    t = plan.loss.encode(data.y[rows], plan.outputs, plan.dtype)
    return x, t, None if data.weights is None else data.weights[rows]


def first_not_finite(plan: Plan, done: Pass) -> str:
    """Return the path of the first layer whose output is not finite, or ""."""
    for op in plan.operations:
        if not np.isfinite(done.values[op.target]).all():
            return op.path
    return ""
