"""Samples and exact values for the vector functions, and the errors of results in ulp.

An ulp is the distance between the two numbers of the dtype around the exact value (the least
denormal where that is denormal). Exact values are kept as unevaluated sums of two float64,
high + low: about 106 bits, so the error of a float64 result is seen without rounding.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import mpmath as mp
import numpy as np

mp.mp.dps = 50


@dataclass(frozen=True, eq=False)
class Function:
    """One function: its number in the harness, exact and float64 forms, bends, and bound."""

    name: str
    number: int
    exact: Callable[[mp.mpf], mp.mpf]
    double: Callable[[np.ndarray], np.ndarray]
    intervals: dict[str, list[tuple[float, float]]]
    domain: tuple[float, float] = (-math.inf, math.inf)
    bound: tuple[float, float] = (2.0, 4.0)  # ulp: float32, float64
    limits: tuple[float, float, float] = (0.0, math.inf, 0.0)  # at -inf, inf, 0


def _each(f: Callable[[float], float]) -> Callable[[np.ndarray], np.ndarray]:
    return lambda x: np.fromiter((f(v) for v in x.tolist()), np.float64, len(x))


def _cdf(x: mp.mpf) -> mp.mpf:
    return mp.erfc(-x / mp.sqrt(2)) / 2


def _tanh(x: mp.mpf) -> mp.mpf:
    # The quotient of expm1 keeps its digits for tiny x and its size for huge x.
    t = mp.expm1(-2 * abs(x))
    return mp.sign(x) * -t / (2 + t)


_SYMMETRIC = {"float32": [(-1, 1), (-10, 10)], "float64": [(-1, 1), (-20, 20)]}
FUNCTIONS = [
    Function(
        "exp",
        0,
        mp.exp,
        np.exp,
        {"float32": [(-1, 1), (-104, 89)], "float64": [(-1, 1), (-746, 710)]},
        limits=(0, math.inf, 1),
    ),
    Function(
        "expm1",
        1,
        mp.expm1,
        np.expm1,
        {"float32": [(-1.5, 1.5), (-20, 89)], "float64": [(-1.5, 1.5), (-40, 710)]},
        limits=(-1, math.inf, 0),
    ),
    Function(
        "log",
        2,
        mp.log,
        np.log,
        {d: [(0.5, 2), (0, 10)] for d in ("float32", "float64")},
        domain=(0, math.inf),
        limits=(math.nan, math.inf, -math.inf),
    ),
    Function(
        "log1p",
        3,
        mp.log1p,
        np.log1p,
        {d: [(-1, -0.5), (-0.5, 1), (0, 10)] for d in ("float32", "float64")},
        domain=(-1, math.inf),
        limits=(math.nan, math.inf, 0),
    ),
    Function("tanh", 4, _tanh, np.tanh, _SYMMETRIC, bound=(3, 4), limits=(-1, 1, 0)),
    Function(
        "erf",
        5,
        mp.erf,
        _each(math.erf),
        {d: [(-1.5, 1.5), (-6, 6)] for d in ("float32", "float64")},
        limits=(-1, 1, 0),
    ),
    Function(
        "erfc",
        6,
        mp.erfc,
        _each(math.erfc),
        {"float32": [(-1, 2), (-4, 11)], "float64": [(-1, 2), (-6, 28)]},
        bound=(7.0, 7.0),
        limits=(2, 0, 1),
    ),
    Function(
        "normal_cdf",
        7,
        _cdf,
        _each(lambda x: math.erfc(-x / math.sqrt(2)) / 2),
        {"float32": [(-2, 2), (-15, 6)], "float64": [(-2, 2), (-39, 8)]},
        bound=(7.0, 7.0),
        limits=(0, 1, 0.5),
    ),
]


def samples(function: Function, dtype: str, dense: int, spread: int) -> np.ndarray:
    """Return numbers where the function bends, and finite numbers of every exponent."""
    generator = np.random.default_rng(1974)
    kind, word = np.dtype(dtype), np.uint32 if dtype == "float32" else np.uint64
    parts = [
        generator.uniform(low, high, dense).astype(kind) for low, high in function.intervals[dtype]
    ]
    bits = generator.integers(0, np.iinfo(word).max, spread, dtype=word, endpoint=True)
    parts.append(bits.view(kind))
    x = np.concatenate(parts)
    low, high = function.domain
    return np.ascontiguousarray(x[np.isfinite(x) & (x > low) & (x < high)])


def exact(function: Function, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return exact values as high + low: mpmath for float64, float64 functions for float32."""
    if x.dtype == np.float32:
        with np.errstate(all="ignore"):
            high = function.double(x.astype(np.float64))
        return high, np.zeros_like(high)
    values = [
        function.exact(mp.mpf(v))
        if abs(v) < 1e4 or function.name.startswith("log")
        else _far(function, v)
        for v in x.tolist()
    ]
    high = np.array([float(v) for v in values])
    low = np.array(
        [
            float(v - mp.mpf(h)) if math.isfinite(h) else 0.0
            for v, h in zip(values, high.tolist(), strict=True)
        ]
    )
    return high, low


def _far(function: Function, v: float) -> mp.mpf:
    """Return the limit: beyond 1e4 every function but the logarithms has reached it in float64."""
    return mp.mpf(function.limits[1] if v > 0 else function.limits[0])


def ulps(got: np.ndarray, high: np.ndarray, low: np.ndarray) -> np.ndarray:
    """Return |got - exact| in ulp of the exact value; 0 for the right infinity or NaN, else inf."""
    dtype = got.dtype
    info = np.finfo(dtype)
    with np.errstate(all="ignore"):
        rounded = high.astype(dtype)
        _, exponent = np.frexp(high)  # |high| = m 2^exponent, 1/2 <= m < 1
        least = int(np.log2(float(info.tiny))) + 1 if dtype == np.float32 else -1021
        unit = np.ldexp(1.0, np.maximum(exponent, least) - (info.nmant + 1))
        error = np.abs((got.astype(np.float64) - high) - low) / unit
    same = (got == rounded) | (np.isnan(got) & np.isnan(rounded))
    finite = np.isfinite(rounded) & np.isfinite(got)
    return np.where(finite, error, np.where(same, 0.0, np.inf))
