"""The vector functions of native/src/math.hpp and erf.hpp, against mpmath, for each target here.

Run as a program it prints the tables of MATH.md.
"""

from __future__ import annotations

import ctypes
import functools
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from math_oracles import (
    FUNCTIONS,
    TARGET_NUMBERS,
    Function,
    build,
    exact,
    machine_targets,
    samples,
    ulps,
)

DTYPES = ["float32", "float64"]
TARGETS = machine_targets()


@functools.cache
def library(target: str) -> ctypes.CDLL:
    folder = Path(tempfile.mkdtemp())
    loaded = ctypes.CDLL(str(build(target, folder)))
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
    assert error[worst] <= function.bound[DTYPES.index(dtype)], (
        f"{error[worst]} ulp at {x[worst]!r}"
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("function", FUNCTIONS, ids=identify)
def test_special_values(function: Function, target: str, dtype: str) -> None:
    x = np.array([-np.inf, np.inf, 0.0, -0.0, np.nan], dtype)
    expected = np.array([*function.limits, function.limits[2], np.nan], dtype)
    np.testing.assert_allclose(
        evaluate(target, function.number, x), expected, rtol=4 * np.finfo(dtype).eps
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("target", TARGETS)
def test_partial_vectors_and_the_order_of_a_sum(target: str, dtype: str) -> None:
    call = library(target).dr_test_lanes
    call.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p]
    x = np.random.default_rng(5).normal(size=16).astype(dtype) * 10 ** np.arange(16, dtype=dtype)
    lanes = call(int(dtype == "float64"), x.ctypes.data, 0, np.empty(32, dtype).ctypes.data)
    for n in range(lanes + 1):
        source = x[:n].copy()  # an array of its own, so that a sanitizer sees a read past its end
        out = np.full(32, 7, dtype)
        call(int(dtype == "float64"), source.ctypes.data, n, out.ctypes.data)
        full = np.zeros(lanes, dtype)
        full[:n] = source
        folded = full
        while folded.size > 1:
            half = folded.size // 2
            folded = folded[:half] + folded[half:]
        bits = sum(1 << i for i in range(lanes) if full[i] > 0)
        np.testing.assert_array_equal(out[:4], [folded[0], full.max(), (full > 0).sum(), bits])
        np.testing.assert_array_equal(out[4:], np.concatenate([source, np.full(28 - n, 7, dtype)]))


def throughput(repeat: Callable[..., int], dtype: str, low: float, high: float) -> float:
    """Return the best nanoseconds per element over a block that stays in the first-level cache."""
    x = np.random.default_rng(0).uniform(low, high, 1024).astype(dtype)
    out = np.empty_like(x)
    times, best = 200, np.inf
    for _ in range(20):
        start = time.perf_counter()
        repeat(
            int(dtype == "float64"),
            ctypes.c_void_p(x.ctypes.data),
            ctypes.c_void_p(out.ctypes.data),
            ctypes.c_int64(x.size),
            times,
        )
        best = min(best, time.perf_counter() - start)
    return best / (times * x.size) * 1e9


def dropout_throughput(target: str, dtype: str) -> float:
    """Return nanoseconds per factor of panels of 64 rows."""
    call = library(target).dr_test_dropout_panel
    call.argtypes = [
        ctypes.c_int,
        ctypes.c_uint64,
        ctypes.c_int,
        ctypes.c_uint64,
        ctypes.c_uint32,
        ctypes.c_int,
        ctypes.c_uint32,
        ctypes.c_double,
        ctypes.c_void_p,
    ]
    out = np.empty(1024 * 32, dtype)
    best, width = np.inf, 1
    for _ in range(100):
        start = time.perf_counter()
        width = call(int(dtype == "float64"), 1, 1, 1, 0, 1024, 0, 0.5, out.ctypes.data)
        best = min(best, time.perf_counter() - start)
    return best / (1024 * width) * 1e9


ACTIVATIONS = (
    "sigmoid", "tanh", "relu", "elu", "gelu", "gelu_tanh", "silu", "mish", "softplus",
)  # fmt: skip


def print_table(
    write: Callable[[str], object], head: str, rows: dict[str, Callable[[str, str], str]]
) -> None:
    write(f"| {head} | " + " | ".join(f"{d}, {t}" for d in DTYPES for t in TARGETS) + " |\n")
    write("|---" * (1 + 2 * len(TARGETS)) + "|\n")
    for name, cell in rows.items():
        write(f"| {name} | " + " | ".join(cell(d, t) for d in DTYPES for t in TARGETS) + " |\n")
    write("\n")


def main() -> None:
    def error_and_pace(function: Function, dtype: str, target: str) -> str:
        x, high, low = oracle(function, dtype)
        error = ulps(evaluate(target, function.number, x), high, low)
        repeat = functools.partial(
            library(target).dr_test_repeat_unary, TARGET_NUMBERS[target], function.number
        )
        pace = throughput(repeat, dtype, 0.1 if function.name == "log" else -0.9, 4)
        return f"{error.max():.2f} ulp, {pace:.2f} ns"

    def both_paces(name: str, dtype: str, target: str) -> str:
        call, number = library(target).dr_test_repeat_activation, TARGET_NUMBERS[target]
        value, both = (
            throughput(functools.partial(call, number, name.encode(), derivative), dtype, -4, 4)
            for derivative in (0, 1)
        )
        return f"{value:.2f} ns, {both:.2f} ns"

    write = sys.stdout.write
    print_table(
        write, "function", {f.name: functools.partial(error_and_pace, f) for f in FUNCTIONS}
    )
    print_table(
        write,
        "activation: f; f and f'",
        {name: functools.partial(both_paces, name) for name in ACTIVATIONS},
    )
    print_table(
        write, "random", {"dropout factor": lambda d, t: f"{dropout_throughput(t, d):.2f} ns"}
    )


if __name__ == "__main__":
    main()
