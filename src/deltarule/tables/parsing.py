"""Text that is a number: units, currency, percent, thousands, decimal commas, brackets."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np

from deltarule.base.types import Array
from deltarule.tables.units import COMPARISONS, CURRENCIES, factors_of, is_unit, plain_unit

_CELL = re.compile(
    r"(?P<open>\()?\s*(?P<minus>[-+\u2212\u2013])?\s*(?P<before>[^\d.,()+\-\u2212\u2013\s][^\d,()+\-\u2212]*?)?\s*"
    r"(?P<sign>[-+\u2212])?\s*"
    r"(?P<digits>\d(?:[\d.,' ]*\d)?|[.,]\d+)[.,]?(?P<exponent>[eE][-+]?\d+)?"
    r"\s*(?P<after>[^\d()\s](?:[^\d()]*[^\d()\s])?)?\s*(?P<close>\))?"
)
_RANGE = re.compile(r"(?P<from>.*?\d[^-\u2013]*?)\s*(?:-|\u2013|\bto\b)\s*(?P<to>[^-\u2013]*\d.*)")
_FOOTNOTES = re.compile(r"(?:\s*\[[\w ]{1,6}\])+$")
_CODE = re.compile(r"[A-Za-z]{1,2}\d+|\d+(?P<unit>[A-Za-z]{1,2})")
_SPACES = str.maketrans(dict.fromkeys("\u00a0\u2009\u202f\t", " ") | {"\u2019": "'"})

_GROUPINGS = ((".", ""), (".", ","), (",", ""), (",", "."), (".", " "), (",", " "), (".", "'"))
NAN = float("nan")


def _digits(decimal: str, thousands: str) -> re.Pattern[str]:
    d, t = re.escape(decimal), re.escape(thousands)
    grouped = rf"|[1-9]\d{{0,2}}(?:{t}\d{{2,3}})*{t}\d{{3}}(?:{d}\d+)?" if thousands else ""
    return re.compile(rf"\d+(?:{d}\d+)?|{d}\d+{grouped}")


_DIGITS = {grouping: _digits(*grouping) for grouping in _GROUPINGS}


@dataclass(frozen=True)
class Spelling:
    """How the numbers of a column are written.

    Attributes
    ----------
    decimal, thousands : str
        The marks of decimals and of groups of digits.
    units : dict of str to float
        What may stand behind a number, and the factor that it means.
    ranges : bool
        Whether "201-225" means its middle.
    """

    decimal: str = "."
    thousands: str = ""
    units: dict[str, float] = field(default_factory=lambda: {"": 1.0})
    ranges: bool = False

    def describe(self) -> dict[str, Any]:
        """Return JSON values for :meth:`rebuild`."""
        return {
            "decimal": self.decimal,
            "thousands": self.thousands,
            "units": dict(self.units),
            "ranges": self.ranges,
        }

    @classmethod
    def rebuild(cls, described: Mapping[str, Any]) -> Spelling:
        """Return the spelling that :meth:`describe` described; a ValueError for anything else."""
        found = cls(**described)
        units = found.units
        if (found.decimal, found.thousands) not in _GROUPINGS or not isinstance(found.ranges, bool):
            raise ValueError("no spelling of numbers")
        if not all(isinstance(u, str) and isinstance(f, (int, float)) for u, f in units.items()):
            raise ValueError("no units of numbers")
        return found

    def read(self, values: Iterable[str]) -> Array:
        """Return the numbers (n,) of texts; NaN for what is none."""
        return np.array([self._read(value) for value in values], np.float64)

    def _read(self, value: str, parts: Parts | None = None) -> float:
        try:
            parts = parts or _parts(value)
            if parts is not None:
                return self._value(*parts)
            if self.ranges and len(value) <= _LONGEST and (found := _RANGE.fullmatch(value)):
                ends = _ends(found)
                numbers = [NAN if end is None else self._value(*end) for end in ends]
                return sum(numbers) / 2 if numbers[0] < numbers[1] else NAN
        except (OverflowError, ValueError):
            pass
        return NAN

    def _value(self, negative: bool, digits: str, exponent: str, unit: str) -> float:
        factor = self.units.get(unit)
        if factor is None or not _DIGITS[self.decimal, self.thousands].fullmatch(digits):
            return NAN
        if self.thousands:
            digits = digits.replace(self.thousands, "")
        if self.decimal != ".":
            digits = digits.replace(self.decimal, ".")
        number = float(digits + exponent) * factor
        return -number if negative else number


Parts = tuple[bool, str, str, str]
_LONGEST = 60
_FEW = 20
"""Up to so many different ranges are levels."""
_COMPARING = tuple("<>≤≥")


def _ends(found: re.Match[str]) -> tuple[Parts | None, Parts | None]:
    """Return the parts of both ends of a range; in 5-10 years the first has the second's unit."""
    first, second = _parts(found["from"]), _parts(found["to"])
    if first and second and not first[3]:
        first = (*first[:3], second[3])
    return first, second


