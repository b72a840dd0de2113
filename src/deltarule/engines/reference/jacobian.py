"""The Jacobian of a network's outputs by its parameters: a gradient for each example and output.

Backpropagation from ``dL/da = e_j`` (1 at output j, 0 elsewhere) for all rows at once leaves a
delta for each row. A layer's gradient is a sum over rows; here its terms stay apart. For a dense
layer, row i's term is the outer product ``a_prev[i] delta[i]'``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

import numpy as np

from deltarule.base.types import Array
from deltarule.engines.reference.formulas import Here
from deltarule.engines.reference.passes import Context, Pass, backward_through, forward
from deltarule.network.layer import Layer
from deltarule.network.layers import Dense, Embedding, LayerNorm, Scale
from deltarule.plan import Operation, Plan

Terms: TypeAlias = Mapping[str, Array]
"""By the layer's own names of its parameters: (n, *shape of the parameter)."""


def _dense(here: Here, delta: Array) -> Terms:
    return {"weight": here.inputs[0][:, :, None] * delta[:, None, :], "bias": delta}


def _layer_norm(here: Here, gradient: Array) -> Terms:
    return {"scale": gradient * here.cache[0], "shift": gradient}  # x_hat is the cache's first


def _scale(here: Here, gradient: Array) -> Terms:
    return {"scale": gradient * here.inputs[0]}


def _embedding(here: Here, gradient: Array) -> Terms:
    table, codes = here.parameters["table"], here.cache  # codes (n, columns)
    n, columns = codes.shape
    rows = gradient[:, gradient.shape[1] - columns * table.shape[1] :].reshape(n, columns, -1)
    terms = np.zeros((n, *table.shape), dtype=gradient.dtype)
    terms[np.arange(n)[:, None], codes] = rows  # each column of codes has rows of its own
    return {"table": terms}


_TERMS: dict[type[Layer], Callable[[Here, Array], Terms]] = {
    Dense: _dense,
    LayerNorm: _layer_norm,
    Scale: _scale,
    Embedding: _embedding,
}


def _terms_of(op: Operation) -> Callable[[Here, Array], Terms] | None:
    """Return the formula of an operation's terms; None where a user wrote its backward."""
    if hasattr(type(op.layer), "forward"):
        return None
    return next((_TERMS[kind] for kind in type(op.layer).__mro__ if kind in _TERMS), None)


def jacobian(plan: Plan, x: Array, context: Context) -> tuple[Array, Array]:
    """Return outputs ``a`` (n, k) and ``J`` (n, k, p), ``J[i, j] = da_ij / dw``, for rows ``x``.

    p counts the parameters that are trained, in their order. Rows must not depend on each other.
    A layer whose backward formula a user wrote sums over rows; with one, each row takes a pass of
    its own.
    """
    n, k = len(x), plan.outputs
    places, p = plan.trained_places
    J = np.empty((n, k, p), dtype=plan.dtype)
    learning = [op for op in plan.operations if op.parameters and not op.frozen]
    at_once = all(_terms_of(op) is not None for op in learning)
    a = np.empty((n, k), dtype=plan.dtype)
    for rows in [slice(0, n)] if at_once else [slice(i, i + 1) for i in range(n)]:
        done = forward(plan, x[rows], context)
        a[rows] = done.values[plan.output_slots[1]]
        for j in range(k):
            _from_output(plan, done, context, j)
            for op in learning:
                terms = _terms(op, done, context)
                for name, i in op.parameters.items():
                    place = places[i]
                    if place is not None:
                        J[rows, j, place] = terms[name].reshape(len(J[rows]), -1)
    return a, J


def _from_output(plan: Plan, done: Pass, context: Context, j: int) -> None:
    """Propagate ``dL/da = e_j`` backward through all operations."""
    last = plan.output_slots[1]
    gradient = np.zeros_like(done.values[last])
    gradient[:, j] = 1
    done.deltas = {last: gradient}
    done.gradients = [np.zeros(0)] * len(plan.parameters)
    backward_through(plan.operations, done, context, whole=False)


def _terms(op: Operation, done: Pass, context: Context) -> Terms:
    """Return the terms of an operation's gradients, from the deltas; of one row, the gradients."""
    terms_of = _terms_of(op)
    if terms_of is None:
        return {name: done.gradients[i] for name, i in op.parameters.items()}
    here = context.here(op, done.values, cache=done.caches[op.target])
    return terms_of(here, done.deltas[op.target])
