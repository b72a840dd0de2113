"""A file and its columns in words, for a terminal and for a report."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any, NamedTuple

from deltarule.tables.column import Column
from deltarule.tables.judging import Judgement, Score
from deltarule.tables.reading import Dialect

_MOST_LEVELS = 6
_SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "pipe |", " ": "spaces"}
_FORMATS = {"parquet": "Parquet", "arrow": "Arrow", "json": "JSON", "delimited": "delimited text"}


class Described(NamedTuple):
    """A column as people read it."""

    name: str
    kind: str
    use: str
    missing: str
    values: str
    reason: str


def describe_column(column: Column) -> Described:
    """Return a column as people read it."""
    reason = column.reason
    return Described(
        column.name,
        column.kind,
        column.use,
        _share(column.missing),
        _values(column),
        f"{reason[0].upper()}{reason[1:]}" if reason else "",
    )


def describe_dialect(dialect: Dialect) -> list[tuple[str, str]]:
    """Return what was found about the file, name and value, for people."""
    found = [("format", _FORMATS.get(dialect.format, dialect.format))]
    if dialect.compression:
        found[0] = ("format", f"{found[0][1]}, {dialect.compression}")
    if dialect.format != "delimited":
        return found
    separator = dialect.separator or ""
    found += [
        ("separator", _SEPARATORS.get(separator, separator)),
        ("quote", dialect.quote or "none"),
        ("encoding", dialect.encoding),
        ("decimal mark", dialect.decimal),
        ("header", "none" if dialect.header is None else f"line {dialect.header}"),
    ]
    if dialect.thousands:
        found.append(("thousands", repr(dialect.thousands)))
    if dialect.comment:
        found.append(("comments", f"lines that begin with {dialect.comment}"))
    if dialect.skipped:
        found.append(("skipped", f"{dialect.skipped} lines above"))
    if dialect.index is not None:
        found.append(("index", "the first column counts the rows and is left out"))
    return found


def dialect_line(dialect: Dialect) -> str:
    """Return what was found about the file in one line."""
    return ", ".join(
        f"{value}" if name in ("format", "encoding") else f"{name} {value}"
        for name, value in describe_dialect(dialect)
    )


def _share(missing: float) -> str:
    if not missing:
        return ""
    return "< 1 %" if missing < 0.01 else "> 99 %" if 0.99 < missing < 1 else f"{missing:.0%}"


def _values(column: Column) -> str:
    if column.levels:
        shown = ", ".join(shortened(level, 24) for level in column.levels[:_MOST_LEVELS])
        more = len(column.levels) > _MOST_LEVELS or column.others
        return f"{shown}, ..." if more else shown
    if column.kind == "date" and (column.low or column.high):
        return f"{_day(column.low)} to {_day(column.high)}"
    if column.low != column.high:
        return f"{number(column.low)} to {number(column.high)}"
    return ""


def _day(days: float) -> str:
    try:
        return (date(1970, 1, 1) + timedelta(days=days)).isoformat()
    except (OverflowError, ValueError):
        return f"{days:.6g} days"


def number(value: float, digits: int = 6) -> str:
    """Return a number with so many significant digits, without an exponent below 1e15.

    >>> number(10863.5, 4), number(1234567.0), number(0.0123456, 4), number(6.02e23)
    ('10860', '1234570', '0.01235', '6.02e+23')
    """
    text = f"{value:.{digits}g}"
    return f"{float(text):.0f}" if "e+" in text and abs(value) < 1e15 else text


def shortened(text: str, most: int) -> str:
    """Return a text of at most so many characters."""
    return text if len(text) <= most else f"{text[: most - 3]}..."


def cell(value: Any) -> str:
    """Return a cell of a table as people read it."""
    if value is None:
        return ""
    if isinstance(value, float):
        return "" if value != value else number(value)
    return shortened(" ".join(str(value).split()), 60)


_NAMES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "roc_auc": "ROC AUC",
    "log_loss": "log loss",
    "r2": "R²",
    "mae": "mean absolute error",
    "rmse": "root mean squared error",
}
_SHARES = ("accuracy", "balanced_accuracy")
_PERCENT = "\N{NO-BREAK SPACE}%"


def shown(score: Score, value: float | None = None, *, unit: bool = True) -> str:
    """Return a score, or another value of its kind, as people read it."""
    value = score.value if value is None else value
    if score.name in _SHARES:
        return _signs(f"{100 * value:.1f}{_PERCENT if unit else ''}")
    return _signs(number(value, 4) if score.name in ("mae", "rmse") else f"{value:.3f}")


def between(score: Score) -> str:
    """Return the interval of a score."""
    return f"{shown(score, score.low, unit=False)} to {shown(score, score.high)}"


def ends(score: Score) -> str:
    """Return the interval of a score without a unit."""
    return f"{shown(score, score.low, unit=False)} to {shown(score, score.high, unit=False)}"


def gained(gain: Score) -> str:
    """Return a difference of scores with its interval."""
    share = gain.name in _SHARES
    factor, form = (100, "+.1f") if share else (1, "+.3f")
    if gain.name in ("mae", "rmse"):
        form = "+.3g"
    ends = f"{factor * gain.low:{form}} to {factor * gain.high:{form}}"
    return _signs(f"{factor * gain.value:{form}}{' points' * share} ({ends})")


def _signs(text: str) -> str:
    return text.replace("-", "\N{MINUS SIGN}")


def name_of(score: str) -> str:
    """Return a score's name as people read it."""
    return _NAMES[score]


def verdict(judgement: Judgement) -> str:
    """Say in words whether the model is better than the others."""
    main = next(iter(judgement.scores.values()))[0]
    parts = []
    for who, gains in judgement.gains.items():
        gain = next((g for g in gains if g.name == main.name), None)
        if gain is None:
            continue
        text = gained(gain)
        sign = 1 if gain.best == "max" else -1
        if min(sign * gain.low, sign * gain.high) > 0:
            parts.append(f"better than {_the(who)} by {text}")
        elif max(sign * gain.low, sign * gain.high) < 0:
            parts.append(f"worse than {_the(who)}: {text}")
        else:
            parts.append(f"not clearly different from {_the(who)}: {text}")
    return f"By {_NAMES[main.name]} the network is {'; '.join(parts)}." if parts else ""


def _the(who: str) -> str:
    return {
        "most frequent class": "always answering the most frequent class",
        "mean": "always answering the mean",
        "linear model": "a linear model",
    }.get(who, who)
