"""Activations, their derivatives and softmax against their textbook formulas in 50 digits.

Tolerances are relative: `factor` eps times the sum of the sizes of the terms that are added (so a
derivative that passes through zero is held to the size of its terms). The factor counts roundings:
exp, expm1, tanh: 1.5 ulp at most each; Phi: 6 (test_vector_functions.py); every operation after
them 1/2.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass

import mpmath as mp
import numpy as np
import pytest
from harness import DTYPES, MACHINE_TARGETS, evaluate, library

Terms = tuple[mp.mpf, ...]

FIRST_ACTIVATION, FIRST_DERIVATIVE = 100, 200
ALPHA, SLOPE = 1.5, 0.25  # exact in both dtypes
SCALE, SELU_ALPHA = (
    mp.mpf("1.0507009873554804934193349852946"),
    mp.mpf("1.6732632423543772848170429916717"),
)


def sigma(z: mp.mpf) -> mp.mpf:
    return 1 / (1 + mp.exp(-z))


def softplus(z: mp.mpf) -> mp.mpf:
    return max(z, mp.mpf(0)) + mp.log1p(mp.exp(-abs(z)))


def floor_of(case: Case, dtype: str) -> mp.mpf:
    """Return where f and f' stop instead of 0: softplus keeps log a and f' / a finite."""
    if case.name != "softplus":
        return mp.mpf("-inf")
    info = np.finfo(dtype)
    return mp.mpf(float(info.tiny)) / mp.mpf(float(info.eps))


def cdf(z: mp.mpf) -> mp.mpf:
    return (
        mp.erfc(-max(min(z, mp.mpf(1e4)), mp.mpf(-1e4)) / mp.sqrt(2)) / 2
    )  # mpmath fails further out


def pdf(z: mp.mpf) -> mp.mpf:
    return mp.exp(-z * z / 2) / mp.sqrt(2 * mp.pi)


def twice_u(z: mp.mpf) -> mp.mpf:
    return 2 * mp.sqrt(2 / mp.pi) * (z + mp.mpf("0.044715") * z**3)


def twice_u_slope(z: mp.mpf) -> mp.mpf:
    return 2 * mp.sqrt(2 / mp.pi) * (1 + 3 * mp.mpf("0.044715") * z**2)


def sigma_slope(z: mp.mpf) -> mp.mpf:
    w = mp.exp(-abs(z))
    return w / (1 + w) ** 2


def mish_gate(z: mp.mpf) -> mp.mpf:
    return mp.tanh(softplus(z))


def mish_slope(z: mp.mpf) -> mp.mpf:
    return sigma(z) / mp.cosh(softplus(z)) ** 2


def _constant(value: float) -> Callable[[mp.mpf], float]:
    return lambda z: value


def _gelu_tanh_factor(z: mp.mpf) -> mp.mpf:
    return 8 + 3 * abs(twice_u(z))  # exp multiplies the relative error of its argument by its size


@dataclass(frozen=True)
class Case:
    """One activation: f and f' as tuples of terms, the size that bounds errors, the factors."""

    kind: int
    name: str
    f: Callable[[mp.mpf], mp.mpf]
    slope: Callable[[mp.mpf], Terms]
    f_factor: Callable[[mp.mpf], float]
    slope_factor: Callable[[mp.mpf], float]
    limits: tuple[float, float]
    slope_scale: Callable[[mp.mpf], mp.mpf] | None = None  # where a term cancels inside f'
    parameter: float = 1.0


