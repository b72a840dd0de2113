"""The pictures of README and docs: made by their script, small, and described in words."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from documentation.documents import ROOT, documents, run_python

FOLDER = ROOT / "docs" / "pictures"
COMMITTED = sorted(FOLDER.glob("*.png"))
MOST_BYTES = 150_000
_PICTURE = re.compile(r"!\[(?P<words>[^\]]*)\]\((?P<target>[^)\s]+\.(?:png|svg))\)")


def test_the_script_makes_the_committed_pictures(tmp_path: Path) -> None:
    """By name: their bytes depend on the versions of matplotlib and of its fonts."""
    done = run_python(str(FOLDER / "make_pictures.py"), str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    made = sorted(path.name for path in tmp_path.glob("*.png"))
    assert made == [path.name for path in COMMITTED]
    assert all(path.stat().st_size <= MOST_BYTES for path in tmp_path.glob("*.png"))


@pytest.mark.parametrize("picture", COMMITTED, ids=lambda p: p.name)
def test_a_committed_picture_is_small_and_shown(picture: Path) -> None:
    assert picture.stat().st_size <= MOST_BYTES
    shown = [
        (document.parent / found["target"]).resolve()
        for document in documents()
        for found in _PICTURE.finditer(document.read_text(encoding="utf-8"))
    ]
    assert picture in shown


def test_a_picture_is_described_for_those_who_cannot_see_it() -> None:
    found = [
        (document.name, found["words"])
        for document in documents()
        for found in _PICTURE.finditer(document.read_text(encoding="utf-8"))
    ]
    assert found
    assert [name for name, words in found if len(words.split()) < 20] == []
