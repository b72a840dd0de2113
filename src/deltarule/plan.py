"""The plan: a network, a loss and an optimizer compiled to a flat list of operations.

An operation is a layer at its place: it reads arrays from slots and writes one slot; slot 0 is the
input. There are no nested layers any more: a Residual is its inner operations, perhaps a
projection, and a sum. A plan holds numbers and settings only, never arrays, so that one plan serves
any engine.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np

from deltarule.base.errors import InvalidTypeError, InvalidValueError
from deltarule.base.returned import as_returned, read_only
from deltarule.base.settings import check_choice, check_formulas
from deltarule.base.types import Array
from deltarule.data.examples import Expected
from deltarule.formulas.activations import ActivationFunction, Identity
from deltarule.formulas.clipping import Clip
from deltarule.formulas.constraints import Constraint
from deltarule.formulas.losses import Loss, check_output
from deltarule.formulas.optimizers import Optimizer
from deltarule.formulas.penalties import Penalty
from deltarule.network.layer import Layer, size_of
from deltarule.network.layers import Activation
from deltarule.network.network import Network


@dataclass(frozen=True)
class Operation:
    """A layer at its place.

    Attributes
    ----------
    path : str
        Of the layer in the network ("2.1").
    layer : Layer
        What is computed.
    sources : tuple of int
        The slots read.
    target : int
        The slot written.
    parameters, state : mapping of str to int
        By the layer's own names: indices into ``Plan.parameters`` and ``Plan.state``.
    position : int
        The layer's number in the counter of the random words.
    frozen : bool
        Whether none of the layer's parameters learns.
    """

    path: str
    layer: Layer
    sources: tuple[int, ...]
    target: int
    parameters: Mapping[str, int]
    state: Mapping[str, int]
    position: int
    frozen: bool

    @property
    def source(self) -> int:
        """The first slot read."""
        return self.sources[0]

    @property
    def function(self) -> ActivationFunction | None:
        """The activation function, where the operation is one."""
        return self.layer.f if isinstance(self.layer, Activation) else None

    @property
    def couples_rows(self) -> bool:
        """Whether a row's output depends on the rest of its batch in training."""
        return self.layer.couples_rows and not self.frozen


@dataclass(frozen=True)
class FlatView:
    """Where one array lies in a flat vector."""

    name: str
    offset: int
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of values."""
        return size_of(self.shape)

    @property
    def slice(self) -> slice:
        """Its place in the flat vector."""
        return slice(self.offset, self.offset + self.size)


@dataclass(frozen=True)
class Parameter(FlatView):
    """One parameter's place in the flat vector, and what acts on it.

    Attributes
    ----------
    factor : float
        Factor on the learning rate; 0 means frozen.
    is_weight : bool
        Whether decoupled weight decay acts on it.
    penalty, constraint
        Already resolved between layer and network.
    """

    factor: float
    is_weight: bool
    penalty: Penalty | None
    constraint: Constraint | None

    def penalty_value(self, vector: Array, weight: float) -> float:
        """Return the penalty of this parameter in a flat vector; 0 without one.

        ``weight``: the total weight of the batch.
        """
        if self.penalty is None:
            return 0.0
        value = self.penalty.value(read_only(vector[self.slice]))
        what = f"{type(self.penalty).__name__}.value"
        number = float(as_returned(what, value, (), np.float64, "one number"))
        return number / weight if self.penalty.over_batch else number

    def penalty_gradient(self, W: Array, weight: float) -> Array:
        """Return the penalty's gradient, in the shape of ``W``; ``weight``: of the batch."""
        assert self.penalty is not None
        gradient = self.penalty.gradient(read_only(W))
        what = f"{type(self.penalty).__name__}.gradient"
        gradient = as_returned(what, gradient, W.shape, W.dtype, "one number per weight")
        return gradient / W.dtype.type(weight) if self.penalty.over_batch else gradient


