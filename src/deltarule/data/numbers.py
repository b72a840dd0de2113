"""Anything that people have as an array of real numbers, or one clear error."""

from __future__ import annotations

from typing import Any

import numpy as np

from deltarule.base.errors import InvalidTypeError, InvalidValueError, describe_value
from deltarule.base.types import Array
from deltarule.data.frames import frame_of, table_of
from deltarule.data.series import REAL, real, real_column


def numeric(data: Any, what: str, hint: str = "; encode text and categories as numbers") -> Array:
    """Return data as an array of real numbers of any dtype, or raise one clear error.

    An array of numbers is returned as it is. Tensors that require gradients, that live on another
    device or are of a dtype that NumPy lacks are brought over; missing values become NaN.
    """
    if type(data) is np.ndarray and data.dtype.kind in REAL:
        return data
    if data is None:
        raise InvalidTypeError(f"{what} is missing (None)")
    if isinstance(data, np.ndarray):
        if isinstance(data, np.ma.MaskedArray) and np.ma.is_masked(data):
            raise InvalidValueError(
                f"{what} is a masked array; fill or drop the masked values first"
            )
        return real(np.asarray(data), what, hint=hint)
    if hasattr(data, "tocsr"):
        raise InvalidTypeError(f"{what} is a sparse matrix; pass {what}.toarray()")
    if isinstance(data, (str, bytes, dict, set, frozenset)) or _is_lazy(data):
        raise _no_array(data, what)
    frame = frame_of(data)
    if frame is not None:
        return table_of(frame, what, hint)
    if hasattr(data, "to_numpy") and (hasattr(data, "isna") or hasattr(data, "is_null")):
        return real_column(data, what, hint=hint)
    array = _array(data, what)
    if array.dtype.kind == "O" and array.ndim == 0:
        raise _no_array(data, what)
    return real(array, what, hint=hint)


def _array(data: Any, what: str) -> Array:
    try:
        if _is_tensor(data):
            return _from_tensor(data)
        if isinstance(data, (list, tuple)) and data and _is_tensor(data[0]):
            return np.array([_from_tensor(item) if _is_tensor(item) else item for item in data])
        array = np.asarray(data.to_numpy() if hasattr(data, "to_numpy") else data)
        if array.ndim == 0 and array.dtype.kind == "O" and hasattr(data, "__dlpack__"):
            return np.from_dlpack(data)
        return array
    except ValueError as error:
        raise InvalidValueError(f"{what} cannot be made into an array: {error}") from None
    except MemoryError:
        raise
    except Exception as error:  # whatever a foreign __array__ raises
        raise InvalidTypeError(
            f"{what} cannot be made into an array: {type(error).__name__}: {error}"
        ) from None


def _is_tensor(data: Any) -> bool:
    return hasattr(data, "detach") and hasattr(data, "cpu")


def _from_tensor(tensor: Any) -> Array:
    """Return a torch tensor's numbers; those on the CPU share its memory."""
    tensor = tensor.detach().cpu()
    if hasattr(tensor, "resolve_neg"):
        tensor = tensor.resolve_neg()
    try:
        return np.asarray(tensor.numpy())
    except (TypeError, RuntimeError):  # bfloat16, float8, ...: float32 holds them
        return np.asarray(tensor.float().numpy())


def _is_lazy(data: Any) -> bool:
    return hasattr(data, "collect") and not hasattr(data, "to_numpy")


def _no_array(data: Any, what: str) -> InvalidTypeError:
    remedy = ""
    if _is_lazy(data):
        remedy = f"; pass {what}.collect()"
    elif hasattr(data, "__next__"):
        remedy = f"; pass list({what})"
    elif isinstance(data, dict):
        remedy = "; a frame of it (pandas.DataFrame) is one"
    got = describe_value(data) if isinstance(data, (str, bytes)) else type(data).__name__
    return InvalidTypeError(
        f"{what} must be an array, a nested list or a data frame, got {got}{remedy}"
    )
