"""The layers of the library.

A layer is a frozen specification, see :class:`~deltarule.network.layer.Layer`; its formulas stand
in the engines. A layer of your own derives from :class:`CustomLayer` and brings its forward and
backward formulas.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any, ClassVar

import numpy as np

from deltarule.base.errors import InvalidValueError, describe_value
from deltarule.base.settings import (
    check_epsilon,
    check_flag,
    check_integer,
    check_number,
    check_sequence,
    setting,
)
from deltarule.base.types import Array
from deltarule.formulas.activations import ActivationFunction, Identity
from deltarule.formulas.constraints import Constraint
from deltarule.formulas.initializers import Constant, Initializer, Normal, Zeros
from deltarule.formulas.penalties import Penalty
from deltarule.network.layer import CustomLayer as CustomLayer
from deltarule.network.layer import Emitter, check_layers
from deltarule.network.layer import Layer as Layer
from deltarule.network.layer import ParameterSpec as ParameterSpec
from deltarule.network.layer import StateSpec as StateSpec


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
        Weights by default keep the variance of signals through the activation (He for the ReLU
        family, LeCun for SELU, Glorot otherwise). Biases are 0 by default.
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
    aliases: ClassVar[tuple[str, ...]] = (
        "fully_connected",
        "fc",
    )
    preactivation: ClassVar[str] = "output"
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

    def lay_out(self, plan: Emitter, path: str, source: int) -> int:
        """Append ``z = a_prev @ W + b`` and, unless it is the identity, ``a = f(z)``."""
        z = plan.emit(self, path, source)
        assert isinstance(self.activation, ActivationFunction)
        if type(self.activation) is Identity:
            return z
        return plan.emit(Activation(self.activation), path, z)

    def formula(self, path: str, sources: Sequence[str]) -> str:
        return f"{sources[0]} @ W[{path}]" + (f" + b[{path}]" if self.bias else "")

    def upstream(self, path: str) -> str:
        return f"(delta[{path}] @ W[{path}].T)"

    def gradient_formulas(self, path: str, source: str) -> Mapping[str, tuple[str, str]]:
        return {
            "weight": (f"dL/dW[{path}]", f"{source}.T @ delta[{path}]"),
            "bias": (f"dL/db[{path}]", f"sum of delta[{path}] over rows"),
        }


@setting
class Activation(Layer):
    """``a = f(z)`` as a separate layer, for instance after a normalisation."""

    name: ClassVar[str] = "activation"
    preactivation: ClassVar[str] = "input"
    function: ActivationFunction | str

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "function", ActivationFunction.resolve(self.function))

    @property
    def f(self) -> ActivationFunction:
        """The activation function, resolved."""
        assert isinstance(self.function, ActivationFunction)
        return self.function

    @property
    def kinks(self) -> tuple[float, ...]:
        return self.f.kinks

    def formula(self, path: str, sources: Sequence[str]) -> str:
        return f"{self.f.name}({sources[0]})"


@setting
class BatchNorm(Layer):
    """Each column normalised over the batch, then scaled and shifted.

    ::

        y = scale * (x - mean) / sqrt(variance + epsilon) + shift

    Training uses the mean and the biased variance of the batch and updates the running values,
    ``running = (1 - momentum) * running + momentum * batch``, with the unbiased variance.
    `predict`, `evaluate` and a frozen layer (learning-rate factors of scale and shift 0) use the
    running values. Sample weights have no influence. In PyTorch, freezing takes both
    ``requires_grad_(False)`` and ``.eval()``; without the latter, batch statistics stay in use.

    Source: Ioffe and Szegedy, "Batch normalization" (2015).
    """

    name: ClassVar[str] = "batch_norm"
    aliases: ClassVar[tuple[str, ...]] = (
        "batch_normalization",
        "bn",
    )
    couples_rows: ClassVar[bool] = True
    formula_settings: ClassVar[tuple[str, ...]] = ("epsilon", "momentum")
    passes_signals: ClassVar[bool] = True
    epsilon: float = 1e-5
    momentum: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        check_epsilon(self.epsilon)
        check_number("momentum", self.momentum, at_least=0, at_most=1)

    def parameters(self, inputs: int) -> tuple[ParameterSpec, ...]:
        return _scale_and_shift(inputs)

    def state(self, inputs: int) -> tuple[StateSpec, ...]:
        return (
            StateSpec("running_mean", (inputs,), 0.0),
            StateSpec("running_variance", (inputs,), 1.0),
        )

    def formula(self, path: str, sources: Sequence[str]) -> str:
        return f"scale * normalised by column({sources[0]}) + shift"


@setting
class LayerNorm(Layer):
    """Each row normalised over its columns (biased variance), then scaled and shifted by column.

    ``y = scale * (x - mean) / sqrt(variance + epsilon) + shift``, in training and in prediction.

    Source: Ba, Kiros and Hinton, "Layer normalization" (2016).
    """

    name: ClassVar[str] = "layer_norm"
    aliases: ClassVar[tuple[str, ...]] = (
        "layer_normalization",
        "ln",
    )
    formula_settings: ClassVar[tuple[str, ...]] = ("epsilon",)
    passes_signals: ClassVar[bool] = True
    epsilon: float = 1e-5

    def __post_init__(self) -> None:
        super().__post_init__()
        check_epsilon(self.epsilon)

    def parameters(self, inputs: int) -> tuple[ParameterSpec, ...]:
        return _scale_and_shift(inputs)

    def formula(self, path: str, sources: Sequence[str]) -> str:
        return f"scale * normalised by row({sources[0]}) + shift"


@setting
class Scale(Layer):
    """``y = x * scale``, a trained factor for each column; all ``initial`` at first.

    In front of a network it learns which inputs matter; there it wants a larger learning rate than
    the rest (``learning_rate_factor=6``).

    Source: Holzmueller, Grinsztajn and Steinwart, "Better by default: strong pre-tuned MLPs and
    boosted trees on tabular data" (2024).

    Examples
    --------
    >>> import deltarule as dr
    >>> net = dr.Network([dr.Scale(learning_rate_factor=6), dr.Dense(1)], inputs=3)
    >>> net.parameters["0.scale"]
    array([1., 1., 1.], dtype=float32)
    """

    name: ClassVar[str] = "scale"
    passes_signals: ClassVar[bool] = True
    initial: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("initial", self.initial)

    def parameters(self, inputs: int) -> tuple[ParameterSpec, ...]:
        return (ParameterSpec("scale", (inputs,), Constant(self.initial), False),)

    def formula(self, path: str, sources: Sequence[str]) -> str:
        return f"{sources[0]} * scale[{path}]"

    def upstream(self, path: str) -> str:
        return f"(delta[{path}] * scale[{path}])"

    def gradient_formulas(self, path: str, source: str) -> Mapping[str, tuple[str, str]]:
        symbol = f"dL/dscale[{path}]"
        return {"scale": (symbol, f"sum of {source} * delta[{path}] over rows")}


_MOST_CATEGORIES = 1 << 24  # whole numbers beyond are rounded in float32


@setting
class Embedding(Layer):
    """Trained vectors in the place of category codes; the other columns pass.

    ::

        y = [columns without codes, table[code of the first column], table[code of the second], ...]

    One table (sum of ``categories``, size) has the vectors of all columns, those of the first at
    its top. An embedding is a Dense layer without bias over one-hot columns, so its table counts as
    a weight: penalties, constraints and weight decay touch it.

    Parameters
    ----------
    categories : int or tuple of int
        How many categories each column of codes has, at most 2^24; its codes are 0 to one less.
    size : int
        Length of the vectors.
    columns : tuple of int, optional
        Which columns of X hold codes; by default the first ones.
    initializer : name or Initializer
        Of the table; N(0, 1) by default.

    Notes
    -----
    It reads codes from X, so it must be the network's first layer. A code that is no whole number
    in its range is refused; NaN in a row given to `predict` makes the row's result NaN.

    Source: Guo and Berkhahn, "Entity embeddings of categorical variables" (2016).

    Examples
    --------
    >>> import deltarule as dr
    >>> net = dr.Network([dr.Embedding((12, 7), size=4), dr.Dense(1)], inputs=5)
    >>> net.parameters["0.table"].shape, net.placed[0].outputs      # 5 - 2 + 2 * 4 columns
    ((19, 4), 11)
    """

    name: ClassVar[str] = "embedding"
    formula_settings: ClassVar[tuple[str, ...]] = ("categories", "columns")
    reads_inputs: ClassVar[bool] = True
    categories: tuple[int, ...] | int
    size: int = 8
    columns: tuple[int, ...] | None = field(default=None, kw_only=True)
    initializer: Initializer | str = field(default_factory=Normal, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        set_ = object.__setattr__
        set_(self, "categories", whole_numbers("categories", self.categories, at_least=1))
        if max(self.cardinalities) > _MOST_CATEGORIES:
            raise InvalidValueError(
                "a column has at most 2^24 categories, since float32 rounds larger codes; "
                f"got categories={describe_value(self.categories)}"
            )
        check_integer("size", self.size)
        given = range(len(self.cardinalities)) if self.columns is None else self.columns
        set_(self, "columns", whole_numbers("columns", given, at_least=0))
        set_(self, "initializer", Initializer.resolve(self.initializer))
        if len(set(self.code_columns)) != len(self.cardinalities):
            raise InvalidValueError(
                "columns must name a different column for each number in categories, got "
                f"columns={self.columns} for categories={self.categories}"
            )

    @property
    def cardinalities(self) -> tuple[int, ...]:
        """Number of categories of each column of codes."""
        assert isinstance(self.categories, tuple)
        return self.categories

    @property
    def code_columns(self) -> tuple[int, ...]:
        """The columns of X that hold codes."""
        assert self.columns is not None
        return self.columns

    def outputs(self, inputs: int) -> int:
        if max(self.code_columns) >= inputs:
            raise InvalidValueError(
                f"Embedding reads codes from columns {self.code_columns}, the network has "
                f"inputs={inputs}"
            )
        return inputs + len(self.code_columns) * (self.size - 1)

    def parameters(self, inputs: int) -> tuple[ParameterSpec, ...]:
        shape = (sum(self.cardinalities), self.size)
        return (ParameterSpec("table", shape, self.initializer, True),)  # type: ignore[arg-type]

    def check_columns(self, X: Array, what: str) -> None:
        for column, count in zip(self.code_columns, self.cardinalities, strict=True):
            codes = X[:, column].astype(np.float64, copy=False)
            wrong = ~((codes >= 0) & (codes < count) & (codes == np.floor(codes)))
            wrong &= ~np.isnan(codes)
            if wrong.any():
                row = int(np.argmax(wrong))
                raise InvalidValueError(
                    f"{what} column {column} holds category codes, whole numbers from 0 to "
                    f"{count - 1}; row {row} has {codes[row].item()!r}"
                )

    def formula(self, path: str, sources: Sequence[str]) -> str:
        return f"[{sources[0]} without codes, table[{path}] at the codes]"

    def gradient_formulas(self, path: str, source: str) -> Mapping[str, tuple[str, str]]:
        formula = f"sum of delta[{path}] over the rows of each code"
        return {"table": (f"dL/dtable[{path}]", formula)}


@setting
class Dropout(Layer):
    """In training a value becomes 0 with probability ``rate``, else is divided by ``1 - rate``.

    The mask is a function of (seed, step, layer, row, column), see :mod:`deltarule.base.random`.

    Source: Srivastava et al., "Dropout" (2014); in the inverted form.
    """

    name: ClassVar[str] = "dropout"
    formula_settings: ClassVar[tuple[str, ...]] = ("rate",)
    passes_signals: ClassVar[bool] = True
    rate: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("rate", self.rate, at_least=0, below=1)

    def formula(self, path: str, sources: Sequence[str]) -> str:
        return f"dropout({sources[0]}, {self.rate:g})"


@setting
class Add(Layer):
    """``y = x + F(x)``: the sum at the end of a :class:`Residual`, which lays it out."""

    name: ClassVar[str] = "add"

    def lay_out(self, plan: Emitter, path: str, source: int) -> int:
        """Refuse to stand alone: a sum has two inputs."""
        raise InvalidValueError(f"layer {path!r}: Add is a part of Residual; write Residual([...])")

    def formula(self, path: str, sources: Sequence[str]) -> str:
        return " + ".join(sources)

    def upstream(self, path: str) -> str:
        return f"delta[{path}]"


@setting
class Residual(Layer):
    """``y = x + F(x)`` for a stack ``F`` of layers; ``y = x @ P + F(x)`` where the widths differ.

    The projection ``P`` (n_in, n_out), without bias, is a parameter "projection.weight".

    Source: He, Zhang, Ren and Sun, "Deep residual learning" (2016).
    """

    name: ClassVar[str] = "residual"
    aliases: ClassVar[tuple[str, ...]] = (
        "residual_block",
        "skip",
    )
    layers: tuple[Layer, ...]
    projection_initializer: Initializer | str | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "layers", check_layers(self.layers, "Residual"))
        if self.projection_initializer is not None:
            object.__setattr__(
                self, "projection_initializer", Initializer.resolve(self.projection_initializer)
            )

    @property
    def inner(self) -> tuple[Layer, ...]:
        return self.layers

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

    def lay_out(self, plan: Emitter, path: str, source: int) -> int:
        """Append the inner layers, the projection where there is one, and the sum."""
        inner, shortcut = plan.stack(self.layers, path, source), source
        if plan.width(source) != plan.width(inner):
            projection = Dense(plan.width(inner), bias=False)
            shortcut = plan.emit(projection, f"{path}.projection", source)
        return plan.emit(Add(), path, shortcut, inner)


def following_activation(layers: Sequence[Layer], i: int) -> ActivationFunction:
    """Return the activation that layer ``i`` feeds: its own, or an Activation layer behind it."""
    own = getattr(layers[i], "activation", None)
    if isinstance(own, ActivationFunction) and type(own) is not Identity:
        return own
    for later in layers[i + 1 :]:
        if isinstance(later, Activation):
            return later.f
        if not later.passes_signals:
            break
    return Identity()


def whole_numbers(what: str, values: Any, *, at_least: int) -> tuple[int, ...]:
    """Return one whole number or several as a tuple, or raise a clear error."""
    one = isinstance(values, (str, bytes)) or not hasattr(values, "__iter__")
    one = one or getattr(values, "ndim", 1) == 0
    several = (values,) if one else check_sequence(what, values, "whole numbers")
    found = tuple(check_integer(what, value, at_least=at_least) for value in several)
    if not found:
        raise InvalidValueError(
            f"{what} must name at least one whole number, got {describe_value(values)}"
        )
    return found


def _scale_and_shift(inputs: int) -> tuple[ParameterSpec, ...]:
    return (
        ParameterSpec("scale", (inputs,), Constant(1.0), False),
        ParameterSpec("shift", (inputs,), Zeros(), False),
    )
