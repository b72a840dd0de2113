"""Where in the day, the week and the year a moment is, in ONNX's core operators."""

from __future__ import annotations

import math

from deltarule.exchange.graph import Value, floor, side_by_side, where
from deltarule.tables.dates import PARTS


def cycle(days: Value, part: str) -> Value:
    """Return sine and cosine (rows, 2) of the place in a cycle, as ``tables.dates.cycle``."""
    whole = floor(days)
    if part == "yearday":
        turn = day_of_year(whole) / PARTS[part][0]
    elif part == "weekday":
        turn = _rest(whole + 4, 7) / 7
    else:
        turn = days - whole
    angle = 2 * math.pi * turn
    graph = days.graph
    return side_by_side([graph.call("Sin", angle), graph.call("Cos", angle)])


def day_of_year(days: Value) -> Value:
    """Return 0 for the first of January, for whole days since 1970-01-01.

    Years are counted from the first of March, so that the leap day is a year's last day.

    Source: Hinnant, "chrono-compatible low-level date algorithms" (2013).
    """
    day = _rest(days + 719_468, 146_097)  # within 400 years
    year = floor(
        (day - floor(day / 1460) + floor(day / 36_524) - floor(day / 146_096)) / 365
    )  # 0 to 399
    since_march = day - (365 * year + floor(year / 4) - floor(year / 100))
    leap = where(_rest(year, 4) > 0, 0.0, 1.0)
    leap = where(_rest(year, 100) > 0, leap, where(year > 0, 0.0, 1.0))
    return where(since_march > 305, since_march - 306, since_march + 59 + leap)


def _rest(x: Value, divisor: float) -> Value:
    return x - divisor * floor(x / divisor)