EXACT = _constant(0)
CASES = [
    Case(0, "identity", lambda z: z, lambda z: (mp.mpf(1),), EXACT, EXACT, (-np.inf, np.inf)),
    Case(
        1, "sigmoid", sigma, lambda z: (sigma_slope(z),), _constant(3), _constant(4), (0, 1), sigma
    ),
    Case(
        2,
        "tanh",
        mp.tanh,
        lambda z: (1 / mp.cosh(z) ** 2,),
        _constant(1.5),
        _constant(4),
        (-1, 1),
        lambda z: mp.mpf(1),
    ),
    Case(
        3,
        "relu",
        lambda z: max(z, mp.mpf(0)),
        lambda z: (mp.mpf(z > 0),),
        EXACT,
        EXACT,
        (0, np.inf),
    ),
    Case(
        4,
        "leaky_relu",
        lambda z: z if z > 0 else SLOPE * z,
        lambda z: (mp.mpf(1 if z > 0 else SLOPE),),
        EXACT,
        EXACT,
        (-np.inf, np.inf),
        parameter=SLOPE,
    ),
    Case(
        5,
        "elu",
        lambda z: z if z > 0 else ALPHA * mp.expm1(z),
        lambda z: (mp.mpf(1) if z > 0 else ALPHA * mp.exp(z),),
        _constant(2.5),
        _constant(4),
        (-ALPHA, np.inf),
        lambda z: mp.mpf(ALPHA),
        ALPHA,
    ),
    Case(
        6,
        "selu",
        lambda z: SCALE * (z if z > 0 else SELU_ALPHA * mp.expm1(z)),
        lambda z: (SCALE if z > 0 else SCALE * SELU_ALPHA * mp.exp(z),),
        _constant(3),
        _constant(4),
        (float(-SCALE * SELU_ALPHA), np.inf),
        lambda z: SCALE * SELU_ALPHA,
    ),
    Case(
        7,
        "gelu",
        lambda z: z * cdf(z),
        lambda z: (cdf(z), z * pdf(z)),
        _constant(7),
        _constant(8),
        (0, np.inf),
    ),
    Case(
        8,
        "gelu_tanh",
        lambda z: z * sigma(twice_u(z)),
        lambda z: (sigma(twice_u(z)), z * sigma_slope(twice_u(z)) * twice_u_slope(z)),
        _gelu_tanh_factor,
        _gelu_tanh_factor,
        (0, np.inf),
    ),
    Case(
        9,
        "silu",
        lambda z: z * sigma(z),
        lambda z: (sigma(z), z * sigma_slope(z)),
        _constant(4),
        _constant(6),
        (0, np.inf),
    ),
    Case(
        10,
        "mish",
        lambda z: z * mish_gate(z),
        lambda z: (mish_gate(z), z * mish_slope(z)),
        _constant(7),
        _constant(9),
        (0, np.inf),
    ),
    Case(11, "softplus", softplus, lambda z: (sigma(z),), _constant(3), _constant(5), (0, np.inf)),
    Case(12, "exp", mp.exp, lambda z: (mp.exp(z),), _constant(1), _constant(1), (0, np.inf)),
]


def arguments(dtype: str) -> np.ndarray:
    generator = np.random.default_rng(1986)
    limits = np.finfo(dtype)
    extreme = [1e3, 1e5, 1e30, float(limits.max), float(limits.tiny), 1e-20, 0.7517916]
    z = np.concatenate(
        [
            generator.uniform(-20, 20, 700),
            generator.uniform(-1, 1, 300),
            generator.uniform(-120, 100, 200),
            extreme,
            np.negative(extreme),
            [0.0],
        ]
    )
    return z.astype(dtype)


def identify(case: Case) -> str:
    return case.name


def growth(case: Case, z: np.ndarray) -> np.ndarray:
    """Return what a vanishing factor of f or f' is multiplied by at most, before it is 0."""
    size = 1 + np.minimum(abs(z.astype(np.float64)), 30 if case.name == "gelu_tanh" else 1000)
    return size * (1.6 + 0.22 * size**2) if case.name == "gelu_tanh" else size


def disagreement(
    z: np.ndarray,
    got: np.ndarray,
    terms: list[Terms],
    sizes: list[mp.mpf],
    factors: list[float],
    growing: np.ndarray,
) -> str | None:
    """Return the first value further from the sum of its terms than factor * eps * size.

    Denormal factors are off by up to four of the least number, and then grow.
    """
    info = np.finfo(got.dtype)
    eps, least = mp.mpf(float(info.eps)), mp.mpf(float(info.smallest_subnormal))
    floors = np.where(factors, 4 * growing, 0)
    columns = zip(got.tolist(), terms, sizes, factors, floors.tolist(), strict=True)
    for i, (value, parts, size, factor, floor) in enumerate(columns):
        wanted = mp.fsum(parts)
        if abs(wanted) > mp.mpf(float(info.max)) * (1 + eps / 4):
            if value != float(mp.sign(wanted)) * np.inf:
                return f"z = {z[i]!r}: {value}, expected an infinity"
        elif not abs(mp.mpf(value) - wanted) <= factor * eps * size + floor * least:
            return f"z = {z[i]!r}: {value}, expected {mp.nstr(wanted, 20)}"
    return None


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES, ids=identify)
def test_value_and_derivative(case: Case, dtype: str) -> None:
    z = arguments(dtype)
    exact_z = [mp.mpf(v) for v in z.tolist()]
    floor = floor_of(case, dtype)
    wanted = [(max(case.f(v), floor),) for v in exact_z]
    sizes = [abs(w[0]) for w in wanted]
    factors = [float(case.f_factor(v)) for v in exact_z]
    for target in MACHINE_TARGETS:
        value = evaluate(target, FIRST_ACTIVATION + case.kind, z, case.parameter)
        failure = disagreement(z, value, wanted, sizes, factors, growth(case, z))
        assert failure is None, f"{target}: {failure}"

    wanted = [case.slope(v) for v in exact_z]
    if case.name == "softplus":  # its slope is computed from its value
        wanted = [(max(v, floor),) for (v,) in wanted]
    scale = case.slope_scale
    sizes = [
        scale(v) if scale else mp.fsum(abs(t) for t in w)
        for v, w in zip(exact_z, wanted, strict=True)
    ]
    factors = [float(case.slope_factor(v)) for v in exact_z]
    for target in MACHINE_TARGETS:
        slope = evaluate(target, FIRST_DERIVATIVE + case.kind, z, case.parameter)
        failure = disagreement(z, slope, wanted, sizes, factors, growth(case, z))
        assert failure is None, f"{target}: {failure}"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("target", MACHINE_TARGETS)
