"""The head of a delimited file, cut into records and fields."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

ENDS = re.compile(r"\r\n|\n|\r")


@dataclass(frozen=True)
class Record:
    """One record: its fields, which of them were quoted, and where it stands in the text."""

    fields: tuple[str, ...]
    quoted: tuple[bool, ...]
    line: int
    start: int
    end: int
    closed: bool = True  # False: the text ends within quotes
    spaced: bool = False  # spaces stand before the quotes of a field

    @property
    def filled(self) -> int:
        """How many fields are not blank."""
        return sum(1 for field in self.fields if field and not field.isspace())

    @property
    def raw(self) -> str:
        """The first field, as it stands."""
        return self.fields[0]


@lru_cache(maxsize=64)
def _field(separator: str, quote: str | None, escape: str | None) -> re.Pattern[str]:
    """Return the pattern of a field and of what ends it."""
    blank = separator == " "
    between = "[ \t]+" if blank else re.escape(separator)
    outside = " \t" if blank else re.escape(separator)
    lead = "" if separator in " \t" else "[ ]*"
    if len(separator) > 1 and not blank:
        plain = f"(?:(?!{between})[^\r\n])*+"
    else:
        plain = f"[^{outside}\r\n]*+"
    between = f"{between}|" if separator else ""
    end = f"(?P<end>{between}\r\n|\n|\r|\\Z)"
    if quote is None:
        return re.compile(f"(?P<plain>{plain}){end}")
    q = re.escape(quote)
    inner = (
        f"(?:[^{q}{re.escape(escape)}]|{re.escape(escape)}.)*+"
        if escape
        else (f"(?:[^{q}]|{q}{q})*+")
    )
    return re.compile(
        f"(?:{lead}{q}(?P<inner>{inner})(?P<close>{q}|\\Z)(?P<after>{plain})|(?P<plain>{plain})){end}",
        re.DOTALL,
    )


def records(
    text: str, separator: str, quote: str | None, escape: str | None = None, limit: int = 10**9
) -> list[Record]:
    """Cut a text into records, at most ``limit`` of them; blank lines have one empty field."""
    pattern = _field(separator, quote, escape)
    found: list[Record] = []
    position, line, size = 0, 1, len(text)
    while position < size and len(found) < limit:
        start, first = position, line
        values: list[str] = []
        quoted: list[bool] = []
        closed, spaced = True, False
        if separator == " ":
            while position < size and text[position] in " \t":
                position += 1
        while True:
            match = pattern.match(text, position)
            assert match is not None
            inner = match["inner"] if quote is not None else None
            if inner is None:
                values.append(match["plain"])
                quoted.append(False)
            else:
                closed = bool(match["close"])
                spaced = spaced or match.start("inner") > position + 1
                if "\n" in inner or "\r" in inner:
                    line += len(ENDS.findall(inner))
                if quote and not escape:
                    inner = inner.replace(quote * 2, quote)
                elif escape:
                    inner = re.sub(re.escape(escape) + "(.)", r"\1", inner, flags=re.DOTALL)
                values.append(inner + match["after"])
                quoted.append(True)
            position = match.end()
            ending = match["end"]
            if ending in ("", "\n", "\r", "\r\n"):
                break
        if separator == " " and len(values) > 1 and not values[-1] and not quoted[-1]:
            values.pop()
            quoted.pop()
        line += 1
        found.append(Record(tuple(values), tuple(quoted), first, start, position, closed, spaced))
    return found