@dataclass(frozen=True)
class Plan:
    """Everything an engine needs to know, and no arrays.

    Attributes
    ----------
    operations : tuple of Operation
        In the order of the forward pass.
    widths : tuple of int
        Columns of each slot; slot 0 is the input.
    parameters : tuple of Parameter
    state : tuple of FlatView
        Running statistics.
    loss, optimizer, clip
        None where only a forward pass, or only a gradient, is wanted.
    canonical : bool
        Whether the loss is paired with its canonical output activation, so that the last delta is
        computed from the last preactivation at once.
    bfloat16 : bool
        Whether, in training, the products of dense layers read numbers rounded to bfloat16.
    """

    operations: tuple[Operation, ...]
    widths: tuple[int, ...]
    parameters: tuple[Parameter, ...]
    state: tuple[FlatView, ...]
    dtype: np.dtype
    loss: Loss | None = None
    canonical: bool = False
    optimizer: Optimizer | None = None
    clip: Clip | None = None
    bfloat16: bool = False

    @property
    def inputs(self) -> int:
        """Columns of the input."""
        return self.widths[0]

    @property
    def outputs(self) -> int:
        """Columns of the output."""
        return self.widths[self.operations[-1].target]

    @property
    def output_slots(self) -> tuple[int, int]:
        """The slots of the last preactivation z and activation a: one where there is no f."""
        last = self.operations[-1]
        return last.target if last.function is None else last.source, last.target

    @property
    def couples_rows(self) -> bool:
        """Whether a row's output depends on the rest of its batch in training."""
        return any(op.couples_rows for op in self.operations)

    @cached_property
    def expected(self) -> Expected:
        """What data must be like for this plan and its loss."""
        assert self.loss is not None
        return Expected(
            inputs=self.inputs,
            outputs=self.outputs,
            dtype=self.dtype,
            loss=self.loss,
            couples_rows=self.couples_rows,
            check_columns=self.operations[0].layer.check_columns,
        )

    @cached_property
    def has_penalty(self) -> bool:
        """Whether a penalty is added to the loss."""
        return any(parameter.penalty for parameter in self.parameters)

    @cached_property
    def trained_places(self) -> tuple[list[slice | None], int]:
        """Where each parameter stands among those that are trained, and the size of all these."""
        places: list[slice | None] = []
        end = 0
        for parameter in self.parameters:
            places.append(slice(end, end + parameter.size) if parameter.factor else None)
            end += parameter.size if parameter.factor else 0
        return places, end

    def penalty(self, vector: Array, weight: float) -> float:
        """Return the sum of all penalties on a flat vector of parameters.

        ``weight``: the total weight of the batch, which some penalties are divided by.
        """
        return sum((p.penalty_value(vector, weight) for p in self.parameters), 0.0)


PenaltyLike: TypeAlias = Penalty | str | None
ConstraintLike: TypeAlias = Constraint | str | None
ClipLike: TypeAlias = Clip | str | None
LossLike: TypeAlias = Loss | str | type[Loss]
OptimizerLike: TypeAlias = Optimizer | str | type[Optimizer]


def compile_network(
    network: Network,
    *,
    loss: LossLike | None = None,
    optimizer: OptimizerLike | None = None,
    penalty: PenaltyLike = None,
    constraint: ConstraintLike = None,
    clip: ClipLike = None,
    precision: str | None = None,
) -> Plan:
    """Return the plan of a network, with what trains it where given.

    Raises
    ------
    ValueError
        The loss does not fit the network's output, or the precision not its dtype; the message says
        how to fix it.
    """
    if not isinstance(network, Network):
        raise InvalidTypeError(f"expected a deltarule.Network, got {type(network).__name__}")
    emitter = _Emitter(network)
    emitter.stack(network.layers, "", 0)
    operations = tuple(emitter.operations)
    found = None if loss is None else Loss.resolve(loss)
    canonical = False
    if found is not None:
        for part in (found, *(op.function for op in operations)):
            if part is not None:
                check_formulas(part)
        function = operations[-1].function or Identity()
        canonical = check_output(found, function, network.outputs)
    parameters = _parameters(
        network,
        None if penalty is None else Penalty.resolve(penalty),
        None if constraint is None else Constraint.resolve(constraint),
    )
    for parameter in parameters:
        if parameter.penalty is not None:
            check_formulas(parameter.penalty)
    return Plan(
        operations=operations,
        widths=tuple(emitter.widths),
        parameters=parameters,
        state=tuple(FlatView(*place) for place in _places(network.state)),
        dtype=network.dtype,
        loss=found,
        canonical=canonical,
        optimizer=None if optimizer is None else Optimizer.resolve(optimizer),
        clip=None if clip is None else Clip.resolve(clip),
        bfloat16=_is_bfloat16(precision, network.dtype),
    )


