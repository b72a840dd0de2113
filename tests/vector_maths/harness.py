"""The vector functions in a small program of their own, compiled for each target of this machine.

Once for all tests and runs: what is compiled stays in ``build/harness`` until its sources, the
compiler or its flags change. ``DELTARULE_SANITIZE=address,undefined`` compiles it for those
sanitizers.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "native" / "tests" / "math_harness.cpp"
HEADERS = ROOT / "native" / "src"
DTYPES = ["float32", "float64"]

FLAGS = {
    "baseline": [],
    "avx2": ["-mavx2", "-mfma"],
    "avx512": ["-mavx512f", "-mavx512dq", "-mavx512bw", "-mavx512vl", "-mavx2", "-mfma"],
}
CPU_FLAGS = {
    "baseline": set(),
    "avx2": {"avx2", "fma"},
    "avx512": {"avx512f", "avx512dq", "avx512bw", "avx512vl"},
}
TARGET_NUMBERS = {"baseline": 0, "avx2": 1, "avx512": 2}


def machine_targets() -> list[str]:
    """Return the targets whose instructions this machine has."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    flags = {f for line in lines if line.startswith("flags") for f in line.split(":")[1].split()}
    return [target for target, wanted in CPU_FLAGS.items() if wanted <= flags]


MACHINE_TARGETS = machine_targets()


def command(target: str) -> list[str]:
    """Return what compiles the harness for one target, but for the name of the result."""
    compiler = shutil.which("c++") or shutil.which("g++")
    if compiler is None:
        raise FileNotFoundError("no C++ compiler found; these tests need one")
    sanitizers = os.environ.get("DELTARULE_SANITIZE", "")
    checked = [f"-fsanitize={sanitizers}", "-fno-sanitize-recover=all", "-g1"] if sanitizers else []
    return [
        compiler,
        *("-std=c++20", "-O1" if checked else "-O2", "-Wall", "-Wextra", "-Werror"),
        *("-ffp-contract=off", "-fPIC", "-shared"),
        *checked,
        f"-DDR_TARGET={target}",
        *FLAGS[target],
        f"-I{HEADERS}",
        str(SOURCE),
    ]


@functools.cache
def built(target: str) -> Path:
    """Return the harness for one target; of several processes that ask at once, one compiles."""
    import fcntl  # absent on Windows, whose compilers have other options anyway

    arguments = command(target)
    version = subprocess.run([arguments[0], "--version"], check=True, capture_output=True)
    texts = [path.read_bytes() for path in [SOURCE, *sorted(HEADERS.glob("*.hpp"))]]
    seen = hashlib.sha256(b"\0".join([version.stdout, *map(str.encode, arguments), *texts]))
    library = ROOT / "build" / "harness" / f"{target}-{seen.hexdigest()[:16]}.so"
    library.parent.mkdir(parents=True, exist_ok=True)
    with (library.parent / f"{target}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not library.exists():
            unfinished = library.with_suffix(f".{os.getpid()}")
            subprocess.run([*arguments, "-o", str(unfinished)], check=True)
            unfinished.replace(library)
    return library


@functools.cache
def library(target: str) -> ctypes.CDLL:
    loaded = ctypes.CDLL(str(built(target)))
    arrays = [ctypes.c_void_p] * 2 + [ctypes.c_int64]
    loaded.dr_test_unary.argtypes = [ctypes.c_int] * 3 + arrays
    loaded.dr_test_activation.argtypes = [
        ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_int, ctypes.c_double, *arrays,
    ]  # fmt: skip
    return loaded


def evaluate(target: str, number: int, x: np.ndarray) -> np.ndarray:
    """Return the function of that number over x, by the kernels of the target."""
    out = np.empty_like(x)
    failed = library(target).dr_test_unary(
        TARGET_NUMBERS[target], number, int(x.dtype == np.float64), x.ctypes.data, out.ctypes.data,
        x.size,
    )  # fmt: skip
    assert failed == 0
    return out


def activate(
    target: str, name: str, x: np.ndarray, setting: float = 1.0, *, derivative: bool = False
) -> np.ndarray:
    """Return f or f' of the activation of that name over x."""
    out = np.empty_like(x)
    failed = library(target).dr_test_activation(
        TARGET_NUMBERS[target], name.encode(), derivative, int(x.dtype == np.float64), setting,
        x.ctypes.data, out.ctypes.data, x.size,
    )  # fmt: skip
    assert failed == 0, f"the core has no activation {name!r} of elements"
    return out
