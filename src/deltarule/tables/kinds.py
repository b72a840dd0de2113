"""Which kind a column is, from its cells."""

from __future__ import annotations

from typing import Any

import numpy as np

from deltarule.tables.cells import Cells
from deltarule.tables.column import Column
from deltarule.tables.kinds_of_numbers import date_of, of_numbers, share
from deltarule.tables.kinds_of_text import levels_of, of_text


def find(
    name: str, cells: Cells, asked: str | None = None, *, codes_above: int | None = None
) -> Column:
    """Return what a column is; ``asked`` is the kind (or "left out") that the user wants."""
    if asked in ("left out", "identifier"):
        kind = "identifier" if asked == "identifier" else _plain_kind(cells)
        return Column(name, kind, "left out", "as asked", missing=share(cells.missing()))
    if cells.is_text:
        return of_text(name, cells, asked, codes_above)
    gone = cells.missing()
    known: dict[str, Any] = {"missing": share(gone)}
    if gone.all():
        return Column(name, "empty", "left out", "it has no value", **known)
    if asked in ("category", "text"):
        return levels_of(name, cells.as_text(), asked, known, codes_above)
    assert cells.numbers is not None
    numbers = cells.numbers[~gone] if gone.any() else cells.numbers
    ordered = np.sort(numbers.astype(np.float64))
    if cells.type in ("moment", "clock") and asked in (None, "date"):
        return date_of(name, ordered, "clock" if cells.type == "clock" else "", known)
    return of_numbers(name, cells, ordered, asked, known)


def _plain_kind(cells: Cells) -> str:
    if cells.is_text:
        return "category"
    return {"moment": "date", "clock": "date", "boolean": "boolean"}.get(cells.type, "number")
