"""Activation functions: ``a = f(z)``, the derivative ``f'(z)``, and the gain for initialisation.

Each function is written once, as in a textbook. ``z`` (n, units) is the preactivation; the
derivative also receives ``a = f(z)``, because several derivatives are simplest in terms of ``a``.
NaN in ``z`` gives NaN in ``a``; a finite ``z`` never gives NaN or an overflow warning.

An activation of your own is a subclass with a ``name``::

    @dataclass(frozen=True)
    class Sine(dr.activations.ActivationFunction):
        name: ClassVar[str] = "sine"
        def __call__(self, z): return np.sin(z)
        def derivative(self, z, a): return np.cos(z)
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from deltarule.base.errors import InvalidTypeError, missing_formula
from deltarule.base.returned import as_returned
from deltarule.base.settings import Setting, check_number, setting
from deltarule.base.types import Array
from deltarule.formulas.special import normal_cdf, normal_pdf


@setting
class ActivationFunction(Setting):
    """Base of the activation functions.

    Attributes
    ----------
    initializer : str
        The weight initializer with which signals keep their variance through this function; the
        default of the layers that use it.
    kinks : tuple of float
        Points at which ``f`` or one of its first derivatives jumps. Gradient checks avoid them.
    """

    family: ClassVar[str] = "activation"
    pairs: ClassVar[tuple[tuple[str, ...], ...]] = (
        ("__call__", "derivative", "backward"),
        ("derivative", "backward"),
    )
    meanings: ClassVar[Mapping[str, str]] = {
        "relu6": "the nearest is 'relu'",
        "prelu": "the nearest is LeakyReLU(negative_slope)",
        "rrelu": "the nearest is LeakyReLU(negative_slope)",
        "celu": "the nearest is 'elu'",
        "logsoftmax": "write 'softmax': the loss takes the logarithm itself",
        "softmin": "the nearest is 'softmax'",
        "step": "it has no gradient; the nearest is 'sigmoid'",
        "heaviside": "it has no gradient; the nearest is 'sigmoid'",
        "sign": "it has no gradient; the nearest is 'tanh'",
        "threshold": "it has no gradient; the nearest is 'sigmoid'",
        "hardtanh": "the nearest is 'hard_sigmoid' or 'tanh'",
        "logsigmoid": "write 'sigmoid': the loss takes the logarithm itself",
        "quickgelu": "the nearest is 'gelu_tanh'",
        "glu": "the nearest is 'silu'",
        "sin": "derive a class from ActivationFunction",
        "probit": "the nearest is 'sigmoid'",
    }
    initializer: ClassVar[str] = "glorot_uniform"
    kinks: ClassVar[tuple[float, ...]] = ()

    def __call__(self, z: Array) -> Array:
        """Return ``a = f(z)``; same shape and dtype as ``z``."""
        raise missing_formula(self, "__call__")

    def derivative(self, z: Array, a: Array) -> Array:
        """Return ``f'(z)``, elementwise, for ``a = f(z)``."""
        raise missing_formula(self, "derivative")

    def backward(self, gradient: Array, z: Array, a: Array) -> Array:
        """Return ``dL/dz = dL/da * f'(z)`` for ``gradient = dL/da``."""
        derivative = as_returned(
            f"{type(self).__name__}.derivative",
            self.derivative(z, a),
            z.shape,
            z.dtype,
            "f' of each element of z",
        )
        return gradient * derivative


@setting
class Identity(ActivationFunction):
    """``f(z) = z``, ``f'(z) = 1``."""

    name: ClassVar[str] = "identity"
    aliases: ClassVar[tuple[str, ...]] = (
        "linear",
        "none",
        "id",
    )

    def __call__(self, z: Array) -> Array:
        return z

    def derivative(self, z: Array, a: Array) -> Array:
        return np.ones_like(z)


@setting
class Sigmoid(ActivationFunction):
    """``f(z) = 1 / (1 + e^-z)``, ``f'(z) = a (1 - a)``.

    For negative ``z`` the equivalent form ``e^z / (1 + e^z)`` is used, so that nothing overflows.
    """

    name: ClassVar[str] = "sigmoid"
    aliases: ClassVar[tuple[str, ...]] = (
        "logistic",
        "expit",
    )

    def __call__(self, z: Array) -> Array:
        e = np.exp(-np.abs(z))
        return np.where(z >= 0, 1, e) / (1 + e)

    def derivative(self, z: Array, a: Array) -> Array:
        return a * (1 - a)


