"""What is known of one column of a table: plain values that become JSON and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from deltarule.base.errors import InvalidValueError, describe_value
from deltarule.tables.dates import FORMATS, PARTS
from deltarule.tables.words import inner_names, shape_width

KINDS = (
    "number", "boolean", "category", "text", "date", "identifier", "constant", "empty",
)  # fmt: skip
USES = (
    "number", "indicator", "one-hot", "codes", "words", "date parts", "left out",
)  # fmt: skip


LIMIT = 30.0
"""How far from its centre, in scales, a number can lie for a network: the limit of the squash.

It is far out, so that what depends on numbers linearly still does, and sums stay sums.
"""


@dataclass(frozen=True)
class Column:
    """One column: what it is, and how its cells become numbers.

    Parameters
    ----------
    name : str
        As the frame has it.
    kind : str
        "number", "boolean", "category", "text", "date", "identifier", "constant" or "empty".
    use : str
        What is done with it: "number", "indicator", "one-hot", "codes", "words", "date parts" or
        "left out".
    reason : str
        Why, or what was noticed, in words.
    missing : float
        Share of the rows without a value.
    indicator : bool
        Whether a further output says that the value is missing.
    absent : tuple of str
        Texts that count as missing.
    sentinels : tuple of float
        Numbers that count as missing.
    unread : tuple of str
        Examples of texts that are no numbers or dates although most are; they count as missing.
    centre, scale : float
        A number x becomes z = (x - centre) / scale, then z / sqrt(1 + (z / LIMIT)^2).
    low, high : float
        Range of the numbers that were seen; of dates, in days since 1970-01-01.
    decimal, thousands, units, ranges
        How numbers are written in text, as :class:`~deltarule.tables.parsing.Spelling` has them.
    shape : str
        Of text that holds several numbers: what stands between them ("# : #").
    form : str
        How dates are written in text ("day first"); "" where the frame itself has dates.
    parts : tuple of str
        Cyclic parts of a date that vary: "hour", "weekday", "yearday".
    levels : tuple of str
        Of a category: the levels that have outputs of their own, the most frequent first. Of an
        indicator: the level of -1 and the level of +1.
    others : bool
        Whether one output stands for all other levels.
    words : tuple of str
        Of text: the words that have outputs of their own.
    inner : tuple of str
        Units of numbers inside text ("ghz"; "x" for 1920x1080), each standardised by ``centres``
        and ``scales``. A shape's numbers use these too.
    """

    name: str
    kind: str
    use: str
    reason: str = ""
    missing: float = 0.0
    indicator: bool = False
    absent: tuple[str, ...] = ()
    sentinels: tuple[float, ...] = ()
    unread: tuple[str, ...] = ()
    centre: float = 0.0
    scale: float = 1.0
    low: float = 0.0
    high: float = 0.0
    decimal: str = "."
    thousands: str = ""
    units: Mapping[str, float] = field(default_factory=dict)
    ranges: bool = False
    shape: str = ""
    form: str = ""
    parts: tuple[str, ...] = ()
    levels: tuple[str, ...] = ()
    others: bool = False
    words: tuple[str, ...] = ()
    inner: tuple[str, ...] = ()
    centres: tuple[float, ...] = ()
    scales: tuple[float, ...] = ()

    def describe(self) -> dict[str, Any]:
        """Return the column as JSON values; what has its default value is left out."""
        found = {f.name: getattr(self, f.name) for f in fields(self)}
        kept = {f.name: found[f.name] for f in fields(self) if found[f.name] not in (f.default, {})}
        return {key: _plain(value) for key, value in kept.items()}

    @classmethod
    def rebuild(cls, described: Mapping[str, Any]) -> Column:
        """Return the column that :meth:`describe` described, or raise one clear error."""
        known = {f.name: f for f in fields(cls)}
        if not isinstance(described, Mapping) or not {"name", "kind", "use"} <= set(described):
            raise InvalidValueError(f"no column is described by {describe_value(described)}")
        if unknown := sorted(set(described) - set(known)):
            raise InvalidValueError(f"a column has no {', '.join(map(str, unknown))}")
        values = {key: _checked(key, value, known[key].type) for key, value in described.items()}
        column = cls(**values)
        _check(column)
        return column


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def _check(column: Column) -> None:
    """Raise where the values of a file do not belong together."""
    for what, value, choices in (
        ("kind", column.kind, KINDS),
        ("use", column.use, USES),
        ("form", column.form, ("", *FORMATS)),
        ("decimal", column.decimal, (".", ",")),
        ("thousands", column.thousands, ("", ".", ",", " ", "'")),
    ):
        if value not in choices:
            raise InvalidValueError(f"a column has no {what} {describe_value(value)}")
    if column.use == "indicator" and len(column.levels) not in (0, 2):
        raise InvalidValueError(f"an indicator has 2 levels, not {len(column.levels)}")
    if unknown := set(column.parts) - set(PARTS):
        raise InvalidValueError(f"a date has no part {describe_value(min(unknown))}")
    inner = shape_width(column.shape) if column.shape else len(inner_names(column.inner))
    if not inner == len(column.centres) == len(column.scales):
        raise InvalidValueError(
            f"column {column.name!r} has {inner} inner numbers, {len(column.centres)} centres and "
            f"{len(column.scales)} scales"
        )
    numbers = (*column.scales, column.scale, *column.units.values())
    if not all(0 < number < float("inf") for number in numbers):
        raise InvalidValueError(f"column {column.name!r} has a scale that is not positive")
    if any(number != number for number in (*column.centres, column.centre)):
        raise InvalidValueError(f"column {column.name!r} has a centre that is no number")


_TYPES: dict[str, Any] = {"str": str, "bool": bool, "float": (float, int)}


def _checked(key: str, value: Any, type_: Any) -> Any:
    """Return a value of a file as a column's field of that type, or raise one clear error."""
    wrong = InvalidValueError(f"a column's {key} cannot be {describe_value(value)}")
    if type_ in _TYPES:
        if not isinstance(value, _TYPES[type_]) or (type_ == "float" and isinstance(value, bool)):
            raise wrong
        return float(value) if type_ == "float" else value
    if type_.startswith("Mapping"):
        if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
            raise wrong
        return {name: _checked(key, factor, "float") for name, factor in value.items()}
    if not isinstance(value, list):
        raise wrong
    item = "float" if "float" in type_ else "str"
    return tuple(_checked(key, entry, item) for entry in value)
