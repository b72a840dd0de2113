"""One forward and backward pass, with every array kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from deltarule.base.display import html_table
from deltarule.base.errors import FixedError, InvalidValueError, unknown_key
from deltarule.base.guards import fixed
from deltarule.base.random import check_seed
from deltarule.base.settings import check_flag, check_integer
from deltarule.base.types import Array
from deltarule.base.upward import upward
from deltarule.base.words import Leading, helpful
from deltarule.data import Dataset
from deltarule.engines.reference.passes import (
    Context,
    backward,
    forward,
    gather,
    loss_scale,
    loss_sum,
    weight_sum,
)
from deltarule.formulas.losses import Loss
from deltarule.network.network import Network
from deltarule.plan import LossLike, PenaltyLike, Plan, compile_network


class Arrays(Mapping[str, Array]):
    """Arrays of a trace by name; neither the mapping nor its arrays can be changed."""

    def __init__(self, kind: str, arrays: Mapping[str, Array]) -> None:
        self._kind = kind
        self._arrays = {name: _read_only(array) for name, array in arrays.items()}

    def __getitem__(self, name: str) -> Array:
        try:
            return self._arrays[name]
        except (KeyError, TypeError):
            raise unknown_key(self._kind, name, self._arrays) from None

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name in self._arrays

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    def __setitem__(self, *_: Any) -> None:
        raise FixedError("a trace says what happened, and cannot be changed; copy its arrays")

    __delitem__ = __setitem__

    def __repr__(self) -> str:
        inside = ", ".join(f"{name!r}: {array.shape}" for name, array in self._arrays.items())
        return f"{{{inside}}}"


def _read_only(array: Array) -> Array:
    view = array.view()
    view.flags.writeable = False
    return view


@helpful
@fixed
@dataclass(frozen=True, eq=False)
class Trace(Leading):
    """All arrays of one pass; rows are examples.

    Attributes
    ----------
    inputs, targets : array (n, inputs), (n, outputs)
        As the network's dtype; targets encoded (one-hot, smoothed).
    weights : array (n,), (n, outputs) or None
    preactivations : mapping of layer to array (n, units)
        ``z`` of each Dense and Activation layer: ``a = f(z)``.
    activations : mapping of layer to array (n, units)
        Each layer's output.
    deltas : mapping of layer to array (n, units)
        ``dL/dz`` of the reported loss; for a layer without preactivation (a normalisation, Dropout,
        Residual) with respect to its output.
    gradients : mapping of parameter to array
        ``dL/dp`` of the reported loss, penalty included; same keys and shapes as
        ``network.parameters``.
    input_gradient : array (n, inputs)
        ``dL/dx``.
    losses : array (n,)
        Each example's own loss, unweighted; with weights for each output, ``sum_j w_ij l_ij``.
    loss, data_loss, penalty : float
        ``loss = data_loss + penalty``.
    """

    network: Network
    plan: Plan
    inputs: Array
    targets: Array
    weights: Array | None
    preactivations: Mapping[str, Array]
    activations: Mapping[str, Array]
    deltas: Mapping[str, Array]
    gradients: Mapping[str, Array]
    input_gradient: Array
    losses: Array
    loss: float
    data_loss: float
    penalty: float

    def __post_init__(self) -> None:
        kinds = {
            "preactivations": "layer with a preactivation",
            "activations": "layer",
            "deltas": "layer",
            "gradients": "parameter",
        }
        for name, kind in kinds.items():
            object.__setattr__(self, name, Arrays(kind, getattr(self, name)))
        for name in ("inputs", "targets", "weights", "input_gradient", "losses"):
            array = getattr(self, name)
            object.__setattr__(self, name, None if array is None else _read_only(array))

    def __str__(self) -> str:
        return str(upward("print(trace)")(self))

    def __repr__(self) -> str:
        return (
            f"Trace({len(self.inputs)} examples, loss {self.loss:.6g}, "
            f"layers {', '.join(self.activations)})"
        )

    def _repr_html_(self) -> str:
        def norm(arrays: Mapping[str, Array], name: str) -> str:
            with np.errstate(all="ignore"):
                return f"{np.linalg.norm(arrays[name]):.4g}" if name in arrays else ""

        rows = [
            (op.path, op.layer.name, *(norm(a, op.path) for a in (self.activations, self.deltas)))
            for op in self.plan.operations
        ]
        rows += [(name, "gradient", "", norm(self.gradients, name)) for name in self.gradients]
        heads = ("at", "what", "norm of a", "norm of delta or gradient")
        caption = f"Trace: {len(self.inputs)} examples, loss {self.loss:.6g}"
        return html_table(caption, heads, rows, (2, 3))


@helpful
def backpropagate(
    network: Network,
    x: Any,
    t: Any,
    loss: LossLike,
    *,
    training: bool = True,
    seed: int = 0,
    step: int = 0,
    penalty: PenaltyLike = None,
    sample_weight: Any = None,
) -> Trace:
    """Return every array of one forward and backward pass. Nothing is updated.

    ::

        forward                         backward
        z = a_prev @ W + b              delta_L    = dL/da * f'(z_L)   (a - t for canonical pairs)
        a = f(z)                        delta_prev = (delta @ W.T) * f'(z_prev)
                                        dW = a_prev.T @ delta,  db = sum of delta over rows

    Parameters
    ----------
    network : Network
    x : array (n, inputs), or (inputs,) for a single example
    t : array
        Targets as for :func:`deltarule.train`; for a single example its target.
    loss : name or Loss
    training : bool
        True: as in a training step (batch statistics in BatchNorm, Dropout on). False: as in
        `predict`.
    seed, step : int
        Of the dropout masks, which are those of a trainer with this seed at this step (from 0).
    penalty : name or Penalty
        For the whole network; a layer's own replaces it.
    sample_weight : array (n,) or (n, outputs), optional

    Examples
    --------
    >>> import deltarule as dr
    >>> net = dr.Network([dr.Dense(2, "sigmoid"), dr.Dense(1, "sigmoid")], inputs=2, seed=0)
    >>> trace = dr.backpropagate(net, [0.5, 0.8], [1.0], dr.SquaredError())
    >>> trace.deltas["0"].shape, trace.gradients["0.weight"].shape
    ((1, 2), (2, 2))
    >>> bool((trace.gradients["1.bias"] == trace.deltas["1"].sum(axis=0)).all())
    True

    Source: Rumelhart, Hinton and Williams, "Learning representations by back-propagating errors"
    (1986).
    """
    plan = compile_network(network, loss=Loss.resolve(loss), penalty=penalty)
    data = check_examples(network, plan, x, t, sample_weight, finite=False)
    return trace_pass(network, plan, data, training=training, seed=check_seed(seed), step=step)


def check_examples(
    network: Network, plan: Plan, x: Any, t: Any, sample_weight: Any, *, finite: bool
) -> Dataset:
    """Return checked examples; a single one may come without its axis of rows."""
    return plan.expected.examples(
        x, t, sample_weight, finite=finite, single=True, names=network.feature_names
    )


def trace_pass(
    network: Network, plan: Plan, data: Dataset, *, training: bool, seed: int, step: int
) -> Trace:
    """Return the trace of checked data; see :func:`backpropagate`."""
    assert plan.loss is not None
    training = check_flag("training", training)
    check_integer("step", step, at_least=0)
    if training and plan.couples_rows and len(data) < 2:
        raise InvalidValueError(
            "BatchNorm needs at least 2 rows in training, got 1; pass more rows or training=False"
        )
    with np.errstate(over="ignore"):  # a value beyond the dtype is carried as infinity
        inputs, targets, weights = gather(plan, data, slice(None))
    total = weight_sum(weights, len(inputs))
    parameters = list(network.parameters.values())
    context = Context(parameters, list(network.state.values()), training, seed, step)
    with np.errstate(all="ignore"):
        done = forward(plan, inputs, context)
        backward(plan, done, targets, weights, context, whole=True)
    scale = loss_scale(plan, total)

    preactivations, activations, deltas = {}, {}, {}
    for op in plan.operations:
        activations[op.path] = done.values[op.target]
        slot = op.source if op.layer.preactivation == "input" else op.target
        if op.layer.preactivation:
            preactivations[op.path] = done.values[slot]
        deltas[op.path] = scale * done.deltas[slot]
    gradients = {}
    for segment, W, gradient in zip(plan.parameters, parameters, done.gradients, strict=True):
        gradients[segment.name] = scale * gradient
        if segment.penalty:
            of_penalty = segment.penalty_gradient(W, total)
            gradients[segment.name] = gradients[segment.name] + of_penalty
    data_loss = scale * loss_sum(done.losses, weights)
    penalties = plan.penalty(network.vector, total)
    return Trace(
        network=network,
        plan=plan,
        inputs=inputs,
        targets=targets,
        weights=weights,
        preactivations=preactivations,
        activations=activations,
        deltas=deltas,
        gradients=gradients,
        input_gradient=scale * done.deltas[0],
        losses=done.losses.astype(np.float64),
        loss=data_loss + penalties,
        data_loss=data_loss,
        penalty=penalties,
    )