@setting
class Tanh(ActivationFunction):
    """``f(z) = tanh z``, ``f'(z) = 1 - a^2``."""

    name: ClassVar[str] = "tanh"
    aliases: ClassVar[tuple[str, ...]] = ("hyperbolic_tangent",)

    def __call__(self, z: Array) -> Array:
        return np.tanh(z)

    def derivative(self, z: Array, a: Array) -> Array:
        return 1 - a * a


@setting
class ReLU(ActivationFunction):
    """``f(z) = max(0, z)``, ``f'(z) = 1 if z > 0 else 0``.

    Source: Nair and Hinton, "Rectified linear units improve restricted Boltzmann machines" (2010).
    """

    name: ClassVar[str] = "relu"
    aliases: ClassVar[tuple[str, ...]] = (
        "rectifier",
        "rectified_linear",
    )
    initializer: ClassVar[str] = "he_normal"
    kinks: ClassVar[tuple[float, ...]] = (0.0,)

    def __call__(self, z: Array) -> Array:
        return np.where(z < 0, z.dtype.type(0), z)  # unlike max(0, z), also right for NaN

    def derivative(self, z: Array, a: Array) -> Array:
        return (z > 0).astype(z.dtype)


@setting
class LeakyReLU(ActivationFunction):
    """``f(z) = z if z > 0 else s z``, ``f'(z) = 1 if z > 0 else s``, with ``s = negative_slope``.

    Source: Maas, Hannun and Ng, "Rectifier nonlinearities improve neural network acoustic
    models" (2013).
    """

    name: ClassVar[str] = "leaky_relu"
    aliases: ClassVar[tuple[str, ...]] = (
        "leaky",
        "lrelu",
    )
    initializer: ClassVar[str] = "he_normal"
    kinks: ClassVar[tuple[float, ...]] = (0.0,)
    negative_slope: float = 0.01

    def __post_init__(self) -> None:
        check_number("negative_slope", self.negative_slope, at_least=0)

    def __call__(self, z: Array) -> Array:
        return np.where(z > 0, z, self.negative_slope * z)

    def derivative(self, z: Array, a: Array) -> Array:
        return np.where(z > 0, z.dtype.type(1), z.dtype.type(self.negative_slope))


@setting
class ELU(ActivationFunction):
    """``f(z) = z if z > 0 else alpha (e^z - 1)``, ``f'(z) = 1 if z > 0 else alpha e^z``.

    Source: Clevert, Unterthiner and Hochreiter, "Fast and accurate deep network learning by
    exponential linear units" (2016).
    """

    name: ClassVar[str] = "elu"
    initializer: ClassVar[str] = "he_normal"
    kinks: ClassVar[tuple[float, ...]] = (0.0,)
    alpha: float = 1.0

    def __post_init__(self) -> None:
        check_number("alpha", self.alpha, at_least=0)

    def __call__(self, z: Array) -> Array:
        return np.where(z > 0, z, self.alpha * np.expm1(np.minimum(z, 0)))

    def derivative(self, z: Array, a: Array) -> Array:
        return np.where(z > 0, z.dtype.type(1), self.alpha * np.exp(np.minimum(z, 0)))


@setting
class SELU(ActivationFunction):
    """``f(z) = lambda (z if z > 0 else alpha (e^z - 1))`` with the self-normalising constants.

    Source: Klambauer, Unterthiner, Mayr and Hochreiter, "Self-normalizing neural networks" (2017).
    """

    name: ClassVar[str] = "selu"
    initializer: ClassVar[str] = "lecun_normal"
    kinks: ClassVar[tuple[float, ...]] = (0.0,)
    alpha: ClassVar[float] = 1.6732632423543772
    scale: ClassVar[float] = 1.0507009873554805

    def __call__(self, z: Array) -> Array:
        return self.scale * np.where(z > 0, z, self.alpha * np.expm1(np.minimum(z, 0)))

    def derivative(self, z: Array, a: Array) -> Array:
        return self.scale * np.where(z > 0, z.dtype.type(1), self.alpha * np.exp(np.minimum(z, 0)))


