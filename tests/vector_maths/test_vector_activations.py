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
from harness import DTYPES, MACHINE_TARGETS, activate, library

from members import assert_complete

Terms = tuple[mp.mpf, ...]

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

    name: str
    f: Callable[[mp.mpf], mp.mpf]
    slope: Callable[[mp.mpf], Terms]
    f_factor: Callable[[mp.mpf], float]
    slope_factor: Callable[[mp.mpf], float]
    limits: tuple[float, float]
    slope_scale: Callable[[mp.mpf], mp.mpf] | None = None  # where a term cancels inside f'
    setting: float = 1.0


EXACT = _constant(0)
CASES = [
    Case("identity", lambda z: z, lambda z: (mp.mpf(1),), EXACT, EXACT, (-np.inf, np.inf)),
    Case("sigmoid", sigma, lambda z: (sigma_slope(z),), _constant(3), _constant(4), (0, 1), sigma),
    Case(
        "tanh",
        mp.tanh,
        lambda z: (1 / mp.cosh(z) ** 2,),
        _constant(1.5),
        _constant(4),
        (-1, 1),
        lambda z: mp.mpf(1),
    ),
    Case(
        "relu",
        lambda z: max(z, mp.mpf(0)),
        lambda z: (mp.mpf(z > 0),),
        EXACT,
        EXACT,
        (0, np.inf),
    ),
    Case(
        "leaky_relu",
        lambda z: z if z > 0 else SLOPE * z,
        lambda z: (mp.mpf(1 if z > 0 else SLOPE),),
        EXACT,
        EXACT,
        (-np.inf, np.inf),
        setting=SLOPE,
    ),
    Case(
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
        "selu",
        lambda z: SCALE * (z if z > 0 else SELU_ALPHA * mp.expm1(z)),
        lambda z: (SCALE if z > 0 else SCALE * SELU_ALPHA * mp.exp(z),),
        _constant(3),
        _constant(4),
        (float(-SCALE * SELU_ALPHA), np.inf),
        lambda z: SCALE * SELU_ALPHA,
    ),
    Case(
        "gelu",
        lambda z: z * cdf(z),
        lambda z: (cdf(z), z * pdf(z)),
        _constant(7),
        _constant(8),
        (0, np.inf),
    ),
    Case(
        "gelu_tanh",
        lambda z: z * sigma(twice_u(z)),
        lambda z: (sigma(twice_u(z)), z * sigma_slope(twice_u(z)) * twice_u_slope(z)),
        _gelu_tanh_factor,
        _gelu_tanh_factor,
        (0, np.inf),
    ),
    Case(
        "silu",
        lambda z: z * sigma(z),
        lambda z: (sigma(z), z * sigma_slope(z)),
        _constant(4),
        _constant(6),
        (0, np.inf),
    ),
    Case(
        "mish",
        lambda z: z * mish_gate(z),
        lambda z: (mish_gate(z), z * mish_slope(z)),
        _constant(7),
        _constant(9),
        (0, np.inf),
    ),
    Case(
        "hard_swish",
        lambda z: z * min(max(z + 3, mp.mpf(0)), mp.mpf(6)) / 6,
        lambda z: (mp.mpf(0),) if z <= -3 else (mp.mpf(1),) if z >= 3 else (z / 3, mp.mpf(1) / 2),
        _constant(2),
        _constant(1.5),
        (0, np.inf),
    ),
    Case(
        "hard_sigmoid",
        lambda z: min(max(z + 3, mp.mpf(0)), mp.mpf(6)) / 6,
        lambda z: (mp.mpf(abs(z) < 3) / 6,),
        _constant(1),
        _constant(0.5),
        (0, 1),
    ),
    Case("softplus", softplus, lambda z: (sigma(z),), _constant(3), _constant(5), (0, np.inf)),
    Case(
        "softsign",
        lambda z: z / (1 + abs(z)),
        lambda z: (1 / (1 + abs(z)) ** 2,),
        _constant(1),
        _constant(2.5),
        (-1, 1),
    ),
    Case("exp", mp.exp, lambda z: (mp.exp(z),), _constant(1), _constant(1), (0, np.inf)),
]


