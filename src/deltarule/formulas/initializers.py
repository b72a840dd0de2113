"""Initial weights: distributions with which signals keep their size from layer to layer.

The weight of a dense layer has shape ``(fan_in, fan_out)``. Random weights depend only on (seed,
layer, row, column), see :mod:`deltarule.base.random`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from deltarule.base.errors import missing_formula
from deltarule.base.random import Purpose, normals, uniform, words
from deltarule.base.settings import Setting, check_number, setting
from deltarule.base.types import Array


@setting
class Initializer(Setting):
    """Base of the initializers."""

    family: ClassVar[str] = "initializer"
    meanings: ClassVar[Mapping[str, str]] = {
        "ones": "write initializers.Constant(1.0)",
        "one": "write initializers.Constant(1.0)",
        "randomnormal": "write initializers.Normal(0.05)",
        "randomuniform": "write initializers.Uniform(-0.05, 0.05)",
        "truncatednormal": "the nearest is initializers.Normal(0.05)",
        "variancescaling": "the nearest is 'he_normal' or 'glorot_uniform'",
        "random": "write 'glorot_uniform', or initializers.Normal(0.05)",
        "identity": "the nearest is 'orthogonal'",
        "eye": "the nearest is 'orthogonal'",
        "sparse": "the nearest is 'he_normal'",
        "nguyenwidrow": "the nearest is 'glorot_uniform'",
        "default": "leave it out",
    }

    def __call__(self, fan_in: int, fan_out: int, *, seed: int, layer: int) -> Array:
        """Return initial values, float64 (fan_in, fan_out)."""
        raise missing_formula(self, "__call__")


@setting
class Zeros(Initializer):
    """All zeros; for biases. With zero weights, all units of a layer would always stay equal."""

    name: ClassVar[str] = "zeros"
    aliases: ClassVar[tuple[str, ...]] = ("zero",)

    def __call__(self, fan_in: int, fan_out: int, *, seed: int, layer: int) -> Array:
        return np.zeros((fan_in, fan_out))


@setting
class Constant(Initializer):
    """All equal to ``value``."""

    name: ClassVar[str] = "constant"
    value: float

    def __post_init__(self) -> None:
        check_number("value", self.value)

    def __call__(self, fan_in: int, fan_out: int, *, seed: int, layer: int) -> Array:
        return np.full((fan_in, fan_out), float(self.value))


@setting
class Normal(Initializer):
    """``N(mean, standard_deviation^2)``."""

    name: ClassVar[str] = "normal"
    aliases: ClassVar[tuple[str, ...]] = ("gaussian",)
    standard_deviation: float = 1.0
    mean: float = 0.0

    def __post_init__(self) -> None:
        check_number("standard_deviation", self.standard_deviation, at_least=0)
        check_number("mean", self.mean)

    def __call__(self, fan_in: int, fan_out: int, *, seed: int, layer: int) -> Array:
        return self.mean + self.standard_deviation * _standard_normal(fan_in, fan_out, seed, layer)


@setting
class Uniform(Initializer):
    """``U(low, high)``."""

    name: ClassVar[str] = "uniform"
    low: float = -0.5
    high: float = 0.5

    def __post_init__(self) -> None:
        check_number("low", self.low)
        check_number("high", self.high, above=self.low)

    def __call__(self, fan_in: int, fan_out: int, *, seed: int, layer: int) -> Array:
        drawn = words(seed, Purpose.INITIALIZER, rows=fan_in, columns=fan_out, layer=layer)
        return self.low + (self.high - self.low) * uniform(drawn)


@setting
class GlorotUniform(Initializer):
    """``U(-r, r)`` with ``r = sqrt(6 / (fan_in + fan_out))``: variance ``2 / (fan_in + fan_out)``.

    Keeps the variance of activations forward and of deltas backward, near the linear part of
    tanh. Also called Xavier. Source: Glorot and Bengio, "Understanding the difficulty of training
    deep feedforward neural networks" (2010).
    """

    name: ClassVar[str] = "glorot_uniform"
    aliases: ClassVar[tuple[str, ...]] = (
        "glorot",
        "xavier",
        "xavier_uniform",
    )

    def __call__(self, fan_in: int, fan_out: int, *, seed: int, layer: int) -> Array:
        r = math.sqrt(6 / (fan_in + fan_out))
        return Uniform(-r, r)(fan_in, fan_out, seed=seed, layer=layer)


@setting
class GlorotNormal(Initializer):
    """``N(0, 2 / (fan_in + fan_out))``. Source: Glorot and Bengio (2010); also called Xavier."""

    name: ClassVar[str] = "glorot_normal"
    aliases: ClassVar[tuple[str, ...]] = ("xavier_normal",)

    def __call__(self, fan_in: int, fan_out: int, *, seed: int, layer: int) -> Array:
        deviation = math.sqrt(2 / (fan_in + fan_out))
        return deviation * _standard_normal(fan_in, fan_out, seed, layer)


@setting
class HeUniform(Initializer):
    """``U(-r, r)`` with ``r = sqrt(6 / fan_in)``: variance ``2 / fan_in``.

    Source: He et al. (2015).
    """

    name: ClassVar[str] = "he_uniform"
    aliases: ClassVar[tuple[str, ...]] = ("kaiming_uniform",)

    def __call__(self, fan_in: int, fan_out: int, *, seed: int, layer: int) -> Array:
        r = math.sqrt(6 / fan_in)
        return Uniform(-r, r)(fan_in, fan_out, seed=seed, layer=layer)


@setting
class HeNormal(Initializer):
    """``N(0, 2 / fan_in)``: the 2 makes up for the half that a ReLU sets to zero.

    Source: He, Zhang, Ren and Sun, "Delving deep into rectifiers" (2015).
    """

    name: ClassVar[str] = "he_normal"
    aliases: ClassVar[tuple[str, ...]] = (
        "he",
        "kaiming",
        "kaiming_normal",
    )

    def __call__(self, fan_in: int, fan_out: int, *, seed: int, layer: int) -> Array:
        return math.sqrt(2 / fan_in) * _standard_normal(fan_in, fan_out, seed, layer)


@setting
class LeCunNormal(Initializer):
    """``N(0, 1 / fan_in)``; what SELU assumes.

    Source: LeCun, Bottou, Orr and Mueller, "Efficient BackProp" (1998).
    """

    name: ClassVar[str] = "lecun_normal"
    aliases: ClassVar[tuple[str, ...]] = ("lecun",)

    def __call__(self, fan_in: int, fan_out: int, *, seed: int, layer: int) -> Array:
        return math.sqrt(1 / fan_in) * _standard_normal(fan_in, fan_out, seed, layer)


@setting
class LeCunUniform(Initializer):
    """``U(-r, r)`` with ``r = sqrt(3 / fan_in)``: variance ``1 / fan_in``.

    Source: LeCun et al. (1998).
    """

    name: ClassVar[str] = "lecun_uniform"

    def __call__(self, fan_in: int, fan_out: int, *, seed: int, layer: int) -> Array:
        r = math.sqrt(3 / fan_in)
        return Uniform(-r, r)(fan_in, fan_out, seed=seed, layer=layer)


@setting
class Orthogonal(Initializer):
    """``gain * Q``: orthonormal rows or columns, whichever are fewer, uniformly distributed.

    Q of the QR decomposition of a normal matrix, columns signed so that R has a positive
    diagonal. Source: Saxe, McClelland and Ganguli, "Exact solutions to the nonlinear dynamics of
    learning in deep linear neural networks" (2014).
    """

    name: ClassVar[str] = "orthogonal"
    aliases: ClassVar[tuple[str, ...]] = ("ortho",)
    gain: float = 1.0

    def __post_init__(self) -> None:
        check_number("gain", self.gain, above=0)

    def __call__(self, fan_in: int, fan_out: int, *, seed: int, layer: int) -> Array:
        drawn = _standard_normal(fan_in, fan_out, seed, layer)
        q, r = np.linalg.qr(drawn if fan_in >= fan_out else drawn.T)
        q = q * np.where(np.diag(r) < 0, -1.0, 1.0)
        return self.gain * (q if fan_in >= fan_out else q.T)


def _standard_normal(fan_in: int, fan_out: int, seed: int, layer: int) -> Array:
    return normals(seed, Purpose.INITIALIZER, rows=fan_in, columns=fan_out, layer=layer)
