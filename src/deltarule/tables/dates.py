"""Dates and times in text, and what a network can use of them: elapsed days and cyclic parts."""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Callable, Iterable, Sequence
from datetime import date

import numpy as np

from deltarule.base.types import Array

EPOCH = date(1970, 1, 1).toordinal()
NAN = float("nan")

_CLOCK = (
    r"(?P<hour>\d{1,2})(?P<colon>[:.h])(?P<minute>\d{2})"
    r"(?:[:.m](?P<second>\d{2}(?:[.,]\d+)?)s?)?\s*(?P<half>[AaPp]\.?[Mm]\.?)?"
)
_ZONE = r"\s*(?:Z|UTC|GMT|Uhr|[A-Z]{3,4}|[+-]\d{2}:?\d{2})?"
_AFTER = rf"(?:(?:,?\s*T?\s*|:)(?:at\s+)?{_CLOCK}{_ZONE})?"
_WEEKDAY = r"(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]*,?\s+)?"
_YEAR4 = r"(?P<year>1[5-9]\d\d|2[01]\d\d)"
_NAMED = r"(?P<name>[^\W\d_]{3,10})\.?"
_ORDINAL = r"(?P<day>\d{1,2})(?:st|nd|rd|th)?"

_FORMS: dict[str, re.Pattern[str]] = {
    "year first": re.compile(rf"{_YEAR4}([-/. ])(?P<month>\d{{1,2}})\2(?P<day>\d{{1,2}}){_AFTER}"),
    "parts": re.compile(
        rf"{_WEEKDAY}(?P<a>\d{{1,2}})([-/. ])(?P<b>\d{{1,2}})\2(?P<year>\d{{4}}|\d{{2}}){_AFTER}"
    ),
    "named": re.compile(
        rf"{_WEEKDAY}(?:{_ORDINAL}[-\s/.]*(?:(?:of|de)\s+)?{_NAMED},?[-\s/]*(?:de\s+)?|"
        rf"{_NAMED.replace('name', 'name2')}[-\s/]*"
        rf"(?P<day2>\d{{1,2}})(?:st|nd|rd|th)?(?:,?[-\s/]+|,))(?P<year>\d{{4}}|\d{{2}}){_AFTER}"
    ),
    "named, year first": re.compile(rf"{_YEAR4}[-\s/]?{_NAMED}[-\s/]?{_ORDINAL}{_AFTER}"),
    "named, year last": re.compile(
        rf"{_WEEKDAY}{_NAMED}\s+{_ORDINAL}\s+{_CLOCK}{_ZONE}\s+(?P<year>\d{{4}})"
    ),
    "month": re.compile(
        rf"(?:{_YEAR4}(?:[-/:mM](?P<month>\d{{1,2}})|-?W(?P<week>\d\d))|{_NAMED}[-\s,/]+(?P<year2>\d{{4}})"
        rf"|{_NAMED.replace('name', 'name3')}[-/'](?P<year3>\d{{2}})"
        rf"|(?P<month4>\d{{1,2}})[-/.](?P<year4>(?:1[5-9]|2[01])\d\d))"
    ),
    "season": re.compile(rf"{_YEAR4}\s*[-/\u2013]\s*(?P<end>\d{{4}}|\d{{2}})"),
    "quarter": re.compile(
        rf"(?:{_YEAR4}\s*-?\s*[qQ](?P<q>[1-4])|[qQ](?P<q2>[1-4])[-\s]*(?P<year2>\d{{4}}))"
    ),
    "compact": re.compile(r"(?P<year>1[89]\d\d|20\d\d)(?P<month>\d\d)(?P<day>\d\d)"),
    "clock": re.compile(rf"{_CLOCK}"),
}
_NAMES = (
    "jan feb mar apr may jun jul aug sep oct nov dec",
    "january february march april may june july august september october november december",
    "januar februar märz april mai juni juli august september oktober november dezember",
    "jän feb mär apr mai jun jul aug sept okt nov dez",
    "janvier février mars avril mai juin juillet août septembre octobre novembre décembre",
    "janv févr mars avr mai juin juil août sept oct nov déc",
    "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre",
    "ene feb mar abr may jun jul ago sept oct nov dic",
    "gennaio febbraio marzo aprile maggio giugno luglio agosto settembre ottobre novembre dicembre",
    "gen feb mar apr mag giu lug ago set ott nov dic",
    "januari februari maart april mei juni juli augustus september oktober november december",
    "janeiro fevereiro março abril maio junho julho agosto setembro outubro novembro dezembro",
    "jan fev mar abr mai jun jul ago set out nov dez",
)
_MONTHS = {name: i + 1 for names in _NAMES for i, name in enumerate(names.split(" "))}

