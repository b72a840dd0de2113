"""Plain English: phrases that made readers stop do not come back."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from documentation.documents import ROOT

# Each with what to write instead.
PHRASES = {
    r"runs whatever it knows": "runs every built-in part natively",
    r"changes? no bit": "results are identical for any number of threads",
    r"to the bit\b": "identical",
    r"falls over the whole run": "decays across the run",
    r"as it likes\b": "at any time",
    r"has to bear": "must be thread-safe",
    r"this machine has not": "this machine lacks",
    r"\bmend(s|ed|ing)?\b": "fix, remedy; 'the message says how to fix it'",
    r"are to load for ever": "will always load",
    r"tenfold to a neighbour": "run ten times slower beside another process",
    r"was at hand": "was available",
    r"not been run (yet|at all)": "say what has been run",
}
TEXTS = ("*.md", "*.py", "*.pyi", "*.cpp", "*.hpp", "*.html", "*.txt")


def texts() -> Iterator[Path]:
    """Yield the pages of the repository, the examples, and the sources of package and engine."""
    yield from ROOT.glob("*.md")
    for folder in ("docs", "benchmarks", "examples", "src", "native"):
        for pattern in TEXTS:
            yield from (ROOT / folder).rglob(pattern)


def phrases_in(text: str) -> list[tuple[int, str]]:
    """Return line and phrase of each that is found; a phrase may run over the end of a line."""
    found = []
    # Line by line a comment's marks stand between two words of a phrase.
    flat = re.sub(r"\n[ \t]*(//|#|\*)?[ \t]*", lambda m: "\n" + " " * (len(m[0]) - 1), text)
    for phrase in PHRASES:
        pattern = re.compile(phrase.replace(" ", r"\s+"), re.IGNORECASE)
        found += [(flat.count("\n", 0, m.start()) + 1, m[0]) for m in pattern.finditer(flat)]
    return sorted(found)


def test_no_phrase_that_made_readers_stop() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line}: {' '.join(phrase.split())!r}"
        for path in sorted(set(texts()))
        for line, phrase in phrases_in(path.read_text(encoding="utf-8"))
    ]
    assert wrong == [], "\n".join(wrong)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The number of threads changes no\nbit of a result.", [(1, "changes no\nbit")]),
        ("x\n# a target that this\n# machine has not", [(2, "this\n  machine has not")]),
        ("Three mends at work", [(1, "mends")]),
        ("We recommend amendments, and bits of advice.", []),
    ],
)
def test_the_search_finds_them(text: str, expected: list[tuple[int, str]]) -> None:
    assert phrases_in(text) == expected
