"""The plan: a network, a loss and an optimizer compiled to a flat list of operations.

An operation reads arrays from slots and writes one slot; slot 0 is the input. There are no nested
layers any more: a Residual is its inner operations, perhaps a projection, and an addition. A plan
holds numbers and settings only, never arrays, so that one plan serves any engine.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np

from deltarule.base.errors import InvalidTypeError
from deltarule.base.types import Array
from deltarule.data import Dataset, as_matrix, as_targets, as_weights, check_some_weight
from deltarule.formulas.activations import ActivationFunction, Identity
from deltarule.formulas.clipping import Clip
from deltarule.formulas.constraints import Constraint
from deltarule.formulas.losses import Loss, check_output
from deltarule.formulas.optimizers import Optimizer
from deltarule.formulas.penalties import Penalty
from deltarule.network.layers import (
    Activation,
    BatchNorm,
    CustomLayer,
    Dense,
    Dropout,
    Layer,
    LayerNorm,
    Residual,
    size_of,
)
from deltarule.network.network import Network


@dataclass(frozen=True)
class Operation:
    """Base of the operations.

    Attributes
    ----------
    path : str
        The layer it belongs to ("2.1").
    source, target : int
        The slot read and the slot written.
    """

    path: str
    source: int
    target: int


@dataclass(frozen=True)
class DenseOperation(Operation):
    """``z = a_prev @ W + b``; ``weight`` and ``bias`` are indices into ``Plan.parameters``."""

    weight: int
    bias: int | None


@dataclass(frozen=True)
class ActivationOperation(Operation):
    """``a = f(z)``."""

    function: ActivationFunction


@dataclass(frozen=True)
class BatchNormOperation(Operation):
    """Normalisation of columns; ``mean`` and ``variance`` are indices into ``Plan.state``.

    ``frozen``: the running statistics are used in training too.
    """

    scale: int
    shift: int
    mean: int
    variance: int
    epsilon: float
    momentum: float
    frozen: bool


@dataclass(frozen=True)
class LayerNormOperation(Operation):
    """Normalisation of rows."""

    scale: int
    shift: int
    epsilon: float


@dataclass(frozen=True)
class DropoutOperation(Operation):
    """Random zeros in training; ``position`` is the layer's in the counter of the random words."""

    rate: float
    position: int


@dataclass(frozen=True)
class AddOperation(Operation):
    """``y = x + F(x)``: the sum of slots ``source`` and ``other``."""

    other: int


@dataclass(frozen=True)
class CustomOperation(Operation):
    """A layer written in Python; ``parameters`` are indices by the layer's own names."""

    layer: CustomLayer
    parameters: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Segment:
    """One parameter's or one running statistic's place in the flat vector.

    Attributes
    ----------
    factor : float
        On the learning rate; 0 means frozen.
    is_weight : bool
        Whether decoupled weight decay touches it.
    penalty, constraint
        What acts on it, already resolved between layer and network.
    """

    name: str
    offset: int
    shape: tuple[int, ...]
    factor: float = 1.0
    is_weight: bool = False
    penalty: Penalty | None = None
    constraint: Constraint | None = None

    @property
    def size(self) -> int:
        """Number of values."""
        return size_of(self.shape)

    @property
    def slice(self) -> slice:
        """Its place in the flat vector."""
        return slice(self.offset, self.offset + self.size)


@dataclass(frozen=True)
class Plan:
    """Everything an engine needs to know, and no arrays.

    Attributes
    ----------
    operations : tuple of Operation
        In the order of the forward pass.
    widths : tuple of int
        Columns of each slot; slot 0 is the input.
    parameters, state : tuple of Segment
    loss, optimizer, clip
        None where only a forward pass, or only a gradient, is wanted.
    canonical : bool
        Whether the loss is paired with its canonical output activation, so that the last delta is
        computed from the last preactivation at once.
    """

    operations: tuple[Operation, ...]
    widths: tuple[int, ...]
    parameters: tuple[Segment, ...]
    state: tuple[Segment, ...]
    dtype: np.dtype
    loss: Loss | None = None
    canonical: bool = False
    optimizer: Optimizer | None = None
    clip: Clip | None = None

    @property
    def inputs(self) -> int:
        """Columns of the input."""
        return self.widths[0]

    @property
    def outputs(self) -> int:
        """Columns of the output."""
        return self.widths[self.operations[-1].target]

    @property
    def output_activation(self) -> ActivationFunction:
        """The function of the last operation, the identity where it is none."""
        return output_activation(self.operations)

    def examples(
        self, X: Any, y: Any, sample_weight: Any = None, *, finite: bool = True, what: str = ""
    ) -> Dataset:
        """Return checked examples for this plan's loss, or raise one clear error.

        ``what`` stands before the names in messages ("validation ").
        """
        assert self.loss is not None
        X = as_matrix(X, inputs=self.inputs, dtype=self.dtype, what=f"{what}X", finite=finite)
        y = as_targets(y, len(X), dtype=self.dtype, what=f"{what}y", finite=finite)
        weights = as_weights(sample_weight, len(X), dtype=self.dtype, what=f"{what}sample_weight")
        check_some_weight(weights, "in sample_weight")
        return Dataset(X, self.loss.check_targets(y, self.outputs), weights)

    def penalty(self, vector: Array) -> float:
        """Return the sum of all penalties on a flat vector of parameters."""
        return sum(
            (s.penalty.value(vector[s.slice]) for s in self.parameters if s.penalty is not None),
            0.0,
        )

    @property
    def batch_norms(self) -> tuple[BatchNormOperation, ...]:
        """The batch normalisations that use the batch's own statistics in training."""
        return tuple(
            op for op in self.operations if isinstance(op, BatchNormOperation) and not op.frozen
        )


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
) -> Plan:
    """Return the plan of a network, with what trains it where given.

    Raises
    ------
    ValueError
        The loss does not fit the network's output; the message says the mend.
    """
    if not isinstance(network, Network):
        raise InvalidTypeError(f"expected a deltarule.Network, got {type(network).__name__}")
    operations, widths = _Emitter(network).emit()
    found = None if loss is None else Loss.resolve(loss)
    canonical = False
    if found is not None:
        canonical = check_output(found, output_activation(operations), network.outputs)
    return Plan(
        operations=operations,
        widths=widths,
        parameters=_parameter_segments(
            network,
            None if penalty is None else Penalty.resolve(penalty),
            None if constraint is None else Constraint.resolve(constraint),
        ),
        state=tuple(_segments({name: array.shape for name, array in network.state.items()})),
        dtype=network.dtype,
        loss=found,
        canonical=canonical,
        optimizer=None if optimizer is None else Optimizer.resolve(optimizer),
        clip=None if clip is None else Clip.resolve(clip),
    )