FORMATS = (
    "year first", "day first", "month first", "named month", "year and month", "year and quarter",
    "season", "yyyymmdd", "clock", "epoch seconds", "epoch milliseconds",
)  # fmt: skip
"""How dates may be written; a column of dates of the frame's own type has none of them."""


def _ordinal(year: int, month: int, day: int) -> float:
    if not (1 <= month <= 12 and 1 <= day <= monthrange(year, month)[1]):
        return NAN
    return float(date(year, month, day).toordinal() - EPOCH)


def _full_year(text: str) -> int:
    year = int(text)
    if len(text) == 2:
        return year + (2000 if year < 50 else 1900)
    return year if 1500 <= year <= 2199 else 0


def _hours(found: re.Match[str]) -> float:
    """Return the hours since midnight that a match has; 0 for none."""
    if found["hour"] is None:
        return 0.0
    hour, minute = int(found["hour"]), int(found["minute"])
    second = float((found["second"] or "0").replace(",", "."))
    if found["half"]:
        if not 1 <= hour <= 12:
            return NAN
        hour = hour % 12 + (12 if found["half"][0] in "pP" else 0)
    if hour > 24 or minute > 59 or second >= 61:
        return NAN
    return hour + minute / 60 + second / 3600


def _month_named(name: str) -> int:
    return _MONTHS.get(name.lower(), 0)


def _year_first(value: str) -> float:
    if value.endswith("\u65e5"):  # 2019-01-21 as written in Chinese and Japanese
        value = value[:-1].replace("\u5e74", "-").replace("\u6708", "-")
    found = _FORMS["year first"].fullmatch(value)
    if not found:
        return NAN
    days = _ordinal(int(found["year"]), int(found["month"]), int(found["day"]))
    return days + _hours(found) / 24


def _by_parts(value: str, day: str, month: str) -> float:
    found = _FORMS["parts"].fullmatch(value)
    if not found or not (year := _full_year(found["year"])):
        return NAN
    return _ordinal(year, int(found[month]), int(found[day])) + _hours(found) / 24


def _named(value: str) -> float:
    for form in ("named", "named, year first", "named, year last"):
        if (found := _FORMS[form].fullmatch(value)) and (year := _full_year(found["year"])):
            parts = found.groupdict()
            month = _month_named(found["name"] or parts["name2"])
            day = int(found["day"] or parts["day2"])
            return _ordinal(year, month, day) + _hours(found) / 24
    return NAN


def _month(value: str) -> float:
    found = _FORMS["month"].fullmatch(value)
    if not found:
        return NAN
    year = _full_year(next(filter(None, (found[f"year{i}"] for i in ("", 2, 3, 4)))))
    if found["week"]:
        try:
            return float(date.fromisocalendar(year, int(found["week"]), 1).toordinal() - EPOCH)
        except ValueError:
            return NAN
    number, name = found["month"] or found["month4"], found["name"] or found["name3"]
    month = int(number) if number else _month_named(name)
    return _ordinal(year, month, 1) if year else NAN


def _season(value: str) -> float:
    found = _FORMS["season"].fullmatch(value)
    if not found:
        return NAN
    year = int(found["year"])
    follows = str(year + 1).endswith(found["end"])
    return _ordinal(year, 1, 1) if follows else NAN


def _quarter(value: str) -> float:
    found = _FORMS["quarter"].fullmatch(value)
    if not found:
        return NAN
    year = _full_year(found["year"] or found["year2"])
    return _ordinal(year, 3 * int(found["q"] or found["q2"]) - 2, 1) if year else NAN


def _compact(value: str) -> float:
    found = _FORMS["compact"].fullmatch(value)
    return _ordinal(*(int(found[p]) for p in ("year", "month", "day"))) if found else NAN