@setting
class GELU(ActivationFunction):
    """``f(z) = z Phi(z)``, ``f'(z) = Phi(z) + z phi(z)``; Phi, phi: the standard normal.

    Source: Hendrycks and Gimpel, "Gaussian error linear units" (2016).
    """

    name: ClassVar[str] = "gelu"
    initializer: ClassVar[str] = "he_normal"

    def __call__(self, z: Array) -> Array:
        return _no_less_than(z, -1e3) * normal_cdf(z)

    def derivative(self, z: Array, a: Array) -> Array:
        return normal_cdf(z) + np.clip(z, -1e3, 1e3) * normal_pdf(z)


@setting
class GELUTanh(ActivationFunction):
    """``f(z) = z (1 + tanh u) / 2`` with ``u = sqrt(2/pi) (z + 0.044715 z^3)``.

    ``(1 + tanh u) / 2`` is ``sigma(2 u)``, so ``f'(z) = s + 2 z s (1 - s) u'`` with that ``s``; the
    usual approximation of GELU.

    Source: Hendrycks and Gimpel, "Gaussian error linear units" (2016).
    """

    name: ClassVar[str] = "gelu_tanh"
    aliases: ClassVar[tuple[str, ...]] = (
        "gelu_new",
        "gelu_approx",
        "gelu_approximate",
    )
    initializer: ClassVar[str] = "he_normal"
    slope: ClassVar[float] = math.sqrt(2 / math.pi)
    cubic: ClassVar[float] = 0.044715

    def _inner(self, z: Array) -> tuple[Array, Array]:
        z = np.clip(z, -1e3, 1e3)  # sigma(2u) is 0 or 1 long before
        return z, _sigmoid(2 * self.slope * (z + self.cubic * z * z * z))

    def __call__(self, z: Array) -> Array:
        return _no_less_than(z, -1e3) * self._inner(z)[1]

    def derivative(self, z: Array, a: Array) -> Array:
        z, s = self._inner(z)
        return s + 2 * z * s * (1 - s) * self.slope * (1 + 3 * self.cubic * z * z)


@setting
class SiLU(ActivationFunction):
    """``f(z) = z sigma(z)``, ``f'(z) = sigma(z) (1 + z (1 - sigma(z)))``.

    Source: Elfwing, Uchibe and Doya, "Sigmoid-weighted linear units" (2018); also called swish.
    """

    name: ClassVar[str] = "silu"
    aliases: ClassVar[tuple[str, ...]] = ("swish",)
    initializer: ClassVar[str] = "he_normal"

    def __call__(self, z: Array) -> Array:
        return _no_less_than(z, -1e3) * _sigmoid(z)

    def derivative(self, z: Array, a: Array) -> Array:
        s = _sigmoid(z)
        return s * (1 + np.clip(z, -1e3, 1e3) * _sigmoid(-z))


@setting
class Mish(ActivationFunction):
    """``f(z) = z t`` with ``t = tanh(softplus z)``, ``f'(z) = t + z (1 - t^2) sigma(z)``.

    Source: Misra, "Mish: a self regularized non-monotonic activation function" (2020).
    """

    name: ClassVar[str] = "mish"
    initializer: ClassVar[str] = "he_normal"

    def __call__(self, z: Array) -> Array:
        return _no_less_than(z, -1e3) * np.tanh(_softplus(z))

    def derivative(self, z: Array, a: Array) -> Array:
        t = np.tanh(_softplus(z))
        return t + np.clip(z, -1e3, 1e3) * (1 - t * t) * _sigmoid(z)


@setting
class HardSwish(ActivationFunction):
    """``f(z) = z min(max(z + 3, 0), 6) / 6``: silu in straight pieces.

    ``f'(z) = 0 if z <= -3 else z / 3 + 1 / 2 if z < 3 else 1``.

    Source: Howard et al., "Searching for MobileNetV3" (2019).
    """

    name: ClassVar[str] = "hard_swish"
    aliases: ClassVar[tuple[str, ...]] = (
        "h_swish",
        "hard_silu",
    )
    initializer: ClassVar[str] = "he_normal"
    kinks: ClassVar[tuple[float, ...]] = (-3.0, 3.0)

    def __call__(self, z: Array) -> Array:
        return _no_less_than(z, -3) * (np.clip(z + 3, 0, 6) / 6)

    def derivative(self, z: Array, a: Array) -> Array:
        one = z.dtype.type(1)
        return np.where(z <= -3, 0 * one, np.where(z >= 3, one, z / 3 + one / 2))


