"""Pairwise designs: few rows in which every pair of values of two factors occurs.

Most faults need one or two settings to show (Kuhn, Wallace and Gallo, 2004), so a product of many
factors is tried pair by pair in ``make test``, and whole in ``make soak``.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

import pytest

from problems import SOAK


def covering(*sizes: int) -> list[tuple[int, ...]]:
    """Return rows of one index per factor, such that each pair of indices of two factors occurs.

    Row by row: the first pair that is missing, then in each other factor the index that completes
    most missing pairs, of several the one used least. The same rows at every run.
    """
    if len(sizes) < 2 or min(sizes) == 0:
        return list(itertools.product(*map(range, sizes)))
    missing = {
        (i, a, j, b): None
        for i, j in itertools.combinations(range(len(sizes)), 2)
        for a, b in itertools.product(range(sizes[i]), range(sizes[j]))
    }
    used = [[0] * size for size in sizes]
    rows = []
    while missing:
        i, a, j, b = next(iter(missing))
        row = {i: a, j: b}
        for k in range(len(sizes)):
            if k not in row:
                row[k] = max(
                    range(sizes[k]),
                    key=lambda c, k=k, row=row: (
                        sum(_pair(k, c, m, d) in missing for m, d in row.items()),
                        -used[k][c],
                        -c,
                    ),
                )
        for m, n in itertools.combinations(range(len(sizes)), 2):
            missing.pop((m, row[m], n, row[n]), None)
        for k, c in row.items():
            used[k][c] += 1
        rows.append(tuple(row[k] for k in range(len(sizes))))
    return rows


def _pair(i: int, a: int, j: int, b: int) -> tuple[int, int, int, int]:
    return (i, a, j, b) if i < j else (j, b, i, a)


def rows(*factors: Iterable[Any]) -> list[tuple[Any, ...]]:
    """Return a pairwise design of the factors' values; under soak their whole product."""
    values = [list(factor) for factor in factors]
    if SOAK:
        return list(itertools.product(*values))
    return [
        tuple(factor[c] for factor, c in zip(values, row, strict=True))
        for row in covering(*map(len, values))
    ]


def pairwise(**factors: Iterable[Any]) -> pytest.MarkDecorator:
    """Parametrize a test by a pairwise design: ``@pairwise(dtype=DTYPES, target=TARGETS)``.

    A factor named "a__b" holds pairs, for the two arguments a and b. The fixture ``target`` is
    given its values.
    """
    names = [name for factor in factors for name in factor.split("__")]
    found = []
    for row in rows(*factors.values()):
        flat: list[Any] = []
        for factor, value in zip(factors, row, strict=True):
            flat.extend(value if "__" in factor else [value])
        found.append(pytest.param(*flat, id="-".join(map(label, flat))))
    indirect = [name for name in names if name == "target"]
    return pytest.mark.parametrize(names, found, indirect=indirect)


def label(value: Any) -> str:
    """Return a short name of a value for the test's id."""
    name = getattr(value, "__name__", None)
    return name if isinstance(name, str) else str(value)[:40]
