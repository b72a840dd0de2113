"""Which kind a column is, from its cells, and what is done with each kind."""

from __future__ import annotations

from typing import Any

import numpy as np

from deltarule.base.types import Array
from deltarule.tables.cells import Cells
from deltarule.tables.column import Column

MOST_LEVELS = 64
ABSENT = ("?", "-", "--", "NULL", "null", "NaN", "nan", "N/A", "n/a", "NA", "#N/A", "<NA>", "\\N")


def find(name: str, cells: Cells, asked: str | None = None) -> Column:
    """Return what a column is; ``asked`` is the kind (or "left out") that the user wants."""
    if asked == "left out":
        return Column(name, "identifier", "left out", "left out on request")
    absent: tuple[str, ...] = ()
    if cells.is_text:
        absent = tuple(token for token in ABSENT if token in cells.values)
        cells = cells.without(absent)
    gone = cells.missing()
    known: dict[str, Any] = {"missing": float(gone.mean()) if len(gone) else 0.0, "absent": absent}
    if gone.all():
        return Column(name, "empty", "left out", "it has no value", **known)
    if asked == "category" or cells.is_text or cells.type == "boolean":
        return _category(name, cells.as_text(), known)
    assert cells.numbers is not None
    return _number(name, cells.numbers[~gone].astype(np.float64), known)


def _number(name: str, numbers: Array, known: dict[str, Any]) -> Column:
    finite = numbers[np.isfinite(numbers)]
    if not len(finite) or finite.min() == finite.max() == numbers.max():
        return Column(name, "constant", "left out", f"every value is {numbers[0]:g}", **known)
    low, quarter, centre, three, high = np.quantile(finite, (0, 0.25, 0.5, 0.75, 1)).tolist()
    scale = (three - quarter) / 1.349 or float(finite.std())
    return Column(
        name, "number", "number", indicator=known["missing"] > 0, centre=centre, scale=scale,
        low=low, high=high, **known,
    )  # fmt: skip


def _category(name: str, cells: Cells, known: dict[str, Any]) -> Column:
    counts = cells.counts()
    total = int(counts.sum())
    if len(cells.values) == 1:
        return Column(name, "constant", "left out", f"every value is {cells.values[0]!r}", **known)
    if len(cells.values) > 0.9 * total and total > 20:
        return Column(name, "identifier", "left out", "nearly every value differs", **known)
    if len(cells.values) == 2:
        levels = tuple(sorted(cells.values))
        kind = "boolean" if cells.type == "boolean" else "category"
        return Column(
            name, kind, "indicator", indicator=known["missing"] > 0, levels=levels, **known
        )
    order = sorted(range(len(counts)), key=lambda i: (-counts[i], cells.values[i]))
    frequent = [i for i in order if counts[i] >= 3][:MOST_LEVELS]
    levels = tuple(cells.values[i] for i in frequent or order[:MOST_LEVELS])
    return Column(
        name, "category", "one-hot", indicator=known["missing"] > 0, levels=levels,
        others=len(levels) < len(order), **known,
    )  # fmt: skip
