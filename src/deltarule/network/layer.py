"""What a layer is: a frozen specification, without arrays.

A layer says how wide its output is, which parameters and which running statistics it has and how
they start, which operations it becomes in a plan, and how a worked example prints it. The arrays
live in the :class:`~deltarule.network.network.Network`; the formulas in the engines.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any, ClassVar, NamedTuple, Protocol

from deltarule.base.errors import (
    InvalidTypeError,
    InvalidValueError,
    describe_value,
    missing_formula,
)
from deltarule.base.settings import Setting, check_number, check_sequence, setting
from deltarule.base.types import Array
from deltarule.base.words import helpful
from deltarule.formulas.initializers import Initializer


@helpful
class ParameterSpec(NamedTuple):
    """One parameter array of a layer.

    ``initializer`` None means: the network's, else the default of the activation that follows.
    ``is_weight``: whether penalties, constraints and decoupled weight decay touch it.
    """

    name: str
    shape: tuple[int, ...]
    initializer: Initializer | None
    is_weight: bool


@helpful
class StateSpec(NamedTuple):
    """One array of running statistics of a layer, which no gradient trains."""

    name: str
    shape: tuple[int, ...]
    initial: float


class Emitter(Protocol):
    """What a layer is laid out with: it appends operations to a plan."""

    def emit(self, layer: Layer, path: str, *sources: int) -> int:
        """Append one operation that reads slots; return the slot of its output."""
        ...

    def stack(self, layers: Sequence[Layer], path: str, source: int) -> int:
        """Append the layers of a stack at "path.0", "path.1", ...; return the last slot."""
        ...

    def width(self, slot: int) -> int:
        """Return the columns of a slot."""
        ...


@setting
class Layer(Setting):
    """Base of the layers.

    Parameters
    ----------
    learning_rate_factor : float, keyword only
        Factor on the learning rate of all parameters of the layer; 0 freezes them.

    Attributes
    ----------
    preactivation : "input", "output" or ""
        Which of its arrays is a preactivation ``z``, if any; its delta is ``dL/dz``.
    couples_rows : bool
        Whether in training the output of a row depends on the other rows of its batch.
    passes_signals : bool
        Whether an initializer looks through it to the activation behind.
    formula_settings : tuple of str
        Names of the numbers among its settings that its formulas need.
    reads_inputs : bool
        Whether it must be the network's first layer, since it reads the columns as they are given.
    """

    family: ClassVar[str] = "layer"
    preactivation: ClassVar[str] = ""
    couples_rows: ClassVar[bool] = False
    passes_signals: ClassVar[bool] = False
    formula_settings: ClassVar[tuple[str, ...]] = ()
    reads_inputs: ClassVar[bool] = False
    learning_rate_factor: float = field(default=1.0, kw_only=True)

    def __post_init__(self) -> None:
        check_number("learning_rate_factor", self.learning_rate_factor, at_least=0)

    @property
    def inner(self) -> tuple[Layer, ...]:
        """The layers inside this one, at "path.0", "path.1", ..."""
        return ()

    def outputs(self, inputs: int) -> int:
        """Return the width of the output for a width of the input."""
        return inputs

    def parameters(self, inputs: int) -> tuple[ParameterSpec, ...]:
        """Return the parameter arrays, in the order in which they are stored."""
        return ()

    def state(self, inputs: int) -> tuple[StateSpec, ...]:
        """Return the arrays of running statistics."""
        return ()

    @property
    def kinks(self) -> tuple[float, ...]:
        """Where the layer's function of one element of its input jumps, or its derivative does."""
        return ()

    def lay_out(self, plan: Emitter, path: str, source: int) -> int:
        """Append the layer's operations to a plan; return the slot of its output."""
        return plan.emit(self, path, source)

    def check_columns(self, X: Array, what: str) -> None:
        """Raise where the network's inputs are not what a layer that reads them takes."""

    # How a worked example prints it. ``sources`` are the names of what it reads ("a[0]").

    def formula(self, path: str, sources: Sequence[str]) -> str:
        """Return the forward formula."""
        return f"{type(self).__name__}({', '.join(sources)})"

    def upstream(self, path: str) -> str:
        """Return how the derivative of the loss by the layer's input comes about."""
        return f"(delta[{path}] back through layer {path})"

    def gradient_formulas(self, path: str, source: str) -> Mapping[str, tuple[str, str]]:
        """Return symbol ("dL/dW[0]") and formula of parameters' gradients, by parameter."""
        return {}


@setting
class CustomLayer(Layer):
    """Base of layers written in Python. They run in the reference engine.

    A subclass is a frozen dataclass with a ``name``; beside :meth:`outputs`, :meth:`parameters` and
    :meth:`state` it brings its two formulas. A subclass of another layer may bring them as well;
    they replace the formulas of that layer (in a Dense, ``z``: its activation follows).
    """

    def forward(self, x: Array, parameters: dict[str, Array], training: bool) -> tuple[Array, Any]:
        """Return the output (n, outputs) and whatever :meth:`backward` needs."""
        raise missing_formula(self, "forward")

    def backward(
        self, gradient: Array, cache: Any, parameters: dict[str, Array]
    ) -> tuple[Array, dict[str, Array]]:
        """Return dL/dx (n, inputs) and dL/dp, summed over rows, for every parameter by name."""
        raise missing_formula(self, "backward")


def check_layers(layers: Any, where: str) -> tuple[Layer, ...]:
    """Return layers as a tuple, or raise a clear error."""
    result = check_sequence(f"layers of {where}", layers, "layers")
    for i, layer in enumerate(result):
        if not isinstance(layer, Layer):
            raise InvalidTypeError(
                f"{where} takes layers such as Dense(10); number {i} is {describe_value(layer)}"
            )
        _check_own_formulas(type(layer))
    if not result:
        raise InvalidValueError(f"layers: {where} needs at least one layer")
    return result


def _check_own_formulas(kind: type[Layer]) -> None:
    """Raise where a layer has formulas under names that nothing calls, or only one of two."""
    names = {"forward", "backward", "call", "__call__"}
    own = {name for base in kind.__mro__ for name in names & vars(base).keys()}
    if unknown := own - {"forward", "backward"}:
        raise InvalidTypeError(
            f"{kind.__name__} defines {unknown.pop()}(), which is never called; a layer's formulas "
            "are forward(x, parameters, training) and backward(gradient, cache, parameters)"
        )
    if own == {"backward"}:
        raise InvalidTypeError(
            f"{kind.__name__} has backward() of its own, but no forward() that belongs to it; "
            "define both"
        )


def size_of(shape: tuple[int, ...]) -> int:
    """Return the number of values of a shape."""
    return math.prod(shape)
