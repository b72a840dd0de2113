"""Activations and their derivatives against mpmath, also where naive formulas overflow.

Bounds. A basic operation rounds by half a unit in the last place, eps / 2; an elementary function
of NumPy (exp, expm1, log1p, tanh) is taken to err by at most 4 units. Carried through a formula
these give ``k * eps * scale(z)``: the scale is the size of the largest intermediate result that a
subtraction consumes (the result itself where there is none), k the number of units that add up.
Results below the smallest normal number may lose it, so that is added.
"""

from __future__ import annotations

import numpy as np
import pytest
from mpmath import mp, mpf

from deltarule.formulas import activations, special
from gradient_cases import ACTIVATIONS
from members import assert_complete

mp.dps = 60

EXTREMES = [
    *(0.0, 1e-300, 1e-30, 1e-8, 1e-4, 0.01, 0.1, 0.5, 1.0, 1.2784, 1.4, 2.0, 3.0, 5.0, 7.4, 8.0),
    *(10.0, 16.6, 17.0, 19.0, 20.0, 36.0, 37.0, 40.0, 50.0, 87.0, 88.8, 89.0, 100.0, 104.0, 500.0),
    *(708.0, 709.8, 710.0, 745.0, 746.0, 1e3, 1e4, 1e10, 1e30),
]
GRID = np.concatenate([[s * z for z in EXTREMES for s in (1, -1)], np.linspace(-12, 12, 97)])
DTYPES = [np.float32, np.float64]


def arguments(dtype):
    """Return all arguments as the dtype has them, -0.0 and numbers near the largest among them."""
    limit = np.finfo(dtype).max / 2  # the largest that scale * z does not take out of range
    return np.concatenate([GRID.astype(dtype), np.array([-0.0, limit, -limit], dtype)])


def _sigma(z):
    return 1 / (1 + mp.exp(-z))


def _phi(z):
    return mp.exp(-z * z / 2) / mp.sqrt(2 * mp.pi)


def _cdf(z):
    return _erfc(-z / mp.sqrt(2)) / 2


def _erfc(z):
    return mp.erfc(z) if abs(z) < 1e6 else mpf(2 if z < 0 else 0)  # 1e-400000000000 is 0 here


def _softplus(z):
    # log1p, since e^z vanishes beside 1 at any number of digits; beyond 1e4 it is z itself.
    return z if z > 1e4 else mp.log1p(mp.exp(z)) if z > -1e4 else mp.exp(z)


def _tanh_inner(z):
    u = mp.sqrt(2 / mp.pi) * (z + mpf("0.044715") * z**3)
    return u, mp.sqrt(2 / mp.pi) * (1 + 3 * mpf("0.044715") * z * z)


def _gelu_tanh(z):
    # (1 + tanh u) / 2 = sigma(2 u), which does not cancel
    return z * _sigma(2 * _tanh_inner(z)[0]) if abs(z) < 1e4 else max(z, mpf(0))


def _gelu_tanh_derivative(z):
    if abs(z) > 1e4:
        return mpf(z > 0)
    u, slope = _tanh_inner(z)
    s = _sigma(2 * u)
    return s + 2 * z * s * _sigma(-2 * u) * slope


def _gelu_tanh_factor(z):
    # sigma's argument, 2 u, has 4 units: a relative error of 4 * 2 |u| in sigma where it is small
    return 1 + 2 * abs(_tanh_inner(z)[0])


def _gelu_tanh_derivative_scale(z):
    z = min(max(z, mpf(-1000)), mpf(10))  # from 10 on, 1 - s is exactly 0
    u, slope = _tanh_inner(z)
    return _sigma(2 * u) * (1 + 2 * abs(z) * slope) * _gelu_tanh_factor(z)


def _mish_derivative(z):
    if abs(z) > 1e4:
        return mpf(z > 0)
    s = _softplus(z)
    return mp.tanh(s) + z * mp.sech(s) ** 2 * _sigma(z)


def _far(z):
    return min(abs(z), mpf(40))  # beyond, the factor that is subtracted is exactly 0


SELU_ALPHA, SELU_SCALE = mpf("1.6732632423543772"), mpf("1.0507009873554805")

