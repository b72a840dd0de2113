"""Rounding to bfloat16."""

from __future__ import annotations

import numpy as np

from deltarule.base.types import Array


def to_bfloat16(x: Array) -> Array:
    """Return float32 numbers rounded to the nearest bfloat16, ties to even, still as float32.

    A bfloat16 is the upper half of a float32: the same exponents, 8 significant bits. What is
    beyond the largest becomes infinite; NaN stays NaN.

    Examples
    --------
    >>> to_bfloat16(np.float32([1, 1.00390625, 1.01171875, 3e38])).tolist()[:3]
    [1.0, 1.0, 1.015625]
    """
    bits = np.ascontiguousarray(x, dtype=np.float32).view(np.uint32)
    rounded = (bits + np.uint32(0x7FFF) + ((bits >> 16) & 1)) & np.uint32(0xFFFF0000)
    return np.where(np.isnan(x), x, rounded.view(np.float32))
