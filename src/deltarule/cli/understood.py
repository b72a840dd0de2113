"""The columns of a table, as the command line prints them."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.markup import escape
from rich.table import Table

from deltarule.tables.column import Column
from deltarule.tables.described import describe_column, ends, name_of, shown
from deltarule.tables.judging import Judgement

_MOST_ROWS = 100
_SHOWN_ROWS = 40
_WIDE = 100
_UNSEEN = "on unseen rows"


def column_table(columns: Sequence[Column], width: int) -> Table:
    """Return the columns as a table; of very many, the first and how many more there are."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    narrow = width < _WIDE
    table.add_column("column", overflow="ellipsis", max_width=20 if narrow else 36, no_wrap=True)
    table.add_column("type", no_wrap=True)
    table.add_column("missing", justify="right", no_wrap=True)
    range_width = 20 if narrow else 40
    table.add_column("range or levels", overflow="ellipsis", max_width=range_width, no_wrap=True)
    table.add_column("what is done with it", min_width=18)
    shown = columns if len(columns) <= _MOST_ROWS else columns[:_SHOWN_ROWS]
    for column in shown:
        found = describe_column(column)
        use = f"{found.use}: {column.reason}" if column.reason else found.use
        style = "dim" if column.use == "left out" else ""
        cells = (found.name, found.kind, found.missing, found.values, use)
        table.add_row(*map(escape, cells), style=style)
    for kind, count in _rest(columns[len(shown) :]):
        table.add_row(f"... {count} more", kind, "", "", "in the report")
    return table


def _rest(columns: Sequence[Column]) -> list[tuple[str, int]]:
    counts: dict[str, int] = {}
    for column in columns:
        key = column.kind if column.use != "left out" else f"{column.kind}, left out"
        counts[key] = counts.get(key, 0) + 1
    return list(counts.items())


def score_table(judgement: Judgement, width: int) -> Table:
    """Return the scores of all contenders, their intervals beside them or, if need be, below."""
    who = list(judgement.scores)
    rows = []
    for score in next(iter(judgement.scores.values())):
        found = [judgement.score(name, score.name) for name in who]
        pairs = [("", "") if s is None else (shown(s), f"({ends(s)})") for s in found]
        rows.append((name_of(score.name), pairs))
    beside = [[f"{value} {ends}" for value, ends in pairs] for _, pairs in rows]
    widths = [max(map(len, column)) for column in zip(who, *beside, strict=True)]
    first = max(len(name) for name in (_UNSEEN, *(name for name, _ in rows)))
    below = first + sum(widths) + 3 * len(widths) > width  # 3: two spaces and the line between
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column(_UNSEEN, style="bold", max_width=14 if below else None)
    for name in who:
        table.add_column(name, justify="right")
    for name, pairs in rows:
        gap = "\n" if below else " "
        table.add_row(name, *(f"{value}{gap}[dim]{ends}[/]" for value, ends in pairs))
    return table
