"""Philox4x32-10 against the known answers of Random123, and the masks drawn with it."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest
from harness import DTYPES, MACHINE_TARGETS, library

from deltarule.base.random import philox as reference_philox

DROPOUT = 2

# Random123, kat_vectors: counter, key, words.
KNOWN = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


def philox(target: str, counter: tuple[int, ...], key: tuple[int, ...]) -> tuple[int, ...]:
    out = (ctypes.c_uint32 * 4)()
    library(target).dr_test_philox(
        (ctypes.c_uint32 * 4)(*counter), (ctypes.c_uint32 * 2)(*key), out
    )
    return tuple(out)


def expected_words(
    seed: int, purpose: int, layer: int, step: int, row: int, columns: range
) -> np.ndarray:
    """Return the words of some columns by the library's own Philox in NumPy."""
    key = (seed & 0xFFFFFFFF, seed >> 32)
    c3 = purpose << 28 | (layer & 0xFFF) << 16 | layer >> 12 << 8 | step >> 32
    column = np.array(columns, dtype=np.uint64)
    counter = np.empty((4, len(column)), dtype=np.uint64)
    counter[:] = np.array([[0], [row], [step & 0xFFFFFFFF], [c3]], dtype=np.uint64)
    counter[0] = column // 4
    return reference_philox(counter, key)[column % 4, np.arange(len(column))]


@pytest.mark.parametrize("target", MACHINE_TARGETS)
@pytest.mark.parametrize(("counter", "key", "words"), KNOWN)
def test_known_answers(
    target: str, counter: tuple[int, ...], key: tuple[int, ...], words: tuple[int, ...]
) -> None:
    assert philox(target, counter, key) == words


SEED, STEP = 0x123456789ABCDEF0, 0xAD_89ABCDEF


@pytest.mark.parametrize("target", MACHINE_TARGETS)
@pytest.mark.parametrize("column", [0, 1, 2, 3, 4, 16, 30, 4094])
def test_words_are_those_of_the_reference(target: str, column: int) -> None:
    call = library(target).dr_test_words
    call.argtypes = [
        ctypes.c_uint64,
        ctypes.c_int,
        ctypes.c_int,
        ctypes.c_uint64,
        ctypes.c_uint32,
        ctypes.c_uint32,
        ctypes.c_int,
        ctypes.c_void_p,
    ]
    for n in (0, 1, 2, 3, 4, 5, 15, 16, 17, 31, 32, 33, 70):
        out = np.full(n + 64, 7, np.uint32)
        call(SEED, 4, 0x9BABC, STEP, 0xFFFFFFFE, column, n, out.ctypes.data)
        expected = expected_words(SEED, 4, 0x9BABC, STEP, 0xFFFFFFFE, range(column, column + n))
        np.testing.assert_array_equal(out[:n], expected)
        assert (out[n:] == 7).all()


def expected_factors(dtype: str, layer: int, row: int, columns: range, rate: float) -> np.ndarray:
    words = expected_words(SEED, DROPOUT, layer, STEP, row, columns)
    return np.where(words >= int(rate * 2**32), np.dtype(dtype).type(1 / (1 - rate)), 0)


@pytest.mark.parametrize("rate", [0.0, 0.3, 0.5, 1 - 2**-32])
@pytest.mark.parametrize("rows", [1, 2, 3, 4, 5, 8])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("target", MACHINE_TARGETS)
def test_dropout_factors_of_a_panel(target: str, dtype: str, rows: int, rate: float) -> None:
    call = library(target).dr_test_dropout_panel
    call.argtypes = [
        ctypes.c_int,
        ctypes.c_uint64,
        ctypes.c_int,
        ctypes.c_uint64,
        ctypes.c_uint32,
        ctypes.c_int,
        ctypes.c_uint32,
        ctypes.c_double,
        ctypes.c_void_p,
    ]
    out = np.full((rows + 8) * 32, 7, dtype)
    width = call(int(dtype == "float64"), SEED, 3, STEP, 1000, rows, 96, rate, out.ctypes.data)
    expected = [
        expected_factors(dtype, 3, 1000 + r, range(96, 96 + width), rate) for r in range(rows)
    ]
    np.testing.assert_array_equal(out[: rows * width].reshape(rows, width), expected)
    assert (out[rows * width :] == 7).all()
