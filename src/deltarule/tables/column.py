"""What is known of one column of a table: plain values that become JSON and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from deltarule.base.errors import InvalidValueError, describe_value

KINDS = (
    "number", "boolean", "category", "text", "date", "identifier", "constant", "empty",
)  # fmt: skip
USES = (
    "number", "indicator", "one-hot", "codes", "words", "date parts", "left out",
)  # fmt: skip


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
        Why, in words, where that is not plain.
    missing : float
        Share of the rows without a value.
    indicator : bool
        Whether a further output says that the value is missing.
    absent : tuple of str
        Texts that count as missing.
    sentinels : tuple of float
        Numbers that count as missing.
    centre, scale : float
        A number x becomes z = (x - centre) / scale, then z / sqrt(1 + (z / 3)^2).
    low, high : float
        Range of the numbers that were seen; of dates, in days since 1970-01-01.
    levels : tuple of str
        Of a category: the levels that have outputs of their own, the most frequent first. Of an
        indicator: the level of -1 and the level of +1.
    others : bool
        Whether the last output stands for all other levels.
    """

    name: str
    kind: str
    use: str
    reason: str = ""
    missing: float = 0.0
    indicator: bool = False
    absent: tuple[str, ...] = ()
    sentinels: tuple[float, ...] = ()
    centre: float = 0.0
    scale: float = 1.0
    low: float = 0.0
    high: float = 0.0
    levels: tuple[str, ...] = ()
    others: bool = False

    def describe(self) -> dict[str, Any]:
        """Return the column as JSON values; what has its default value is left out."""
        found = {f.name: getattr(self, f.name) for f in fields(self)}
        kept = {f.name: found[f.name] for f in fields(self) if found[f.name] != f.default}
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
        for what, value, choices in (("kind", column.kind, KINDS), ("use", column.use, USES)):
            if value not in choices:
                raise InvalidValueError(f"a column has no {what} {describe_value(value)}")
        return column


def _plain(value: Any) -> Any:
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


_TYPES: dict[str, Any] = {"str": str, "bool": bool, "float": (float, int)}


def _checked(key: str, value: Any, type_: Any) -> Any:
    """Return a value of a file as a column's field of that type, or raise one clear error."""
    wrong = InvalidValueError(f"a column's {key} cannot be {describe_value(value)}")
    if type_ in _TYPES:
        if not isinstance(value, _TYPES[type_]) or (type_ == "float" and isinstance(value, bool)):
            raise wrong
        return float(value) if type_ == "float" else value
    if not isinstance(value, list):
        raise wrong
    item = "float" if "float" in type_ else "str"
    return tuple(_checked(key, entry, item) for entry in value)
