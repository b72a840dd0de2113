"""One column, or any NumPy array: from what people have to real numbers, a whole array at a time.

Missing values become NaN. No Python object is made of a cell, except where the cells are Python
objects already.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from decimal import Decimal
from numbers import Real
from typing import Any

import numpy as np

from deltarule.base.errors import InvalidTypeError, InvalidValueError, describe_value
from deltarule.base.types import Array

REAL = "biuf"
"""The kinds of NumPy dtypes that hold real numbers."""

_DATES = "; turn dates and times into numbers first, for instance into days since the first one"


def real(
    array: Array,
    what: str,
    *,
    hint: str = "",
    column: Callable[[int], object] = lambda i: i,
    name: object = None,
) -> Array:
    """Return an array of real numbers of any dtype, or raise one clear error.

    ``column`` labels the columns of a table in messages; ``name`` is the column that all cells are
    of.
    """
    kind = array.dtype.kind
    if kind in REAL:
        return array
    if kind == "O":
        return _from_objects(array, what, hint, column, name)
    if kind == "V" and np.can_cast(array.dtype, np.float64):  # bfloat16, float8, ... of ml_dtypes
        return array.astype(np.float64 if array.dtype.itemsize > 2 else np.float32)
    if kind in "mM":
        hint = _DATES
    elif kind == "c":
        hint = "; pass real and imaginary parts as columns of their own"
    elif array.dtype.names is not None:
        hint = "; numpy.lib.recfunctions.structured_to_unstructured makes a table of it"
    raise _no_numbers(what, f"dtype {array.dtype}", hint, name)


def real_column(column: Any, what: str, *, hint: str = "", name: object = None) -> Array:
    """Return the numbers (n,) of a pandas, polars or Arrow column, or raise one clear error."""
    library = type(column).__module__.partition(".")[0]
    if library == "polars":
        array = _from_polars(column, what, hint, name)
    elif library == "pyarrow":
        array = column.to_numpy(zero_copy_only=False)
    else:
        array = _from_pandas(column, what, hint, name)
    return real(array, what, hint=hint, name=name)


def _from_pandas(column: Any, what: str, hint: str, name: object) -> Array:
    dtype = getattr(column, "dtype", None)
    if dtype is None or isinstance(dtype, np.dtype):
        return np.asarray(column.to_numpy())
    kind = getattr(dtype, "kind", "O")
    categories = getattr(dtype, "categories", None)
    if categories is not None:
        if getattr(categories.dtype, "kind", "O") not in REAL:
            codes = "; encode it, for instance by its codes (.cat.codes)"
            raise _no_numbers(what, f"the categories {categories[:3].tolist()}", codes, name)
        return np.asarray(column)
    if kind in "mM":
        raise _no_numbers(what, f"dtype {dtype}", _DATES, name)
    if kind not in REAL or hasattr(dtype, "fill_value"):  # objects, text; sparse columns
        return np.asarray(column)
    numbers = getattr(dtype, "numpy_dtype", np.dtype(np.float64))
    if not column.isna().any():
        return np.asarray(column.to_numpy(dtype=numbers))
    return np.asarray(
        column.to_numpy(dtype=numbers if kind == "f" else np.float64, na_value=np.nan)
    )


def _from_polars(column: Any, what: str, hint: str, name: object) -> Array:
    polars, dtype = sys.modules["polars"], column.dtype
    if dtype.is_float() or dtype.is_integer():
        return np.asarray(column.to_numpy())
    if dtype == polars.Boolean:
        return np.asarray((column.cast(polars.UInt8) if column.null_count() else column).to_numpy())
    if dtype.is_decimal() or dtype == polars.Null:
        return np.asarray(column.cast(polars.Float64).to_numpy())
    if dtype.is_temporal():
        raise _no_numbers(what, f"dtype {dtype}", _DATES, name)
    if dtype == polars.Categorical or dtype == polars.Enum or dtype.is_nested():
        raise _no_numbers(what, f"dtype {dtype}", hint, name)
    return np.array(column.to_list(), dtype=object)


def _from_objects(
    array: Array, what: str, hint: str, column: Callable[[int], object], name: object
) -> Array:
    """Return Python's own numbers, with missing ones as NaN, as float64."""
    cells: Sequence[Any] = array.ravel().tolist()
    types = set(map(type, cells))
    missing = {kind for kind in types if _is_missing(kind)}
    foreign = {kind for kind in types - missing if not issubclass(kind, (Real, Decimal, np.bool_))}
    if foreign:
        at = next(i for i, cell in enumerate(cells) if type(cell) in foreign)
        place = np.unravel_index(at, array.shape)
        where = f"row {place[0]}" if place else "it"
        if name is not None:
            where += f", column {name!r}"
        elif len(place) > 1:
            where += f", column {column(int(place[1]))!r}"
        got = describe_value(cells[at])
        raise InvalidTypeError(f"{what} must hold numbers; {where} has {got}{hint}")
    if missing:
        cells = [np.nan if type(cell) in missing else cell for cell in cells]
    try:
        return np.array(cells, dtype=np.float64).reshape(array.shape)
    except OverflowError as error:
        raise InvalidValueError(f"{what} has a number beyond float64: {error}") from None


def _is_missing(kind: type) -> bool:
    return kind is type(None) or kind.__name__ in ("NAType", "NaTType")


def _no_numbers(what: str, found: str, hint: str, name: object) -> InvalidTypeError:
    where = ", got" if name is None else f"; column {name!r} has"
    return InvalidTypeError(f"{what} must hold numbers{where} {found}{hint}")
