"""Advice: what a careful analyst would want to know of a table before training on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from deltarule.tables.columns import Columns
from deltarule.tables.target import Target


@dataclass(frozen=True)
class Advice:
    """One piece of advice.

    Attributes
    ----------
    kind : str
        "leak", "identifier", "total row", "duplicates", "sentinel", "mostly missing", "constant",
        "empty", ...
    columns : tuple of str
        The columns that it is about.
    text : str
        One or two sentences for people.
    """

    kind: str
    columns: tuple[str, ...]
    text: str


def advise(frame: Any, columns: Columns, target: Target, values: Any) -> list[Advice]:
    """Return what looks unusual in a table and its target, the most important first."""
    found = []
    for column in columns.columns:
        if column.use == "left out" and column.kind in ("identifier", "constant", "empty"):
            text = f"{column.name!r} is left out: {column.reason}."
            found.append(Advice(column.kind, (column.name,), text))
        elif column.missing > 0.9:
            text = f"{column.name!r} has no value in {column.missing:.0%} of the rows."
            found.append(Advice("mostly missing", (column.name,), text))
    return found