def output_activation(operations: tuple[Operation, ...]) -> ActivationFunction:
    """Return the function of the last operation, the identity where it is none."""
    last = operations[-1]
    return last.function if isinstance(last, ActivationOperation) else Identity()


class _Emitter:
    """Walks the layers once and emits operations."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.positions = {place.path: place.position for place in network.placed}
        self.parameter_index = {name: i for i, name in enumerate(network.parameters)}
        self.state_index = {name: i for i, name in enumerate(network.state)}
        self.operations: list[Operation] = []
        self.widths = [network.inputs]

    def emit(self) -> tuple[tuple[Operation, ...], tuple[int, ...]]:
        self._stack(self.network.layers, "", 0)
        return tuple(self.operations), tuple(self.widths)

    def _stack(self, layers: tuple[Layer, ...], prefix: str, source: int) -> int:
        for i, layer in enumerate(layers):
            source = self._layer(layer, f"{prefix}{i}", source)
        return source

    def _slot(self, width: int) -> int:
        self.widths.append(width)
        return len(self.widths) - 1

    def _append(self, kind: Any, path: str, source: int, width: int, **settings: Any) -> int:
        target = self._slot(width)
        self.operations.append(kind(path, source, target, **settings))
        return target

    def _layer(self, layer: Layer, path: str, source: int) -> int:
        width = self.widths[source]
        index = self.parameter_index
        match layer:
            case Dense():
                target = self._append(
                    DenseOperation,
                    path,
                    source,
                    layer.units,
                    weight=index[f"{path}.weight"],
                    bias=index.get(f"{path}.bias"),
                )
                function = ActivationFunction.resolve(layer.activation)
                if isinstance(function, Identity):
                    return target
                return self._append(
                    ActivationOperation, path, target, layer.units, function=function
                )
            case Activation():
                function = ActivationFunction.resolve(layer.function)
                return self._append(ActivationOperation, path, source, width, function=function)
            case BatchNorm():
                factors = self.network.learning_rate_factors
                return self._append(
                    BatchNormOperation,
                    path,
                    source,
                    width,
                    scale=index[f"{path}.scale"],
                    shift=index[f"{path}.shift"],
                    mean=self.state_index[f"{path}.running_mean"],
                    variance=self.state_index[f"{path}.running_variance"],
                    epsilon=layer.epsilon,
                    momentum=layer.momentum,
                    frozen=not factors[f"{path}.scale"] and not factors[f"{path}.shift"],
                )
            case LayerNorm():
                return self._append(
                    LayerNormOperation,
                    path,
                    source,
                    width,
                    scale=index[f"{path}.scale"],
                    shift=index[f"{path}.shift"],
                    epsilon=layer.epsilon,
                )
            case Dropout():
                return self._append(
                    DropoutOperation,
                    path,
                    source,
                    width,
                    rate=layer.rate,
                    position=self.positions[path],
                )
            case Residual():
                inner = self._stack(layer.layers, f"{path}.", source)
                shortcut, projection = source, f"{path}.projection.weight"
                if projection in index:
                    shortcut = self._append(
                        DenseOperation,
                        f"{path}.projection",
                        source,
                        self.widths[inner],
                        weight=index[projection],
                        bias=None,
                    )
                return self._append(AddOperation, path, shortcut, self.widths[inner], other=inner)
            case CustomLayer():
                return self._append(
                    CustomOperation,
                    path,
                    source,
                    layer.outputs(width),
                    layer=layer,
                    parameters=tuple(
                        (spec.name, index[f"{path}.{spec.name}"])
                        for spec in layer.parameters(width)
                    ),
                )
        raise InvalidTypeError(
            f"{type(layer).__name__} has no operation; layers of your own derive from CustomLayer"
        )


def _segments(shapes: dict[str, tuple[int, ...]]) -> Iterator[Segment]:
    offset = 0
    for name, shape in shapes.items():
        yield Segment(name, offset, shape)
        offset += size_of(shape)


def _parameter_segments(
    network: Network, penalty: Penalty | None, constraint: Constraint | None
) -> tuple[Segment, ...]:
    layers = {place.path: place.layer for place in network.placed}
    factors = network.learning_rate_factors
    result = []
    for segment in _segments({name: array.shape for name, array in network.parameters.items()}):
        spec = network.parameter_spec(segment.name)
        owner = layers[segment.name.removesuffix(f".{spec.name}")]
        own_penalty = getattr(owner, "penalty", None)
        own_constraint = getattr(owner, "constraint", None)
        result.append(
            replace(
                segment,
                factor=factors[segment.name],
                is_weight=spec.is_weight,
                penalty=(own_penalty or penalty) if spec.is_weight else None,
                constraint=(own_constraint or constraint) if spec.is_weight else None,
            )
        )
    return tuple(result)
