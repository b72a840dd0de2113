"""The vector functions of native/src/math.hpp and erf.hpp, against mpmath, for each target here."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest
from harness import DTYPES, MACHINE_TARGETS, evaluate, library
from math_oracles import FUNCTIONS, Function, exact, samples, ulps

from problems import FEW


def oracle(function: Function, dtype: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return arguments and their exact values, as high and low parts."""
    many = 2000 if FEW else 1 << 19 if dtype == "float32" else 6000
    x = samples(function, dtype, dense=many, spread=many)
    return x, *exact(function, x)


def identify(function: Function) -> str:
    return function.name


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("function", FUNCTIONS, ids=identify)
def test_error_over_the_whole_range(function: Function, dtype: str) -> None:
    x, high, low = oracle(function, dtype)
    for target in MACHINE_TARGETS:
        error = ulps(evaluate(target, function.number, x), high, low)
        worst = int(error.argmax())
        assert error[worst] <= function.bound[DTYPES.index(dtype)], (
            f"{target}: {error[worst]} ulp at {x[worst]!r}"
        )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("target", MACHINE_TARGETS)
@pytest.mark.parametrize("function", FUNCTIONS, ids=identify)
def test_special_values(function: Function, target: str, dtype: str) -> None:
    x = np.array([-np.inf, np.inf, 0.0, -0.0, np.nan], dtype)
    expected = np.array([*function.limits, function.limits[2], np.nan], dtype)
    np.testing.assert_allclose(
        evaluate(target, function.number, x), expected, rtol=4 * np.finfo(dtype).eps
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("target", MACHINE_TARGETS)
@pytest.mark.parametrize("function", ["expm1", "tanh", "erf"])
def test_a_zero_keeps_its_sign(function: str, target: str, dtype: str) -> None:
    number = next(f.number for f in FUNCTIONS if f.name == function)
    values = evaluate(target, number, np.array([0.0, -0.0], dtype))
    np.testing.assert_array_equal(values, [0, 0])
    np.testing.assert_array_equal(np.signbit(values), [False, True])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("target", MACHINE_TARGETS)
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
