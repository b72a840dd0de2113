"""The columns of a table in ONNX's core operators: raw cells in, float32 numbers out.

As :mod:`deltarule.tables.uses` has it. A graph reads two kinds of cells: numbers (float64, NaN for
missing) and text (without outer spaces, "" for missing).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from deltarule.base.errors import InvalidTypeError, InvalidValueError
from deltarule.base.types import Array
from deltarule.exchange.graph import (
    Graph,
    Value,
    any_of_row,
    clip,
    columns_of,
    is_nan,
    side_by_side,
    sqrt,
    where,
)
from deltarule.tables.cells import Cells
from deltarule.tables.column import LIMIT, Column
from deltarule.tables.columns import Columns
from deltarule.tables.frames import frame_of
from deltarule.tables.uses import outputs


class Port(NamedTuple):
    """One input of the graph: its name, "float64" or "text", and what it holds."""

    name: str
    type: str
    meaning: str


def ports(columns: Columns) -> list[Port]:
    """Return the inputs of a graph, in the order of the columns."""
    return [port for column in columns.columns for port in _ports(column)]


def _ports(column: Column) -> Iterator[Port]:
    if column.use == "number":
        yield Port(column.name, "float64", "a number, NaN for missing")
    elif column.use in ("indicator", "one-hot"):
        yield Port(column.name, "text", "a category, empty for missing")
    elif column.use != "left out":
        raise InvalidTypeError(
            f"column {column.name!r} is used as {column.use!r}, for which there is no form in ONNX"
        )


def inputs_of(columns: Columns, frame: Any) -> dict[str, Array]:
    """Return a frame's cells as the graph's inputs (rows, 1), by name."""
    table = frame_of(frame)
    place = {name: i for i, name in enumerate(table.names)}
    if lacking := columns.check(table).missing:
        raise InvalidValueError(f"the frame lacks the column {lacking[0]!r}, which the model uses")
    found = {}
    for column in columns.columns:
        for port in _ports(column):
            cells = table.cells(place[column.name])
            array = _numbers(column, cells) if port.type == "float64" else _text(column, cells)
            found[port.name] = array.reshape(-1, 1)
    return found


def _numbers(column: Column, cells: Cells) -> Array:
    assert cells.numbers is not None
    return cells.numbers.astype(np.float64)


def _text(column: Column, cells: Cells) -> Array:
    cells = cells.as_text().without(column.absent)
    return np.array([*cells.values, ""], dtype=object)[cells.codes]


def append_columns(graph: Graph, columns: Columns) -> Value:
    """Append inputs and preprocessing; return the numbers (rows, width), float32."""
    given = {
        port.name: graph.input(port.name, np.float64 if port.type == "float64" else object, 1)
        for port in ports(columns)
    }
    parts: list[Value] = []
    made: list[tuple[int, int]] = []  # which output of which column; what is not wanted, -1
    numbered = list(enumerate(columns.columns))
    plain = [(at, column) for at, column in numbered if column.use == "number"]
    if plain:
        parts += _append_numbers(graph, [c for _, c in plain], [given[c.name] for _, c in plain])
        made += [(at, 0) for at, _ in plain]
        made += [(at, 1) if column.indicator else (-1, at) for at, column in plain]
    for at, column in numbered:
        if column.use in ("indicator", "one-hot"):
            graph.within(column.name)
            parts += _append_levels(graph, column, given[column.name])
            made += [(at, i) for i in range(len(outputs(column)))]
    graph.within("")
    wanted = [(at, i) for at, column in numbered for i in range(len(outputs(column)))]
    place = {key: i for i, key in enumerate(made)}
    together = side_by_side(parts)
    return together if wanted == made else columns_of(together, [place[key] for key in wanted])


def _append_numbers(graph: Graph, plain: list[Column], given: list[Value]) -> list[Value]:
    """Return squashed numbers, and 1 where there is none; both (rows, columns)."""
    with graph.using(np.float64):
        x = side_by_side(given)
        centre = np.array([column.centre for column in plain])
        scale = np.array([column.scale for column in plain])
        missing = is_nan(x)
        z = graph.cast(clip((x - centre) / scale, -1e9, 1e9), np.float32)
    with graph.using(np.float32):
        far = z / LIMIT
        squashed = z / sqrt(1 + far * far)
        return [where(missing, 0.0, squashed), graph.cast(missing, np.float32)]


def _append_levels(graph: Graph, column: Column, text: Value) -> list[Value]:
    """Return the outputs of a column of categories, (rows, 1) and (rows, levels)."""
    graph.needs(19)  # equality of text

    def among(texts: tuple[str, ...]) -> Value:
        return text.equals(np.array([texts], dtype=object))

    member, gone = among(column.levels), any_of_row(among(("", *column.absent)))
    found = [graph.cast(member, np.float32)]
    if column.use == "indicator":
        found = [graph.call("MatMul", found[0], np.array([[-1.0], [1.0]], np.float32))]
    elif column.others:
        found.append(graph.cast(~(any_of_row(member) | gone), np.float32))
    if column.indicator:
        found.append(graph.cast(gone, np.float32))
    return found
