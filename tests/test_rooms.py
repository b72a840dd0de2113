"""Imports run one way, downward; the core needs NumPy, safetensors and tqdm alone."""

from __future__ import annotations

import ast
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

import deltarule
from deltarule.base.upward import PLACES

PACKAGE = Path(deltarule.__file__).parent

FLOORS = ["base", "formulas", "data", "network", "plan", "engines", "training", "inspect", "tables"]
"""From the lowest to the highest: the folders, and one file that is a floor of its own."""
LEAVES = {"cli", "report", "bench", "exchange", "sklearn", "published", "__main__"}
"""They use whatever they need, and nothing of ours imports them."""

ROOMS = {
    path.name.removesuffix(".py"): path
    for path in PACKAGE.iterdir()
    if (path.is_dir() and path.name != "__pycache__") or path.suffix == ".py"
}
FILES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def name_of(path: Path) -> str:
    """Return the module's dotted name below the package ("network.layers")."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


MODULES = {name_of(path): path for path in FILES}


def imported(path: Path) -> set[str]:
    """Return our modules that a file imports anywhere: at load, late or for types only."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("deltarule"):
            assert node.module
            for alias in node.names:
                full = f"{node.module}.{alias.name}".removeprefix("deltarule.")
                found.add(full if full in MODULES else node.module.removeprefix("deltarule."))
        elif isinstance(node, ast.Import):
            found |= {
                alias.name.removeprefix("deltarule.")
                for alias in node.names
                if alias.name.startswith("deltarule.")
            }
    return found & MODULES.keys()


IMPORTS = {name: imported(path) for name, path in MODULES.items()}


def test_every_room_is_a_floor_or_a_leaf() -> None:
    assert ROOMS.keys() - {"__init__"} == {*FLOORS, *LEAVES}
    assert len([path for path in ROOMS.values() if path.is_file()]) <= 9


@pytest.mark.parametrize("name", sorted(MODULES))
def test_a_room_imports_only_from_lower_floors(name: str) -> None:
    room = name.split(".")[0]
    if room in LEAVES:
        return
    allowed = {room, *FLOORS[: FLOORS.index(room)]}
    above = {module for module in IMPORTS[name] if module.split(".")[0] not in allowed}
    assert not above, f"{name} stands below what it imports: {sorted(above)}"


def test_no_module_is_in_a_circle() -> None:
    left = {name: set(needed) - {name} for name, needed in IMPORTS.items()}
    while free := {name for name, needed in left.items() if not needed & left.keys()}:
        left = {name: needed for name, needed in left.items() if name not in free}
    assert not left, f"modules that import each other in a circle: {sorted(left)}"


def test_what_reaches_upward_is_named_in_one_place() -> None:
    for module, function in PLACES.values():
        source = MODULES[module.removeprefix("deltarule.")].read_text(encoding="utf-8")
        assert f"def {function}(" in source or f" {function}" in source
    late = [
        name
        for name, path in MODULES.items()
        if name != "base.upward"
        and "import_module(" in path.read_text(encoding="utf-8")
        and "deltarule." in path.read_text(encoding="utf-8").partition("import_module(")[2][:40]
    ]
    assert not late


def test_the_compiled_core_is_known_to_its_adapter_and_to_random_orders_alone() -> None:
    users = {n for n, path in MODULES.items() if "deltarule._native" in path.read_text()}
    assert users == {"engines.native", "base.random"}


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
        "'deltarule.base.files', 'safetensors', 'html', "
        "'deltarule.base.vocabulary'} & (set(sys.modules) - before)))"
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
        assert "pip install matplotlib jinja2" in str(error), error
    else:
        raise AssertionError("no error")
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_package_is_small():
    """A wheel, which is a zip of these files, has at most 4 MB; unpacked they have up to 6."""
    from deltarule.engines import native

    files = [path for path in PACKAGE.rglob("*") if path.suffix in (".py", ".pyi", ".typed")]
    core = native.core()
    if core is not None:
        files.append(Path(core.__file__))
    contents = [path.read_bytes() for path in files]
    assert sum(len(zlib.compress(content)) for content in contents) < 4e6
    assert sum(map(len, contents)) < 6e6


def test_the_base_of_every_family_is_public_and_so_is_every_member_that_users_type() -> None:
    from deltarule.base.settings import Setting

    bases = {
        kind
        for kind in Setting.__subclasses__()
        if kind.__module__.startswith("deltarule.") and ".tables." not in kind.__module__
    }
    assert {kind.__name__ for kind in bases} == {
        "ActivationFunction", "Clip", "Constraint", "Initializer", "Layer", "Loss", "Metric",
        "Optimizer", "Penalty", "Schedule",
    }  # fmt: skip
    for kind in bases:
        assert getattr(deltarule, kind.__name__) is kind
        assert kind.__name__ in deltarule.__all__
