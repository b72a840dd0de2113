"""Numbers that stand for "no value": -999, -200 or 9999, far outside a pile of equal values."""

from __future__ import annotations

import numpy as np

from deltarule.base.types import Array

_OFTEN = 0.05
"""Share of the rows from which on a code may have no more digits than the largest value."""


def _is_nines(value: float) -> bool:
    """Whether a number is written with nines alone, as 99, -9999 and -99.9 are; or -999.25."""
    return value == -999.25 or set(f"{abs(value):.10g}".replace(".", "")) == {"9"}


def _could_be(value: float) -> bool:
    """Whether people write a number for "no value": nines, or a negative multiple of 100."""
    return 90 < abs(value) < 1e10 and (_is_nines(value) or (value < 0 and value % 100 == 0))


def _goes_with(other: float, value: float) -> bool:
    """Whether a number is a further code beside nines: 98 and 97 of surveys, or 88 and 77."""
    a, b = f"{abs(other):.10g}", f"{abs(value):.10g}"
    if len(a) != len(b) or not b.isdecimal() or not a.isdecimal() or other * value < 0:
        return False
    return 0 < int(b) - int(a) <= 3 or (len(set(a)) == 1 and a[0] in "678")


def outliers(ordered: Array, proven: frozenset[float] = frozenset()) -> tuple[float, ...]:
    """Return the smallest and the largest of ascending numbers that stand for "no value".

    Such a value occurs three times or more, has the form of one, and lies further from the other
    values than these spread. That is not enough for nines above values of as many digits, which
    may be the most that a field can hold (a gain of 99999 above 41310): they must be frequent too,
    or have further codes beside them (98, 97; 88). Negative nines below values of which none is
    negative may lie nearer, and so may a value that another column of the table has proven.
    """
    found: list[float] = []
    for at_top in (False, True):
        value = float(ordered[-1 if at_top else 0])
        if not np.isfinite(value) or not _could_be(value):
            continue
        codes, rest = [value], _without(ordered, value, at_top)
        count = len(ordered) - len(rest)
        while len(rest) and _is_nines(value) and _goes_with(float(rest[-1 * at_top]), value):
            codes.append(float(rest[-1 * at_top]))
            rest = _without(rest, codes[-1], at_top)
        rest = rest[np.isfinite(rest)]
        if not len(rest) or count < 3:
            continue
        low, high = float(rest[0]), float(rest[-1])
        spread = high - low
        gap = value - high if at_top else low - value
        if len(codes) > 1:
            gap = codes[-1] - high if at_top else low - codes[-1]
        near = value in proven or (_is_nines(value) and value < 0 <= low)
        if near:
            far = gap > 0.05 * spread
        else:
            wider = value < 0 or value >= 10 ** len(f"{max(abs(low), abs(high)):.0f}")
            likely = wider or len(codes) > 1 or count >= _OFTEN * len(ordered)
            far = gap > spread > 0 and likely
        if far:
            found += codes
    return tuple(sorted(found))


def in_words(values: tuple[float, ...]) -> str:
    """Say that numbers stand for no value, and why."""
    shown = " and ".join(f"{value:g}" for value in values)
    if len(values) > 1:
        return f"{shown} stand for no value: they occur often and lie far from all others"
    return f"{shown} stands for no value: it occurs often and lies far from all others"


def _without(ordered: Array, value: float, at_top: bool) -> Array:
    """Return ascending numbers without those that equal their last or first."""
    if at_top:
        return ordered[: np.searchsorted(ordered, value, "left")]
    return ordered[np.searchsorted(ordered, value, "right") :]
