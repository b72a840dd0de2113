"""What a function of the user's own returned, and what it is given: arrays of the right form.

NumPy would broadcast a wrong shape without a word, and training would go on with wrong numbers.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from deltarule.base.errors import InvalidTypeError, InvalidValueError, describe_value
from deltarule.base.types import Array


def as_returned(what: str, value: Any, shape: tuple[int, ...], dtype: Any, meaning: str) -> Array:
    """Return what a function returned as an array of ``dtype``; raise where its shape is another.

    ``what`` names the function; ``meaning`` says what its numbers stand for ("one per example").
    """
    if type(value) is np.ndarray and value.shape == shape and value.dtype == dtype:
        return value
    try:
        array = np.asarray(value)
    except ValueError:
        array = np.asarray(None)
    expected = f"{what} must return shape {shape}, {meaning}"
    if array.dtype.kind not in "biuf":
        raise InvalidTypeError(f"{expected}; got {describe_value(value)}")
    if array.shape != shape:
        raise InvalidValueError(f"{expected}; got shape {array.shape}")
    return array.astype(dtype)


def changed_in_place(what: str, value: Any) -> None:
    """Raise where a function that changes its argument in place returned something instead."""
    if value is not None:
        raise InvalidTypeError(
            f"{what} changes its arguments in place and returns None; "
            f"got {describe_value(value)}, which would be ignored"
        )


def read_only(array: Any) -> Any:
    """Return a view through which nothing can be changed; what is no array, as it is."""
    if not isinstance(array, np.ndarray):
        return array
    view = array.view()
    view.flags.writeable = False
    return view
