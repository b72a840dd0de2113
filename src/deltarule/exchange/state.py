"""A network's arrays in the order and the orientation in which PyTorch's modules hold them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from deltarule.base.errors import InvalidTypeError, InvalidValueError, describe_value
from deltarule.base.types import Array
from deltarule.network.layers import BatchNorm, Dense, Embedding, LayerNorm, Residual, Scale
from deltarule.network.network import Network, Placed, describe_layer

COUNTER = "num_batches_tracked"
"""Of BatchNorm1d: read by nothing where momentum is a number."""


class Piece(NamedTuple):
    """One array: our name of it, and a view into it that is oriented as PyTorch's."""

    name: str
    view: Array


class Group(NamedTuple):
    """What one module of PyTorch holds, by PyTorch's names."""

    place: Placed
    pieces: Mapping[str, Piece]


def groups(network: Network) -> Iterator[Group]:
    """Yield one group for each module with arrays, in the order of a `state_dict`."""
    for place in network.placed:
        for held in _names(place.layer):
            pieces = {}
            for theirs, ours in held.items():
                name = f"{place.path}.{ours}"
                if name in network.parameters:
                    view = network.parameters[name]
                    pieces[theirs] = Piece(name, view.T if ours.endswith("weight") else view)
                elif name in network.state:
                    pieces[theirs] = Piece(name, network.state[name])
            if isinstance(place.layer, Embedding):
                yield from _tables(place, pieces["weight"])
            elif pieces:
                yield Group(place, pieces)


def _names(layer: Any) -> list[dict[str, str]]:
    """Return PyTorch's and our names of a layer's arrays, module by module."""
    match layer:
        case Dense():
            return [{"weight": "weight", "bias": "bias"}]
        case Residual():
            return [{"weight": "projection.weight"}]
        case BatchNorm():
            statistics = {"running_mean": "running_mean", "running_var": "running_variance"}
            return [{"weight": "scale", "bias": "shift"} | statistics]
        case LayerNorm():
            return [{"weight": "scale", "bias": "shift"}]
        case Scale():
            return [{"weight": "scale"}]
        case Embedding():
            return [{"weight": "table"}]
    return []


def _tables(place: Placed, piece: Piece) -> Iterator[Group]:
    start = 0
    for count in place.layer.cardinalities:  # type: ignore[attr-defined]
        yield Group(place, {"weight": Piece(piece.name, piece.view[start : start + count])})
        start += count


def fill(network: Network, state: Mapping[str, Any]) -> None:
    """Copy the arrays of a `state_dict` into a network; raise where they do not fit."""
    theirs, ours = by_module(state), list(groups(network))
    if len(theirs) != len(ours):
        raise InvalidValueError(
            f"the layers have {len(ours)} groups of arrays ({_listed_layers(ours)}), the "
            f"state_dict has {len(theirs)}: {', '.join(theirs) or 'none'}"
        )
    for (module, arrays), group in zip(theirs.items(), ours, strict=True):
        what = f"layer {group.place.path!r}, {describe_layer(group.place.layer)},"
        if missing := group.pieces.keys() - arrays.keys() - _may_lack(group):
            raise InvalidValueError(f"{what} needs {sorted(missing)[0]!r}, {module!r} has none")
        if more := arrays.keys() - group.pieces.keys():
            raise InvalidValueError(f"{what} has no place for '{module}.{sorted(more)[0]}'")
        for name, array in arrays.items():
            view = group.pieces[name].view
            if array.shape != view.shape:
                raise InvalidValueError(
                    f"{what} takes {name!r} of shape {view.shape}, "
                    f"'{module}.{name}' has {array.shape}"
                )
            view[...] = array


def _may_lack(group: Group) -> set[str]:
    return {"bias"} if isinstance(group.place.layer, LayerNorm) else set()


def _listed_layers(found: list[Group]) -> str:
    named = (f"{g.place.path!r}: {describe_layer(g.place.layer)}" for g in found)
    return ", ".join(named) or "none"


def by_module(state: Mapping[str, Any]) -> dict[str, dict[str, Array]]:
    """Return arrays by module ("layers.0") and name ("weight"), in the order of a state_dict."""
    if not isinstance(state, Mapping):
        raise InvalidTypeError(
            "state_dict must be a mapping of names to arrays, such as module.state_dict(); "
            f"got {describe_value(state)}"
        )
    inner = [name for name, value in state.items() if isinstance(value, Mapping)]
    if inner:
        raise InvalidTypeError(
            f"state_dict must be a mapping of names to arrays; {inner[0]!r} in it is a mapping, as "
            f"in a checkpoint: pass what stands under {inner[0]!r}"
        )
    found: dict[str, dict[str, Array]] = {}
    for full, value in state.items():
        if not isinstance(full, str):
            raise InvalidTypeError(f"names in a state_dict are text, got {describe_value(full)}")
        module, _, name = full.rpartition(".")
        if name != COUNTER:
            found.setdefault(module, {})[name] = as_array(full, value)
    return found


def as_array(name: str, value: Any) -> Array:
    """Return a tensor, or anything like an array, as float32 or float64."""
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        value = value.double() if str(value.dtype) == "torch.float64" else value.float()
    try:
        array = np.asarray(value)
    except (TypeError, ValueError):
        array = np.empty(0, dtype=object)
    if array.dtype.kind not in "fiu":
        raise InvalidTypeError(f"{name!r} must be an array of numbers, got {describe_value(value)}")
    return array if array.dtype == np.float64 else array.astype(np.float32)


def common_dtype(state: Mapping[str, Any]) -> np.dtype:
    """Return float64 where any array has it, else float32."""
    arrays = [array for held in by_module(state).values() for array in held.values()]
    return np.result_type(np.float32, *(array.dtype for array in arrays))