def test_every_activation_of_elements_is_compared() -> None:
    names = {case.name for case in CASES}
    assert_complete("activation", names, "formula in CASES", without={"softmax"})


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
        value = activate(target, case.name, z, case.setting)
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
        slope = activate(target, case.name, z, case.setting, derivative=True)
        failure = disagreement(z, slope, wanted, sizes, factors, growth(case, z))
        assert failure is None, f"{target}: {failure}"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("target", MACHINE_TARGETS)
@pytest.mark.parametrize("case", CASES, ids=identify)
def test_nan_is_carried_and_infinities_have_their_limits(
    case: Case, target: str, dtype: str
) -> None:
    z = np.array([-np.inf, np.inf, np.nan], dtype)
    value = activate(target, case.name, z, case.setting)
    limits = [max(limit, float(floor_of(case, dtype))) for limit in case.limits]
    np.testing.assert_allclose(
        value, np.array([*limits, np.nan], dtype), rtol=2 * np.finfo(dtype).eps
    )
    slope = activate(target, case.name, z, case.setting, derivative=True)
    assert np.isfinite(slope[:2]).all() or case.name == "exp"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("target", MACHINE_TARGETS)
@pytest.mark.parametrize("case", CASES, ids=identify)
def test_flushing_denormals_changes_no_normal_result(case: Case, target: str, dtype: str) -> None:
    z = arguments(dtype)

    def both() -> list[np.ndarray]:
        return [activate(target, case.name, z, case.setting, derivative=d) for d in (False, True)]

    kept = both()
    before = library(target).dr_test_set_flush(0, 1)
    try:
        flushed = both()
    finally:
        library(target).dr_test_set_flush(before, 0)
    # A denormal factor is flushed as a whole: less than the least normal number, and what it is
    # multiplied by.
    bound = 2 * np.finfo(dtype).tiny * growth(case, z)
    for a, b in zip(kept, flushed, strict=True):
        near_zero = abs(a) <= bound / np.finfo(dtype).eps
        np.testing.assert_array_equal(a[~near_zero], b[~near_zero])
        assert (abs(a[near_zero] - b[near_zero]) <= bound[near_zero]).all()