# name: (f, its k, its scale, f', its k, its scale); scale None: that of the result.
EXACT = {
    "identity": (lambda z: z, 0, None, lambda z: mpf(1), 0, None),
    # e has 4 units, 1 + e at most 4.5, the quotient 9.
    "sigmoid": (_sigma, 9, None, lambda z: _sigma(z) * _sigma(-z), 11, _sigma),
    "tanh": (mp.tanh, 4, None, lambda z: mp.sech(z) ** 2, 9, lambda z: mpf(1)),
    "relu": (lambda z: max(z, mpf(0)), 0, None, lambda z: mpf(z > 0), 0, None),
    # the slope is rounded to the dtype, then the product
    "leaky_relu": (
        lambda z: z if z > 0 else z / 100,
        1.01,
        None,
        lambda z: mpf(1) if z > 0 else mpf("0.01"),
        1,
        None,
    ),
    "elu": (
        lambda z: z if z > 0 else mp.expm1(z),
        5,
        None,
        lambda z: mpf(1) if z > 0 else mp.exp(z),
        5,
        None,
    ),
    "elu(0.4)": (
        lambda z: z if z > 0 else mpf("0.4") * mp.expm1(z),
        5,
        None,
        lambda z: mpf(1) if z > 0 else mpf("0.4") * mp.exp(z),
        5,
        None,
    ),
    "selu": (
        lambda z: SELU_SCALE * (z if z > 0 else SELU_ALPHA * mp.expm1(z)),
        6,
        None,
        lambda z: SELU_SCALE * (mpf(1) if z > 0 else SELU_ALPHA * mp.exp(z)),
        6,
        None,
    ),
    # erfc has at most 24 units (see below); its argument z / sqrt 2 is off by one unit, which
    # moves Phi by |z| phi(z).
    "gelu": (
        lambda z: z * _cdf(z),
        26,
        lambda z: abs(z) * (_cdf(z) + _far(z) * _phi(z)),
        lambda z: _cdf(z) + z * _phi(z),
        26,
        lambda z: _cdf(z) + _far(z) * _phi(z) * (1 + z * z / 4),
    ),
    # 1 + tanh u is off by 4.5 units of 1
    "gelu_tanh": (
        _gelu_tanh,
        10,
        lambda z: abs(_gelu_tanh(z)) * _gelu_tanh_factor(max(min(z, mpf(10)), mpf(-1000))),
        _gelu_tanh_derivative,
        16,
        _gelu_tanh_derivative_scale,
    ),
    "silu": (
        lambda z: z * _sigma(z),
        10,
        None,
        lambda z: _sigma(z) * (1 + z * _sigma(-z)),
        30,
        lambda z: _sigma(z) * (1 + abs(z) * _sigma(-z)),
    ),
    # softplus has 9 units, tanh does not enlarge them and adds 4
    "mish": (
        lambda z: z * mp.tanh(_softplus(z)),
        14,
        None,
        _mish_derivative,
        40,
        lambda z: mp.tanh(_softplus(z)) + _far(z) * _sigma(z),
    ),
    # z + 3, the quotient and the product round by half a unit each; f' is 0 at -3/2
    "hard_swish": (
        lambda z: z * min(max(z + 3, mpf(0)), mpf(6)) / 6,
        1.5,
        None,
        lambda z: mpf(0) if z <= -3 else mpf(1) if z >= 3 else z / 3 + mpf(1) / 2,
        1,
        lambda z: abs(z) / 3 + mpf(1) / 2,
    ),
    "hard_sigmoid": (
        lambda z: min(max(z + 3, mpf(0)), mpf(6)) / 6,
        1,
        None,
        lambda z: mpf(abs(z) < 3) / 6,
        0.5,
        None,
    ),
    # f' = 1 - e^-a does not enlarge a's 9 units, and adds 4
    "softplus": (_softplus, 9, None, _sigma, 13, None),
    "softsign": (
        lambda z: z / (1 + abs(z)),
        1,
        None,
        lambda z: 1 / (1 + abs(z)) ** 2,
        2.5,
        None,
    ),
    "exp": (mp.exp, 4, None, mp.exp, 4, None),
}


def least(name, dtype):
    """Return the size below which results lose their digits: the smallest normal number.

    Softplus stops there above 0, at tiny / eps, so that its logarithm and f' / a exist.
    """
    info = np.finfo(dtype)
    return float(info.tiny) / (float(info.eps) if name == "softplus" else 1)


def assert_close(computed, exact, scales, k, dtype, smallest):
    """Compare with exact values; those beyond the dtype's range must be infinite."""
    info = np.finfo(dtype)
    for value, right, scale, z in zip(computed, exact, scales, arguments(dtype), strict=True):
        assert not np.isnan(value), f"NaN at {z!r}"
        if abs(right) > mpf(float(info.max)) * (1 + 4 * float(info.eps)):
            assert np.isinf(value), f"{value!r} at {z!r}, expected infinity"
            continue
        bound = k * float(info.eps) * abs(scale)
        bound += smallest if right and k else 0
        if np.isinf(value):  # the exact value lies within rounding of the largest number
            value = info.max
        error = abs(mpf(float(value)) - right)
        assert error <= bound, (
            f"f({z!r}) = {value!r}, exactly {mp.nstr(right, 20)}: error {mp.nstr(error, 5)}, "
            f"bound {mp.nstr(mpf(bound), 5)}"
        )


