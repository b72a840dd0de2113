"""What the options about columns and files say, and the columns that are meant."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

from deltarule.base.errors import InvalidValueError, UnknownNameError, describe_value, unknown_name
from deltarule.tables.column import KINDS

_SUFFIXES = {
    ".csv", ".tsv", ".tab", ".txt", ".data", ".dat", ".psv", ".parquet", ".pq", ".arrow",
    ".feather", ".ipc", ".json", ".jsonl", ".ndjson", ".gz", ".bz2", ".xz", ".zst", ".zip", ".lz4",
}  # fmt: skip
_ESCAPES = {"\\t": "\t", "tab": "\t", "comma": ",", "semicolon": ";", "space": " ", "pipe": "|"}


def find_column(wanted: str, names: Sequence[str], *, header: bool = True) -> str:
    """Return the column that is meant: by its name, or one that differs in case or spaces alone.

    Raises
    ------
    KeyError
        There is none, or there are several; the message names what comes near.
    """
    if wanted in names:
        return wanted
    alike = [name for name in names if _plain(name) == _plain(wanted)]
    if len(alike) == 1:
        return alike[0]
    if alike:
        raise UnknownNameError(
            f"there is no column {wanted!r}; several come near: {', '.join(map(repr, alike))}"
        )
    if not header:
        raise UnknownNameError(
            f"there is no column {wanted!r}: the file has no header, so its columns are named by "
            f"their positions, 0 to {len(names) - 1}"
        )
    by_plain = {_plain(name): name for name in names}
    part = [name for name in names if _plain(wanted) and _plain(wanted) in _plain(name)][:3]
    near = [by_plain[n] for n in get_close_matches(_plain(wanted), by_plain, n=3, cutoff=0.6)]
    hints = list(dict.fromkeys([*near, *part]))[:3]
    if hints:
        raise UnknownNameError(
            f"there is no column {wanted!r}; did you mean {' or '.join(map(repr, hints))}?"
        )
    shown = ", ".join(map(repr, names[:8])) + (", ..." if len(names) > 8 else "")
    raise UnknownNameError(f"there is no column {wanted!r}; the columns are {shown}")


def wished_kinds(
    kinds: Sequence[str], dropped: Sequence[str], names: Sequence[str], *, header: bool = True
) -> dict[str, str]:
    """Return the kind of each column that ``--kind`` or ``--drop`` names."""
    found = {}
    for text in kinds:
        name, given, kind = text.rpartition("=")
        if not given:
            raise InvalidValueError(f"--kind is COLUMN=KIND, got {describe_value(text)}")
        if kind not in (*KINDS, "left out"):
            raise unknown_name("kind", kind, (*KINDS, "left out"))
        found[find_column(name, names, header=header)] = kind
    for name in dropped:
        found[find_column(name, names, header=header)] = "left out"
    return found


def wished_separator(text: str | None) -> str | None:
    r"""Return a separator: "tab" and "\t" are the character."""
    return None if text is None else _ESCAPES.get(text, text)


def folder_name(file: str, target: str) -> str:
    """Return a name for the output: that of the file and of the target, without odd characters."""
    path = Path(file)
    stem = path.name
    while Path(stem).suffix.lower() in _SUFFIXES:
        stem = Path(stem).stem
    stem = "table" if file == "-" else stem
    return f"{_slug(stem) or 'table'}-{_slug(target.lower()) or 'target'}"


def _slug(text: str) -> str:
    kept = "".join(c if c.isalnum() or c in "_." else "-" for c in text)
    return re.sub("-+", "-", kept)[:40].strip("-.")


def _plain(name: str) -> str:
    return " ".join(name.split()).casefold()
