"""The complementary error function and the normal distribution, which NumPy lacks."""

from __future__ import annotations

import numpy as np

from deltarule.base.types import Array

# W. J. Cody, "Rational Chebyshev approximations for the error function",
# Mathematics of Computation 23 (1969) 631-637: coefficients from the highest power down.
SMALL, MIDDLE, FARTHEST = 0.46875, 4.0, 30.0  # beyond 27.3 the result is 0 in float64
SMALL_P = (
    1.85777706184603153e-1,
    3.16112374387056560e0,
    1.13864154151050156e2,
    3.77485237685302021e2,
    3.20937758913846947e3,
)
SMALL_Q = (
    1.0,
    2.36012909523441209e1,
    2.44024637934444173e2,
    1.28261652607737228e3,
    2.84423683343917062e3,
)
MIDDLE_P = (
    2.15311535474403846e-8,
    5.64188496988670089e-1,
    8.88314979438837594e0,
    6.61191906371416295e1,
    2.98635138197400131e2,
    8.81952221241769090e2,
    1.71204761263407058e3,
    2.05107837782607147e3,
    1.23033935479799725e3,
)
MIDDLE_Q = (
    1.0,
    1.57449261107098347e1,
    1.17693950891312499e2,
    5.37181101862009858e2,
    1.62138957456669019e3,
    3.29079923573345963e3,
    4.36261909014324716e3,
    3.43936767414372164e3,
    1.23033935480374942e3,
)
LARGE_P = (
    1.63153871373020978e-2,
    3.05326634961232344e-1,
    3.60344899949804439e-1,
    1.25781726111229246e-1,
    1.60837851487422766e-2,
    6.58749161529837803e-4,
)
LARGE_Q = (
    1.0,
    2.56852019228982242e0,
    1.87295284992346725e0,
    5.27905102951428412e-1,
    6.05183413124413191e-2,
    2.33520497626869185e-3,
)
_SQRT_HALF = 0.7071067811865476
ONE_OVER_SQRT_PI = 0.5641895835477563
_ONE_OVER_SQRT_2PI = 0.3989422804014327


def _horner(coefficients: tuple[float, ...], x: Array) -> Array:
    total = np.full_like(x, coefficients[0])
    for coefficient in coefficients[1:]:
        total = total * x + coefficient
    return total


def erfc(x: Array) -> Array:
    """Return the complementary error function ``1 - erf(x)``, elementwise.

    Rational approximations in three ranges of ``|x|``. The relative error is a few units in the
    last place of float64, even in the far tail. float32 input is computed in float64 and rounded.

    Source: W. J. Cody (1969).
    """
    wide = np.asarray(x, dtype=np.float64)
    size = np.abs(wide)
    result = np.empty_like(wide)

    small = ~(size > SMALL)  # NaN takes this branch and stays NaN
    u = wide[small]
    result[small] = 1.0 - u * _horner(SMALL_P, u * u) / _horner(SMALL_Q, u * u)

    middle = (size > SMALL) & (size <= MIDDLE)
    u = size[middle]
    result[middle] = _exp_minus_square(u) * _horner(MIDDLE_P, u) / _horner(MIDDLE_Q, u)

    large = size > MIDDLE
    u = np.minimum(size[large], FARTHEST)
    s = 1.0 / (u * u)
    tail = ONE_OVER_SQRT_PI - s * _horner(LARGE_P, s) / _horner(LARGE_Q, s)
    result[large] = _exp_minus_square(u) * tail / u

    reflected = wide < -SMALL
    result[reflected] = 2.0 - result[reflected]
    return result.astype(np.asarray(x).dtype, copy=False)


def _exp_minus_square(u: Array) -> Array:
    # exp(-u^2) with u split into a short head and the rest: u^2 alone would lose digits.
    head = np.trunc(u * 16.0) / 16.0
    return np.exp(-head * head) * np.exp(-(u - head) * (u + head))


def normal_cdf(x: Array) -> Array:
    """Return the standard normal distribution function ``Phi(x) = erfc(-x / sqrt 2) / 2``."""
    return 0.5 * erfc(-_SQRT_HALF * x)


def normal_pdf(x: Array) -> Array:
    """Return the standard normal density ``phi(x) = exp(-x^2 / 2) / sqrt(2 pi)``."""
    u = np.minimum(np.abs(x), 40.0)  # beyond 38.6 the density is 0 in float64
    return _ONE_OVER_SQRT_2PI * np.exp(-0.5 * u * u)
