"""The tables of MATH.md: errors and pace of the vector functions on this machine.

python native/tools/math_tables.py
"""

from __future__ import annotations

import ctypes
import functools
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path[:0] = [
    str(Path(__file__).resolve().parents[2] / "tests" / where) for where in ("vector_maths", ".")
]

from harness import DTYPES, TARGET_NUMBERS, evaluate, library  # noqa: E402
from harness import MACHINE_TARGETS as TARGETS  # noqa: E402
from math_oracles import FUNCTIONS, Function, ulps  # noqa: E402
from test_vector_functions import oracle as values  # noqa: E402

oracle = functools.cache(values)


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