class Panels:
    """Rows as they lie in a tile: in panels of so many columns, beside whatever was there."""

    def __init__(self, target: str, dtype: str, rows: int, columns: int) -> None:
        self.call, self.is_double = library(target), int(dtype == "float64")
        self.rows, self.columns, self.dtype = rows, columns, dtype
        self.width = self.call.dr_test_panel_width(self.is_double)
        self.count, self.capacity = -(-columns // self.width), rows + 3

    @property
    def stride(self) -> int:
        """Elements from panel to panel."""
        return self.capacity * self.width

    def put(self, x: np.ndarray | None = None) -> np.ndarray:
        """Return NaN in memory aligned as vectors are, (panels, rows, columns), x in its places."""
        size = self.count * self.stride
        whole = np.full(size + 16, np.nan, self.dtype)
        first = -whole.ctypes.data % 64 // whole.itemsize
        panels = whole[first : first + size].reshape(self.count, self.capacity, self.width)
        if x is not None:
            for j in range(self.columns):
                panels[j // self.width, : self.rows, j % self.width] = x[:, j]
        return panels

    def take(self, panels: np.ndarray) -> np.ndarray:
        """Return the rows; what lies beyond them must be as it was."""
        assert np.isnan(panels[:, self.rows :]).all()
        rows = panels[:, : self.rows].transpose(1, 0, 2).reshape(self.rows, -1)
        return rows[:, : self.columns].copy()

    def softmax(self, z: np.ndarray) -> np.ndarray:
        """Return the softmax of each row, by the engine's kernel."""
        call, panels, a = self.call.dr_test_softmax, self.put(z), self.put()
        call.argtypes = [ctypes.c_int] + [ctypes.c_long] * 3 + [ctypes.c_void_p] * 2
        call.restype = None
        call(
            self.is_double, self.rows, self.columns, self.stride, panels.ctypes.data, a.ctypes.data
        )
        return self.take(a)

    def softmax_backward(
        self, a: np.ndarray, gradient: np.ndarray, before: np.ndarray | None = None
    ) -> np.ndarray:
        """Return dL/dz for dL/da, added to what was there before."""
        call = self.call.dr_test_softmax_backward
        call.argtypes = (
            [ctypes.c_int] + [ctypes.c_long] * 3 + [ctypes.c_void_p] * 3 + [ctypes.c_int]
        )
        call.restype = None
        panels, g, d = self.put(a), self.put(gradient), self.put(before)
        call(
            self.is_double, self.rows, self.columns, self.stride, panels.ctypes.data,
            g.ctypes.data, d.ctypes.data, before is not None,
        )  # fmt: skip
        return self.take(d)


WIDTHS = [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 100]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("target", MACHINE_TARGETS)
@pytest.mark.parametrize("n", WIDTHS)
def test_softmax(n: int, target: str, dtype: str) -> None:
    z = (np.random.default_rng(n).normal(size=(5, n)) * 30 + 1000).astype(dtype)
    a = Panels(target, dtype, 5, n).softmax(z)
    eps = np.finfo(dtype).eps
    for row, found in zip(z, a, strict=True):
        exact = [mp.exp(mp.mpf(v)) for v in row.tolist()]
        total, span = mp.fsum(exact), float(row.max() - row.min())
        # z_j - max is rounded (span eps / 2 in the exponent); a sum of n terms in order: n eps / 2.
        np.testing.assert_allclose(
            found,
            np.array([float(e / total) for e in exact]),
            rtol=(4 + span / 2 + n / 2) * eps,
            atol=4 * float(np.finfo(dtype).smallest_subnormal),
        )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("target", MACHINE_TARGETS)
@pytest.mark.parametrize("n", WIDTHS)
def test_softmax_backward(n: int, target: str, dtype: str) -> None:
    """``dL/dz_j = a_j (g_j - sum_k g_k a_k)``, in place of what was there or added to it."""
    rng = np.random.default_rng(n)
    a = rng.dirichlet(np.full(n, 0.3), 5).astype(dtype)
    g, before = (rng.normal(size=(5, n)).astype(dtype) * 100 for _ in range(2))
    panels, eps = Panels(target, dtype, 5, n), np.finfo(dtype).eps
    found, added = panels.softmax_backward(a, g), panels.softmax_backward(a, g, before)
    for i in range(5):
        terms = [mp.mpf(x) * mp.mpf(y) for x, y in zip(a[i].tolist(), g[i].tolist(), strict=True)]
        total, size = mp.fsum(terms), mp.fsum(abs(t) for t in terms)
        for j in range(n):
            wanted = mp.mpf(float(a[i, j])) * (mp.mpf(float(g[i, j])) - total)
            # The sum of n products: (n + 1) eps / 2 of their sizes; a difference and a product.
            bound = eps * float(a[i, j]) * (abs(float(g[i, j])) + float(size) * (n + 3) / 2)
            assert abs(float(mp.mpf(float(found[i, j])) - wanted)) <= bound
            wanted += mp.mpf(float(before[i, j]))
            assert abs(float(mp.mpf(float(added[i, j])) - wanted)) <= bound + eps * abs(
                float(wanted)
            )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("target", MACHINE_TARGETS)
def test_softmax_at_extremes(target: str, dtype: str) -> None:
    huge = float(np.finfo(dtype).max)
    z = np.array([[huge, -huge, -np.inf]], dtype)
    np.testing.assert_array_equal(Panels(target, dtype, 1, 3).softmax(z), [[1, 0, 0]])
    rows = Panels(target, dtype, 20, 20)
    z = np.zeros((20, 20), dtype)
    np.fill_diagonal(z[1:], np.nan)
    found = rows.softmax(z)
    np.testing.assert_array_equal(found[0], np.full(20, 1 / np.dtype(dtype).type(20)))
    assert np.isnan(found[1:]).all()
