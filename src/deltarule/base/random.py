"""Counter-based random numbers: pure functions of their purpose, without a generator's state.

Philox4x32-10 (Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", 2011)
maps a 128-bit counter under a 64-bit key to four 32-bit words. The seed is the key; the counter
says what the word is for:

====  =====================================================================
word  content
====  =====================================================================
c0    column // 4 (the word for a column is output ``column % 4``)
c1    row in the whole batch
c2    step or epoch, low 32 bits
c3    from the top: purpose (4 bits), layer's bits 0 to 11, layer's bits 12
      to 19, step's bits 32 to 39
====  =====================================================================

So every engine draws the same mask for the same unit, in any order and on any number of threads.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum

import numpy as np

from deltarule.base.errors import InvalidValueError
from deltarule.base.settings import check_integer
from deltarule.base.types import Array

try:
    import deltarule._native as _core
except ImportError:  # an installation without the compiled core
    _core = None  # type: ignore[assignment]


class Purpose(IntEnum):
    """What a random word is for."""

    INITIALIZER = 0
    SHUFFLE = 1
    DROPOUT = 2
    SPLIT = 3
    RESTART = 4
    DIRECTION = 5
    SHUFFLE_BLOCKS = 6


_MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
_KEY_STEPS = (0x9E3779B9, 0xBB67AE85)
_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
_ROUNDS = 10
_WORDS_AT_ONCE = 1 << 14


def philox(counter: Array, key: tuple[int, int]) -> Array:
    """Return Philox4x32-10 of counters.

    Parameters
    ----------
    counter : array (4, ...) of integers below 2^32
    key : two integers below 2^32

    Returns
    -------
    array (4, ...) of uint32
    """
    x0, x1, x2, x3 = (np.asarray(c, dtype=np.uint64) for c in counter)
    k0, k1 = key
    for _ in range(_ROUNDS):
        product0 = _MULTIPLIERS[0] * x0
        product1 = _MULTIPLIERS[1] * x2
        x0 = (product1 >> _HALF) ^ x1 ^ np.uint64(k0)
        x1 = product1 & _LOW
        x2 = (product0 >> _HALF) ^ x3 ^ np.uint64(k1)
        x3 = product0 & _LOW
        k0 = (k0 + _KEY_STEPS[0]) & 0xFFFFFFFF
        k1 = (k1 + _KEY_STEPS[1]) & 0xFFFFFFFF
    return np.stack([x0, x1, x2, x3]).astype(np.uint32)


def words(
    seed: int, purpose: Purpose, *, rows: int, columns: int, step: int = 0, layer: int = 0
) -> Array:
    """Return the uint32 words (rows, columns) for one purpose, step and layer."""
    drawn = np.empty((rows, columns), dtype=np.uint32)
    for part in _parts(rows, columns):
        drawn[part] = _words(seed, purpose, part, columns, step, layer)
    return drawn


def _parts(rows: int, columns: int) -> Iterator[slice]:
    """Cut the rows into parts, so that intermediate arrays stay small."""
    each = max(1, _WORDS_AT_ONCE // max(columns, 1))
    return (slice(first, min(first + each, rows)) for first in range(0, rows, each))


def _words(seed: int, purpose: Purpose, part: slice, columns: int, step: int, layer: int) -> Array:
    """Return the words of some rows."""
    if not (0 <= layer < 1 << 20 and 0 <= step < 1 << 40):
        raise InvalidValueError(
            "random numbers exist for at most 2^20 layers (or parameter arrays) and 2^40 steps, "
            f"got layer {layer}, step {step}"
        )
    rows, blocks = part.stop - part.start, -(-columns // 4)
    c0 = np.broadcast_to(np.arange(blocks, dtype=np.uint64), (rows, blocks))
    c1 = np.broadcast_to(np.arange(part.start, part.stop, dtype=np.uint64)[:, None], (rows, blocks))
    c2 = np.full((rows, blocks), step & 0xFFFFFFFF, dtype=np.uint64)
    c3 = np.full_like(c2, _last_word(purpose, layer, step))
    key = (seed & 0xFFFFFFFF, seed >> 32 & 0xFFFFFFFF)
    drawn = philox(np.stack([c0, c1, c2, c3]), key)
    return np.moveaxis(drawn, 0, -1).reshape(rows, blocks * 4)[:, :columns]


def _last_word(purpose: Purpose, layer: int, step: int) -> int:
    return purpose << 28 | (layer & 0xFFF) << 16 | layer >> 12 << 8 | step >> 32


def uniform(random_words: Array) -> Array:
    """Return float64 numbers in (0, 1): ``(word + 1/2) / 2^32``."""
    return (random_words + 0.5) * 2.0**-32


def normal(random_words: Array) -> Array:
    """Return standard normal float64 numbers for words (rows, columns).

    Each pair of neighbouring columns makes a pair of normals,
    ``sqrt(-2 log u) cos(2 pi v)`` and ``sqrt(-2 log u) sin(2 pi v)``. The number of columns must
    be even.

    Source: Box and Muller, "A note on the generation of random normal deviates" (1958).
    """
    u, v = uniform(random_words[:, 0::2]), uniform(random_words[:, 1::2])
    radius, angle = np.sqrt(-2.0 * np.log(u)), 2.0 * np.pi * v
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=-1).reshape(
        random_words.shape
    )


def normals(
    seed: int, purpose: Purpose, *, rows: int, columns: int, step: int = 0, layer: int = 0
) -> Array:
    """Return standard normal float64 numbers (rows, columns) for one purpose, step and layer."""
    even = columns + columns % 2
    drawn = np.empty((rows, columns))
    for part in _parts(rows, columns):
        drawn[part] = normal(_words(seed, purpose, part, even, step, layer))[:, :columns]
    return drawn


def permutation(seed: int, purpose: Purpose, n: int, *, step: int = 0) -> Array:
    """Return a random order of ``n`` rows: the stable argsort of one word per row."""
    order: Array = permutations(seed, purpose, n, first_step=step)[0]
    return order


def permutations(
    seed: int, purpose: Purpose, n: int, *, first_step: int = 0, count: int = 1, row: int = 0
) -> Array:
    """Return random orders (count, n) of ``n`` rows, one for each step from ``first_step``.

    Each is the stable argsort of n words: those of the columns of counter row ``row``. The compiled
    core, where there is one, draws the same orders faster.
    """
    if _core is None:
        return permutations_in_numpy(seed, purpose, n, first_step=first_step, count=count, row=row)
    orders: Array = _core.permutations(
        seed=seed, purpose=purpose, first_step=first_step, count=count, row=row, n=n
    )
    return orders


def permutations_in_numpy(
    seed: int, purpose: Purpose, n: int, *, first_step: int = 0, count: int = 1, row: int = 0
) -> Array:
    """Return what :func:`permutations` does, drawn by NumPy."""
    part = slice(row, row + 1)
    orders = np.empty((count, n), dtype=np.int64)
    for i in range(count):
        drawn = _words(seed, purpose, part, n, first_step + i, 0)[0]
        orders[i] = np.argsort(drawn, kind="stable")
    return orders


def keep_mask(seed: int, rate: float, *, rows: int, columns: int, step: int, layer: int) -> Array:
    """Return the dropout mask (rows, columns): True where ``word >= floor(rate * 2^32)``."""
    threshold = np.uint32(int(rate * 2.0**32))
    drawn = words(seed, Purpose.DROPOUT, rows=rows, columns=columns, step=step, layer=layer)
    return drawn >= threshold


def check_seed(seed: object) -> int:
    """Return a seed as an int in [0, 2^64)."""
    return check_integer("seed", seed, at_least=0, at_most=(1 << 64) - 1)
