"""The columns of a table in ONNX's core operators: raw cells in, float32 numbers out.

As :mod:`deltarule.tables.uses` has it. A graph reads two kinds of cells: numbers (float64, NaN for
missing) and text (without outer spaces, "" for missing). ONNX cannot read dates and units in text,
so these are numbers for it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from deltarule.base.errors import InvalidValueError
from deltarule.base.types import Array
from deltarule.exchange.calendar import cycle
from deltarule.exchange.graph import (
    Graph,
    Value,
    any_of_row,
    clip,
    columns_of,
    is_nan,
    side_by_side,
    sqrt,
    sum_of_row,
    where,
)
from deltarule.tables.cells import Cells
from deltarule.tables.column import LIMIT, Column
from deltarule.tables.columns import Columns
from deltarule.tables.frames import apart, frame_of
from deltarule.tables.kinds_of_text import FALSE, TRUE
from deltarule.tables.uses import is_plain, numbers_of, outputs
from deltarule.tables.words import LONGEST, inner_names, inner_numbers, shape_numbers

_LETTERS = "0-9A-Za-z_ªµºÀ-ÖØ-öø-\u1fff\u2c00-\u2dff\u3040-\ud7ff\uf900-\U0010ffff"
"""What words are made of, as both RE2 and Python's expressions read it."""


class Port(NamedTuple):
    """One input of the graph: its name, its column, "float64" or "text", and what it holds."""

    name: str
    column: str
    type: str
    meaning: str


def ports(columns: Columns) -> list[list[Port]]:
    """Return for each column the inputs of the graph that it has, each under a name of its own."""
    found = [list(_ports(column)) for column in columns.columns]
    names = iter(apart([port.name or "column" for own in found for port in own]))
    return [[port._replace(name=next(names)) for port in own] for own in found]


def _ports(column: Column) -> Iterator[Port]:
    name, gone = column.name, "NaN for missing"
    if column.use == "date parts":
        unit = "hours since midnight" if column.form == "clock" else "days since 1970-01-01"
        yield Port(name, name, "float64", f"{unit}, {gone}")
    elif is_plain(column):
        base = next((unit for unit, factor in column.units.items() if unit and factor == 1), "")
        yield Port(name, name, "float64", f"a number{base and f' in {base}'}, {gone}")
    elif column.use == "number":
        for output, _ in zip(outputs(column), column.centres, strict=False):
            yield Port(output, name, "float64", f"a number of the text, {gone}")
    elif column.use != "left out":
        meaning = "true or false" if column.kind == "boolean" else "a text"
        yield Port(name, name, "text", f"{meaning}, empty for missing")
        for key in inner_names(column.inner):
            meaning = f"the number with the unit {key} in the text, {gone}"
            yield Port(f"{name} [{key}]", name, "float64", meaning)


def inputs_of(columns: Columns, frame: Any) -> dict[str, Array]:
    """Return a frame's cells as the graph's inputs (rows, 1), by name."""
    table = frame_of(frame)
    place = {name: i for i, name in enumerate(table.names)}
    if lacking := columns.check(table).missing:
        raise InvalidValueError(f"the frame lacks the column {lacking[0]!r}, which the model uses")
    found: dict[str, Array] = {}
    for column, own in zip(columns.columns, ports(columns), strict=True):
        arrays = _given(column, table.cells(place[column.name])) if own else []
        for port, array in zip(own, arrays, strict=True):
            found[port.name] = array.reshape(-1, 1)
    return found


def _given(column: Column, cells: Cells) -> list[Array]:
    """Return the arrays (rows,) of a column's inputs."""
    if column.use == "date parts" or is_plain(column):
        return [numbers_of(column, cells).astype(np.float64)]
    text = cells.as_text().without(column.absent)
    if column.use == "number":
        table, found = shape_numbers(text.values, column.shape), []
    else:
        table = inner_numbers(text.values, column.inner)
        values = [value[:LONGEST] for value in text.values] if column.words else text.values
        found = [np.array([*values, ""], dtype=object)[text.codes]]
    table = np.vstack([table, np.full((1, table.shape[1]), np.nan)])
    return [*found, *table[text.codes].T]


def append_columns(graph: Graph, columns: Columns) -> Value:
    """Append inputs and preprocessing; return the numbers (rows, width), float32."""
    given = [
        [graph.input(p.name, np.float64 if p.type == "float64" else object, 1) for p in own]
        for own in ports(columns)
    ]
    parts: list[Value] = []
    made: list[tuple[int, int]] = []  # which output of which column; (-1, ...): not wanted
    numbered = list(enumerate(columns.columns))
    plain = [(at, column) for at, column in numbered if is_plain(column)]
    if plain:
        parts += _append_numbers(graph, [(column, given[at][0]) for at, column in plain])
        made += [(at, 0) for at, _ in plain]
        made += [(at, 1) if column.indicator else (-1, at) for at, column in plain]
    for at, column in numbered:
        if outputs(column) and not is_plain(column):
            graph.within(column.name)
            if column.use == "date parts":
                parts += _append_date(graph, column, given[at][0])
            elif column.use == "number":
                parts += _append_several(graph, column, given[at])
            else:
                parts += _append_text(graph, column, *given[at])
            made += [(at, i) for i in range(len(outputs(column)))]
    graph.within("")
    wanted = [(at, i) for at, column in numbered for i in range(len(outputs(column)))]
    place = {key: i for i, key in enumerate(made)}
    together = side_by_side(parts)
    return together if wanted == made else columns_of(together, [place[key] for key in wanted])