def _clock(value: str) -> float:
    found = _FORMS["clock"].fullmatch(value)
    if not found or (found["colon"] == "." and found["second"] is None):
        return NAN
    return _hours(found)


_READERS: dict[str, Callable[[str], float]] = {
    "year first": _year_first,
    "day first": lambda value: _by_parts(value, "a", "b"),
    "month first": lambda value: _by_parts(value, "b", "a"),
    "named month": _named,
    "year and month": _month,
    "year and quarter": _quarter,
    "season": _season,
    "yyyymmdd": _compact,
    "clock": _clock,
}


def read(values: Iterable[str], form: str) -> Array:
    """Return texts as days since 1970-01-01 (of a clock: hours); NaN for what is none."""
    one = _READERS[form]
    values = tuple(values)
    if form == "year first" and all(len(v) == 10 and v[4] == "-" == v[7] for v in values):
        try:
            return np.array(values, "datetime64[D]").astype(np.float64)
        except ValueError:  # no date, as 2020-02-30
            pass
    return np.array([one(v) if len(v) <= 50 else NAN for v in values], np.float64)


def format_of(values: Sequence[str], counts: Array) -> tuple[str, Array, str] | None:
    """Return how most texts are to be read as dates, the numbers, and what was open; else None."""
    total = int(counts.sum())
    some = values[:20]
    found: dict[str, Array] = {}
    for form in _READERS:
        if np.isnan(read(some, form)).mean() > 0.5:
            continue
        numbers = read(values, form)
        if counts[~np.isnan(numbers)].sum() >= 0.9 * total:
            found[form] = numbers
    if not found:
        return None
    known = {form: int(counts[~np.isnan(numbers)].sum()) for form, numbers in found.items()}
    best = max(known.values())
    tied = [form for form in found if known[form] == best]
    if {"day first", "month first"} <= set(tied):
        form = _likelier(values, found)
        return form, found[form], f"taken as {form}: every date could be read either way"
    form = "season" if "season" in tied and len(values) > 1 else tied[0]
    return form, found[form], ""


def _likelier(values: Sequence[str], found: dict[str, Array]) -> str:
    """Return which order of day and month makes the smaller steps from one date to the next."""
    steps = {
        form: float(np.abs(np.diff(found[form])).sum()) for form in ("day first", "month first")
    }
    if steps["day first"] != steps["month first"]:
        return min(steps, key=lambda form: steps[form])
    return "month first" if "/" in values[0] else "day first"


PARTS: dict[str, tuple[float, str]] = {
    "hour": (1.0, "hour of the day"),
    "weekday": (7.0, "day of the week"),
    "yearday": (365.2425, "day of the year"),
}
"""Cyclic parts of a moment in days: its period, and what it is called."""


def parts_of(days: Array) -> tuple[str, ...]:
    """Return the cyclic parts that vary in moments: of those that do not, nothing can be learnt."""
    distinct = np.unique(np.floor(days))
    found = []
    if len(np.unique(np.floor((days % 1.0) * 24))) > 1:
        found.append("hour")
    if len(np.unique((distinct + 4) % 7)) > 2:
        found.append("weekday")
    if len(distinct) > 1 and np.ptp(days) >= 90 and len(np.unique(months(distinct))) > 2:
        found.append("yearday")
    return tuple(found)


def months(days: Array) -> Array:
    """Return the month (0 to 11) of days since 1970-01-01."""
    return days.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64) % 12


def cycle(days: Array, part: str) -> Array:
    """Return where in its cycle a moment is, as sine and cosine (n, 2)."""
    if part == "yearday":
        whole = np.floor(days)
        year = whole.astype("datetime64[D]").astype("datetime64[Y]")
        turn = (whole - year.astype("datetime64[D]").astype(np.int64)) / PARTS[part][0]
    elif part == "weekday":
        turn = ((np.floor(days) + 4) % 7) / 7  # 1970-01-01 was a Thursday; Sunday is 0
    else:
        turn = days % 1.0
    angle = 2 * np.pi * turn
    return np.stack([np.sin(angle), np.cos(angle)], axis=-1)