@pytest.mark.parametrize("table", ["EXACT", "LIMITS"])
def test_every_elementwise_activation_is_compared(table):
    plain = {name for name in globals()[table] if "(" not in name}
    assert_complete("activation", plain, f"formula in {table}", without={"softmax"})


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", EXACT)
def test_an_activation_is_exact_within_rounding(name, dtype):
    f, k, scale, *_ = EXACT[name]
    z = arguments(dtype)
    a = ACTIVATIONS[name](z)
    assert a.dtype == dtype
    exact = [f(mpf(float(v))) for v in z]
    scales = exact if scale is None else [scale(mpf(float(v))) for v in z]
    assert_close(a, exact, scales, k, dtype, least(name, dtype))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", EXACT)
def test_a_derivative_is_exact_within_rounding(name, dtype):
    *_, f, k, scale = EXACT[name]
    z = arguments(dtype)
    function = ACTIVATIONS[name]
    d = function.derivative(z, function(z))
    assert d.dtype == dtype
    exact = [f(mpf(float(v))) for v in z]
    scales = exact if scale is None else [scale(mpf(float(v))) for v in z]
    assert_close(d, exact, scales, k, dtype, least(name, dtype))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_nan_is_carried_through(name, dtype):
    function = ACTIVATIONS[name]
    z = np.array([[1.0, np.nan, -1.0]], dtype)
    a = function(z)
    expected = [[True] * 3] if name == "softmax" else [[False, True, False]]
    np.testing.assert_array_equal(np.isnan(a), expected)
    # Backward carries it too: where the formula reads z or a, and through an incoming NaN always.
    gradient = np.array([[1.0, np.nan, 1.0]], dtype)
    assert np.isnan(function.backward(gradient, z, a)[0, 1])


