"""What a caller says about a file instead of having it found."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from deltarule.base.errors import InvalidTypeError, InvalidValueError, describe_value

NAMES = {
    "tab": "\t",
    "\\t": "\t",
    "space": " ",
    "spaces": " ",
    "comma": ",",
    "semicolon": ";",
    "pipe": "|",
    "colon": ":",
}
"""Separators that are awkward to type."""


@dataclass(frozen=True)
class Options:
    """The arguments of :func:`read_table`, checked; None is what is to be found."""

    separator: str | None = None
    quote: str | None = None
    encoding: str | None = None
    decimal: str | None = None
    header: bool | int | None = None
    comment: str | None = None
    skip: int | None = None
    index: bool | None = None
    text: Sequence[str] = ()
    integers: Sequence[str] = ()  # of the table that is read in the same way
    floats: Sequence[str] = ()
    verbatim: Callable[[Sequence[str]], Sequence[str]] | None = None  # of all names, further text

    def __post_init__(self) -> None:
        for name in ("separator", "quote", "encoding", "decimal", "comment"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, str):
                raise InvalidTypeError(f"{name} must be text or None, got {describe_value(value)}")
        if self.separator is not None:
            object.__setattr__(self, "separator", NAMES.get(self.separator, self.separator))
            if not self.separator or any(mark in self.separator for mark in "\r\n\x00"):
                raise InvalidValueError(
                    "separator must be one or more characters of a line (or a name: "
                    f"{', '.join(n for n in NAMES if n.isalpha())}), got {self.separator!r}"
                )
        if self.quote and (len(self.quote) != 1 or not self.quote.isascii()):
            raise InvalidValueError(
                f"quote must be one character, or '' for none, got {self.quote!r}"
            )
        if self.quote and self.quote == self.separator:
            raise InvalidValueError(f"quote and separator are both {self.quote!r}")
        if self.decimal not in (None, ".", ","):
            raise InvalidValueError(f"decimal must be '.' or ',', got {self.decimal!r}")
        if self.encoding is not None:
            _check_encoding(self.encoding)
        _check_count("skip", self.skip, 0)
        if not isinstance(self.header, bool):
            _check_count("header", self.header, 1, "True, False, ")
        if self.index not in (None, True, False):
            raise InvalidTypeError(f"index must be True or False, got {describe_value(self.index)}")
        for name in ("text", "integers", "floats"):
            value = getattr(self, name)
            if isinstance(value, str) or not all(isinstance(column, str) for column in value):
                raise InvalidTypeError(
                    f"{name} must be a list of names of columns, got {describe_value(value)}"
                )


def _check_encoding(name: str) -> None:
    try:
        info = codecs.lookup(name)
        "a".encode(name)
    except (LookupError, ValueError):
        info = None
    if info is None:
        raise InvalidValueError(
            f"unknown encoding {name!r}; known are 'utf-8', 'utf-16', 'latin-1', 'cp1252', "
            "'shift_jis', 'gb18030' and the others that Python knows"
        )


def _check_count(name: str, value: Any, least: int, other: str = "") -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidTypeError(f"{name} must be {other}a whole number, got {describe_value(value)}")
    if value < least:
        raise InvalidValueError(f"{name} must be at least {least}, got {value}")