def _unit_of_range(value: str) -> str | None:
    """Return the unit of a range of what has a unit or a currency ($75K-$95K, no 555-1234)."""
    found = _RANGE.fullmatch(value) if len(value) <= _LONGEST else None
    first, second = _ends(found) if found else (None, None)
    if first is None or second is None:
        return None
    marks = value.replace("to", "", 1)
    named = any(c.isalpha() or c == "%" or c in CURRENCIES for c in marks)
    return second[3] if named else None


def _is_range(value: str) -> bool:
    return _unit_of_range(value) is not None


def _parts(value: str) -> Parts | None:
    """Return (negative, digits, exponent, plain unit) of a cell that has one number."""
    if len(value) > _LONGEST:
        return None
    if value.endswith("]"):
        value = _FOOTNOTES.sub("", value)
    found = _CELL.fullmatch(value.translate(_SPACES))
    if found is None or (found["open"] is None) != (found["close"] is None):
        return None
    opening, minus, before, sign, digits, exponent, unit, _ = found.groups()
    if before and not _may_precede(before):
        return None
    if before == "rs" and found.end("before") == found.start(
        "digits"
    ):  # rs7412 names a gene's site
        return None
    if unit == "-" and not (minus or sign):  # 12-
        unit, sign = None, "-"
    if opening and (minus or sign):
        return None
    negative = bool(opening) or (minus or "+") != "+" or (sign or "+") != "+"
    return negative, digits, exponent or "", _unit(unit) if unit else ""


@lru_cache(1000)
def _may_precede(word: str) -> bool:
    """Whether a word or sign may stand before a number: a currency, or "about"."""
    plain = word.strip().casefold()
    rest = plain.lstrip("<>=~\u2248 ")
    return plain in COMPARISONS or plain in CURRENCIES or not rest or rest in CURRENCIES


@lru_cache(1000)
def _unit(word: str) -> str:
    """Return the plain unit of what stands behind a number; a currency is none."""
    plain = plain_unit(word)
    currency = {plain, word.strip().casefold(), plain.partition("/")[0]} & CURRENCIES
    return "" if currency else plain


def spelling_of(values: Sequence[str], counts: Array) -> tuple[Spelling, Array] | None:
    """Return how texts are to be read as numbers, and the numbers; None if they are no numbers.

    Texts such as "<=50K", which compare with a number, are labels where they are the rule. Up to a
    tenth of the rows may be something else, or half of them one or two texts that stand for "no
    number"; they become missing.
    """
    total = int(counts.sum())
    parts = [_parts(value) for value in values]
    plain = sum(int(n) for n, part in zip(counts, parts, strict=True) if part is not None)
    compared = sum(
        count
        for count, value in zip(counts.tolist(), values, strict=True)
        if value.startswith(_COMPARING)
    )
    units: Counter[str] = Counter()
    some = values[:100]
    if plain < 0.3 * total and len(values) > _FEW and 2 * sum(map(_is_range, some)) > len(some):
        for count, value in zip(counts.tolist(), values, strict=True):
            if (unit := _unit_of_range(value)) is not None:
                plain += count
                units[unit] += count
    if plain < 0.3 * total or compared > 0.5 * total:
        return None
    for count, part in zip(counts.tolist(), parts, strict=True):
        if part is not None:
            units[part[3]] += count
    factors = factors_of(units)
    if factors is None:
        return None
    best: tuple[float, Spelling, Array] | None = None
    for ranges in (False, True):
        for decimal, thousands in _GROUPINGS:
            spelling = Spelling(decimal, thousands, factors, ranges)
            numbers = np.array(
                [spelling._read(value, part) for value, part in zip(values, parts, strict=True)]
            )
            share = float(counts[~np.isnan(numbers)].sum()) / total
            if best is None or share > best[0]:
                best = share, spelling, numbers
        assert best is not None
        if best[0] == 1.0:
            break
    assert best is not None
    share, spelling, numbers = best
    bad = np.isnan(numbers)
    good = len(numbers) - int(bad.sum())
    wrong = int(bad.sum())
    few = share >= 0.9 and wrong <= max(0.2 * good, 1 if good >= 4 else 0)
    token = share >= 0.5 and wrong <= 2 and good >= 10  # "Varies with device"
    if not (few or token) or _are_codes(values, counts):
        return None
    return spelling, numbers


def _are_codes(values: Sequence[str], counts: Array) -> bool:
    """Whether whole numbers are codes: two or more such as c168 or 207a are among them."""
    rows, codes = 0, 0
    for value, count in zip(values, counts.tolist(), strict=True):
        if value.isdecimal():
            rows += count
        elif (found := _CODE.fullmatch(value)) and not is_unit(plain_unit(found["unit"] or "")):
            codes += 1
        else:
            return False
    return codes >= 2 and rows > 0.5 * counts.sum()


def has_leading_zeros(values: Iterable[str]) -> bool:
    """Whether some texts are digits such as "02134", which a number would spoil."""
    return any(len(v) > 1 and v[0] == "0" and v.isdecimal() for v in values)
