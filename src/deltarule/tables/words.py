"""What text of many words holds: frequent words, numbers with units, and its shape."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from deltarule.base.types import Array
from deltarule.tables.units import family_of, is_unit, plain_unit

MOST_WORDS = 100
LONGEST = 2000  # characters of a cell that are looked at

_WORD = re.compile(r"\w{2,}")
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_INNER = re.compile(r"(?<![\w.])(\d+(?:\.\d+)?)\s?([^\W\d_]{2,5}|[\"%])(?![^\W_])")
_PAIR = re.compile(r"(?<![\w.])(\d+)\s?[x\u00d7*]\s?(\d+)(?!\w)")
_SIGN = re.compile(r"^\s*[-\u2212]")
_ANGLES = ("#h#m#s", "#d#m#s", "#:#:#", "#°#'#\"", "#h#m", "#d#m", "#:#", "#°#'", "#'#\"")


def words_of(value: str) -> list[str]:
    """Return the words of a text, in small letters."""
    return _WORD.findall(value[:LONGEST].casefold())


def is_wordy(values: Sequence[str]) -> bool:
    """Whether texts have two words or more on average; numbers and single letters are no words."""
    some = values[:: max(1, len(values) // 1000)]
    count = sum(1 for value in some for word in words_of(value) if not word.isdecimal())
    return count >= 1.5 * len(some)


def frequent_words(values: Sequence[str], counts: Array) -> tuple[str, ...]:
    """Return the words that occur in 1% of the rows or more, but not in nearly all of them."""
    total = int(counts.sum())
    found: Counter[str] = Counter()
    for value, count in zip(values, counts.tolist(), strict=True):
        for word in set(words_of(value)):
            found[word] += count
    least, most = max(3, 0.01 * total), 0.95 * total
    kept = [word for word, count in found.items() if least <= count <= most]
    return tuple(sorted(kept, key=lambda word: (-found[word], word))[:MOST_WORDS])


def word_table(values: Sequence[str], words: tuple[str, ...]) -> Array:
    """Return which words each text has, as 0 and 1 (values + 1, words); the last row is empty."""
    place = {word: i for i, word in enumerate(words)}
    table = np.zeros((len(values) + 1, len(words)), np.float32)
    for row, value in enumerate(values):
        table[row, [place[word] for word in words_of(value) if word in place]] = 1.0
    return table


def inner_keys(values: Sequence[str], counts: Array) -> tuple[str, ...]:
    """Return the units of numbers that stand inside most texts, such as "ghz".

    "x" stands for a pair such as 1920x1080.
    """
    total = int(counts.sum())
    rows: Counter[str] = Counter()
    for value, count in zip(values, counts.tolist(), strict=True):
        units = {plain_unit(unit) for _, unit in _INNER.findall(value[:LONGEST])}
        for unit in {unit for unit in units if is_unit(unit)}:
            rows[unit] += count
        if _PAIR.search(value[:LONGEST]):
            rows["x"] += count
    found: list[str] = []
    for unit in sorted(rows, key=lambda unit: (-rows[unit], unit)):
        family = {unit} if unit == "x" else family_of(unit)
        if any(unit in family_of(other) for other in found if other != "x"):
            continue
        numbers = inner_numbers(values, (unit,))
        known = ~np.isnan(numbers[:, 0])
        covered = sum(rows[other] for other in family if other in rows)
        often = min(covered, int(counts[known].sum())) >= 0.5 * total
        if often and len(np.unique(numbers[known, 0])) >= 3:
            found.append(unit)
    return tuple(found)


def inner_names(keys: tuple[str, ...]) -> tuple[str, ...]:
    """Return what the numbers inside texts are called, in the order of :func:`inner_numbers`."""
    return tuple(name for key in keys for name in (("x 1", "x 2") if key == "x" else (key,)))


def inner_numbers(values: Sequence[str], keys: tuple[str, ...]) -> Array:
    """Return the first number of each unit in each text (values, numbers); NaN where none is."""
    out = np.full((len(values), len(inner_names(keys))), np.nan)
    families = [None if key == "x" else (family_of(key), family_of(key)[key]) for key in keys]
    for row, value in enumerate(values):
        at = 0
        for family in families:
            if family is None:
                if pair := _PAIR.search(value[:LONGEST]):
                    out[row, at : at + 2] = float(pair[1]), float(pair[2])
                at += 2
                continue
            units, base = family
            for number, unit in _INNER.findall(value[:LONGEST]):
                if (factor := units.get(plain_unit(unit))) is not None:
                    out[row, at] = float(number) * factor / base
                    break
            at += 1
    return out


def shape_of(values: Sequence[str], counts: Array) -> str:
    """Return the shape that nearly all texts share, such as "# : #" or "#h#m#s"; "" for none."""
    if not values or len(_NUMBER.findall(values[0][:60])) < 2:
        return ""
    shapes: Counter[str] = Counter()
    for value, count in zip(values, counts.tolist(), strict=True):
        if len(value) <= 60:
            shapes[_shape(value)] += count
    if not shapes:
        return ""
    shape, count = shapes.most_common(1)[0]
    if not 2 <= shape.count("#") <= 4:
        return ""
    if not is_angle(shape) and not _holds_numbers(shape, len(values) > 0.5 * counts.sum()):
        return ""
    others = sum(1 for value in values if len(value) > 60 or _shape(value) != shape)
    token = others <= 2 and len(values) >= 10 and count >= 0.5 * counts.sum()
    return shape if token or count >= 0.9 * counts.sum() else ""


def _holds_numbers(shape: str, unique: bool) -> bool:
    """Whether a shape is that of quantities ("#x#", "(#, #)"), not of codes such as "INV-#-#"."""
    letters = re.findall(r"[^\W\d_]+", shape)
    if shape[0] not in "#([" or (unique and "-" in shape.replace("(#-#)", "")):
        return False
    return all(
        word.casefold() in ("x", "to", "of", "by", "out", "star", "stars")
        or is_unit(plain_unit(word))
        for word in letters
    )


def _shape(value: str) -> str:
    """Return a text with # for each number; "" where # stands in the text itself."""
    if "#" in value:
        return ""
    return _NUMBER.sub("#", value.strip().lstrip("+-\u2212"))


def shape_width(shape: str) -> int:
    """Return how many numbers a shape gives: hours, minutes and seconds are one."""
    return 1 if is_angle(shape) else shape.count("#")


def is_angle(shape: str) -> bool:
    """Whether each number of a shape is a sixtieth of the one before."""
    return shape.replace(" ", "").casefold() in _ANGLES and ": " not in shape


def shape_numbers(values: Iterable[str], shape: str) -> Array:
    """Return the numbers of texts of one shape (values, numbers); NaN where the shape differs."""
    rows = []
    for value in values:
        if len(value) > 60 or _shape(value) != shape:
            rows.append([np.nan] * shape_width(shape))
            continue
        numbers = [float(number) for number in _NUMBER.findall(value)]
        if is_angle(shape):
            base = 12.0 if shape.replace(" ", "") == "#'#\"" else 60.0
            whole = sum(number / base**i for i, number in enumerate(numbers))
            numbers = [-whole if _SIGN.match(value) else whole]
        rows.append(numbers)
    return np.array(rows, np.float64).reshape(len(rows), shape_width(shape))
