"""Imports run one way, downward; the core needs NumPy and safetensors alone."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import deltarule

PACKAGE = Path(deltarule.__file__).parent

FLOORS = [
    {"types", "errors", "interrupt"},
    {"settings", "special", "files"},
    {"random", "activations", "penalties", "constraints", "clipping", "metrics", "schedules"},
    {"initializers", "losses", "optimizers", "data"},
    {"layers"},
    {"network"},
    {"plan"},
    {"engines"},
    {"history", "evaluation", "inspect"},
    {"callbacks", "progress"},
    {"trainer"},
    {"training", "restarts"},
]
LEAVES = {"persistence", "report", "cli", "bench", "examples", "__main__", "sklearn", "distributed"}


def room_of(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "deltarule"


def imports_at_load(path: Path) -> set[str]:
    """Return the rooms that a file imports when it is loaded (not inside functions)."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found: set[str] = set()
    pending: list[ast.AST] = list(tree.body)
    while pending:
        node = pending.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("deltarule"):
            names = [f"deltarule.{a.name}" for a in node.names]
            found |= (
                {room_of(node.module)} if node.module != "deltarule" else set(map(room_of, names))
            )
        elif isinstance(node, ast.Import):
            found |= {room_of(a.name) for a in node.names if a.name.startswith("deltarule")}
        pending.extend(ast.iter_child_nodes(node))
    return found


FILES = sorted(p for p in PACKAGE.rglob("*.py") if p != PACKAGE / "__init__.py")


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_room_imports_only_from_lower_floors(path: Path) -> None:
    room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if room in LEAVES:
        return
    floors = [i for i, rooms in enumerate(FLOORS) if room in rooms]
    assert floors, f"{room} has no floor: give it one in this test and in docs/design.md"
    allowed = set.union(*FLOORS[: floors[0]], {room}) if floors[0] else {room}
    same_floor = (
        FLOORS[floors[0]] if room in ("data", "history", "evaluation", "inspect") else set()
    )
    if room == "engines":
        allowed = allowed | {"_native"}  # the compiled core, which no other room knows
    assert imports_at_load(path) <= allowed | same_floor


def test_no_leaf_is_imported_when_the_package_loads() -> None:
    code = (
        "import sys, deltarule; "
        "print(sorted(m for m in sys.modules if m.split('.')[0] in "
        "('typer', 'rich', 'matplotlib', 'jinja2', 'sklearn', 'scipy', 'pandas', 'torch')))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


def test_what_only_files_and_wrong_names_need_waits_for_them() -> None:
    code = (
        "import sys, numpy; before = set(sys.modules); import deltarule; "
        "print(sorted({'tempfile', 'pathlib', 'difflib', 'json', 'shutil', 'urllib.parse', "
        "'deltarule.files', 'safetensors'} & (set(sys.modules) - before)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


def test_a_star_import_brings_names_of_this_library_only() -> None:
    names: dict[str, object] = {}
    exec("from deltarule import *", names)
    assert {"random", "types", "inspect"}.isdisjoint(names)
    assert {"Network", "Dense", "train", "backpropagate", "check_gradients"} <= names.keys()
    assert len(set(deltarule.__all__)) == len(deltarule.__all__)


def test_the_core_runs_without_any_extra() -> None:
    code = """
import sys
for name in ("typer", "rich", "matplotlib", "jinja2", "sklearn", "scipy", "pandas", "polars"):
    sys.modules[name] = None
import deltarule as dr
net = dr.Network([dr.Dense(3, "gelu"), dr.Dense(2, "softmax")], inputs=2)
history = dr.train(net, [[0.0, 1.0], [1.0, 0.0]], [0, 1], loss="cross_entropy", epochs=2)
for call in (history.plot, lambda: history.report("x.html")):
    try:
        call()
    except dr.MissingExtraError as error:
        assert "pip install 'deltarule[report]'" in str(error), error
    else:
        raise AssertionError("no error")
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_package_is_small():
    """A wheel has at most 4 MB; compressed, it is smaller still than these files."""
    from deltarule.engines import native

    files = [path for path in PACKAGE.rglob("*") if path.suffix in (".py", ".pyi", ".typed")]
    core = native.core()
    if core is not None:
        files.append(Path(core.__file__))
    assert sum(path.stat().st_size for path in files) < 4e6
