"""Data frames: their columns as one table of numbers, and the names of the columns.

pandas, polars and Arrow tables are recognised by what they can do, so that none is imported here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from deltarule.base.errors import InvalidTypeError, InvalidValueError, describe_value
from deltarule.base.settings import check_sequence
from deltarule.base.types import Array
from deltarule.data.series import REAL, real, real_column


class Frame(NamedTuple):
    """A data frame, whoever made it.

    Attributes
    ----------
    data : the frame itself
    names : tuple
        Of the columns, as the frame has them.
    dtypes : list
        Of the columns.
    """

    data: Any
    names: tuple[Any, ...]
    dtypes: list[Any]


def frame_of(data: Any) -> Frame | None:
    """Return what is known of a data frame; None for anything else."""
    if hasattr(data, "iloc") and hasattr(data, "dtypes") and getattr(data, "ndim", 0) == 2:
        return Frame(data, tuple(data.columns), list(data.dtypes))
    if hasattr(data, "get_columns"):
        return Frame(data, tuple(data.columns), list(data.dtypes))
    if hasattr(data, "column_names") and hasattr(data, "schema"):
        return Frame(data, tuple(data.column_names), list(data.schema.types))
    return None


def names_of(data: Any) -> tuple[str, ...] | None:
    """Return the names of a data frame's columns where all are text; None for anything else."""
    if type(data) is np.ndarray:
        return None
    frame = frame_of(data)
    if frame is None or not frame.names or not all(isinstance(n, str) for n in frame.names):
        return None
    return frame.names


def check_feature_names(names: Any, inputs: int) -> tuple[str, ...]:
    """Return names of columns, one for each input of a network, or raise one clear error."""
    found = check_sequence("feature_names", names, f"the names of {inputs} columns, or None")
    if not all(isinstance(name, str) for name in found):
        raise InvalidTypeError(
            f"feature_names must be the names of {inputs} columns, or None, got "
            f"{describe_value(names)}"
        )
    if len(found) != inputs:
        raise InvalidValueError(
            f"feature_names must be {inputs} names, one for each input; got {len(found)}"
        )
    return tuple(map(str, found))


def check_names(data: Any, known: tuple[str, ...] | None, what: str) -> None:
    """Raise where a data frame's columns are named, but not as ``known``, in that order."""
    if known is None or type(data) is np.ndarray:
        return
    names = names_of(data)
    if names is None or names == known:
        return
    door = "for other columns on purpose set net.feature_names = None first"
    select = f"Pass {what}[list(net.feature_names)]; {door}"
    missing = [name for name in known if name not in names]
    unexpected = [name for name in names if name not in known]
    if missing or unexpected:
        lacks = f"missing {_listed(missing)}" if missing else ""
        has = f"unexpected {_listed(unexpected)}" if unexpected else ""
        raise InvalidValueError(
            f"the columns of {what} are not those that the network was trained on: "
            f"{'; '.join(filter(None, (lacks, has)))}. {door.capitalize() if missing else select}"
        )
    if len(names) != len(known):
        raise InvalidValueError(
            f"{what} has {len(names)} columns, some of the same name; the network was trained on "
            f"{len(known)}; {door}"
        )
    at = next(i for i, (got, wanted) in enumerate(zip(names, known, strict=True)) if got != wanted)
    raise InvalidValueError(
        f"the columns of {what} are in another order than those that the network was trained on: "
        f"column {at} is {names[at]!r}, it was {known[at]!r}. {select}"
    )


def _listed(names: list[str]) -> str:
    shown = ", ".join(map(repr, names[:5]))
    return f"{shown} and {len(names) - 5} more" if len(names) > 5 else shown


def table_of(frame: Frame, what: str, hint: str) -> Array:
    """Return a frame's columns as one array (n, columns) of real numbers."""
    kinds = set(frame.dtypes)
    if len(kinds) == 1 and _is_plain(frame.dtypes[0]):
        return real(np.asarray(frame.data.to_numpy()), what, hint=hint)
    parts = list(_parts(frame, what, hint))
    if not parts:
        return np.empty((len(frame.data), 0))
    table = np.empty((len(parts[0][1]), len(frame.names)), np.result_type(*(p for _, p in parts)))
    for columns, part in parts:
        table[:, columns] = part
    return table


def _parts(frame: Frame, what: str, hint: str) -> Iterator[tuple[int | list[int], Array]]:
    """Yield (columns, their numbers): those of one NumPy dtype together, others one by one."""
    together: dict[Any, list[int]] = {}
    for i, dtype in enumerate(frame.dtypes):
        if isinstance(dtype, np.dtype) and dtype.kind in REAL:
            together.setdefault(dtype, []).append(i)
        else:
            name = frame.names[i]
            yield i, real_column(_column(frame.data, i), what, hint=hint, name=name)
    for columns in together.values():
        yield columns, frame.data.iloc[:, columns].to_numpy()


def _column(data: Any, i: int) -> Any:
    if hasattr(data, "iloc"):
        return data.iloc[:, i]
    return data.to_series(i) if hasattr(data, "to_series") else data.column(i)


def _is_plain(dtype: Any) -> bool:
    """Whether a frame all of this dtype gives an array of numbers as a whole."""
    if isinstance(dtype, np.dtype):
        return dtype.kind in REAL
    return hasattr(dtype, "is_float") and (dtype.is_float() or dtype.is_integer())  # polars
