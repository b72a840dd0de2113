"""A fingerprint of examples: whether a run goes on with the data that it began with."""

from __future__ import annotations

from hashlib import blake2b

import numpy as np

from deltarule.base.types import Array
from deltarule.data.arrays import Dataset

_VALUES_AT_ONCE = 1 << 18


def fingerprint(data: Dataset, dtype: np.dtype) -> str:
    """Return 32 hexadecimal digits of checked examples as a network of this dtype reads them.

    The same numbers have the same fingerprint as a list, a frame or an array of any type.
    """
    found = blake2b(digest_size=16)
    for array in (data.X, data.y, data.weights):
        if array is None:
            found.update(b"none")
            continue
        found.update(repr(array.shape).encode())
        rows = max(1, _VALUES_AT_ONCE * len(array) // max(array.size, 1))
        for start in range(0, len(array), rows):
            found.update(_as_read(array[start : start + rows], dtype).data)
    return found.hexdigest()


def fingerprint_of_order(order: Array) -> str:
    """Return 32 hexadecimal digits of an order of rows."""
    return blake2b(np.ascontiguousarray(order, dtype="<i8").data, digest_size=16).hexdigest()


def _as_read(block: Array, dtype: np.dtype) -> Array:
    little = dtype.newbyteorder("<")
    with np.errstate(over="ignore"):  # checked elsewhere
        return np.ascontiguousarray(block, dtype=little)
