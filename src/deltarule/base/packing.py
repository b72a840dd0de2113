"""Python values as JSON and named arrays, and back, bit by bit.

What JSON lacks is an object with one key that begins with "$":

==============================  ======================================
``{"$array": name}``            one of the arrays
``{"$number": "nan"}``          a float that is not finite: also "inf", "-inf"
``{"$tuple": [...]}``           a tuple
``{"$record": [kind, ...]}``    a named tuple of a kind that both sides know
==============================  ======================================
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from deltarule.base.errors import InvalidTypeError, InvalidValueError, describe_value
from deltarule.base.types import Array

KEPT = ("float32", "float64", "int64", "int32", "uint8", "bool")
"""The dtypes of arrays that are kept."""


def pack(
    value: Any, name: str, arrays: dict[str, Array], records: Mapping[str, type] | None = None
) -> Any:
    """Return a value as JSON; arrays go under ``name/...`` into ``arrays``.

    Parameters
    ----------
    value
        None, bool, int, float, str, array, or lists, tuples and dictionaries of these.
    records : mapping of names to classes of named tuples, optional

    Raises
    ------
    TypeError
        It has something else; the message names the place.
    """
    if value is None or isinstance(value, (str, bool)):
        return value
    if isinstance(value, np.generic):
        return pack(value.item(), name, arrays, records) if value.dtype.kind in "biuf" else None
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"$number": repr(value)}
    if isinstance(value, np.ndarray) and value.dtype.name in KEPT:
        arrays[name] = np.array(value)
        return {"$array": name}
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str) or not key or key.startswith("$"):
                raise InvalidTypeError(f"{name} has {describe_value(key)} as a key, not a name")
        return {key: pack(item, f"{name}/{key}", arrays, records) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        items = [pack(item, f"{name}/{i}", arrays, records) for i, item in enumerate(value)]
        if type(value) is list:
            return items
        if type(value) is tuple:
            return {"$tuple": items}
        kinds = (kind for kind, known in (records or {}).items() if type(value) is known)
        kind = next(kinds, None)
        if kind is not None:
            return {"$record": [kind, *items]}
    raise InvalidTypeError(
        f"{name} is {describe_value(value)}; a checkpoint keeps numbers, strings, arrays of "
        "numbers, and lists and dictionaries of these"
    )


def unpack(
    value: Any, arrays: Mapping[str, Array], records: Mapping[str, type] | None = None
) -> Any:
    """Return the value that :func:`pack` packed.

    Raises
    ------
    ValueError, TypeError, KeyError
        It is nothing that it packs.
    """
    if isinstance(value, list):
        return [unpack(item, arrays, records) for item in value]
    if not isinstance(value, dict):
        return value
    marks = [key for key in value if key.startswith("$")]
    if not marks:
        return {key: unpack(item, arrays, records) for key, item in value.items()}
    if len(value) > 1:
        raise InvalidValueError(f"{describe_value(value)} is no value of a checkpoint")
    ((mark, content),) = value.items()
    if mark == "$array":
        return arrays[content]
    if mark == "$number" and content in ("nan", "inf", "-inf"):
        return float(content)
    if mark == "$tuple":
        return tuple(unpack(content, arrays, records))
    if mark == "$record" and content and content[0] in (records or {}):
        kind, *items = content
        return (records or {})[kind](*unpack(items, arrays, records))
    raise InvalidValueError(f"{describe_value(value)} is no value of a checkpoint")
