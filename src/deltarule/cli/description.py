"""The small language in which the command line describes layers, losses and penalties.

Layers are separated by commas. A layer is its name and its settings, separated by colons: first
those that have an order, then any others by name::

    dense:8:tanh, batch_norm, dropout:0.2, dense:3:softmax:bias=false
    dense:6, residual(dense:6, layer_norm, activation:gelu), dense:1

Names and settings are those of the Python classes, ``Dense(8, "tanh", bias=False)``. A loss or a
penalty is written the same way: ``huber:0.5``, ``elastic_net:l1=0.1:l2=0.2``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import MISSING, Field, fields
from typing import Any

from deltarule.base.errors import DeltaruleError, InvalidValueError, unknown_name
from deltarule.base.settings import Setting
from deltarule.network.layers import (
    Activation,
    BatchNorm,
    Dense,
    Dropout,
    Layer,
    LayerNorm,
    Residual,
)

_LAYERS: dict[str, type[Layer]] = {
    kind.name: kind for kind in (Activation, BatchNorm, Dense, Dropout, LayerNorm)
}
_RESIDUAL = re.compile(r"residual\s*\((.*)\)", re.DOTALL)
_WORDS = {"true": True, "yes": True, "false": False, "no": False, "none": None}


def parse_layers(text: str) -> list[Layer]:
    """Return the layers of a description such as "dense:8:tanh, dense:3:softmax".

    Raises
    ------
    ValueError
        The message quotes the wrong layer.
    """
    return [_layer(part) for part in _split(text)]


def parse_setting(family: type[Setting], text: str) -> Any:
    """Return a loss, a penalty, ... for a description such as "l2:0.01"."""
    name, *settings = _parts(text)
    return _build(type(family.resolve(name)), settings, text)


def _layer(text: str) -> Layer:
    if inner := _RESIDUAL.fullmatch(text):
        return Residual(tuple(parse_layers(inner[1])))
    name, *settings = _parts(text)
    if name == Residual.name:
        raise InvalidValueError(
            f"{text!r}: a residual has layers in brackets: residual(dense:8:relu, dense:8)"
        )
    if name not in _LAYERS:
        raise unknown_name("layer", name, [*_LAYERS, Residual.name])
    layer: Layer = _build(_LAYERS[name], settings, text)
    return layer


def _build(kind: type[Setting], settings: list[str], text: str) -> Any:
    known: dict[str, Field[Any]] = {field.name: field for field in fields(kind)}  # type: ignore[arg-type]
    in_order = [field.name for field in known.values() if not field.kw_only]
    chosen: dict[str, Any] = {}
    for place, setting in enumerate(settings):
        key, equals, value = setting.partition("=")
        if not equals:
            if place >= len(in_order):
                takes = ":".join([kind.name, *(name.upper() for name in in_order)])
                raise InvalidValueError(
                    f"{text!r} has too many settings; expected {takes}, and others by name"
                )
            key, value = in_order[place], setting
        if key not in known:
            raise unknown_name(f"setting of {kind.name}", key, known)
        if key in chosen:
            raise InvalidValueError(f"{text!r} gives {key} twice")
        chosen[key] = _value(value)
    for field in known.values():
        needed = field.default is MISSING and field.default_factory is MISSING
        if needed and field.name not in chosen:
            raise InvalidValueError(
                f"{text!r} does not say its {field.name}: {kind.name}:{_EXAMPLES[field.name]}"
            )
    try:
        return kind(**chosen)
    except DeltaruleError as error:
        raise InvalidValueError(f"{text!r}: {error}") from None


_EXAMPLES = {"units": "8", "function": "relu"}


def _value(text: str) -> Any:
    """Return a number, a truth value or a name."""
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            pass
    return text


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.strip().split(":")]


def _split(text: str) -> Iterator[str]:
    """Yield the parts between commas that are not in brackets."""
    depth, start = 0, 0
    for i, character in enumerate(f"{text},"):
        depth += {"(": 1, ")": -1}.get(character, 0)
        if depth < 0:
            raise InvalidValueError(f"{text!r} closes a bracket that is not open")
        if character == "," and not depth:
            part = text[start:i].strip()
            if not part:
                raise InvalidValueError(
                    f"{text!r} has an empty layer; write for instance 'dense:8:tanh, dense:1'"
                )
            yield part
            start = i + 1
    if depth:
        raise InvalidValueError(f"{text!r} opens a bracket that it does not close")
