"""Losses and their deltas in mpmath, for one row behind an output activation.

Each comes with the scale of its rounding errors: what a computation that is a sum of terms may be
off by, in units of eps, is a small number times this scale. Where no term cancels another the
scale is the result itself, so that a result must be right however small it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from mpmath import mp, mpf

import deltarule as dr
from members import assert_complete

mp.dps = 60


class Exact(NamedTuple):
    """A row's loss and dl/dz, each with its scale."""

    value: mpf
    value_scale: mpf
    deltas: list[mpf]
    delta_scales: list[mpf]


class Curve(NamedTuple):
    """A loss of the residual r = a - t: l(r), l'(r), and a bound of l''."""

    value: Callable[[mpf], mpf]
    slope: Callable[[mpf], mpf]
    bend: mpf


CURVES: dict[str, Callable[[Any], Curve]] = {
    "squared_error": lambda _: Curve(lambda r: r * r / 2, lambda r: r, mpf(1)),
    "mean_squared_error": lambda _: Curve(lambda r: r * r, lambda r: 2 * r, mpf(2)),
    "mean_absolute_error": lambda _: Curve(abs, lambda r: mpf(mp.sign(r)), mpf(0)),
    "huber": lambda loss: _huber(mpf(loss.threshold)),
    "quantile": lambda loss: _quantile(mpf(loss.q)),
}


def _huber(d: mpf) -> Curve:
    return Curve(
        lambda r: r * r / 2 if abs(r) <= d else d * (abs(r) - d / 2),
        lambda r: max(-d, min(d, r)),
        mpf(1),
    )


def _quantile(q: mpf) -> Curve:
    return Curve(
        lambda r: max(-q * r, (1 - q) * r),
        lambda r: 1 - q if r > 0 else -q if r < 0 else mpf(0),
        mpf(0),
    )


# name: f(z) and f'(z)
ACTIVATIONS: dict[str, tuple[Callable[[mpf], mpf], Callable[[mpf], mpf]]] = {
    "identity": (lambda z: z, lambda z: mpf(1)),
    "tanh": (mp.tanh, lambda z: 1 / mp.cosh(z) ** 2 if abs(z) < 1e6 else mpf(0)),
    "softplus": (lambda z: max(z, mpf(0)) + mp.log1p(_exp(-abs(z))), lambda z: _sigmoid(z)),
}


def exact(loss: dr.Loss, activation: str, z: Sequence[float], t: Sequence[float]) -> Exact:
    """Return what a row's loss and deltas are, for targets as the loss encodes them."""
    row = [mpf(float(v)) for v in z]
    targets = [mpf(float(v)) for v in t]
    return ORACLES[loss.name](loss, activation, row, targets)


def _of_residuals(loss: Any, activation: str, z: list[mpf], t: list[mpf]) -> Exact:
    curve, (f, slope_of_f) = CURVES[loss.name](loss), ACTIVATIONS[activation]
    factor = mpf(1) if loss.name == "squared_error" else 1 / mpf(len(z))
    rounded = 0 if activation == "identity" else 1  # whether a is
    a = [f(v) for v in z]
    r = [x - y for x, y in zip(a, t, strict=True)]
    value = sum(map(curve.value, r))
    lost = sum(abs(curve.slope(v) * x) for v, x in zip(r, a, strict=True))
    deltas = [curve.slope(v) * slope_of_f(x) for v, x in zip(r, z, strict=True)]
    # f' = 1 - a^2 is off by units of 1, l' by l'' times units of a.
    scales = [
        abs(d) + rounded * (abs(curve.slope(v)) + curve.bend * abs(x))
        for d, v, x in zip(deltas, r, a, strict=True)
    ]
    return Exact(
        factor * value,
        factor * (value + rounded * lost),
        [factor * d for d in deltas],
        [factor * s for s in scales],
    )


def _poisson(loss: Any, activation: str, z: list[mpf], t: list[mpf]) -> Exact:
    k = len(z)
    if activation == "exp":
        a = [_exp(v) for v in z]
        value = [x - y * v for x, y, v in zip(a, t, z, strict=True)]
        scale = [x + abs(y * v) for x, y, v in zip(a, t, z, strict=True)]
        deltas = [x - y for x, y in zip(a, t, strict=True)]
        scales = [x + y for x, y in zip(a, t, strict=True)]
    else:
        f, slope = ACTIVATIONS[activation]
        a = [f(v) for v in z]
        value = [x - y * mp.log(x) for x, y in zip(a, t, strict=True)]
        scale = [x + y * (1 + abs(mp.log(x))) for x, y in zip(a, t, strict=True)]
        deltas = [slope(v) * (1 - y / x) for v, x, y in zip(z, a, t, strict=True)]
        scales = [slope(v) * (1 + y / x) for v, x, y in zip(z, a, t, strict=True)]
    return Exact(sum(value) / k, sum(scale) / k, [d / k for d in deltas], [s / k for s in scales])


def _binary_cross_entropy(loss: Any, activation: str, z: list[mpf], t: list[mpf]) -> Exact:
    value = sum(
        abs(v) * (1 - y if v > 0 else y) + mp.log1p(_exp(-abs(v)))
        for v, y in zip(z, t, strict=True)
    )
    deltas, scales = [], []
    for v, y in zip(z, t, strict=True):
        here, beyond = _sigmoid(v), _sigmoid(-v)
        near_one = here > 0.5 and y > 0.5
        deltas.append((1 - y) - beyond if near_one else here - y)
        scales.append((1 - y) + beyond if near_one else here + y)
    return Exact(value, value, deltas, scales)


def _cross_entropy(loss: Any, activation: str, z: list[mpf], t: list[mpf]) -> Exact:
    top = max(range(len(z)), key=lambda j: z[j])
    # z_j - m is rounded, which changes e^(z_j - m) by units of |z_j - m|.
    below = [z[top] - v for v in z]
    e = [_exp(-v) for v in below]
    odds = sum(v for j, v in enumerate(e) if j != top)
    shaken = sum(v * (1 + d) for j, (v, d) in enumerate(zip(e, below, strict=True)) if j != top)
    linear = sum(p * d for p, d in zip(t, below, strict=True))
    value = mp.log1p(odds) + linear
    deltas, scales = [], []
    for j, p in enumerate(t):
        a = e[j] / (1 + odds)
        if a > 0.5 and p > 0.5:
            deltas.append((1 - p) - odds / (1 + odds))
            scales.append((1 - p) + shaken / (1 + odds))
        else:
            deltas.append(a - p)
            scales.append(a * (1 + below[j] + shaken / (1 + odds)) + p)
    return Exact(value, mp.log1p(odds) + shaken / (1 + odds) + linear, deltas, scales)


ORACLES: dict[str, Callable[[Any, str, list[mpf], list[mpf]], Exact]] = {
    **dict.fromkeys(CURVES, _of_residuals),
    "poisson": _poisson,
    "binary_cross_entropy": _binary_cross_entropy,
    "cross_entropy": _cross_entropy,
}
assert_complete("loss", ORACLES, "formula in mpmath")


def _exp(v: mpf) -> mpf:
    return mp.exp(v) if v > -1e6 else mpf(0)


def _sigmoid(v: mpf) -> mpf:
    return 1 / (1 + _exp(-v)) if v > 0 else _exp(v) / (1 + _exp(v))
