"""Layers: frozen specifications, without arrays.

A layer says how wide its output is, which parameters and which running state it needs, and how
they start. The arrays live in the :class:`~deltarule.network.network.Network`; the formulas in the
engines.

A layer of your own derives from :class:`CustomLayer` and brings its forward and backward formulas.
"""

from __future__ import annotations

from dataclasses import field
from typing import Any, ClassVar, NamedTuple

import numpy as np

from deltarule.base.errors import InvalidTypeError, InvalidValueError, describe_value
from deltarule.base.settings import Setting, check_flag, check_integer, check_number, setting
from deltarule.base.types import Array
from deltarule.formulas.activations import ActivationFunction, Identity
from deltarule.formulas.constraints import Constraint
from deltarule.formulas.initializers import Constant, Initializer, Zeros
from deltarule.formulas.penalties import Penalty


class ParameterSpec(NamedTuple):
    """One parameter array of a layer.

    ``initializer`` None means: the network's, else the default of the activation that follows.
    ``is_weight``: whether penalties, constraints and decoupled weight decay touch it.
    """

    name: str
    shape: tuple[int, ...]
    initializer: Initializer | None
    is_weight: bool


class StateSpec(NamedTuple):
    """One array of running statistics of a layer, which no gradient trains."""

    name: str
    shape: tuple[int, ...]
    initial: float


@setting
class Layer(Setting):
    """Base of the layers.

    Parameters
    ----------
    learning_rate_factor : float, keyword only
        Factor on the learning rate of all parameters of the layer; 0 freezes them.
    """

    family: ClassVar[str] = "layer"
    learning_rate_factor: float = field(default=1.0, kw_only=True)

    def __post_init__(self) -> None:
        check_number("learning_rate_factor", self.learning_rate_factor, at_least=0)

    def outputs(self, inputs: int) -> int:
        """Return the width of the output for a width of the input."""
        return inputs

    def parameters(self, inputs: int) -> tuple[ParameterSpec, ...]:
        """Return the parameter arrays, in the order in which they are stored."""
        return ()

    def state(self, inputs: int) -> tuple[StateSpec, ...]:
        """Return the arrays of running statistics."""
        return ()


@setting
class Dense(Layer):
    """``z = a_prev @ W + b``, ``a = f(z)`` with ``W`` (n_in, units), ``b`` (units,).

    Parameters
    ----------
    units : int
        Number of neurons.
    activation : name or ActivationFunction
        ``f``, the identity by default.
    bias : bool
        Whether there is a ``b``.
    weight_initializer, bias_initializer : name or Initializer
        Weights: by default what keeps the variance through the activation (He for the ReLU
        family, LeCun for SELU, Glorot otherwise). Biases: 0.
    penalty, constraint
        For this layer, instead of those given for the whole network.

    Examples
    --------
    >>> import deltarule as dr
    >>> net = dr.Network([dr.Dense(3, "relu"), dr.Dense(1)], inputs=2)
    >>> net.parameters["0.weight"].shape
    (2, 3)
    """

    name: ClassVar[str] = "dense"
    units: int
    activation: ActivationFunction | str = field(default_factory=Identity)
    bias: bool = field(default=True, kw_only=True)
    weight_initializer: Initializer | str | None = field(default=None, kw_only=True)
    bias_initializer: Initializer | str = field(default_factory=Zeros, kw_only=True)
    penalty: Penalty | str | None = field(default=None, kw_only=True)
    constraint: Constraint | str | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_integer("units", self.units)
        check_flag("bias", self.bias)
        set_ = object.__setattr__
        set_(self, "activation", ActivationFunction.resolve(self.activation))
        set_(self, "bias_initializer", Initializer.resolve(self.bias_initializer))
        if self.weight_initializer is not None:
            set_(self, "weight_initializer", Initializer.resolve(self.weight_initializer))
        if self.penalty is not None:
            set_(self, "penalty", Penalty.resolve(self.penalty))
        if self.constraint is not None:
            set_(self, "constraint", Constraint.resolve(self.constraint))

    def outputs(self, inputs: int) -> int:
        return self.units

    def parameters(self, inputs: int) -> tuple[ParameterSpec, ...]:
        weight = ParameterSpec("weight", (inputs, self.units), self.weight_initializer, True)  # type: ignore[arg-type]
        if not self.bias:
            return (weight,)
        return (weight, ParameterSpec("bias", (self.units,), self.bias_initializer, False))  # type: ignore[arg-type]


@setting
class Activation(Layer):
    """``a = f(z)`` as a layer of its own, for instance behind a normalisation."""

    name: ClassVar[str] = "activation"
    function: ActivationFunction | str

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "function", ActivationFunction.resolve(self.function))