@pytest.mark.parametrize("case", CASES, ids=identify)
def test_nan_is_carried_and_infinities_have_their_limits(
    case: Case, target: str, dtype: str
) -> None:
    z = np.array([-np.inf, np.inf, np.nan], dtype)
    value = evaluate(target, FIRST_ACTIVATION + case.kind, z, case.parameter)
    limits = [max(limit, float(floor_of(case, dtype))) for limit in case.limits]
    np.testing.assert_allclose(
        value, np.array([*limits, np.nan], dtype), rtol=2 * np.finfo(dtype).eps
    )
    slope = evaluate(target, FIRST_DERIVATIVE + case.kind, z, case.parameter)
    assert np.isfinite(slope[:2]).all() or case.name == "exp"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("target", MACHINE_TARGETS)
@pytest.mark.parametrize("case", CASES, ids=identify)
def test_flushing_denormals_changes_no_normal_result(case: Case, target: str, dtype: str) -> None:
    z = arguments(dtype)
    numbers = (FIRST_ACTIVATION + case.kind, FIRST_DERIVATIVE + case.kind)
    kept = [evaluate(target, number, z, case.parameter) for number in numbers]
    before = library(target).dr_test_set_flush(0, 1)
    try:
        flushed = [evaluate(target, number, z, case.parameter) for number in numbers]
    finally:
        library(target).dr_test_set_flush(before, 0)
    # A denormal factor is flushed as a whole: less than the least normal number, and what it is
    # multiplied by.
    bound = 2 * np.finfo(dtype).tiny * growth(case, z)
    for a, b in zip(kept, flushed, strict=True):
        near_zero = abs(a) <= bound / np.finfo(dtype).eps
        np.testing.assert_array_equal(a[~near_zero], b[~near_zero])
        assert (abs(a[near_zero] - b[near_zero]) <= bound[near_zero]).all()


def softmax(target: str, z: np.ndarray) -> tuple[np.ndarray, float]:
    call = library(target).dr_test_softmax
    call.restype, call.argtypes = (
        ctypes.c_double,
        [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int],
    )
    guard = np.full(z.size + 64, 7, z.dtype)  # nothing beyond the row may be written
    log_sum = call(int(z.dtype == np.float64), z.ctypes.data, guard.ctypes.data, z.size)
    assert (guard[z.size :] == 7).all()
    return guard[: z.size], log_sum


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("target", MACHINE_TARGETS)
@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 33, 100])
def test_softmax_and_log_sum_exp(n: int, target: str, dtype: str) -> None:
    z = (np.random.default_rng(n).normal(size=n) * 30 + 1000).astype(dtype)
    a, log_sum = softmax(target, z)
    exact = [mp.exp(mp.mpf(v)) for v in z.tolist()]
    total = mp.fsum(exact)
    eps, span = np.finfo(dtype).eps, float(z.max() - z.min())
    # z_j - max is rounded (span eps / 2 in the exponent); a sum of n terms in order: n eps / 2.
    wanted = np.array([float(e / total) for e in exact])
    np.testing.assert_allclose(
        a,
        wanted,
        rtol=(4 + span / 2 + n / 2) * eps,
        atol=4 * float(np.finfo(dtype).smallest_subnormal),
    )
    np.testing.assert_allclose(log_sum, float(mp.log(total)), rtol=2 * eps)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("target", MACHINE_TARGETS)
def test_softmax_at_extremes(target: str, dtype: str) -> None:
    huge = float(np.finfo(dtype).max)
    np.testing.assert_array_equal(
        softmax(target, np.array([huge, -huge, -np.inf], dtype))[0], [1, 0, 0]
    )
    for position in range(20):
        z = np.zeros(20, dtype)
        z[position] = np.nan
        assert np.isnan(softmax(target, z)[0]).all()
