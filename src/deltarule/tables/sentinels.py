"""Numbers that stand for "no value": -999, -200 or 9999, far outside a pile of equal values."""

from __future__ import annotations

import numpy as np

from deltarule.base.types import Array


def _could_be(value: float) -> bool:
    """Whether people write a number for "no value": nines, or a negative multiple of 100."""
    if not np.isfinite(value) or value != round(value) or not 9 < abs(value) < 1e10:
        return False
    return set(str(abs(int(value)))) == {"9"} or (value < 0 and value % 100 == 0)


def outliers(ordered: Array, proven: frozenset[float] = frozenset()) -> tuple[float, ...]:
    """Return the smallest and the largest of ascending numbers that stand for "no value".

    Such a value occurs three times or more, has the form of one, and lies further from the other
    values than these spread. A value that another column of the table has proven may lie nearer.
    """
    found = []
    for at_top in (False, True):
        value = float(ordered[-1 if at_top else 0])
        if not _could_be(value):
            continue
        if at_top:
            rest = ordered[: np.searchsorted(ordered, value, "left")]
        else:
            rest = ordered[np.searchsorted(ordered, value, "right") :]
        count = len(ordered) - len(rest)
        rest = rest[np.isfinite(rest)]
        if not len(rest) or count < 3:
            continue
        spread = float(rest[-1] - rest[0])
        gap = value - float(rest[-1]) if at_top else float(rest[0]) - value
        if gap > spread > 0 or (value in proven and gap > 0.05 * spread):
            found.append(value)
    return tuple(found)
