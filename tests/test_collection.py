"""Any set of test files, in any order, can be given on one command line."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import Counter
from pathlib import Path

HERE = Path(__file__).parent
FILES = sorted(HERE.rglob("*.py"))
TESTS = [path for path in FILES if path.name.startswith("test_")]


def test_there_is_one_conftest_and_no_two_modules_have_one_name() -> None:
    assert [path for path in FILES if path.name == "conftest.py"] == [HERE / "conftest.py"]
    assert not [name for name, n in Counter(path.name for path in FILES).items() if n > 1]


def test_nothing_is_imported_from_a_test_or_from_conftest() -> None:
    """What several tests need has a module of its own; those of a folder serve that folder."""
    for path in FILES:
        beside = {other.stem for other in [*HERE.glob("*.py"), *path.parent.glob("*.py")]}
        helpers = {other.stem for other in FILES} - {other.stem for other in TESTS} - {"conftest"}
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module:
                name = node.module.split(".")[0]
                assert not name.startswith("test_"), f"{path.name} imports {name}"
                assert name != "conftest", f"{path.name} imports conftest"
                assert name not in helpers or name in beside, f"{path.name} cannot see {name}"


def test_files_in_an_odd_order_are_collected() -> None:
    quick = [path for path in TESTS if path.parent.name != "pytorch"]  # which takes seconds to load
    odd = [*quick[::-4], *quick[1::4]]
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "--collect-only",
            "-q",
            "-p",
            "no:cacheprovider",
            *map(str, odd),
        ],
        cwd=HERE.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert all(f"{path.relative_to(HERE.parent).as_posix()}::" in done.stdout for path in odd)