@setting
class HardSigmoid(ActivationFunction):
    """``f(z) = min(max(z + 3, 0), 6) / 6``, ``f'(z) = 1/6 if 0 < a < 1 else 0``: sigmoid, straight.

    PyTorch's form; others have slope 1/5.

    Source: Courbariaux, Bengio and David, "BinaryConnect: training deep neural networks with binary
    weights during propagations" (2015), with slope 1/2.
    """

    name: ClassVar[str] = "hard_sigmoid"
    aliases: ClassVar[tuple[str, ...]] = ("h_sigmoid",)
    kinks: ClassVar[tuple[float, ...]] = (-3.0, 3.0)

    def __call__(self, z: Array) -> Array:
        return np.clip(z + 3, 0, 6) / 6

    def derivative(self, z: Array, a: Array) -> Array:
        return np.where((a > 0) & (a < 1), z.dtype.type(1 / 6), z.dtype.type(0))


@setting
class Softplus(ActivationFunction):
    """``f(z) = log(1 + e^z)``, ``f'(z) = sigma(z) = 1 - e^-a``.

    Far below 0 the value stops at ``tiny / eps`` of the dtype (1e-31 in float32) instead of 0, so
    that ``log a`` and ``f' / a`` stay correct; the Poisson loss needs both.

    Source: Dugas et al., "Incorporating second-order functional knowledge for better option
    pricing" (2001).
    """

    name: ClassVar[str] = "softplus"
    initializer: ClassVar[str] = "he_normal"

    def __call__(self, z: Array) -> Array:
        limits = np.finfo(z.dtype)
        return np.maximum(_softplus(z), limits.tiny / limits.eps)

    def derivative(self, z: Array, a: Array) -> Array:
        return -np.expm1(-a)


@setting
class Softsign(ActivationFunction):
    """``f(z) = z / (1 + |z|)``, ``f'(z) = 1 / (1 + |z|)^2``: tanh with long tails.

    Sources: Bergstra, Desjardins, Lamblin and Bengio, "Quadratic polynomials learn better image
    features" (2009); Glorot and Bengio, "Understanding the difficulty of training deep feedforward
    neural networks" (2010).
    """

    name: ClassVar[str] = "softsign"

    def __call__(self, z: Array) -> Array:
        z = np.clip(z, -1e30, 1e30)  # f is +-1 there; infinity would be divided by itself
        return z / (1 + np.abs(z))

    def derivative(self, z: Array, a: Array) -> Array:
        r = 1 / (1 + np.abs(z))
        return r * r


@setting
class Exp(ActivationFunction):
    """``f(z) = e^z``, ``f'(z) = a``; infinite where ``e^z`` is too large for the dtype."""

    name: ClassVar[str] = "exp"
    aliases: ClassVar[tuple[str, ...]] = ("exponential",)

    def __call__(self, z: Array) -> Array:
        with np.errstate(over="ignore"):
            return np.exp(z)

    def derivative(self, z: Array, a: Array) -> Array:
        return a


@setting
class Softmax(ActivationFunction):
    """``a_j = e^{z_j} / sum_k e^{z_k}`` over each row.

    Its Jacobian is ``da_j/dz_k = a_j (delta_jk - a_k)``, hence
    ``dL/dz_j = a_j (g_j - sum_k g_k a_k)`` for ``g = dL/da``.

    Source: Bridle, "Probabilistic interpretation of feedforward classification network outputs"
    (1990).
    """

    name: ClassVar[str] = "softmax"

    def __call__(self, z: Array) -> Array:
        e = np.exp(shift_by_maximum(z))
        return e / e.sum(axis=1, keepdims=True)

    def derivative(self, z: Array, a: Array) -> Array:
        raise InvalidTypeError(
            "softmax has a Jacobian, not an elementwise derivative; use backward"
        )

    def backward(self, gradient: Array, z: Array, a: Array) -> Array:
        return a * (gradient - (gradient * a).sum(axis=1, keepdims=True))


def shift_by_maximum(z: Array) -> Array:
    """Return ``z - max z`` of each row, with no infinity from a finite ``z``."""
    with np.errstate(over="ignore"):
        return np.maximum(z - z.max(axis=1, keepdims=True), np.finfo(z.dtype).min)


_sigmoid = Sigmoid()


def _softplus(z: Array) -> Array:
    return np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z)))  # e^z alone would overflow


def _no_less_than(z: Array, bound: float) -> Array:
    # Below the bound the other factor is exactly 0: this keeps -inf * 0 from becoming NaN.
    return np.maximum(z, z.dtype.type(bound))
