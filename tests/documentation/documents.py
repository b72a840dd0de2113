"""Documents that prove themselves: fenced blocks are run, links are followed."""

from __future__ import annotations

import contextlib
import doctest
import os
import re
import shlex
import subprocess
import sys
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
RUN = frozenset({"python", "console"})
SHOWN = frozenset({"text", "sh", "json", "toml", "matlab", "mermaid"})

_FENCE = re.compile(r"^(?P<fence>```+|~~~+)\s*(?P<info>.*)$")
_LINK = re.compile(r"!?\[[^\]\n]*\]\((?P<target>[^)\s]+)(?:\s+\"[^\"]*\")?\)")
_NUMBER = re.compile(r"(?<!\w)[-\N{MINUS SIGN}]?\d+(?:\.\d+)?(?!\w)")
_INTERVAL = re.compile(r"\(\S+ to \S+\)")
_HEADING = re.compile(r"^#{1,6}\s+(?P<title>.+?)\s*#*$")


class DocumentError(AssertionError):
    """A document says something that is not so; the message gives file and line."""


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, and the line on which the text begins (from 1)."""

    language: str
    text: str
    line: int


def documents() -> list[Path]:
    """Return all documents of the project whose blocks are run."""
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(document: Path) -> Iterator[Block]:
    """Yield the fenced blocks; one never closed, or of no known language, is an error."""
    fence, language, start, lines = "", "", 0, []
    for number, line in enumerate(document.read_text(encoding="utf-8").splitlines(), 1):
        found = _FENCE.match(line)
        if not fence and found:
            fence, language = found["fence"], found["info"].strip()
            start, lines = number + 1, []
            if language not in RUN | SHOWN:
                raise DocumentError(
                    f"{document.name}:{number}: block marked {language!r}; "
                    f"known: {', '.join(sorted(RUN | SHOWN))}"
                )
        elif fence and line.strip() == fence:
            yield Block(language, "\n".join(lines) + "\n", start)
            fence = ""
        elif fence:
            lines.append(line)
    if fence:
        raise DocumentError(f"{document.name}:{start - 1}: block is never closed")


def run_document(document: Path, folder: Path) -> int:
    """Run the blocks of a document in order, in one namespace and one folder; return how many.

    The folder has the project's ``examples``, as a checkout does.
    """
    namespace: dict[str, Any] = {"__name__": "__main__"}
    count = 0
    (folder / "examples").symlink_to(ROOT / "examples")
    with contextlib.chdir(folder):
        for block in blocks(document):
            if block.language == "python" and ">>> " in block.text:
                run_examples(document, block, namespace)
            elif block.language == "python":
                run_code(document, block, namespace)
            elif block.language == "console":
                run_commands(document, block)
            count += block.language in RUN
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")
    return count


def run_code(document: Path, block: Block, namespace: dict[str, Any]) -> None:
    """Execute a block of plain code; line numbers in errors are those of the document."""
    source = "\n" * (block.line - 1) + block.text
    try:
        exec(compile(source, str(document), "exec", dont_inherit=True), namespace)
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        line = next((f.lineno for f in reversed(frames) if f.filename == str(document)), block.line)
        text = "".join(traceback.format_exception(error))
        raise DocumentError(f"{document.name}:{line}: {text}") from error


def run_examples(document: Path, block: Block, namespace: dict[str, Any]) -> None:
    """Run a block of ``>>>`` examples and compare what they print."""
    test = doctest.DocTestParser().get_doctest(
        block.text, namespace, document.name, str(document), block.line - 1
    )
    report: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    result = runner.run(test, out=report.append, clear_globs=False)
    namespace.update(test.globs)
    if result.failed:
        raise DocumentError("".join(report))


def run_commands(document: Path, block: Block) -> None:
    """Run the ``$ deltarule ...`` lines of a console block; each must print what is shown.

    Every other line of the block (but "...") must be a line of the command's output. Numbers in a
    line of intervals, "0.96 (0.95 to 0.97)", may differ by 5 % or 0.01: they are measurements of a
    training, in which processors round differently.
    """
    shown = set[str]()
    for number, line in enumerate(block.text.splitlines(), block.line):
        where = f"{document.name}:{number}"
        if not line.startswith("$ "):
            said = line.strip()
            if said not in shown | {"", "..."} and not any(measures(said, o) for o in shown):
                raise DocumentError(f"{where}: the command does not print {line.strip()!r}")
            continue
        command = shlex.split(line[2:])
        if command[0] != "deltarule":
            raise DocumentError(f"{where}: only deltarule commands are run, mark others `sh`")
        done = run_python("-m", *command)
        if done.returncode:
            raise DocumentError(f"{where}: {line}\n{done.stdout}{done.stderr}")
        shown = {printed.strip() for printed in done.stdout.splitlines()}


def measures(said: str, printed: str) -> bool:
    """Whether two lines of intervals are those of one measurement, or both are drawn rules."""
    if not _INTERVAL.search(said):
        return set(said) == set(printed) == {"\N{BOX DRAWINGS LIGHT HORIZONTAL}"}
    words = [_NUMBER.sub("", line).split() for line in (said, printed)]
    if words[0] != words[1]:
        return False
    pairs = zip(_NUMBER.findall(said), _NUMBER.findall(printed), strict=True)
    values = [[float(n.replace("\N{MINUS SIGN}", "-")) for n in pair] for pair in pairs]
    return all(abs(a - b) <= max(0.05 * abs(b), 0.01) for a, b in values)


def run_python(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run this Python in a process of its own, warnings being errors."""
    return subprocess.run(
        [sys.executable, "-W", "error", *arguments],
        cwd=cwd,
        env={
            **os.environ,
            "MPLBACKEND": "Agg",
            "COLUMNS": "100",
            "OPENBLAS_NUM_THREADS": "1",  # threads that wait for each other cost tenfold
        },
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )


def broken_links(document: Path) -> list[str]:
    """Return the links of a document that lead to no file or no heading here."""
    text = _without_blocks(document)
    wrong = []
    for match in _LINK.finditer(text):
        target = match["target"]
        if re.match(r"[a-z]+:", target):
            continue
        name, _, heading = target.partition("#")
        path = (document.parent / name).resolve() if name else document
        if not path.exists() or (heading and heading not in anchors(path)):
            wrong.append(target)
    return wrong


def anchors(document: Path) -> set[str]:
    """Return the anchors that headings get: lower case, punctuation gone, hyphens for spaces."""
    titles = [
        m["title"] for line in _without_blocks(document).splitlines() if (m := _HEADING.match(line))
    ]
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def _without_blocks(document: Path) -> str:
    text = document.read_text(encoding="utf-8")
    for block in blocks(document):
        text = text.replace(block.text, "\n" * block.text.count("\n"), 1) if block.text else text
    return text
