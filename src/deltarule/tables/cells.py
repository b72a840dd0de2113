"""The cells of one column, whoever made the frame: numbers, moments, or text.

Everything that is not a number or a date is held as *codes* into the list of its distinct texts, so
that whatever is done with text is done once for each distinct one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from numbers import Integral, Real
from typing import Any

import numpy as np

from deltarule.base.types import Array

DAY = 86_400_000_000  # microseconds


@dataclass(frozen=True)
class Cells:
    """Cells of one column.

    Attributes
    ----------
    type : str
        "number", "integer", "boolean", "moment" (days since 1970-01-01), "clock" (hours since
        midnight) or "text".
    numbers : array (n,) of float64 or float32
        With NaN for missing; None for text.
    codes : array (n,) of whole numbers
        Of text: which of ``values`` a cell is; -1 for missing.
    values : tuple of str
        Of text: the distinct ones, without outer spaces.
    """

    type: str
    numbers: Array | None = None
    codes: Array | None = None
    values: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.codes if self.numbers is None else self.numbers)  # type: ignore[arg-type]

    @property
    def is_text(self) -> bool:
        """Whether the cells are text."""
        return self.type == "text"

    def missing(self) -> Array:
        """Return which cells hold nothing (n,)."""
        if self.numbers is not None:
            return np.isnan(self.numbers)
        assert self.codes is not None
        return self.codes < 0

    def counts(self) -> Array:
        """Return how often each distinct text occurs."""
        assert self.codes is not None
        return np.bincount(self.codes[self.codes >= 0], minlength=len(self.values))

    def without(self, tokens: Iterable[str]) -> Cells:
        """Return text in which some values count as missing."""
        absent = set(tokens)
        if not absent.intersection(self.values):
            return self
        kept = [i for i, value in enumerate(self.values) if value not in absent]
        place = np.full(len(self.values) + 1, -1, np.int32)
        place[kept] = np.arange(len(kept))
        assert self.codes is not None
        return replace(self, codes=place[self.codes], values=tuple(self.values[i] for i in kept))

    def as_text(self) -> Cells:
        """Return the cells as text: whole numbers as 3, never as 3.0, whatever type they had."""
        if self.is_text:
            return self
        assert self.numbers is not None
        known = ~np.isnan(self.numbers)
        distinct, inverse = np.unique(self.numbers[known], return_inverse=True)
        codes = np.full(len(self.numbers), -1, np.int32)
        codes[known] = inverse
        if self.type == "boolean":
            values = tuple("true" if value else "false" for value in distinct.tolist())
        else:
            values = tuple(map(written, distinct.tolist()))
        return Cells("text", codes=codes, values=values)


def written(number: float) -> str:
    """Return the shortest text of a number: 3 for 3.0."""
    if number == int(number) if np.isfinite(number) else False:
        return str(int(number))
    return repr(number)


def text(values: Sequence[str], codes: Array) -> Cells:
    """Return text from distinct values and codes; values that differ by outer spaces are one."""
    place: dict[str, int] = {"": -1}
    found = [place.setdefault(value.strip(), len(place) - 1) for value in values]
    codes = np.asarray(codes)
    if found != list(range(len(values))):
        codes = np.array([*found, -1], np.int32)[codes]
    return Cells("text", codes=codes, values=tuple(place)[1:])


def of_objects(cells: Iterable[Any]) -> Cells:
    """Return cells from Python objects of any type: each distinct one is looked at once."""
    place: dict[Any, int] = {}
    marked = []
    for cell in cells:
        try:
            marked.append(place.setdefault((type(cell), cell), len(place)))
        except TypeError:  # a list, say
            marked.append(place.setdefault((str, str(cell)), len(place)))
    codes = np.array(marked, np.int32)
    objects = [value for _, value in place]
    absent = [_is_absent(value) for value in objects]
    present = [value for value, gone in zip(objects, absent, strict=True) if not gone]
    type_ = _type_of(present)
    if type_ == "text":
        kept = np.array([-1, *np.cumsum(~np.array(absent, bool)) - 1], np.int32)[1:]
        kept[np.array(absent, bool)] = -1
        return text([_written(value) for value in present], np.append(kept, -1)[codes])
    numbers = np.array(
        [np.nan if gone else _number(v, type_) for v, gone in zip(objects, absent, strict=True)],
        np.float64,
    )
    return Cells(type_, numbers=numbers[codes] if len(numbers) else np.empty(0))


def _is_absent(value: Any) -> bool:
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    try:
        return bool(value != value)
    except Exception:
        return False


def type_of_objects(values: Iterable[Any]) -> str | None:
    """Return the type that all of some objects have; None where they have several."""
    distinct = {type(v): v for v in values if not _is_absent(v)}
    found = _type_of(list(distinct.values()))
    if found == "text" and any(not issubclass(kind, (str, bytes)) for kind in distinct):
        return None
    return found


def _type_of(values: Sequence[Any]) -> str:
    if not values:
        return "text"
    for type_, kinds in (
        ("boolean", (bool, np.bool_)),
        ("number", (Real, Decimal)),
        ("moment", (date, np.datetime64)),
        ("clock", (time,)),
        ("number", (timedelta, np.timedelta64)),
    ):
        if all(isinstance(value, kinds) for value in values):
            if type_ == "number" and any(isinstance(value, (bool, np.bool_)) for value in values):
                return "text"
            whole = type_ == "number" and all(isinstance(value, Integral) for value in values)
            return "integer" if whole else type_
    return "text"


def _number(value: Any, type_: str) -> float:
    if type_ == "moment":
        return days_of(value)
    if type_ == "clock":
        return value.hour + value.minute / 60 + (value.second + value.microsecond / 1e6) / 3600
    if isinstance(value, timedelta):
        return value / timedelta(days=1)
    if isinstance(value, np.timedelta64):
        return float(value / np.timedelta64(1, "D"))
    try:
        return float(value)
    except OverflowError:
        return np.inf if value > 0 else -np.inf


def days_of(value: Any) -> float:
    """Return a date, or a moment by the clock of its zone, as days since 1970-01-01."""
    if isinstance(value, np.datetime64):
        return value.astype("datetime64[us]").astype(np.int64) / DAY
    if isinstance(value, datetime):
        return (value.replace(tzinfo=None) - datetime(1970, 1, 1)) / timedelta(days=1)
    return float(value.toordinal() - date(1970, 1, 1).toordinal())


def _written(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, (bool, np.bool_)):
        return "true" if value else "false"
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, (Real, Decimal)):
        return written(_number(value, "number"))
    return str(value)


def of_array(array: Array) -> Cells:
    """Return the cells of a one-dimensional NumPy array of any dtype."""
    kind = array.dtype.kind
    if kind == "f":
        return Cells("number", numbers=array if array.dtype.itemsize in (4, 8) else array * 1.0)
    if kind in "iu":
        return Cells("integer", numbers=array.astype(np.float64))
    if kind == "b":
        return Cells("boolean", numbers=array.astype(np.float64))
    if kind == "M":
        micro = array.astype("datetime64[us]")
        numbers = micro.astype(np.int64) / DAY
        return Cells("moment", numbers=np.where(np.isnat(micro), np.nan, numbers))
    if kind == "m":
        numbers = array / np.timedelta64(1, "D")
        return Cells("number", numbers=numbers)
    if kind == "U":
        values, codes = np.unique(array, return_inverse=True)
        return text(values.tolist(), codes.astype(np.int32))
    return of_objects(array.tolist())
