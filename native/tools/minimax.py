"""The polynomials of src/math.hpp, by the exchange algorithm of Remez (1934).

Run it to write src/coefficients.hpp; with --check it only compares. Each entry states the
function g that a polynomial p approximates on an interval, and the weight w that turns the error of
p into the relative error of the result; the polynomial minimises max |w (g - p)|. Coefficients are
then rounded to the type: in every formula here the leading term is added exactly and p enters as a
correction, so the rounding of p's coefficients costs less than its own last place.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from mpmath import atanh, cos, erfc, exp, expm1, ldexp, log, log1p, matrix, mp, mpf, pi, sqrt, tanh
from mpmath import erf as erf_

mp.dps = 70
TARGET = Path(__file__).resolve().parent.parent / "src" / "coefficients.hpp"


@dataclass(frozen=True)
class Polynomial:
    """p(x) = c[0] + c[1] x + ...: one table of coefficients."""

    name: str
    comment: str
    g: Callable[[mpf], mpf]
    weight: Callable[[mpf], mpf]
    low: mpf
    high: mpf
    terms: dict[str, int]  # type -> number of coefficients


def remez(entry: Polynomial, terms: int) -> tuple[list[mpf], mpf]:
    """Coefficients and greatest weighted error, exchanged on a fine Chebyshev grid."""
    count = 60 * (terms + 1)
    middle, half = (entry.high + entry.low) / 2, (entry.high - entry.low) / 2
    grid = [middle - half * cos(pi * (2 * i + 1) / (2 * count)) for i in range(count)]
    g, w = [entry.g(x) for x in grid], [entry.weight(x) for x in grid]
    floor = max(w) / 16
    w = [max(x, floor) for x in w]  # a weight that vanishes at 0 would cost an alternation
    chosen = [round((count - 1) * i / terms) for i in range(terms + 1)]
    for _ in range(40):
        # Solve for the coefficients and the levelled error e: p(x_i) + (-1)^i e / w_i = g_i.
        rows = [
            [grid[i] ** j for j in range(terms)] + [(-1) ** n / w[i]] for n, i in enumerate(chosen)
        ]
        solution = mp.lu_solve(matrix(rows), matrix([g[i] for i in chosen]))
        coefficients, level = [solution[j] for j in range(terms)], abs(solution[terms])
        error = [w[i] * (g[i] - mp.polyval(coefficients[::-1], grid[i])) for i in range(count)]
        worst = max(abs(e) for e in error)
        if worst <= level * mpf("1.0001"):
            break
        # New points: the greatest error in each run of equal sign; the smallest ends are dropped.
        runs: list[int] = []
        for i, e in enumerate(error):
            if runs and (e > 0) == (error[runs[-1]] > 0):
                runs[-1] = i if abs(e) > abs(error[runs[-1]]) else runs[-1]
            else:
                runs.append(i)
        while len(runs) > terms + 1:
            runs.pop(0 if abs(error[runs[0]]) < abs(error[runs[-1]]) else -1)
        if len(runs) < terms + 1:
            raise RuntimeError(f"{entry.name}: {len(runs)} alternations, {terms + 1} wanted")
        chosen = runs
    return coefficients, worst


def erfcx(x: mpf) -> mpf:
    return exp(x * x) * erfc(x)


def mobius(scale: int) -> Callable[[mpf], mpf]:
    """a for a given t = (a - scale) / (a + scale)."""
    return lambda t: scale * (1 + t) / (1 - t)


LN2 = log(2)
EDGE = LN2 / 2 * mpf("1.0001")
ERFC_SCALE = {"float": 3, "double": 4}
ERFC_END = {"float": 11, "double": 28}


def erfc_entry(kind: str, terms: int) -> Polynomial:
    scale, end = ERFC_SCALE[kind], ERFC_END[kind]
    a = mobius(scale)
    return Polynomial(
        "erfcx",
        f"(a + {scale}) exp(a^2) erfc(a) = p(t), "
        f"t = (a - {scale}) / (a + {scale}), 0 <= a <= {end}",
        lambda t: (a(t) + scale) * erfcx(a(t)),
        lambda t: 1 / ((a(t) + scale) * erfcx(a(t))),
        mpf(-1),
        mpf(end - scale) / (end + scale),
        {kind: terms},
    )


POLYNOMIALS = [
    Polynomial(
        "exp",
        "exp(r) = 1 + r + r^2 p(r), |r| <= ln(2)/2",
        lambda r: (exp(r) - 1 - r) / r**2,
        lambda r: r**2 / abs(expm1(r)),
        -EDGE,
        EDGE,
        {"float": 5, "double": 10},
    ),
    Polynomial(
        "log",
        "log(1 + f) = f - f^2/2 + f^3 p(f), |f| <= 1/3",
        lambda f: (log1p(f) - f + f**2 / 2) / f**3,
        lambda f: f**3 / log1p(f),
        mpf(-1) / 3,
        mpf(1) / 3,
        {"float": 8},
    ),
    Polynomial(
        "log",
        "2 atanh(s) = 2 s + s w p(w), w = s^2, |s| <= 1/5",
        lambda w: (2 * atanh(sqrt(w)) / sqrt(w) - 2) / w,
        lambda w: w * sqrt(w) / (2 * atanh(sqrt(w))),
        mpf(0),
        mpf(1) / 25,
        {"double": 7},
    ),
    Polynomial(
        "tanh",
        "tanh(r) = r + r^3 p(r^2), |r| <= ln(2)/4",
        lambda w: (tanh(sqrt(w)) / sqrt(w) - 1) / w,
        lambda w: w * sqrt(w) / tanh(sqrt(w)),
        mpf(0),
        (EDGE / 2) ** 2,
        {"float": 3, "double": 6},
    ),
    Polynomial(
        "erf",
        "erf(x) = x + x p(x^2), |x| <= 1",
        lambda w: erf_(sqrt(w)) / sqrt(w) - 1,
        lambda w: sqrt(w) / erf_(sqrt(w)),
        mpf(0),
        mpf(1),
        {"float": 7, "double": 12},
    ),
    erfc_entry("float", 10),
    erfc_entry("double", 23),
]

BITS = {"float": 24, "double": 53}


def leading_bits(x: mpf, bits: int) -> mpf:
    """x cut to so many leading bits (|x| in [0.5, 1))."""
    return mp.floor(ldexp(x, bits)) / mpf(2) ** bits


def literal(x: mpf, kind: str) -> str:
    """x rounded to the type, as an exact hexadecimal literal with its decimal digits besides."""
    rounded = float(np.float32(float(x))) if kind == "float" else float(x)
    text = rounded.hex()
    return text + "f" if kind == "float" else text


def table(kind: str, name: str, values: list[mpf]) -> list[str]:
    lines = [f"    static constexpr {kind} {name}[{len(values)}] = {{"]
    lines += [
        f"        {literal(v, kind)},  // {mp.nstr(v, 10 if kind == 'float' else 18)}"
        for v in values
    ]
    return [*lines, "    };"]


def render() -> str:
    lines = [
        "// Written by tools/minimax.py; change that, not this. "
        "Formulas and error bounds are stated with",
        "// each table: the bound is the relative error "
        "that the polynomial alone leaves in the result.",
        "#pragma once",
        "",
        '#include "simd.hpp"',
        "",
        "namespace deltarule::DR_TARGET {",
        "",
        "template <class T>",
        "struct coefficients;",
    ]
    for kind, high_bits in (("float", 16), ("double", 41)):
        ln2_high = leading_bits(LN2, high_bits)
        lines += ["", "template <>", f"struct coefficients<{kind}> {{"]
        lines.append(
            f"    // ln(2) = high + low; high has {high_bits} bits, so that k * high is exact."
        )
        lines.append(f"    static constexpr {kind} ln2_high = {literal(ln2_high, kind)};")
        lines.append(f"    static constexpr {kind} ln2_low = {literal(LN2 - ln2_high, kind)};")
        lines.append(f"    static constexpr {kind} log2_e = {literal(1 / LN2, kind)};")
        lines.append(f"    static constexpr {kind} erfc_scale = {ERFC_SCALE[kind]};")
        for entry in POLYNOMIALS:
            if kind not in entry.terms:
                continue
            values, error = remez(entry, entry.terms[kind])
            bound = mp.nstr(log(error, 2), 4)
            print(f"{entry.name:6} {kind:6} {len(values):2} terms, error 2^{bound}")
            lines.append(f"    // {entry.comment}; error 2^{mp.nstr(log(error, 2), 3)}.")
            lines += table(kind, entry.name, values)
        lines.append("};")
    lines += ["", "}  // namespace deltarule::DR_TARGET", ""]
    return "\n".join(lines)


if __name__ == "__main__":
    text = render()
    if "--check" in sys.argv[1:]:
        sys.exit(
            None if TARGET.read_text() == text else f"{TARGET} differs from what this script writes"
        )
    TARGET.write_text(text)