def _squash(graph: Graph, x: Value, centre: Any, scale: Any) -> Value:
    """Return z / sqrt(1 + (z / LIMIT)^2), float32, for z = (x - centre) / scale; 0 for NaN."""
    with graph.using(np.float64):
        z = clip((x - np.array(centre)) * (1 / np.array(scale)), -1e9, 1e9)
        gone = is_nan(x)
    with graph.using(np.float32):
        z = graph.cast(z, np.float32)
        far = z * (1 / LIMIT)
        return where(gone, 0.0, z / sqrt(1 + far * far))


def _without(graph: Graph, column: Column, x: Value) -> Value:
    """Return numbers, NaN where one stands for "no value"."""
    with graph.using(np.float64):
        for value in column.sentinels:
            x = where(x.equals(value), math.nan, x)
    return x


def _flag(graph: Graph, x: Value) -> Value:
    return graph.cast(x, np.float32)


def _append_numbers(graph: Graph, plain: list[tuple[Column, Value]]) -> list[Value]:
    """Return the numbers of several columns at once, and 1 where there is none."""
    x = side_by_side([_without(graph, column, given) for column, given in plain])
    centre, scale = [c.centre for c, _ in plain], [c.scale for c, _ in plain]
    return [_squash(graph, x, centre, scale), _flag(graph, is_nan(x))]


def _append_several(graph: Graph, column: Column, given: list[Value]) -> list[Value]:
    """Return the numbers that a text of one shape holds."""
    x = side_by_side(given)
    found = [_squash(graph, x, column.centres, column.scales)]
    if column.indicator:
        with graph.using(np.float32):
            known = sum_of_row(_flag(graph, ~is_nan(x)))
            found.append(_flag(graph, known < 0.5))
    return found


def _append_date(graph: Graph, column: Column, given: Value) -> list[Value]:
    x = _without(graph, column, given)
    found = [_squash(graph, x, column.centre, column.scale)]
    with graph.using(np.float64):
        known = abs(x) < math.inf
        days = where(known, x / 24 if column.form == "clock" else x, 0.0)
        for part in column.parts:
            cyclic = where(known, cycle(days, part), 0.0)
            found.append(graph.cast(cyclic, np.float32))
    if column.indicator:
        found.append(_flag(graph, is_nan(x)))
    return found


def _append_text(graph: Graph, column: Column, text: Value, *inner: Value) -> list[Value]:
    """Return the outputs of a column of text: levels, words, numbers inside, whether missing."""
    graph.needs(19)  # equality of text

    def among(texts: tuple[str, ...]) -> Value:
        return text.equals(np.array([texts], dtype=object))

    gone = any_of_row(among(("", *column.absent)))
    found: list[Value] = []
    if column.levels:
        member = _flag(graph, among(column.levels))
        if column.use == "indicator":
            found.append(_signs(graph, column, member, among))
        elif column.use == "codes":
            found.append(_weighed(graph, member, range(1, len(column.levels) + 1)))
        else:
            found.append(member)
            if column.others:
                found.append(_flag(graph, ~(any_of_row(member) | gone)))
    elif column.use == "codes":
        found.append(_flag(graph, gone & ~gone))
    elif column.others:
        found.append(_flag(graph, ~gone))
    for word in column.words:
        graph.needs(20)
        edge = f"[^{_LETTERS}]"
        pattern = f"(?is)(?:.*{edge})?{word}(?:{edge}.*)?"
        found.append(_flag(graph, graph.call("RegexFullMatch", text, pattern=pattern)))
    if inner:
        found.append(_squash(graph, side_by_side(inner), column.centres, column.scales))
    if column.indicator:
        found.append(_flag(graph, gone))
    return found


def _weighed(graph: Graph, flags: Value, weights: Any) -> Value:
    """Return the sum of a row's flags, each with its weight."""
    return graph.call("MatMul", flags, np.array(list(weights), np.float32).reshape(-1, 1))


def _signs(graph: Graph, column: Column, member: Value, among: Any) -> Value:
    """Return -1 and +1 for two levels; for truth values in any usual spelling, too."""
    sign = _weighed(graph, member, (-1, 1))
    if column.kind != "boolean":
        return sign
    spelt: dict[str, float] = {}
    for words, value in ((FALSE, -1.0), (TRUE, 1.0)):
        for word in words:
            spelt |= dict.fromkeys((word, word.upper(), word.capitalize()), value)
    others = {text: value for text, value in spelt.items() if text not in column.levels}
    return sign + _weighed(graph, _flag(graph, among(tuple(others))), others.values())
