"""The layers' formulas: for each a forward function and, below it, the backward that inverts it.

Rows are examples. ``gradient`` is dL/dy of a layer's output ``y``, ``delta`` dL/dz of a
preactivation; both carry an example's weight ``w_i`` alone. The second half of this file says which
layer uses which formula.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from deltarule.base.errors import InvalidValueError, missing_formula
from deltarule.base.random import keep_mask
from deltarule.base.returned import as_returned, read_only
from deltarule.base.rounding import to_bfloat16
from deltarule.base.types import Array
from deltarule.network.layer import CustomLayer, Layer
from deltarule.network.layers import (
    Activation,
    Add,
    BatchNorm,
    Dense,
    Dropout,
    Embedding,
    LayerNorm,
    Scale,
)
from deltarule.plan import Operation


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


def unbiased(variance: Array, n: int) -> Array:
    """``n / (n - 1)`` times the variance that n rows have about their own mean."""
    return variance * (n / (n - 1))


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


def scale_forward(x: Array, scale: Array) -> Array:
    """``y = x * scale``: (n, columns) by (columns,)."""
    return x * scale


def scale_backward(gradient: Array, x: Array, scale: Array) -> tuple[Array, Array]:
    """Return ``dL/dx = gradient * scale`` and ``dscale``, the sum of ``gradient * x`` over rows."""
    return gradient * scale, (gradient * x).sum(axis=0)


def embedding_forward(codes: Array, table: Array) -> Array:
    """``y = table[code]`` for each code, side by side: (n, k) and (rows, size) -> (n, k * size)."""
    return table[codes].reshape(len(codes), -1)


def embedding_backward(gradient: Array, codes: Array, table: Array) -> Array:
    """Return ``dtable``: each row is the sum of the gradients where its code stood."""
    dtable = np.zeros_like(table)
    np.add.at(dtable, codes, gradient.reshape(*codes.shape, -1))
    return dtable


def dropout_forward(x: Array, keep: Array, rate: float) -> Array:
    """``y = x * keep / (1 - rate)``."""
    return np.where(keep, x / (1 - rate), x.dtype.type(0))


def dropout_backward(gradient: Array, keep: Array, rate: float) -> Array:
    """``dL/dx = dL/dy * keep / (1 - rate)``: the mask of the forward pass."""
    return dropout_forward(gradient, keep, rate)


# ------------------------------------------------------------------------ which layer uses what


class Here(NamedTuple):
    """An operation in the course of a pass: all that its formulas may read.

    Attributes
    ----------
    parameters, state : mapping of str to array
        By the layer's own names.
    seed, step : int
        Of the random words.
    bfloat16 : bool
        Whether products read numbers rounded to bfloat16.
    inputs : tuple of array
        What the operation reads.
    output, cache
        For the backward formula: what the forward formula returned.
    whole : bool
        Whether dL/d(input of the network) is wanted too.
    """

    op: Operation
    parameters: Mapping[str, Array]
    state: Mapping[str, Array]
    training: bool
    seed: int
    step: int
    bfloat16: bool
    inputs: tuple[Array, ...]
    output: Array | None = None
    cache: Any = None
    whole: bool = True

    @property
    def layer(self) -> Any:
        """The layer."""
        return self.op.layer

    def operand(self, x: Array) -> Array:
        """Return what a product reads of ``x``."""
        return to_bfloat16(x) if self.bfloat16 else x


Forward: TypeAlias = tuple[Array, Any]
"""The output, and what the backward formula needs beside inputs and output."""
Backward: TypeAlias = tuple[tuple[Array | None, ...], Mapping[str, Array]]
"""dL/d(input) of each input, None where it is not wanted; the parameters' gradients by name."""


def _dense(here: Here) -> Forward:
    (a_prev,), p = here.inputs, here.parameters
    z = dense_forward(here.operand(a_prev), here.operand(p["weight"]), p.get("bias"))
    return z, None


def _dense_back(here: Here, delta: Array) -> Backward:
    a_prev, W, d = map(here.operand, (here.inputs[0], here.parameters["weight"], delta))
    if here.op.source == 0 and not here.whole:
        return (None,), {"weight": a_prev.T @ d, "bias": delta.sum(axis=0)}
    da_prev, dW, db = dense_backward(d, a_prev, W)
    return (da_prev,), {"weight": dW, "bias": delta.sum(axis=0) if here.bfloat16 else db}


