"""Advice: what a careful analyst would want to know of a table before training on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from deltarule.base.errors import InvalidValueError
from deltarule.base.types import Array
from deltarule.tables.cells import Cells
from deltarule.tables.column import Column
from deltarule.tables.columns import Columns, drawn
from deltarule.tables.frames import Frame, frame_of
from deltarule.tables.leaks import (
    CERTAIN,
    CERTAIN_BY_GAPS,
    FITTED_ALONE,
    Power,
    adds_up,
    is_leak,
    power,
)
from deltarule.tables.rows import repeats, totals
from deltarule.tables.target import Target
from deltarule.tables.uses import is_plain, numbers_of

KINDS = (
    "leak", "total row", "duplicates", "imbalance", "rare class", "few rows", "skewed target",
    "strong", "sentinel", "unreadable", "date order", "identifier", "text", "mostly missing",
    "constant", "empty", "same", "spelling", "target",
)  # fmt: skip
"""What advice there is, the most important first."""

_CELLS = 4_000_000
_ROWS = 20_000
_ROWS_COMPARED = 200_000


@dataclass(frozen=True)
class Advice:
    """One piece of advice.

    Attributes
    ----------
    kind : str
        One of :data:`KINDS`.
    columns : tuple of str
        The columns that it is about; empty where it is about rows or the target.
    text : str
        One or two sentences for people.
    """

    kind: str
    columns: tuple[str, ...]
    text: str


def advise(frame: Any, columns: Columns, target: Target, values: Any) -> list[Advice]:
    """Return what looks unusual in a table and its target, the most important first.

    Parameters
    ----------
    frame : any frame that ``columns`` was fitted on
    columns : Columns
    target : Target
    values : column of targets
        As long as the frame. Rows without a target are left out of what concerns it.

    Notes
    -----
    Leaks are looked for in 20,000 rows drawn at random (fewer in wide tables), repeated rows and
    totals among the first 200,000. Nothing is changed: advice is to be read.

    Examples
    --------
    >>> from deltarule.tables.advice import advise
    >>> from deltarule.tables.columns import Columns
    >>> from deltarule.tables.target import Target
    >>> paid = [i % 3 == 0 for i in range(90)]
    >>> frame = {"age": [20 + i % 50 for i in range(90)],
    ...          "receipt": ["yes" if p else None for p in paid]}
    >>> found = advise(frame, Columns().fit(frame), Target.fit(paid), paid)
    >>> found[0].kind, found[0].columns
    ('leak', ('receipt',))
    """
    table = frame_of(frame)
    y = np.asarray(target.encode(values), np.float64)
    if len(y) != table.rows:
        raise InvalidValueError(f"X has {table.rows} rows, but there are {len(y)} targets")
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    found = list(_of_columns(columns.columns))
    found += _of_rows(table, y if y.ndim == 1 else y[:, 0])
    found += _of_target(target, y, columns)
    if y.ndim == 1:
        found += _of_leaks(table, columns, target, y)
    return sorted(found, key=lambda advice: KINDS.index(advice.kind))


def _named(names: Sequence[str], most: int = 5) -> str:
    shown = [repr(name if len(name) <= 60 else f"{name[:57]}...") for name in names[:most]]
    if len(names) > most:
        shown.append(f"{len(names) - most} more")
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def _of_columns(columns: Iterable[Column]) -> Iterator[Advice]:
    together: dict[tuple[str, str], list[str]] = {}

    def noted(kind: str, column: Column, key: str = "") -> None:
        together.setdefault((kind, key), []).append(column.name)

    for column in columns:
        asked = column.reason == "as asked"
        if column.kind in ("constant", "empty") and not asked:
            noted(column.kind, column)
        elif column.kind == "identifier" and not asked:
            left = "is left out" if column.use == "left out" else "is used only for being missing"
            yield Advice(
                "identifier", (column.name,),
                f"{_named([column.name])} looks like an identifier and {left}: {column.reason}.",
            )  # fmt: skip
        elif column.kind == "text":
            yield Advice(
                "text", (column.name,),
                f"{_named([column.name])} is free text; its frequent words are used, "
                f"{len(column.words)} of them.",
            )  # fmt: skip
        if column.missing > 0.9 and column.kind != "empty":
            noted("mostly missing", column)
        for value in column.sentinels:
            noted("sentinel", column, f"{value:g}")
        if column.unread:
            yield Advice(
                "unreadable", (column.name,),
                f"{_named([column.name])} is a {column.kind}, but some of its cells are none, "
                f"such as {_named(column.unread, 3)}; they count as missing.",
            )  # fmt: skip
        if "either way" in column.reason:
            yield Advice(
                "date order", (column.name,), f"{_named([column.name])} is {column.reason}."
            )
    yield from (
        Advice(kind, tuple(names), _text_of(kind, key, names))
        for (kind, key), names in together.items()
    )


def _text_of(kind: str, key: str, names: list[str]) -> str:
    one = len(names) == 1
    if kind == "sentinel":
        return (
            f"{key} in {_named(names)} lies far from all other values and occurs often: it "
            "counts as missing."
        )
    if kind == "mostly missing":
        return f"{_named(names)} {'has' if one else 'have'} no value in more than 90% of the rows."
    what = "no value at all" if kind == "empty" else "one value only"
    return (
        f"{_named(names)} {'has' if one else 'have'} {what} and {'is' if one else 'are'} left out."
    )


def _of_rows(table: Frame, y: Array) -> Iterator[Advice]:
    n = min(table.rows, _ROWS_COMPARED)
    part = table if n == table.rows else table.take(np.arange(n))
    for row, name, label in totals(part)[:3]:
        says = f", where {name!r} is {label!r}," if name else ""
        yield Advice(
            "total row", (name,) if name else (),
            f"Row {row + 1}{says} looks like a total of the others, not like an example; leave it "
            "out.",
        )  # fmt: skip
    found = repeats(part, y[:n])
    if found.rows:
        among = "" if n == table.rows else f" among the first {n:,}"
        rows = f"{found.rows:,} row{'s' * (found.rows > 1)}{among}"
        other = f", {found.other:,} of them with another target" if found.other else ""
        repeat = "repeat an earlier row" if found.rows > 1 else "repeats an earlier row"
        yield Advice(
            "duplicates", (),
            f"{rows} {repeat} in every column{other}. Repeated rows on both sides of a hold-out "
            "make a score look better than it is.",
        )  # fmt: skip


def _of_target(target: Target, y: Array, columns: Columns) -> Iterator[Advice]:
    if target.reason:
        yield Advice("target", (), f"Of the target, {target.reason}.")
    rows, width = len(y), columns.width
    if rows < 100 or rows < width:
        more = f", fewer than the {width:,} numbers that a row becomes" if rows < width else ""
        yield Advice("few rows", (), f"There are only {rows:,} rows{more}: expect wide intervals.")
    if target.classes is not None:
        counts = np.bincount(y[y >= 0].astype(np.int64), minlength=len(target.classes))
        labels = [str(label) for label in target.classes.tolist()]
        share = counts.max() / max(1, counts.sum())
        if share >= 0.8:
            yield Advice(
                "imbalance", (),
                f"{share:.1%} of the targets are {labels[int(counts.argmax())]!r}: accuracy says "
                "little here; look at balanced accuracy and ROC AUC too.",
            )  # fmt: skip
        rare = [f"{labels[k]!r} ({counts[k]})" for k in np.argsort(counts) if counts[k] < 10]
        if rare:
            shown = ", ".join(rare[:5]) + (f" and {len(rare) - 5} more" if len(rare) > 5 else "")
            yield Advice("rare class", (), f"Few rows are of some classes: {shown}.")
        return
    known = y[np.isfinite(y)] if y.ndim == 1 else y[:0]
    if len(known) > 20 and known.std() > 0:
        z = (known - known.mean()) / known.std()
        skewness = float(np.mean(z**3))
        if abs(skewness) > 1.5:
            side = "far larger" if skewness > 0 else "far smaller"
            yield Advice(
                "skewed target", (),
                f"The target is skewed (skewness {skewness:.1f}): a few values are {side} than "
                "the others and weigh most in squared errors.",
            )  # fmt: skip


def _of_leaks(table: Frame, columns: Columns, target: Target, y: Array) -> Iterator[Advice]:
    known = np.flatnonzero(np.isfinite(y) & ((y >= 0) if target.classes is not None else True))
    most = max(200, min(_ROWS, _CELLS // max(1, len(columns.columns))))
    if len(known) > most:
        known = known[drawn(len(known), most)]
    if len(known) < 20:
        return
    part = table if len(known) == table.rows else table.take(known)
    y = y[known] if target.classes is None else y[known].astype(np.int64)
    classes = 0 if target.classes is None else len(target.classes)
    place = {name: i for i, name in enumerate(table.names)}
    powers: list[tuple[str, Power]] = []
    numbers: list[tuple[str, Array]] = []
    marks: dict[bytes, str] = {}
    same: dict[str, list[str]] = {}
    for column in columns.columns:
        if column.name not in place or column.kind in ("constant", "empty"):
            continue
        cells = part.cells(place[column.name])
        powers.append((column.name, power(column, cells, y, classes)))
        if is_plain(column):
            numbers.append((column.name, numbers_of(column, cells)))
        if column.kind != "identifier" and (mark := _mark(column, cells)):
            first = marks.setdefault(mark, column.name)
            if first != column.name:
                same.setdefault(first, []).append(column.name)
        yield from _spellings(column, cells)
    yield from _of_powers(powers, target, classes)
    if not classes and (found := adds_up(numbers, np.asarray(target.decode(y)))):
        how, names = found
        yield Advice(
            "leak", names,
            f"The target is nearly exactly a {how} of {_named(names)}: a network is not needed "
            "for it, or these columns say what is to be predicted.",
        )  # fmt: skip
    for first, others in same.items():
        yield Advice(
            "same", (first, *others),
            f"{_named([first, *others])} say the same: each value of one goes with one value of "
            "the other.",
        )  # fmt: skip


def _mark(column: Column, cells: Cells) -> bytes:
    """Return what columns share that differ only in how their values are written.

    Nothing, b"", where most values differ: any two columns of this kind go together.
    """
    if is_plain(column):
        codes = np.unique(numbers_of(column, cells), return_inverse=True)[1]
    else:
        codes = np.asarray(cells.as_text().codes)
    _, first, inverse = np.unique(codes, return_index=True, return_inverse=True)
    if len(first) > 0.5 * len(codes):
        return b""
    order = np.empty(len(first), np.int64)
    order[np.argsort(first)] = np.arange(len(first))
    return order[inverse].tobytes()


def _spellings(column: Column, cells: Cells) -> Iterator[Advice]:
    if column.kind != "category" or not cells.is_text:
        return
    spelt = Counter(" ".join(value.split()).casefold() for value in cells.values if len(value) > 1)
    twice = [plain for plain, count in spelt.items() if count > 1]
    if twice:
        among = [v for v in cells.values if " ".join(v.split()).casefold() == twice[0]]
        yield Advice(
            "spelling", (column.name,),
            f"{_named([column.name])} has levels that differ only in case or spaces, such as "
            f"{_named(among[:2])}; each counts as a level of its own.",
        )  # fmt: skip


def _of_powers(powers: list[tuple[str, Power]], target: Target, classes: int) -> Iterator[Advice]:
    leaks = [(name, found) for name, found in powers if is_leak(found, classes)]
    ways: dict[str, list[str]] = {}
    for name, found in leaks:
        ways.setdefault(_way(found, target, classes), []).append(name)
    for text, names in ways.items():
        each = "Each of " if len(names) > 1 and text.startswith("{names}") else ""
        yield Advice("leak", tuple(names), each + text.replace("{names}", _named(names)))
    measure: Callable[[Power], float] = lambda p: p.auc if classes == 2 else p.alone  # noqa: E731
    rest = sorted(
        ((name, p) for name, p in powers if not is_leak(p, classes)), key=lambda e: -measure(e[1])
    )
    if rest and measure(rest[0][1]) >= 0.8:
        name, best = rest[0]
        ahead = measure(best) - measure(rest[1][1]) if len(rest) > 1 else 1.0
        if ahead >= 0.05 or measure(best) >= 0.95:
            what = "ROC AUC" if classes == 2 else ("skill" if classes else "R2")
            yield Advice(
                "strong", (name,),
                f"{_named([name])} alone tells the target better than any other column ({what} "
                f"{measure(best):.2f}); make sure that it is known before the target is.",
            )  # fmt: skip


def _way(found: Power, target: Target, classes: int) -> str:
    known = "if it is known only after the target, leave it out"
    if found.pure is not None and target.classes is not None:
        empty, _, top = found.pure
        which = "no value" if empty else "a value"
        label = str(target.classes[top])
        return f"Rows with {which} in {{names}} are nearly all {label!r}; {known}."
    if found.gaps >= CERTAIN_BY_GAPS:
        return f"Whether {{names}} has a value tells the target nearly always; {known}."
    if classes:
        what = f"avoids {CERTAIN:.0%} or more of the errors of always giving the same answer"
    elif found.alone >= FITTED_ALONE:
        what = f"explains {FITTED_ALONE:.0%} or more of the target's variance"
    else:
        what = "ranks the rows nearly as the target does"
    return f"{{names}} alone {what}; {known}."
