"""Activations and layers in ONNX's core operators, each a formula as the library states it.

onnxruntime has no float64 form of Erf, Elu, Selu, LeakyRelu, Softplus, Softsign and HardSigmoid, so
these functions are written with operators that it has in both types.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from deltarule.base.errors import InvalidTypeError
from deltarule.exchange.graph import (
    Graph,
    Value,
    clip,
    columns_of,
    exp,
    expm1,
    floor,
    log1p,
    maximum,
    mean_of_row,
    minimum,
    side_by_side,
    sigmoid,
    sqrt,
    sum_of_row,
    tanh,
    where,
)
from deltarule.formulas import activations as known
from deltarule.formulas import special
from deltarule.network.layer import Layer
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
from deltarule.network.network import Network
from deltarule.plan import Operation, compile_network


def _leaky_relu(f: Any, z: Value) -> Value:
    return where(z > 0, z, f.negative_slope * z)


def _elu(f: Any, z: Value) -> Value:
    return where(z > 0, z, f.alpha * expm1(minimum(z, 0)))


def _gelu(f: Any, z: Value) -> Value:
    return maximum(z, -1e3) * normal_cdf(z)


def _gelu_tanh(f: Any, z: Value) -> Value:
    u = clip(z, -1e3, 1e3)
    return maximum(z, -1e3) * sigmoid(2 * f.slope * (u + f.cubic * u * u * u))


def _softplus(z: Value) -> Value:
    return maximum(z, 0) + log1p(exp(-abs(z)))


def _softplus_above_zero(f: Any, z: Value) -> Value:
    limits = np.finfo(z.graph.dtype)
    return maximum(_softplus(z), float(limits.tiny / limits.eps))


def _hard_sigmoid(z: Value) -> Value:
    return clip(z + 3, 0, 6) / 6


def _softsign(f: Any, z: Value) -> Value:
    z = clip(z, -1e30, 1e30)
    return z / (1 + abs(z))


ACTIVATIONS: dict[type[known.ActivationFunction], Callable[[Any, Value], Value]] = {
    known.Identity: lambda f, z: z,
    known.Sigmoid: lambda f, z: sigmoid(z),
    known.Tanh: lambda f, z: tanh(z),
    known.ReLU: lambda f, z: z.graph.call("Relu", z),
    known.LeakyReLU: _leaky_relu,
    known.ELU: _elu,
    known.SELU: lambda f, z: f.scale * where(z > 0, z, f.alpha * expm1(minimum(z, 0))),
    known.GELU: _gelu,
    known.GELUTanh: _gelu_tanh,
    known.SiLU: lambda f, z: maximum(z, -1e3) * sigmoid(z),
    known.Mish: lambda f, z: maximum(z, -1e3) * tanh(_softplus(z)),
    known.HardSwish: lambda f, z: maximum(z, -3) * _hard_sigmoid(z),
    known.HardSigmoid: lambda f, z: _hard_sigmoid(z),
    known.Softplus: _softplus_above_zero,
    known.Softsign: _softsign,
    known.Exp: lambda f, z: exp(z),
    known.Softmax: lambda f, z: z.graph.call("Softmax", z, axis=1),
}
"""By exact type: a class with formulas of its own is another function."""


def normal_cdf(x: Value) -> Value:
    """``Phi(x) = (1 + erf(x / sqrt 2)) / 2``; float64 by the rational forms of the library."""
    if x.graph.dtype == np.float32:
        return 0.5 * (1 + x.graph.call("Erf", math.sqrt(0.5) * x))
    return 0.5 * _erfc(-math.sqrt(0.5) * x)


def _erfc(x: Value) -> Value:
    # As formulas.special.erfc; a range's own formula is computed for values inside it only.
    size = abs(x)
    u = clip(x, -special.SMALL, special.SMALL)
    small = 1 - u * _ratio(special.SMALL_P, special.SMALL_Q, u * u)
    u = clip(size, special.SMALL, special.MIDDLE)
    middle = _exp_minus_square(u) * _ratio(special.MIDDLE_P, special.MIDDLE_Q, u)
    u = clip(size, special.MIDDLE, special.FARTHEST)
    s = 1 / (u * u)
    tail = special.ONE_OVER_SQRT_PI - s * _ratio(special.LARGE_P, special.LARGE_Q, s)
    large = _exp_minus_square(u) * tail / u
    outer = where(size > special.MIDDLE, large, middle)
    return where(size > special.SMALL, where(x > 0, outer, 2 - outer), small)


def _exp_minus_square(u: Value) -> Value:
    head = floor(u * 16) / 16  # u * u alone would lose digits
    return exp(-head * head) * exp((head - u) * (u + head))


def _ratio(p: tuple[float, ...], q: tuple[float, ...], x: Value) -> Value:
    return _horner(p, x) / _horner(q, x)


def _horner(coefficients: tuple[float, ...], x: Value) -> Value:
    total: Value | float = coefficients[0]
    for coefficient in coefficients[1:]:
        total = total * x + coefficient
    assert isinstance(total, Value)
    return total


class Here:
    """An operation, the graph that it goes into, and the network that its arrays come from."""

    def __init__(
        self, graph: Graph, op: Operation, network: Network, inputs: list[Value], prefix: str
    ) -> None:
        self.graph, self.op, self.network, self.inputs = graph, op, network, inputs
        self._prefix = prefix

    @property
    def layer(self) -> Any:
        """The layer."""
        return self.op.layer

    def array(self, name: str) -> Value:
        """Return a parameter or running statistic of the layer as a constant of the graph."""
        full = f"{self.op.path}.{name}"
        net = self.network
        array = net.parameters[full] if name in self.op.parameters else net.state[full]
        return self.graph.constant(f"{self._prefix}{full}", array)


def _dense(here: Here) -> Value:
    (x,) = here.inputs
    if "bias" not in here.op.parameters:
        return here.graph.call("MatMul", x, here.array("weight"))
    return here.graph.call("Gemm", x, here.array("weight"), here.array("bias"))


def _activation(here: Here) -> Value:
    f = here.op.function
    make = ACTIVATIONS.get(type(f))  # type: ignore[arg-type]
    if make is None:
        raise _unknown(here.op, "activation", f)
    return make(f, here.inputs[0])


def _batch_norm(here: Here) -> Value:
    (x,) = here.inputs
    r = 1 / sqrt(here.array("running_variance") + here.layer.epsilon)
    return here.array("scale") * ((x - here.array("running_mean")) * r) + here.array("shift")


def _layer_norm(here: Here) -> Value:
    (x,) = here.inputs
    centred = x - mean_of_row(x)
    r = 1 / sqrt(mean_of_row(centred * centred) + here.layer.epsilon)
    return here.array("scale") * (centred * r) + here.array("shift")


def _embedding(here: Here) -> Value:
    layer, graph, (x,) = here.layer, here.graph, here.inputs
    codes = columns_of(x, layer.code_columns)
    counts = np.array(layer.cardinalities)
    valid = (codes > -0.5) & (codes < counts.astype(graph.dtype)) & ~(codes > floor(codes))
    first = np.cumsum([0, *counts[:-1]])
    rows = graph.cast(where(valid, codes, 0), np.int64) + first
    vectors = graph.call("Gather", here.array("table"), rows, axis=0)
    y = graph.call("Reshape", vectors, np.array([-1, len(counts) * layer.size]))
    others = [i for i in range(here.network.inputs) if i not in layer.code_columns]
    if others:
        y = side_by_side([columns_of(x, others), y])
    # `predict` refuses a code that is none; a graph cannot, and so its row becomes NaN.
    return y + sum_of_row(where(valid, 0, math.nan))


LAYERS: dict[type[Layer], Callable[[Here], Value]] = {
    Dense: _dense,
    Activation: _activation,
    BatchNorm: _batch_norm,
    LayerNorm: _layer_norm,
    Scale: lambda here: here.inputs[0] * here.array("scale"),
    Embedding: _embedding,
    Dropout: lambda here: here.inputs[0],
    Add: lambda here: here.inputs[0] + here.inputs[1],
}
"""What a plan's operations become, by exact type."""


def append_network(graph: Graph, network: Network, X: Value, prefix: str = "") -> Value:
    """Append the forward pass of a network, as `predict` makes it; return its output."""
    slots = {0: X}
    for op in compile_network(network).operations:
        make = LAYERS.get(type(op.layer))
        if make is None:
            raise _unknown(op, "layer", op.layer)
        graph.within(f"{prefix}{op.path}")
        slots[op.target] = make(Here(graph, op, network, [slots[s] for s in op.sources], prefix))
    graph.within("")
    return slots[op.target]


def _unknown(op: Operation, kind: str, part: object) -> InvalidTypeError:
    return InvalidTypeError(
        f"layer {op.path!r}: the {kind} {type(part).__name__} has formulas in Python, which ONNX "
        f"has no operator for; export a network of built-in layers and activations"
    )