def _is_bfloat16(precision: str | None, dtype: np.dtype) -> bool:
    check_choice("precision", precision, None, "float32", "float64", "bfloat16")
    if precision not in (None, dtype.name, "bfloat16" if dtype == np.float32 else None):
        needed = "float64" if precision == "float64" else "float32"
        raise InvalidValueError(
            f"precision={precision!r} needs a {needed} network, this one is {dtype}; make it with "
            f'Network(..., dtype="{needed}")'
        )
    return precision == "bfloat16"


class _Emitter:
    """Walks the layers once; each lays out its own operations."""

    def __init__(self, network: Network) -> None:
        self.positions = {place.path: place.position for place in network.placed}
        self.factors = network.learning_rate_factors
        self.parameter_index = {name: i for i, name in enumerate(network.parameters)}
        self.state_index = {name: i for i, name in enumerate(network.state)}
        self.operations: list[Operation] = []
        self.widths = [network.inputs]

    def width(self, slot: int) -> int:
        return self.widths[slot]

    def stack(self, layers: Sequence[Layer], path: str, source: int) -> int:
        for i, layer in enumerate(layers):
            source = layer.lay_out(self, f"{path}.{i}" if path else f"{i}", source)
        return source

    def emit(self, layer: Layer, path: str, *sources: int) -> int:
        inputs = self.widths[sources[0]]
        parameters = {spec.name: f"{path}.{spec.name}" for spec in layer.parameters(inputs)}
        state = {spec.name: f"{path}.{spec.name}" for spec in layer.state(inputs)}
        target = len(self.widths)
        self.widths.append(layer.outputs(inputs))
        self.operations.append(
            Operation(
                path=path,
                layer=layer,
                sources=sources,
                target=target,
                parameters={own: self.parameter_index[name] for own, name in parameters.items()},
                state={own: self.state_index[name] for own, name in state.items()},
                position=self.positions.get(path, 0),
                frozen=not any(self.factors[name] for name in parameters.values()),
            )
        )
        return target


def _places(arrays: Mapping[str, Array]) -> Iterator[tuple[str, int, tuple[int, ...]]]:
    """Yield name, offset and shape of arrays that lie one behind the other."""
    offset = 0
    for name, array in arrays.items():
        yield name, offset, array.shape
        offset += array.size


def _parameters(
    network: Network, penalty: Penalty | None, constraint: Constraint | None
) -> tuple[Parameter, ...]:
    layers = {place.path: place.layer for place in network.placed}
    factors = network.learning_rate_factors
    result = []
    for name, offset, shape in _places(network.parameters):
        spec = network.parameter_spec(name)
        owner = layers[name.removesuffix(f".{spec.name}")]
        own_penalty = getattr(owner, "penalty", None)
        own_constraint = getattr(owner, "constraint", None)
        result.append(
            Parameter(
                name,
                offset,
                shape,
                factor=factors[name],
                is_weight=spec.is_weight,
                penalty=(own_penalty or penalty) if spec.is_weight else None,
                constraint=(own_constraint or constraint) if spec.is_weight else None,
            )
        )
    return tuple(result)
