"""Every example in README, docs, docstrings and scripts runs; every link leads somewhere."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import re
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from threadpoolctl import threadpool_limits

import deltarule
from deltarule.base import settings
from documentation.documents import (
    ROOT,
    DocumentError,
    blocks,
    broken_links,
    documents,
    measures,
    run_document,
    run_python,
)
from oracles import oracle

EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(deltarule.__path__, "deltarule.")
    if not module.name.endswith("__main__")
)
PAGES = {
    "activation": "activations.md",
    "loss": "losses.md",
    "initializer": "initializers.md",
    "optimizer": "optimizers.md",
    "schedule": "schedules.md",
    "penalty": "penalties-constraints-clipping.md",
    "constraint": "penalties-constraints-clipping.md",
    "clip": "penalties-constraints-clipping.md",
    "layer": "layers.md",
    "metric": "metrics.md",
}

ALSO_NEEDS = {
    "exchange.md": ["torch"],
    "from-pytorch.md": ["torch"],
    "from-keras.md": ["torch", "keras"],
    "deltarule.exchange.modules": ["torch"],
    "deltarule.exchange.torch": ["torch"],
}
"""Libraries beyond those of the tests, by document or module."""
OTHERS_WARNINGS = {"from-keras.md": "__array__ implementation doesn't accept a copy keyword"}
"""What other libraries warn of when a document uses them."""


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Open no windows; forget the classes that a document defines; one thread for products."""
    importlib.import_module("deltarule.tables.recipe")  # a family that is registered when needed
    monkeypatch.setenv("MPLBACKEND", "Agg")
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    known = {family: dict(found) for family, found in settings._families.items()}
    monkeypatch.setattr(settings, "_families", known)
    with threadpool_limits(1, user_api="blas"):
        yield


@pytest.mark.parametrize("document", documents(), ids=lambda d: d.name)
def test_blocks_of_a_document_run(document: Path, tmp_path: Path) -> None:
    for library in ALSO_NEEDS.get(document.name, ()):
        oracle(library)
    if message := OTHERS_WARNINGS.get(document.name):
        warnings.filterwarnings("ignore", message)
    run_document(document, tmp_path)


@pytest.mark.parametrize("document", [*documents(), ROOT / "CHANGELOG.md"], ids=lambda d: d.name)
def test_links_lead_somewhere(document: Path) -> None:
    assert broken_links(document) == []


def test_readme_and_tutorial_have_examples_that_run() -> None:
    for name in ("README.md", "docs/tutorial.md", "docs/backpropagation.md"):
        assert any(block.language == "python" for block in blocks(ROOT / name)), name


@pytest.mark.parametrize(("family", "page"), PAGES.items())
def test_page_names_every_member_of_its_family(family: str, page: str) -> None:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    shipped = {
        name: found
        for name, found in settings._families[family].items()
        if found.__module__.startswith("deltarule.") and name != "function"
    }
    missing = [
        name
        for name, found in shipped.items()
        if f"`{name}`" not in text or found.__name__ not in text
    ]
    assert missing == []


@pytest.mark.parametrize("name", ["deltarule", *MODULES])
def test_docstring_examples_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for library in ALSO_NEEDS.get(name, ()):
        oracle(library)
    module = importlib.import_module(name)
    report: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    for test in doctest.DocTestFinder(exclude_empty=True).find(module, name):
        runner.run(test, out=report.append)
    assert not runner.failures, "".join(report)


@pytest.mark.parametrize("script", EXAMPLES, ids=lambda s: s.name)
def test_script_runs_and_says_what_it_reached(script: Path, tmp_path: Path) -> None:
    done = run_python(str(script), cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"\d", done.stdout)


def test_every_usual_mistake_is_shown_as_typed_and_then_put_right() -> None:
    page = ROOT / "docs/troubleshooting.md"
    text = page.read_text(encoding="utf-8")
    usual = text.partition("\n## It does not learn")[0]
    sections = re.split(r"^### (?=\d+\. )", usual, flags=re.MULTILINE)[1:]
    assert [int(s.partition(".")[0]) for s in sections] == list(range(1, len(sections) + 1))
    assert len(sections) >= 20
    for section in sections:
        typed, *answers = re.findall(
            r"^```python\n(.*?)^```$", section, flags=re.MULTILINE | re.DOTALL
        )
        assert ">>> " in typed, section
        assert answers, section
        assert not any("Traceback" in answer for answer in answers), section


@pytest.mark.parametrize(
    ("said", "printed", "same"),
    [
        ("R²  0.966 (0.958 to 0.973)", "R²   0.964 (0.95 to 0.981)", True),
        ("R²  −0.000 (−0.004 to 0.000)", "R²  0.001 (−0.003 to 0.002)", True),  # noqa: RUF001
        ("R²  0.966 (0.958 to 0.973)", "R²  0.866 (0.858 to 0.873)", False),
        ("mean error  395.4 (364 to 428)", "mean error  440.4 (390 to 480)", False),
        ("R²  0.966 (0.958 to 0.973)", "r2  0.966 (0.958 to 0.973)", False),
        ("1,499 rows", "1,498 rows", False),
        ("────", "─────", True),
    ],
)
def test_a_measurement_is_shown_as_it_was_made_or_nearly(
    said: str, printed: str, same: bool
) -> None:
    assert measures(said, printed) == same


class TestTheMachineryFails:
    """Each check, given a document that is wrong, says so."""

    @pytest.mark.parametrize(
        ("text", "complaint"),
        [
            ("```python\n1 / 0\n```\n", r"bad\.md:2: .*ZeroDivisionError"),
            ("\n```python\nx = 1\n```\n\n```python\nassert x == 2\n```\n", r"bad\.md:7: .*Assert"),
            ("```python\n>>> 1 + 1\n3\n```\n", r"Expected:\n    3\nGot:\n    2"),
            ("```python\n>>> undefined\n```\n", r"NameError"),
            ("```console\n$ deltarule no-such-command\n```\n", r"bad\.md:2: "),
            ("```console\n$ deltarule --version\nno\n```\n", r"bad\.md:3: .*does not print 'no'"),
            ("```console\n$ ls\n```\n", r"mark others `sh`"),
            ("```py\n1\n```\n", r"bad\.md:1: block marked 'py'"),
            ("```\n1\n```\n", r"bad\.md:1: block marked ''"),
            ("```python\n1\n", r"bad\.md:1: block is never closed"),
        ],
    )
    def test_on_a_wrong_block(self, text: str, complaint: str, tmp_path: Path) -> None:
        (tmp_path / "bad.md").write_text(text)
        with pytest.raises(DocumentError, match=f"(?s){complaint}"):
            run_document(tmp_path / "bad.md", tmp_path)

    def test_on_a_broken_link(self, tmp_path: Path) -> None:
        (tmp_path / "b.md").write_text("# A heading: here\n")
        document = tmp_path / "bad.md"
        document.write_text("[1](b.md) [2](c.md) [3](b.md#a-heading-here) [4](b.md#no) [5](#no)\n")
        assert broken_links(document) == ["c.md", "b.md#no", "#no"]

    def test_not_on_a_right_document(self, tmp_path: Path) -> None:
        document = tmp_path / "good.md"
        document.write_text(
            "```python\nx = 1\n```\n```python\n>>> x + 1\n2\n>>> y = 3\n```\n"
            "```python\nassert y == 3\n```\n```text\nanything\n```\n"
        )
        assert run_document(document, tmp_path) == 3