# f at -inf and +inf, f' there
LIMITS = {
    "identity": (-np.inf, np.inf, 1, 1),
    "sigmoid": (0, 1, 0, 0),
    "tanh": (-1, 1, 0, 0),
    "relu": (0, np.inf, 0, 1),
    "leaky_relu": (-np.inf, np.inf, 0.01, 1),
    "elu": (-1, np.inf, 0, 1),
    "elu(0.4)": (-0.4, np.inf, 0, 1),
    "selu": (-1.7580993408473766, np.inf, 0, 1.0507009873554805),
    "gelu": (0, np.inf, 0, 1),
    "gelu_tanh": (0, np.inf, 0, 1),
    "silu": (0, np.inf, 0, 1),
    "mish": (0, np.inf, 0, 1),
    "hard_swish": (0, np.inf, 0, 1),
    "hard_sigmoid": (0, 1, 0, 0),
    "softplus": (0, np.inf, 0, 1),
    "softsign": (-1, 1, 0, 0),
    "exp": (0, np.inf, 0, np.inf),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", LIMITS)
def test_an_activation_has_its_limits_at_infinity(name, dtype):
    function = ACTIVATIONS[name]
    z = np.array([-np.inf, np.inf], dtype)
    a = function(z)
    low, high, low_slope, high_slope = LIMITS[name]
    close = {"rtol": np.finfo(dtype).eps, "atol": least(name, dtype) if name == "softplus" else 0}
    np.testing.assert_allclose(a, [low, high], **close)
    np.testing.assert_allclose(function.derivative(z, a), [low_slope, high_slope], **close)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_logarithm_of_softplus_and_its_relative_slope_exist_far_below_zero(dtype):
    z = np.array([-np.finfo(dtype).max, -1e30, -1e3, -104.0, -90.0], dtype)
    function = ACTIVATIONS["softplus"]
    a = function(z)
    assert np.isfinite(np.log(a)).all()
    np.testing.assert_allclose(function.derivative(z, a) / a, 1, rtol=20 * np.finfo(dtype).eps)


DIPPING = ["gelu", "gelu_tanh", "silu", "mish", "hard_swish"]
INCREASING = [name for name in LIMITS if name not in DIPPING]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", INCREASING)
def test_an_increasing_activation_never_falls_by_more_than_rounding(name, dtype):
    z = np.sort(arguments(dtype))
    with np.errstate(invalid="ignore"):  # inf - inf beyond the range of exp
        step = np.diff(ACTIVATIONS[name](z))
    a = np.abs(ACTIVATIONS[name](z))
    assert not (step < -8 * np.finfo(dtype).eps * a[1:]).any()


@pytest.mark.parametrize("name", DIPPING)
def test_the_others_fall_to_one_minimum_and_rise_from_it(name):
    z = np.linspace(-8, 8, 4001)
    d = ACTIVATIONS[name].derivative(z, ACTIVATIONS[name](z))
    signs = np.sign(np.where(np.abs(d) < 1e-12, 0, d))
    changes = np.diff(signs[signs != 0])
    assert (changes != 0).sum() == 1
    assert changes[changes != 0] == 2


# ------------------------------------------------------------------------------------ softmax


@pytest.mark.parametrize("dtype", DTYPES)
def test_softmax_is_exact_within_rounding(dtype):
    """``z_j - max`` rounds by half a unit, which e raises to ``|z_j - max| / 2`` units of a_j."""
    rng = np.random.default_rng(0)
    rows = [rng.choice(GRID, 4) for _ in range(300)] + [rng.normal(0, 5, 4) for _ in range(100)]
    z = np.array(rows).astype(dtype)
    a = activations.Softmax()(z)
    assert a.dtype == dtype
    info = np.finfo(dtype)
    for row, computed in zip(z, a, strict=True):
        exact = [mpf(float(v)) for v in row]
        top = max(exact)
        e = [mp.exp(v - top) if v - top > -1e6 else mpf(0) for v in exact]
        for value, right, v in zip(computed, e, exact, strict=True):
            right /= sum(e)
            k = 4 + 4.5 + 4 + (top - v)
            bound = k * float(info.eps) * right + float(info.tiny)
            assert abs(mpf(float(value)) - right) <= bound
    np.testing.assert_allclose(a.sum(axis=1), 1, rtol=4 * info.eps)


@pytest.mark.parametrize("dtype", DTYPES)
def test_softmax_takes_the_largest_numbers_there_are(dtype):
    limit = np.finfo(dtype).max
    z = np.array([[limit, -limit], [limit, limit], [-limit, -limit], [0, -limit]], dtype)
    a = activations.Softmax()(z)
    np.testing.assert_array_equal(a, [[1, 0], [0.5, 0.5], [0.5, 0.5], [1, 0]])


@pytest.mark.parametrize("dtype", DTYPES)
def test_softmax_does_not_see_a_common_shift(dtype):
    z = np.array([[1.0, 2.0, 4.0]], dtype)
    for shift in (2.0**10, -(2.0**10)):  # exact in both dtypes
        np.testing.assert_array_equal(
            activations.Softmax()(z + dtype(shift)), activations.Softmax()(z)
        )


# --------------------------------------------------------------------------------------- erfc


def test_erfc_is_within_24_units_in_the_last_place_everywhere():
    """Worst case by ranges of |x|, in units of eps.

    The rational functions err by less than one half (Cody). Horner's rule on terms of one sign
    adds one per degree: 8 above, 8 below. The two exponentials err by 1 each, and the product
    ``(u - h)(u + h) <= u / 8`` within the second is off by one unit: 3.4 at most, and only where
    the degrees are 5 and 5. Two products and a quotient: 1.5. Middle: 21; tail: 19. Results below
    the normal range are exact to their own spacing times that.
    """
    x = np.concatenate(
        [
            np.linspace(-6, 6, 4001),
            np.linspace(6, 27.5, 2001),
            np.geomspace(1e-300, 0.5, 300),
            -np.geomspace(1e-300, 0.5, 300),
            np.nextafter([0.46875, 4.0, -0.46875, -4.0], np.inf),
            [0.46875, 4.0, -0.46875, -4.0, 0.0, -0.0, -30.0, -1e300, 30.0, 1e300, 27.226],
        ]
    )
    computed = special.erfc(x)
    for value, argument in zip(computed, x, strict=True):
        right = _erfc(mpf(float(argument)))
        unit = mpf(max(float(np.spacing(float(right))), 5e-324))
        assert abs(mpf(float(value)) - right) <= 24 * unit, f"erfc({argument!r}) = {value!r}"


def test_erfc_keeps_to_its_symmetry_limits_and_nan():
    x = np.linspace(0, 5, 101)
    np.testing.assert_allclose(special.erfc(-x), 2 - special.erfc(x), rtol=1e-15)
    np.testing.assert_array_equal(special.erfc(np.array([-np.inf, np.inf])), [2, 0])
    assert np.isnan(special.erfc(np.array([np.nan]))).all()
    assert special.erfc(np.zeros(3, np.float32)).dtype == np.float32
    assert (np.diff(special.erfc(np.linspace(-5, 27, 5001))) <= 4.5e-16).all()