def _activation(here: Here) -> Forward:
    f, (z,) = here.layer.f, here.inputs
    return as_returned(
        f"{type(f).__name__}", f(z), z.shape, z.dtype, "f of each element of z"
    ), None


def _activation_back(here: Here, gradient: Array) -> Backward:
    f, (z,) = here.layer.f, here.inputs
    dz = f.backward(gradient, z, here.output)
    what = f"{type(f).__name__}.backward"
    return (as_returned(what, dz, z.shape, z.dtype, "dL/dz of each element"),), {}


def _batch_norm(here: Here) -> Forward:
    (x,), p = here.inputs, here.parameters
    of_batch = here.training and not here.op.frozen
    mean = x.mean(axis=0) if of_batch else here.state["running_mean"]
    variance = x.var(axis=0) if of_batch else here.state["running_variance"]
    y, x_hat, r = batch_norm_forward(x, p["scale"], p["shift"], mean, variance, here.layer.epsilon)
    return y, (x_hat, r, mean, variance, of_batch)


def _batch_norm_back(here: Here, gradient: Array) -> Backward:
    x_hat, r, _, _, of_batch = here.cache
    dx, dscale, dshift = batch_norm_backward(gradient, x_hat, r, here.parameters["scale"], of_batch)
    return (dx,), {"scale": dscale, "shift": dshift}


def batch_statistics(here: Here) -> Mapping[str, Array]:
    """Return what the running statistics move towards, by name; none where they stay."""
    _, _, mean, variance, of_batch = here.cache
    if not of_batch:
        return {}
    variance = unbiased(variance, len(here.inputs[0]))
    return {"running_mean": mean, "running_variance": variance}


def move_running_statistics(here: Here) -> None:
    """``running = (1 - momentum) running + momentum batch``, with the unbiased variance."""
    momentum = here.layer.momentum
    for name, value in batch_statistics(here).items():
        running = here.state[name]
        running *= 1 - momentum
        running += momentum * value


def _layer_norm(here: Here) -> Forward:
    (x,), p = here.inputs, here.parameters
    y, x_hat, r = layer_norm_forward(x, p["scale"], p["shift"], here.layer.epsilon)
    return y, (x_hat, r)


def _layer_norm_back(here: Here, gradient: Array) -> Backward:
    x_hat, r = here.cache
    dx, dscale, dshift = layer_norm_backward(gradient, x_hat, r, here.parameters["scale"])
    return (dx,), {"scale": dscale, "shift": dshift}


def _scale(here: Here) -> Forward:
    return scale_forward(here.inputs[0], here.parameters["scale"]), None


def _scale_back(here: Here, gradient: Array) -> Backward:
    dx, dscale = scale_backward(gradient, here.inputs[0], here.parameters["scale"])
    return (dx,), {"scale": dscale}


def _embedding(here: Here) -> Forward:
    (x,), layer = here.inputs, here.layer
    columns = list(layer.code_columns)
    missing = np.asarray(np.isnan(x[:, columns]).any(axis=1))
    first = np.cumsum((0, *layer.cardinalities[:-1]))
    codes = np.where(missing[:, None], 0, x[:, columns]).astype(np.int64) + first
    passed = np.delete(x, columns, axis=1)
    y = np.concatenate([passed, embedding_forward(codes, here.parameters["table"])], axis=1)
    y[missing] = np.nan
    return y, codes


def _embedding_back(here: Here, gradient: Array) -> Backward:
    (x,), columns = here.inputs, list(here.layer.code_columns)
    others = [column for column in range(x.shape[1]) if column not in columns]
    dx = np.zeros_like(x)  # a code has no derivative
    dx[:, others] = gradient[:, : len(others)]
    dtable = embedding_backward(gradient[:, len(others) :], here.cache, here.parameters["table"])
    return (dx,), {"table": dtable}


def _dropout(here: Here) -> Forward:
    (x,), rate = here.inputs, here.layer.rate
    if not here.training or not rate:
        return x, None
    rows, columns = x.shape
    keep = keep_mask(
        here.seed, rate, rows=rows, columns=columns, step=here.step, layer=here.op.position
    )
    return dropout_forward(x, keep, rate), keep