@setting
class BatchNorm(Layer):
    """Each column normalised over the batch, then scaled and shifted.

    ::

        y = scale * (x - mean) / sqrt(variance + epsilon) + shift

    Training uses the batch's mean and biased variance and moves the running ones towards them,
    ``running = (1 - momentum) * running + momentum * batch``, with the unbiased variance.
    `predict`, `evaluate` and a frozen layer (learning-rate factors of scale and shift 0) use the
    running ones. Sample weights do not enter. In PyTorch freezing takes ``requires_grad_(False)``
    and ``.eval()``: the former alone leaves the batch's statistics in use.

    Source: Ioffe and Szegedy, "Batch normalization" (2015).
    """

    name: ClassVar[str] = "batch_norm"
    epsilon: float = 1e-5
    momentum: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("epsilon", self.epsilon, above=0)
        check_number("momentum", self.momentum, at_least=0, at_most=1)

    def parameters(self, inputs: int) -> tuple[ParameterSpec, ...]:
        return _scale_and_shift(inputs)

    def state(self, inputs: int) -> tuple[StateSpec, ...]:
        return (
            StateSpec("running_mean", (inputs,), 0.0),
            StateSpec("running_variance", (inputs,), 1.0),
        )


@setting
class LayerNorm(Layer):
    """Each row normalised over its columns (biased variance), then scaled and shifted by column.

    ``y = scale * (x - mean) / sqrt(variance + epsilon) + shift``; the same in training and use.

    Source: Ba, Kiros and Hinton, "Layer normalization" (2016).
    """

    name: ClassVar[str] = "layer_norm"
    epsilon: float = 1e-5

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("epsilon", self.epsilon, above=0)

    def parameters(self, inputs: int) -> tuple[ParameterSpec, ...]:
        return _scale_and_shift(inputs)


@setting
class Dropout(Layer):
    """In training a value becomes 0 with probability ``rate``, else is divided by ``1 - rate``.

    The mask is a function of (seed, step, layer, row, column), see :mod:`deltarule.base.random`.

    Source: Srivastava et al., "Dropout" (2014); in the inverted form.
    """

    name: ClassVar[str] = "dropout"
    rate: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("rate", self.rate, at_least=0, below=1)


@setting
class Residual(Layer):
    """``y = x + F(x)`` for a stack ``F`` of layers; ``y = x @ P + F(x)`` where the widths differ.

    The projection ``P`` (n_in, n_out), without bias, is a parameter "projection.weight".

    Source: He, Zhang, Ren and Sun, "Deep residual learning" (2016).
    """

    name: ClassVar[str] = "residual"
    layers: tuple[Layer, ...]
    projection_initializer: Initializer | str | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "layers", check_layers(self.layers, "Residual"))
        if self.projection_initializer is not None:
            object.__setattr__(
                self, "projection_initializer", Initializer.resolve(self.projection_initializer)
            )

    def outputs(self, inputs: int) -> int:
        for layer in self.layers:
            inputs = layer.outputs(inputs)
        return inputs

    def parameters(self, inputs: int) -> tuple[ParameterSpec, ...]:
        """Return the residual's own parameters; those of the inner layers are theirs."""
        outputs = self.outputs(inputs)
        if inputs == outputs:
            return ()
        return (
            ParameterSpec(
                "projection.weight",
                (inputs, outputs),
                self.projection_initializer,  # type: ignore[arg-type]
                True,
            ),
        )


@setting
class CustomLayer(Layer):
    """Base of layers written in Python. They run in the reference engine.

    A subclass is a frozen dataclass with a ``name``; beside :meth:`outputs`, :meth:`parameters` and
    :meth:`state` it brings its two formulas.
    """

    def forward(self, x: Array, parameters: dict[str, Array], training: bool) -> tuple[Array, Any]:
        """Return the output (n, outputs) and whatever :meth:`backward` needs."""
        raise NotImplementedError

    def backward(
        self, gradient: Array, cache: Any, parameters: dict[str, Array]
    ) -> tuple[Array, dict[str, Array]]:
        """Return dL/dx (n, inputs) and dL/dp, summed over rows, for every parameter by name."""
        raise NotImplementedError


def check_layers(layers: Any, where: str) -> tuple[Layer, ...]:
    """Return layers as a tuple, or raise a clear error."""
    if isinstance(layers, (Layer, str)) or not hasattr(layers, "__iter__"):
        raise InvalidTypeError(f"{where} takes a list of layers, got {describe_value(layers)}")
    result = tuple(layers)
    for i, layer in enumerate(result):
        if not isinstance(layer, Layer):
            raise InvalidTypeError(
                f"{where} takes layers such as Dense(10); number {i} is {describe_value(layer)}"
            )
    if not result:
        raise InvalidValueError(f"{where} needs at least one layer")
    return result


def following_activation(layers: tuple[Layer, ...], i: int) -> ActivationFunction:
    """Return the activation that layer ``i`` feeds: its own, or an Activation layer behind it."""
    layer = layers[i]
    own = getattr(layer, "activation", None)
    if isinstance(own, ActivationFunction) and not isinstance(own, Identity):
        return own
    for later in layers[i + 1 :]:
        if isinstance(later, Activation):
            return ActivationFunction.resolve(later.function)
        if not isinstance(later, (BatchNorm, LayerNorm, Dropout)):
            break
    return Identity()


def _scale_and_shift(inputs: int) -> tuple[ParameterSpec, ...]:
    return (
        ParameterSpec("scale", (inputs,), Constant(1.0), False),
        ParameterSpec("shift", (inputs,), Zeros(), False),
    )


def size_of(shape: tuple[int, ...]) -> int:
    """Return the number of values of a shape."""
    return int(np.prod(shape, dtype=np.int64))
