"""Networks as PyTorch modules and state dictionaries, and back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeGuard

import numpy as np

from deltarule.base.errors import (
    InvalidTypeError,
    InvalidValueError,
    describe_value,
    missing_extra,
)
from deltarule.exchange.state import COUNTER, by_module, common_dtype, fill, groups
from deltarule.formulas import activations as known
from deltarule.network.layer import Layer, check_layers
from deltarule.network.layers import (
    Activation,
    BatchNorm,
    Dense,
    Dropout,
    Embedding,
    LayerNorm,
    Residual,
    Scale,
)
from deltarule.network.network import Network

_MANY = 1 << 20  # columns enough for any Embedding to find its own
_LINEAR_FROM = 40.0  # softplus is its argument from there on in float64; PyTorch's own is 20


def _torch() -> Any:
    try:
        import torch
    except ImportError:
        raise missing_extra("exchange with PyTorch", "torch") from None
    return torch


ACTIVATIONS: dict[type[known.ActivationFunction], Callable[[Any], tuple[str, dict[str, Any]]]] = {
    known.Identity: lambda f: ("Identity", {}),
    known.Sigmoid: lambda f: ("Sigmoid", {}),
    known.Tanh: lambda f: ("Tanh", {}),
    known.ReLU: lambda f: ("ReLU", {}),
    known.LeakyReLU: lambda f: ("LeakyReLU", {"negative_slope": f.negative_slope}),
    known.ELU: lambda f: ("ELU", {"alpha": f.alpha}),
    known.SELU: lambda f: ("SELU", {}),
    known.GELU: lambda f: ("GELU", {}),
    known.GELUTanh: lambda f: ("GELU", {"approximate": "tanh"}),
    known.SiLU: lambda f: ("SiLU", {}),
    known.Mish: lambda f: ("Mish", {}),
    known.HardSwish: lambda f: ("Hardswish", {}),
    known.HardSigmoid: lambda f: ("Hardsigmoid", {}),
    known.Softplus: lambda f: ("Softplus", {"threshold": _LINEAR_FROM}),
    known.Softsign: lambda f: ("Softsign", {}),
    known.Exp: lambda f: ("Exp", {}),
    known.Softmax: lambda f: ("Softmax", {"dim": 1}),
}
"""The module of `torch.nn` (Exp: of ours) and its settings, by exact type."""


def to_torch(network: Network) -> Any:
    """Return a network as a ``torch.nn.Sequential`` that computes what ``predict`` does.

    A Dense layer becomes a ``Linear`` and, unless it is the identity, the module of its activation,
    so that ``[Dense(8, "relu"), Dense(3)]`` has the usual names ``0.weight``, ``0.bias``,
    ``2.weight``, ``2.bias``. PyTorch keeps weights as (out, in). For Residual, Scale, Embedding and
    exp, which ``torch.nn`` lacks, there are modules in ``deltarule.exchange.modules``. Frozen
    parameters have ``requires_grad=False``.

    The module is in evaluation mode, as ``predict`` is. Call its ``train()`` before training it:
    Dropout and BatchNorm then do what they do here in training.

    Raises
    ------
    TypeError
        A layer or an activation has formulas of its own; the message names it.
    ImportError
        PyTorch is not installed.

    Examples
    --------
    >>> import deltarule as dr
    >>> from deltarule.exchange import to_torch
    >>> to_torch(dr.Network([dr.Dense(8, "relu"), dr.Dense(3)], inputs=4))
    Sequential(
      (0): Linear(in_features=4, out_features=8, bias=True)
      (1): ReLU()
      (2): Linear(in_features=8, out_features=3, bias=True)
    )
    """
    torch = _torch()
    if not isinstance(network, Network):
        raise InvalidTypeError(f"to_torch takes a deltarule.Network, got {describe_value(network)}")
    dtype = getattr(torch, network.dtype.name)
    module = torch.nn.Sequential(*_modules(network.layers, network.inputs, "", dtype))
    state = module.state_dict(keep_vars=True)
    tensors = [tensor for name, tensor in state.items() if not name.endswith(COUNTER)]
    pieces = [piece for group in groups(network) for piece in group.pieces.values()]
    with torch.no_grad():
        for tensor, piece in zip(tensors, pieces, strict=True):
            tensor.copy_(torch.from_numpy(np.array(piece.view)))
            if network.learning_rate_factors.get(piece.name) == 0:
                tensor.requires_grad_(False)
    return module.eval()


def _modules(layers: Sequence[Layer], width: int, prefix: str, dtype: Any) -> Iterator[Any]:
    """Yield the modules of a stack of layers."""
    from torch import nn

    from deltarule.exchange import modules

    for i, layer in enumerate(layers):
        path, outputs = f"{prefix}{i}", layer.outputs(width)
        kind = type(layer)
        match layer:
            case Dense() if kind is Dense:
                yield nn.Linear(width, outputs, bias=layer.bias, dtype=dtype)
                if type(layer.activation) is not known.Identity:
                    yield _function(layer.activation, path)
            case Activation() if kind is Activation:
                yield _function(layer.function, path)
            case BatchNorm() if kind is BatchNorm:
                yield nn.BatchNorm1d(width, layer.epsilon, layer.momentum, dtype=dtype)
            case LayerNorm() if kind is LayerNorm:
                yield nn.LayerNorm(width, layer.epsilon, dtype=dtype)
            case Dropout() if kind is Dropout:
                yield nn.Dropout(layer.rate)
            case Scale() if kind is Scale:
                yield modules.Scale(width, dtype)
            case Embedding() if kind is Embedding:
                counts, columns = layer.cardinalities, layer.code_columns
                yield modules.Codes(counts, layer.size, columns, dtype)
            case Residual() if kind is Residual:
                inner = nn.Sequential(*_modules(layer.layers, width, f"{path}.", dtype))
                bridge = None
                if outputs != width:
                    bridge = nn.Linear(width, outputs, bias=False, dtype=dtype)
                yield modules.Residual(inner, bridge)
            case _:
                raise _unknown(path, "layer", layer)
        width = outputs


def _function(f: Any, path: str) -> Any:
    from torch import nn

    from deltarule.exchange import modules

    if type(f) not in ACTIVATIONS:
        raise _unknown(path, "activation", f)
    name, settings = ACTIVATIONS[type(f)](f)
    return getattr(modules if name == "Exp" else nn, name)(**settings)


def _unknown(path: str, kind: str, part: object) -> InvalidTypeError:
    return InvalidTypeError(
        f"layer {path!r}: the {kind} {type(part).__name__} has formulas of its own, for which "
        "there is no PyTorch module; write it in PyTorch"
    )


def to_state_dict(network: Network) -> dict[str, Any]:
    """Return the ``state_dict`` of :func:`to_torch`: tensors by PyTorch's usual names.

    Examples
    --------
    >>> import deltarule as dr
    >>> from deltarule.exchange import to_state_dict
    >>> state = to_state_dict(dr.Network([dr.Dense(8, "relu"), dr.Dense(3)], inputs=4))
    >>> {name: tuple(tensor.shape) for name, tensor in state.items()}
    {'0.weight': (8, 4), '0.bias': (8,), '2.weight': (3, 8), '2.bias': (3,)}
    """
    return dict(to_torch(network).state_dict())


def from_state_dict(state_dict: Mapping[str, Any], layers: Sequence[Layer] | Network) -> Network:
    """Return a network of given layers with the arrays of a PyTorch ``state_dict``.

    Modules are matched with layers by their order, whatever their names ("fc1.weight",
    "encoder.0.weight", ...), and every shape is compared. Arrays may be tensors of any kind or
    NumPy arrays, for instance of a safetensors file.

    Parameters
    ----------
    state_dict : mapping of str to tensor or array
        Weights of Linear are (out, in), as PyTorch keeps them.
    layers : list of layers, or Network
        What the module's ``forward`` computes. A Network stays as it is; what is returned has its
        layers. It is needed where the first layer is an Embedding.

    Raises
    ------
    ValueError
        Groups of arrays or shapes do not fit the layers; the message names both.

    Examples
    --------
    >>> import numpy as np, deltarule as dr
    >>> from deltarule.exchange import from_state_dict
    >>> state = {"fc.weight": np.ones((3, 2)), "fc.bias": np.zeros(3)}
    >>> from_state_dict(state, [dr.Dense(3, "relu")]).predict([1.0, 2.0])
    array([[3., 3., 3.]])
    """
    dtype = common_dtype(state_dict)
    if isinstance(layers, Network):
        network = Network(layers.layers, layers.inputs, dtype=dtype, weight_initializer="zeros")
        for name, factor in layers.learning_rate_factors.items():
            network.scale_learning_rate(factor, name)
        network.feature_names = layers.feature_names
    else:
        found = check_layers(layers, "from_state_dict")
        network = Network(
            found, _inputs(state_dict, found), dtype=dtype, weight_initializer="zeros"
        )
    fill(network, state_dict)
    return network


def from_torch(module: Any) -> Network:
    """Return a network that computes what a PyTorch module does.

    Parameters
    ----------
    module : torch.nn.Module
        A ``Sequential``, nested at will, of ``Linear``, ``BatchNorm1d``, ``LayerNorm``,
        ``Dropout``, ``Identity``, ``Flatten``, the activations of :func:`to_torch`, and its own
        modules; or one of these alone. An activation that follows a ``Linear`` becomes that Dense
        layer's own.

    Raises
    ------
    TypeError
        There is a module of another kind; the message gives its place. Where a class has a
        ``forward`` of its own, write its layers and use :func:`from_state_dict`.
    ValueError
        A module has settings without a counterpart here.
    ImportError
        PyTorch is not installed.

    Notes
    -----
    ``requires_grad=False`` freezes. A frozen BatchNorm uses its running statistics here, also in
    training; PyTorch's does so only in evaluation mode.

    Examples
    --------
    >>> import torch
    >>> from deltarule.exchange import from_torch
    >>> from_torch(torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU()))
    Network(4 -> Dense(8, relu); 40 parameters, float32)
    """
    torch = _torch()
    if not isinstance(module, torch.nn.Module):
        raise InvalidTypeError(f"from_torch takes a torch.nn.Module, got {describe_value(module)}")
    layers = _layers(module, "")
    if not layers:
        raise InvalidValueError("the module has no layers; there is nothing to make a network of")
    state = module.state_dict()
    trained = dict(module.named_parameters(remove_duplicate=False))
    if len(set(map(id, trained.values()))) < len(trained):
        raise InvalidValueError(
            "two modules share one array of weights; here every layer has its own"
        )
    network = Network(
        layers, _inputs(state, layers), dtype=common_dtype(state), weight_initializer="zeros"
    )
    fill(network, state)
    learning = {name for name, p in trained.items() if p.requires_grad}
    for name, group in zip(by_module(state), groups(network), strict=True):
        for theirs, piece in group.pieces.items():
            full = f"{name}.{theirs}" if name else theirs
            if piece.name in network.parameters and full not in learning:
                network.freeze(piece.name)
    return network


def _inputs(state: Mapping[str, Any], layers: Sequence[Layer]) -> int:
    """Return the width of the input: that of the first array, whatever lies before keeps it."""
    arrays, first = list(by_module(state).values()), 0
    if isinstance(layers[0], Embedding):
        first = len(layers[0].cardinalities)
    weights = [held["weight"] for held in arrays[first : first + 1] if "weight" in held]
    if not weights or not weights[0].ndim:
        raise InvalidValueError(
            "the arrays do not say how many columns the input has; pass a Network in place of its "
            "layers"
        )
    behind = layers[0].outputs(_MANY) - _MANY if first else 0
    return int(weights[0].shape[-1]) - behind


def _layers(module: Any, path: str) -> list[Layer]:
    """Return the layers of a module; an activation behind a Linear belongs to it."""
    from torch import nn

    from deltarule.exchange import modules

    if type(module).forward is nn.Sequential.forward:
        found: list[Layer] = []
        for name, child in module._modules.items():  # named_children leaves out repeated ones
            for layer in _layers(child, f"{path}.{name}" if path else name):
                last = found[-1] if found else None
                if isinstance(layer, Activation) and _is_bare(last):
                    found[-1] = Dense(last.units, layer.f, bias=last.bias)
                else:
                    found.append(layer)
        return found
    if type(module) is modules.Residual:
        return [Residual(tuple(_layers(module.inner, f"{path}.inner")))]
    kind = type(module).__name__
    if type(module) not in (getattr(nn, kind, None), getattr(modules, kind, None)):
        kind = ""
    if kind == "LogSoftmax":
        raise InvalidValueError(
            f"LogSoftmax at {path or 'the top'!r}: a network ends with probabilities, not with "
            "their logarithms; put torch.nn.Softmax(dim=1) in its place"
        )
    if kind not in _FROM:
        raise InvalidTypeError(
            f"from_torch knows no layer for the module {path or 'given'!r}, "
            f"{type(module).__name__}; it takes Sequential of {', '.join(sorted(_FROM))}. Where a "
            "class has a forward() of its own, write its layers: "
            "from_state_dict(module.state_dict(), [...])"
        )
    try:
        made = _FROM[kind](module)
    except _NoCounterpart as error:
        raise InvalidValueError(f"{kind} at {path or 'the top'!r}: {error}") from None
    if made is None:
        return []
    return [Activation(made) if isinstance(made, known.ActivationFunction) else made]


def _is_bare(layer: Layer | None) -> TypeGuard[Dense]:
    return type(layer) is Dense and type(layer.activation) is known.Identity


class _NoCounterpart(Exception):  # noqa: N818
    pass


def _need(fine: bool, reason: str) -> None:
    if not fine:
        raise _NoCounterpart(reason)


def _batch_norm(m: Any) -> Layer:
    _need(m.affine, "affine=False has no scale and shift, which BatchNorm trains")
    _need(m.track_running_stats, "track_running_stats=False has no statistics for prediction")
    _need(m.momentum is not None, "momentum=None averages over all batches; give it a number")
    return BatchNorm(m.eps, m.momentum)


def _layer_norm(m: Any) -> Layer:
    _need(len(m.normalized_shape) == 1, "only the columns of a row can be normalised")
    _need(m.elementwise_affine, "elementwise_affine=False has no scale and shift")
    return LayerNorm(m.eps)


def _softmax(m: Any) -> known.ActivationFunction:
    _need(m.dim in (1, -1), f"dim={m.dim} is not over the columns of a row; write dim=1")
    return known.Softmax()


def _softplus(m: Any) -> known.ActivationFunction:
    _need(m.beta == 1, f"beta={m.beta}, softplus has beta=1 here")
    return known.Softplus()


def _flatten(m: Any) -> None:
    _need((m.start_dim, m.end_dim) == (1, -1), "rows must stay rows: Flatten(1, -1)")


_FROM: dict[str, Callable[[Any], Layer | known.ActivationFunction | None]] = {
    "Linear": lambda m: Dense(m.out_features, bias=m.bias is not None),
    "BatchNorm1d": _batch_norm,
    "LayerNorm": _layer_norm,
    "Dropout": lambda m: Dropout(m.p),
    "Identity": lambda m: None,
    "Flatten": _flatten,
    "Sigmoid": lambda m: known.Sigmoid(),
    "Tanh": lambda m: known.Tanh(),
    "ReLU": lambda m: known.ReLU(),
    "LeakyReLU": lambda m: known.LeakyReLU(m.negative_slope),
    "ELU": lambda m: known.ELU(m.alpha),
    "SELU": lambda m: known.SELU(),
    "GELU": lambda m: known.GELUTanh() if m.approximate == "tanh" else known.GELU(),
    "SiLU": lambda m: known.SiLU(),
    "Mish": lambda m: known.Mish(),
    "Hardswish": lambda m: known.HardSwish(),
    "Hardsigmoid": lambda m: known.HardSigmoid(),
    "Softplus": _softplus,
    "Softsign": lambda m: known.Softsign(),
    "Exp": lambda m: known.Exp(),
    "Softmax": _softmax,
    "Scale": lambda m: Scale(),
    "Codes": lambda m: Embedding(
        tuple(table.num_embeddings for table in m.tables),
        m.tables[0].embedding_dim,
        columns=tuple(m.columns),
    ),
}
"""By the name of a class of `torch.nn` or of our modules."""
