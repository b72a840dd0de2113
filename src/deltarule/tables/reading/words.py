"""What a single field looks like: a number, nothing, a date, a word."""

from __future__ import annotations

import re

_BLANK = ("", "-", "--", "---", ".", "..", "...", "?", "??", "*", "#", "\\N")
_WORDS = ("na", "n/a", "nan", "null", "none", "nil", "n.a.", "n.a", "missing")
_SHEET = ("#N/A", "#NA", "#NULL!", "#DIV/0!", "#VALUE!", "#REF!", "#NUM!", "#NAME?", "<NA>", "NaT")
MISSING = (
    *_BLANK,
    *(form for word in _WORDS for form in dict.fromkeys((word, word.upper(), word.capitalize()))),
    "NaN", "-NaN", "-nan", "1.#QNAN", "-1.#IND", "1.#IND", "N/a",
    *_SHEET,
)  # fmt: skip
"""What stands for a missing value in a column of numbers."""

MISSING_SET = frozenset(MISSING)

NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
COMMA_NUMBER = re.compile(r"[+-]?(?:\d+|\d{1,3}(?:[. \u00a0\u202f']\d{3})+)?,\d+(?:[eE][+-]?\d+)?")
GROUPED = re.compile(r"[+-]?\d{1,3}(?:,\d{3})+(?:\.\d+)?")
INFINITE = frozenset(
    sign + word + tail
    for sign in ("", "+", "-")
    for word, tails in (("inf", ("", "inity")), ("Inf", ("", "inity")), ("INF", ("", "INITY")))
    for tail in tails
)
MEASURE = re.compile(
    r"[$€£¥₹]?\s*[+-]?\d[\d.,]*(?: \d{3}(?![\d.]))*\s*(?:%|[$€£¥₹]|[a-zA-Zµ°²³/]{1,4})?"
    r"|\(\s*[$€£]?\d[\d.,]*\)"
)
DATE = re.compile(
    r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}(?:[ T]\d{1,2}:\d{2}.*)?"
    r"|\d{1,2}[:.]\d{2}(?:[:.]\d{2}(?:\.\d+)?)?"
    r"(?:\s*[AaPp][Mm])?|\d{1,2}[- ][A-Za-z]{3,9}[- ]\d{2,4}|[A-Za-z]{3,9} \d{1,2},? \d{4}"
)
ZERO_LED = re.compile(r"[+-]?0\d+")
"""A code, such as a postal one: as a number it would lose its zeros."""
LONG = re.compile(r"[+-]?\d{19,}")
"""A code too: a number would lose its last digits."""


def is_missing(field: str) -> bool:
    """Return whether a field stands for a missing number."""
    return field.strip() in MISSING_SET


def is_number(field: str, decimal: str = ".") -> bool:
    """Return whether a field is a plain number."""
    field = field.strip()
    if field in INFINITE:
        return True
    if decimal == ",":
        return bool(
            COMMA_NUMBER.fullmatch(field)
            or (NUMBER.fullmatch(field.replace(",", ".")) and "." not in field)
            or re.fullmatch(r"[+-]?\d{1,3}(?:[. \u00a0\u202f']\d{3})+", field)
        )
    return NUMBER.fullmatch(field) is not None