def _dropout_back(here: Here, gradient: Array) -> Backward:
    if here.cache is None:
        return (gradient,), {}
    return (dropout_backward(gradient, here.cache, here.layer.rate),), {}


def _add(here: Here) -> Forward:
    x, fx = here.inputs
    return x + fx, None


def _add_back(here: Here, gradient: Array) -> Backward:
    return (gradient, gradient), {}


def _custom(here: Here) -> Forward:
    (x,) = here.inputs
    returned = _call(here, "forward", x, _looked_at(here.parameters), here.training)
    if not (isinstance(returned, tuple) and len(returned) == 2):
        raise _fault(here, "forward must return (output, cache)", type(returned).__name__)
    return _returned(
        here, "forward", returned[0], (len(x), here.layer.outputs(x.shape[1])), x.dtype
    ), returned[1]


def _custom_back(here: Here, gradient: Array) -> Backward:
    (x,) = here.inputs
    returned = _call(here, "backward", gradient, here.cache, _looked_at(here.parameters))
    if not (
        isinstance(returned, tuple) and len(returned) == 2 and isinstance(returned[1], Mapping)
    ):
        raise _fault(
            here, "backward must return (dL/dx, gradients by name)", type(returned).__name__
        )
    dx = _returned(here, "backward", returned[0], x.shape, x.dtype)
    gradients = {}
    for name, parameter in here.parameters.items():
        if name not in returned[1]:
            raise _fault(here, f"backward must return a gradient of {name!r}", "none")
        gradients[name] = _returned(
            here, f"backward of {name!r}", returned[1][name], parameter.shape, x.dtype
        )
    return (dx,), gradients


def _call(here: Here, method: str, *arguments: Any) -> Any:
    """Call a formula of a user's layer; say what it takes where it takes something else."""
    formula = getattr(here.layer, method, None)
    if formula is None:
        raise missing_formula(here.layer, method)
    try:
        return formula(*arguments)
    except TypeError as error:
        if error.__traceback__ is None or error.__traceback__.tb_next is not None:
            raise
        first = "x" if method == "forward" else "gradient, cache"
        takes = f"({first}, parameters{', training' * (method == 'forward')})"
        raise _fault(here, f"{method} must take {takes}", str(error)) from None


def _looked_at(parameters: Mapping[str, Array]) -> dict[str, Array]:
    return {name: read_only(parameter) for name, parameter in parameters.items()}


class Formulas(NamedTuple):
    """A layer's formulas, and for running statistics how a step moves them, and where to."""

    forward: Callable[[Here], Forward]
    backward: Callable[[Here, Array], Backward]
    move_state: Callable[[Here], None] | None = None
    batch_statistics: Callable[[Here], Mapping[str, Array]] | None = None


FORMULAS: dict[type[Layer], Formulas] = {
    Dense: Formulas(_dense, _dense_back),
    Activation: Formulas(_activation, _activation_back),
    BatchNorm: Formulas(_batch_norm, _batch_norm_back, move_running_statistics, batch_statistics),
    LayerNorm: Formulas(_layer_norm, _layer_norm_back),
    Scale: Formulas(_scale, _scale_back),
    Embedding: Formulas(_embedding, _embedding_back),
    Dropout: Formulas(_dropout, _dropout_back),
    Add: Formulas(_add, _add_back),
    CustomLayer: Formulas(_custom, _custom_back),
}


def formulas_of(layer: Layer) -> Formulas:
    """Return a layer's own formulas, or those of the nearest class that it derives from."""
    if hasattr(type(layer), "forward"):
        return FORMULAS[CustomLayer]
    for kind in type(layer).__mro__:
        if kind in FORMULAS:
            return FORMULAS[kind]
    raise InvalidValueError(
        f"{type(layer).__name__} has no formulas; a layer of your own derives from CustomLayer"
    )


def _fault(here: Here, expected: str, got: str) -> InvalidValueError:
    return InvalidValueError(
        f"layer {here.op.path!r} ({type(here.layer).__name__}): {expected}, got {got}"
    )


def _returned(here: Here, what: str, array: Any, shape: tuple[int, ...], dtype: Any) -> Array:
    where = f"layer {here.op.path!r} ({type(here.layer).__name__}): {what}"
    return as_returned(where, array, shape, dtype, "numbers")
