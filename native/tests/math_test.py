"""The vector functions of native/src/math.hpp and erf.hpp, against mpmath, for each target of this machine.

Run as a program it prints the tables of MATH.md.
"""

from __future__ import annotations

import ctypes
import functools
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest

from math_oracles import FUNCTIONS, TARGET_NUMBERS, Function, build, exact, machine_targets, samples, ulps

DTYPES = ["float32", "float64"]
TARGETS = machine_targets()


@functools.cache
def library(target: str) -> ctypes.CDLL:
    folder = Path(tempfile.mkdtemp())
    loaded = ctypes.CDLL(str(build(target, folder)))
    loaded.dr_test_activation.argtypes = [ctypes.c_int] * 3 + [ctypes.c_double] + [ctypes.c_void_p] * 2 + [
        ctypes.c_int64]
    return loaded


def evaluate(target: str, number: int, x: np.ndarray, parameter: float = 1.0) -> np.ndarray:
    """Return the function of that number over x, by the kernels of the target."""
    out = np.empty_like(x)
    failed = library(target).dr_test_activation(
        TARGET_NUMBERS[target], number, int(x.dtype == np.float64), parameter,
        x.ctypes.data, out.ctypes.data, x.size)
    assert failed == 0
    return out


@functools.cache
def oracle(function: Function, dtype: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    many = dtype == "float32"
    x = samples(function, dtype, dense=1 << 19 if many else 6000, spread=1 << 19 if many else 6000)
    return x, *exact(function, x)


def identify(function: Function) -> str:
    return function.name


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("function", FUNCTIONS, ids=identify)
def test_error_over_the_whole_range(function: Function, target: str, dtype: str) -> None:
    x, high, low = oracle(function, dtype)
    error = ulps(evaluate(target, function.number, x), high, low)
    worst = int(error.argmax())
    assert error[worst] <= function.bound[DTYPES.index(dtype)], f"{error[worst]} ulp at {x[worst]!r}"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("function", FUNCTIONS, ids=identify)
def test_special_values(function: Function, target: str, dtype: str) -> None:
    x = np.array([-np.inf, np.inf, 0.0, -0.0, np.nan], dtype)
    expected = np.array([*function.limits, function.limits[2], np.nan], dtype)
    np.testing.assert_allclose(evaluate(target, function.number, x), expected, rtol=4 * np.finfo(dtype).eps)


def throughput(target: str, number: int, dtype: str, low: float, high: float) -> float:
    """Return nanoseconds per element over a block that stays in the first-level cache; best of many."""
    x = np.random.default_rng(0).uniform(low, high, 2048).astype(dtype)
    out = np.empty_like(x)
    call, arguments = library(target).dr_test_activation, (
        TARGET_NUMBERS[target], number, int(dtype == "float64"), 1.0, x.ctypes.data, out.ctypes.data, x.size)
    best = np.inf
    for _ in range(40):
        start = time.perf_counter()
        for _ in range(20):
            call(*arguments)
        best = min(best, (time.perf_counter() - start) / 20)
    return best / x.size * 1e9


def main() -> None:
    write = sys.stdout.write
    write("| function | " + " | ".join(f"{d}, {t}" for d in DTYPES for t in TARGETS) + " |\n")
    write("|---" * (1 + 2 * len(TARGETS)) + "|\n")
    for function in FUNCTIONS:
        row = []
        for dtype in DTYPES:
            x, high, low = oracle(function, dtype)
            for target in TARGETS:
                error = ulps(evaluate(target, function.number, x), high, low)
                pace = throughput(target, function.number, dtype, 0.1 if function.name == "log" else -0.9, 4)
                at = f" at {x[error.argmax()]!r}" if "-v" in sys.argv else ""
                row.append(f"{error.max():.2f} ulp, {pace:.2f} ns{at}")
        write(f"| {function.name} | " + " | ".join(row) + " |\n")


if __name__ == "__main__":
    main()
