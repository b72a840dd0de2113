"""A network: layers, one flat parameter vector, and named views into it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from os import PathLike
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar, NamedTuple, Never, overload

import numpy as np

from deltarule.base.display import html_table
from deltarule.base.errors import (
    InvalidTypeError,
    InvalidValueError,
    describe_value,
    unknown_key,
    unknown_name,
)
from deltarule.base.guards import Guarded, OneAtATime, ReadOnly
from deltarule.base.random import check_seed
from deltarule.base.returned import as_returned
from deltarule.base.settings import check_integer, check_number
from deltarule.base.types import Array
from deltarule.base.upward import upward
from deltarule.base.words import Leading, helpful, watches_itself, wrong_call
from deltarule.data import as_matrix, check_feature_names, check_names, fits, numeric
from deltarule.formulas.activations import ActivationFunction
from deltarule.formulas.initializers import Initializer
from deltarule.network.layer import Layer, ParameterSpec, StateSpec, check_layers, size_of
from deltarule.network.layers import following_activation

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Self


_SUMMARY = ("layer", "kind", "output", "parameters", "count")


class Views(Mapping[str, Array]):
    """Named views into one flat vector.

    Reading gives an array that shares the vector's memory; assigning copies values into it.
    """

    def __init__(self, vector: Array, shapes: Mapping[str, tuple[int, ...]]) -> None:
        self._views: dict[str, Array] = {}
        offset = 0
        for name, shape in shapes.items():
            size = size_of(shape)
            self._views[name] = vector[offset : offset + size].reshape(shape)
            offset += size

    def __getitem__(self, name: str) -> Array:
        try:
            return self._views[name].view()  # whose shape may be set without harm
        except (KeyError, TypeError):
            raise unknown_key("parameter", name, self._views) from None

    def __setitem__(self, name: str, value: Any) -> None:
        _copy_into(name, self[name], value)

    def __iter__(self) -> Iterator[str]:
        return iter(self._views)

    def __len__(self) -> int:
        return len(self._views)

    def __repr__(self) -> str:
        inside = ", ".join(f"{name!r}: {view.shape}" for name, view in self._views.items())
        return f"{{{inside}}}"


class Placed(NamedTuple):
    """A layer at its place: dotted path ("2.1"), position depth first, widths in and out."""

    path: str
    position: int
    layer: Layer
    inputs: int
    outputs: int


@helpful
class Network(Guarded, Leading):
    """A feed-forward network: a stack of layers and its parameters.

    What describes a network is fixed: ``layers``, ``inputs``, ``dtype`` and so on can be read, not
    set. Its values can be set: ``vector``, ``parameters`` and ``state``.

    Parameters
    ----------
    layers : list of layers
        For instance ``[Dense(128, "relu"), Dense(10, "softmax")]``.
    inputs : int
        Number of input columns.
    seed : int
        Seed of the initial weights.
    dtype : "float32" or "float64"
        Type of the parameters and of all arithmetic.
    weight_initializer : name or Initializer, optional
        For all weights whose layer has none of its own.

    Attributes
    ----------
    vector : array (n_parameters,)
        All parameters, one flat vector.
    parameters : mapping of str to array
        Views into ``vector``: "0.weight" (n_in, n_out), "0.bias" (n_out,), "2.1.scale", ...
    state : mapping of str to array
        Running statistics of BatchNorm; views into ``state_vector``.
    learning_rate_factors : mapping of str to float
        Factor on the learning rate of each parameter; 0 means frozen. See :meth:`freeze`.
    feature_names : tuple of str, or None
        The columns of the data frame that the network was trained on, in their order. A frame with
        other columns is refused, here and wherever X is passed; arrays have no names and are not
        checked. Set it to None to train on a frame with other columns.

    Examples
    --------
    >>> import deltarule as dr
    >>> net = dr.Network([dr.Dense(3, "tanh"), dr.Dense(1)], inputs=2, seed=0)
    >>> net
    Network(2 -> Dense(3, tanh) -> Dense(1); 13 parameters, float32)
    >>> net.predict([[0.0, 0.0]]).shape
    (1, 1)
    """

    _instead: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("layers", "inputs", "outputs", "placed"), "make a new Network with the layers you want"
    ) | {
        "dtype": 'use net.copy(dtype="float64")',
        "seed": "use net.initialize(seed), which draws the parameters of another seed",
        "weight_initializer": "make a new Network(..., weight_initializer=...)",
        "learning_rate_factors": "use net.scale_learning_rate(factor, name) or net.freeze(name)",
        "trainable": "use net.freeze('0') and net.unfreeze('0')",
        "weights": "set net.parameters['0.weight'] or net.vector",
        "biases": "set net.parameters['0.bias'] or net.vector",
    }

    def __init__(
        self,
        layers: Sequence[Layer],
        inputs: int,
        *,
        seed: int = 0,
        dtype: Any = "float32",
        weight_initializer: Initializer | str | None = None,
    ) -> None:
        self._layers = check_layers(layers, "Network")
        self._inputs = check_integer("inputs", inputs)
        self._seed = check_seed(seed)
        self._dtype = _check_dtype(dtype)
        self._reads_inputs = self._layers[0] if self._layers[0].reads_inputs else None
        self._placed = tuple(_place(self._layers, "", self._inputs))
        self._outputs = _width_after(self._layers, self._inputs)
        self._parameter_specs, self._state_specs = _specs(self._placed)
        self._vector = _zeros(_total(self._parameter_specs), self._dtype)
        self._state_vector = _zeros(_total(self._state_specs), self._dtype)
        self._make_views()
        self._factors = {
            f"{place.path}.{spec.name}": float(place.layer.learning_rate_factor)
            for place in self._placed
            for spec in place.layer.parameters(place.inputs)
        }
        self._weight_initializer = (
            None if weight_initializer is None else Initializer.resolve(weight_initializer)
        )
        self._feature_names: tuple[str, ...] | None = None
        self._training = OneAtATime()
        self._draw(self._parameter_specs, self._state_specs)

    def _draw(self, parameters: Iterable[str], state: Iterable[str]) -> None:
        """Set parameters to what the seed draws, and running statistics to their first values."""
        defaults = dict(_default_initializers(self.layers, ""))
        index = {name: i for i, name in enumerate(self._parameter_specs)}
        for name in parameters:
            spec = self._parameter_specs[name]
            fitting = self.weight_initializer or defaults[name.rsplit(".", 1)[0]]
            initializer = spec.initializer or fitting
            rows, columns = (1, *spec.shape)[-2:]
            drawn = as_returned(
                type(initializer).__name__,
                initializer(rows, columns, seed=self.seed, layer=index[name]),
                (rows, columns),
                np.float64,
                f"initial values of {name!r}",
            )
            self.parameters[name] = drawn.reshape(spec.shape)
        for name in state:
            self.state[name] = np.full(
                self._state_specs[name].shape, self._state_specs[name].initial
            )

    def _make_views(self) -> None:
        parameter_shapes = {name: spec.shape for name, spec in self._parameter_specs.items()}
        state_shapes = {name: spec.shape for name, spec in self._state_specs.items()}
        self._parameters = Views(self._vector, parameter_shapes)
        self._state = Views(self._state_vector, state_shapes)

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers, as given."""
        return self._layers

    @property
    def inputs(self) -> int:
        """Number of input columns."""
        return self._inputs

    @property
    def outputs(self) -> int:
        """Number of output columns."""
        return self._outputs

    @property
    def placed(self) -> tuple[Placed, ...]:
        """All layers at their places, depth first."""
        return self._placed

    @property
    def dtype(self) -> np.dtype:
        """Type of the parameters and of all arithmetic."""
        return self._dtype

    @property
    def seed(self) -> int:
        """Seed of the initial parameters."""
        return self._seed

    @property
    def weight_initializer(self) -> Initializer | None:
        """As given; None means that the activation after each layer decides."""
        return self._weight_initializer

    @property
    def parameters(self) -> Views:
        """Named views into ``vector``; assigning a mapping of the same names copies values."""
        return self._parameters

    @parameters.setter
    def parameters(self, values: Mapping[str, Any]) -> None:
        _copy_all("parameters", self._parameters, values)

    @property
    def state(self) -> Views:
        """Named views into ``state_vector``; assigning a mapping of the same names copies."""
        return self._state

    @state.setter
    def state(self, values: Mapping[str, Any]) -> None:
        _copy_all("state", self._state, values)

    @property
    def vector(self) -> Array:
        """All parameters, one flat vector; assigning copies values into it."""
        return self._vector.view()  # whose shape may be set without harm

    @vector.setter
    def vector(self, values: Any) -> None:
        _copy_into("vector", self._vector, values)

    @property
    def state_vector(self) -> Array:
        """All running statistics, one flat vector; assigning copies values into it."""
        return self._state_vector.view()

    @state_vector.setter
    def state_vector(self, values: Any) -> None:
        _copy_into("state_vector", self._state_vector, values)

    @property
    def feature_names(self) -> tuple[str, ...] | None:
        """Names of the columns of X that the network was trained on; None where they had none."""
        return self._feature_names

    @feature_names.setter
    def feature_names(self, names: Sequence[str] | None) -> None:
        checked = None if names is None else check_feature_names(names, self._inputs)
        self._feature_names = checked

    def parameter_spec(self, name: str) -> ParameterSpec:
        """Return the specification of a parameter: shape, initializer, whether it is a weight."""
        if not isinstance(name, str) or name not in self._parameter_specs:
            raise unknown_key("parameter", name, self._parameter_specs)
        return self._parameter_specs[name]

    @property
    def learning_rate_factors(self) -> Mapping[str, float]:
        """The factors on the learning rate by parameter, as they are now; to be read."""
        return ReadOnly(
            self._factors, "net.learning_rate_factors", self._instead["learning_rate_factors"]
        )

    def initialize(self, seed: int) -> Self:
        """Draw the initial parameters of another seed; return the network.

        They are those of ``Network(..., seed=seed)``, and running statistics are reset. Frozen
        parameters are not changed, nor are the statistics of a layer whose parameters are all
        frozen.

        Examples
        --------
        >>> import deltarule as dr
        >>> net = dr.Network([dr.Dense(3, "tanh"), dr.Dense(1)], inputs=2, seed=0)
        >>> twin = dr.Network([dr.Dense(3, "tanh"), dr.Dense(1)], inputs=2, seed=7)
        >>> bool((net.initialize(7).vector == twin.vector).all())
        True
        """
        self._seed = check_seed(seed)
        free = [name for name, factor in self._factors.items() if factor]
        moving = {name.rsplit(".", 1)[0] for name in free}
        self._draw(free, [name for name in self._state_specs if name.rsplit(".", 1)[0] in moving])
        return self

    def being_trained(self) -> AbstractContextManager[Any]:
        """Return what is held while the network is trained; raise where it is held already."""
        return self._training.turn(
            "the network is being trained by another call (in another thread, in a callback or a "
            "signal handler around this one), and only one at a time may change it; wait for that "
            "one, or train net.copy()"
        )

    def take_over(self, other: Network) -> None:
        """Take over values, seed and names of features of a network with the same layers."""
        if not isinstance(other, Network) or other._parameter_specs != self._parameter_specs:
            raise InvalidTypeError(
                f"other must be a Network with the same layers, got {describe_value(other)}"
            )
        self.vector = other._vector
        self.state_vector = other._state_vector
        self._seed = other._seed
        self._feature_names = other._feature_names

    def freeze(self, *names: str) -> Self:
        """Exclude parameters ("0.bias") or whole layers ("0") from training; returns the network.

        A frozen parameter has no update, no decay and no optimizer state. A frozen BatchNorm uses
        its running statistics.
        """
        return self.scale_learning_rate(0.0, *names)

    def unfreeze(self, *names: str) -> Self:
        """Let parameters or layers train again, with factor 1; return the network."""
        return self.scale_learning_rate(1.0, *names)

    def scale_learning_rate(self, factor: float, *names: str) -> Self:
        """Set the learning-rate factor of parameters or whole layers; returns the network."""
        number = check_number("factor", factor, at_least=0)
        chosen: list[str] = []
        for name in names:
            if not isinstance(name, str):
                raise InvalidTypeError(
                    "name parameters or layers one by one, for instance '0', '1.bias'; "
                    f"got {describe_value(name)}"
                )
            found = [key for key in self._factors if key == name or key.startswith(f"{name}.")]
            if not found:
                paths = {place.path for place in self.placed} | self._factors.keys()
                raise unknown_name("parameter or layer", name, paths)
            chosen += found
        if not names:
            raise InvalidValueError("name the parameters or layers, for instance '0' or '0.bias'")
        self._factors.update(dict.fromkeys(chosen, number))
        return self

    @watches_itself
    def predict(
        self,
        X: Any,
        *more: Never,
        batch_size: int | None = None,
        engine: str = "auto",
        threads: int | None = None,
        **wrong: Never,
    ) -> Array:
        """Return the activations of the last layer, (n, outputs), in the network's dtype.

        Dropout is off and BatchNorm uses its running statistics. Rows are processed in blocks, so
        that memory, apart from the result, does not grow with ``n``. NaN in a row of ``X`` gives
        NaN in that row's result.

        Parameters
        ----------
        X : array or data frame (n, inputs), or (inputs,) for a single example
        batch_size : int, optional
            Rows per block; by default as many as have about 4 MB of activations.
        engine, threads
            As in :func:`deltarule.train`.
        """
        if more or wrong:
            raise wrong_call(Network.predict, (self, X, *more), wrong) or AssertionError
        # An array of one example is predicted in 2 us: what need not be looked at, is not.
        if not (type(X) is np.ndarray and fits(X, self._inputs)):
            check_names(X, self._feature_names, "X")
            X = as_matrix(X, inputs=self._inputs, dtype=self._dtype, finite=False, single=True)
        if self._reads_inputs is not None:
            self._reads_inputs.check_columns(X, "X")
        if batch_size is not None:
            check_integer("batch_size", batch_size)
        if threads is not None:
            check_integer("threads", threads)
        return upward("net.predict")(self, engine, threads).predict(X, batch_size)

    def __call__(self, *_: Any, **__: Any) -> Never:
        """Refuse: net.predict(X) runs a network, and only that."""
        raise InvalidTypeError("a network is not called; net.predict(X) runs it forward")

    def copy(self, *, dtype: Any = None) -> Network:
        """Return an independent copy with the same values, on request in another dtype."""
        twin = object.__new__(type(self))
        twin.__setstate__(self.__getstate__())
        twin._dtype = self.dtype if dtype is None else _check_dtype(dtype)
        twin._vector = self._vector.astype(twin.dtype)
        twin._state_vector = self._state_vector.astype(twin.dtype)
        twin._factors = dict(self._factors)
        twin._training = OneAtATime()
        twin._make_views()
        return twin

    __copy__ = copy

    def __deepcopy__(self, memo: dict[int, Any]) -> Network:
        return self.copy()

    def __getstate__(self) -> dict[str, Any]:
        # Views must alias the vector, which copying them one by one would undo.
        return {k: v for k, v in self.__dict__.items() if k not in ("_parameters", "_state")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.__dict__.setdefault("_feature_names", None)  # older pickles
        # What comes from a memory map or a foreign buffer is read-only, or shared with others.
        self._vector, self._state_vector = _own(self._vector), _own(self._state_vector)
        self._make_views()

    @overload
    def save(self, path: str | PathLike[str]) -> Path: ...

    @overload
    def save(self, path: BinaryIO) -> None: ...

    def save(self, path: str | PathLike[str] | BinaryIO) -> Path | None:
        """Write the network to a safetensors file, see :func:`deltarule.save`."""
        written: Path | None = upward("net.save")(self, path)
        return written

    def summary(self) -> str:
        """Return a table of the layers: output width, parameter shapes, number of parameters."""
        rows = [_SUMMARY, *self._summary_rows()]
        widths = [max(len(row[i]) for row in rows) for i in range(5)]
        lines = [
            "  ".join(
                cell.rjust(width) if i in (2, 4) else cell.ljust(width)
                for i, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in rows
        ]
        lines.insert(1, "-" * max(map(len, lines)))
        lines += [lines[1], self._size()]
        return "\n".join(lines)

    def _summary_rows(self) -> Iterator[tuple[str, ...]]:
        for place in self.placed:
            specs = place.layer.parameters(place.inputs)
            shapes = "  ".join(f"{s.name} {'x'.join(map(str, s.shape))}" for s in specs)
            count = sum(size_of(spec.shape) for spec in specs)
            yield place.path, describe_layer(place.layer), str(place.outputs), shapes, f"{count:,}"

    def _size(self) -> str:
        size = self.vector.nbytes + self.state_vector.nbytes
        return (
            f"{self.inputs} inputs, {self.outputs} outputs, {len(self.vector):,} parameters, "
            f"{self.dtype.name}, {size / 1024:,.1f} KiB"
        )

    def _repr_html_(self) -> str:
        return html_table(f"Network: {self._size()}", _SUMMARY, self._summary_rows(), (2, 4))

    def __repr__(self) -> str:
        chain = " -> ".join([str(self.inputs), *map(describe_layer, self.layers)])
        return f"Network({chain}; {len(self.vector):,} parameters, {self.dtype.name})"


def array_shapes(layers: Sequence[Layer], inputs: int) -> dict[str, tuple[int, ...]]:
    """Return the shapes of all parameters and running statistics, without making any array."""
    placed = tuple(_place(check_layers(layers, "Network"), "", check_integer("inputs", inputs)))
    parameters, state = _specs(placed)
    shapes = {name: spec.shape for name, spec in parameters.items()}
    return shapes | {name: spec.shape for name, spec in state.items()}


def describe_layer(layer: Layer) -> str:
    """Return a short form of a layer: "Dense(128, relu)"."""
    if layer.inner:
        return f"{type(layer).__name__}({' -> '.join(map(describe_layer, layer.inner))})"
    parts = [
        str(value) for key in ("units", "rate") if (value := getattr(layer, key, None)) is not None
    ]
    for key in ("activation", "function"):
        function = getattr(layer, key, None)
        if isinstance(function, ActivationFunction) and function.name != "identity":
            parts.append(function.name or type(function).__name__)
    return f"{type(layer).__name__}({', '.join(parts)})" if parts else type(layer).__name__


def _place(layers: tuple[Layer, ...], prefix: str, inputs: int) -> Iterator[Placed]:
    """Yield all layers depth first; one that has layers inside comes behind them."""
    position = 0

    def walk(layers: tuple[Layer, ...], prefix: str, inputs: int) -> Iterator[Placed]:
        nonlocal position
        for i, layer in enumerate(layers):
            path = f"{prefix}{i}"
            if layer.reads_inputs and path != "0":
                raise InvalidValueError(
                    f"{type(layer).__name__} reads the columns of X, so it must be the network's "
                    f"first layer; got it as layer {path!r}"
                )
            if layer.inner:
                yield from walk(layer.inner, f"{path}.", inputs)
            outputs = layer.outputs(inputs)
            yield Placed(path, position, layer, inputs, outputs)
            position += 1
            inputs = outputs

    return walk(layers, prefix, inputs)


def _specs(
    placed: tuple[Placed, ...],
) -> tuple[dict[str, ParameterSpec], dict[str, StateSpec]]:
    """Return the specifications of all parameters and running statistics by name."""
    parameters, state = {}, {}
    for place in placed:
        for parameter in place.layer.parameters(place.inputs):
            parameters[f"{place.path}.{parameter.name}"] = parameter
        for statistic in place.layer.state(place.inputs):
            state[f"{place.path}.{statistic.name}"] = statistic
    return parameters, state


def _default_initializers(
    layers: tuple[Layer, ...], prefix: str
) -> Iterator[tuple[str, Initializer]]:
    """Yield, by path, the initializer that fits the activation behind each layer."""
    for i, layer in enumerate(layers):
        path = f"{prefix}{i}"
        fitting = Initializer.resolve(following_activation(layers, i).initializer)
        yield path, fitting
        if layer.inner:
            yield f"{path}.projection", fitting
            yield from _default_initializers(layer.inner, f"{path}.")


def _width_after(layers: tuple[Layer, ...], inputs: int) -> int:
    for layer in layers:
        inputs = layer.outputs(inputs)
    return inputs


def _copy_all(what: str, views: Views, values: Mapping[str, Any]) -> None:
    if not isinstance(values, Mapping) or values.keys() != views.keys():
        raise InvalidValueError(
            f"{what} takes a mapping with exactly these names: {', '.join(views)}"
        )
    for name, value in values.items():
        views[name] = value


def _own(array: Array) -> Array:
    """Return an array in memory of its own, which can be written; it is copied if need be."""
    flags = array.flags
    return array if flags.owndata and flags.carray else np.array(array)


def _copy_into(name: str, array: Array, value: Any) -> None:
    values = numeric(value, repr(name), hint="")
    if values.shape != array.shape:
        raise InvalidValueError(
            f"{name!r} has shape {array.shape}, got values of shape {values.shape}"
        )
    largest = np.max(np.abs(values), where=np.isfinite(values), initial=0)
    with np.errstate(over="ignore"):
        if np.isinf(array.dtype.type(largest)):
            raise InvalidValueError(
                f"{name!r} would become infinite: a value is beyond {array.dtype}"
            )
        array[...] = values  # converted piece by piece: a copy would take a layer's memory again


def _zeros(size: int, dtype: np.dtype) -> Array:
    try:
        return np.zeros(size, dtype=dtype)
    except (MemoryError, ValueError):
        raise InvalidValueError(
            f"inputs and layers give {size:,} parameters or statistics, for which there is no "
            "memory"
        ) from None


def _total(specs: Mapping[str, Any]) -> int:
    return sum(size_of(spec.shape) for spec in specs.values())


def _check_dtype(dtype: Any) -> np.dtype:
    try:
        found = np.dtype(dtype if isinstance(dtype, (str, type, np.dtype)) else object)
    except (TypeError, ValueError):
        found = np.dtype(object)
    if found not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise InvalidTypeError(f'dtype must be "float32" or "float64", got {describe_value(dtype)}')
    return found
