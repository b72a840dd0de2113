"""Random words: published answers, the counter layout as documented, and sane statistics.

Everything is a pure function of its arguments, so a statistic either keeps to its bound for ever or
never does. The bounds are five standard deviations (one chance in 1.7 million each).
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

import deltarule as dr
from deltarule.base.random import (
    Purpose,
    check_seed,
    keep_mask,
    normal,
    normals,
    permutation,
    philox,
    uniform,
    words,
)

FULL = 0xFFFFFFFF


def philox_scalar(counter, key):
    """Return Philox4x32-10 with plain integers, as the paper's figure has it."""
    c, k = list(counter), list(key)
    for number in range(10):
        if number:
            k = [(k[0] + 0x9E3779B9) % 2**32, (k[1] + 0xBB67AE85) % 2**32]
        high0, low0 = divmod(0xD2511F53 * c[0], 2**32)
        high1, low1 = divmod(0xCD9E8D57 * c[2], 2**32)
        c = [high1 ^ c[1] ^ k[0], low1, high0 ^ c[3] ^ k[1], low0]
    return c


# From kat_vectors of the Random123 library: counter, key, answer.
KNOWN_ANSWERS = {
    "zeros": ([0] * 4, [0] * 2, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
    "ones": ([FULL] * 4, [FULL] * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
    "digits of pi": (
        [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
        [0xA4093822, 0x299F31D0],
        [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
    ),
}


@pytest.mark.parametrize("name", KNOWN_ANSWERS)
def test_philox_gives_the_published_answers(name):
    counter, key, answer = KNOWN_ANSWERS[name]
    assert philox_scalar(counter, key) == answer
    drawn = philox(np.array(counter, dtype=np.uint64)[:, None], tuple(key))
    assert drawn.dtype == np.uint32
    assert drawn[:, 0].tolist() == answer


def test_philox_agrees_with_plain_integers_on_many_counters_at_once():
    rng = np.random.default_rng(0)
    counters = rng.integers(0, 2**32, (4, 6, 5), dtype=np.uint64)
    key = (0x12345678, 0x9ABCDEF0)
    drawn = philox(counters, key)
    assert drawn.shape == (4, 6, 5)
    for i, j in np.ndindex(6, 5):
        assert drawn[:, i, j].tolist() == philox_scalar(counters[:, i, j].tolist(), key)


@pytest.mark.parametrize("purpose", list(Purpose))
@pytest.mark.parametrize(
    ("seed", "step", "layer"),
    [
        (0, 0, 0),
        (7, 3, 5),
        (2**40 + 9, 2**32 + 1, 4095),
        (2**64 - 1, 2**40 - 1, 1),
        (1, 5, 2**20 - 2),
    ],
)
def test_the_counter_is_laid_out_as_documented(purpose, seed, step, layer):
    drawn = words(seed, purpose, rows=3, columns=10, step=step, layer=layer)
    assert drawn.shape == (3, 10)
    for row, column in np.ndindex(3, 10):
        counter = [
            column // 4,
            row,
            step % 2**32,
            purpose * 2**28 + layer % 2**12 * 2**16 + layer // 2**12 * 2**8 + step // 2**32,
        ]
        expected = philox_scalar(counter, [seed % 2**32, seed // 2**32])
        assert drawn[row, column] == expected[column % 4]


def test_the_purposes_keep_their_numbers():
    assert {p.name: int(p) for p in Purpose} == {
        "INITIALIZER": 0,
        "SHUFFLE": 1,
        "DROPOUT": 2,
        "SPLIT": 3,
        "RESTART": 4,
        "DIRECTION": 5,
        "SHUFFLE_BLOCKS": 6,
    }


def test_a_layer_beyond_its_twenty_bits_does_not_draw_the_words_of_another_purpose():
    beside = words(0, Purpose.SHUFFLE, rows=2, columns=8, layer=0)
    try:
        drawn = words(0, Purpose.INITIALIZER, rows=2, columns=8, layer=1 << 20)
    except dr.DeltaruleError:
        return
    assert (drawn != beside).any()


def test_a_word_does_not_depend_on_how_many_are_drawn():
    whole = words(3, Purpose.DROPOUT, rows=9, columns=13, step=2, layer=1)
    part = words(3, Purpose.DROPOUT, rows=4, columns=6, step=2, layer=1)
    np.testing.assert_array_equal(whole[:4, :6], part)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"seed": 1}, {"seed": 2}),
        ({"seed": 0}, {"seed": 2**32}),
        ({"step": 0}, {"step": 1}),
        ({"step": 0}, {"step": 2**32}),
        ({"layer": 0}, {"layer": 1}),
        ({"purpose": Purpose.SHUFFLE}, {"purpose": Purpose.DROPOUT}),
    ],
)
def test_streams_of_different_purpose_are_unrelated(one, other):
    base = {"seed": 0, "purpose": Purpose.INITIALIZER, "rows": 64, "columns": 256}
    u, v = (uniform(words(**(base | change))).ravel() for change in (one, other))
    assert (u != v).mean() > 0.999
    assert abs(np.corrcoef(u, v)[0, 1]) < 5 / np.sqrt(u.size)


# --------------------------------------------------------------------------------- statistics

N = 1 << 16


def _uniforms():
    return uniform(words(11, Purpose.DROPOUT, rows=256, columns=N // 256))


def test_uniform_numbers_lie_strictly_between_0_and_1():
    ends = uniform(np.array([0, FULL], dtype=np.uint32))
    assert ends.tolist() == [2.0**-33, 1 - 2.0**-33]
    assert 0 < ends[0] < ends[1] < 1


def test_uniform_numbers_have_mean_and_variance_and_fill_the_interval():
    u = _uniforms().ravel()
    assert abs(u.mean() - 0.5) < 5 / np.sqrt(12 * N)
    # var((u - 1/2)^2) = 1/80 - 1/144 = 1/180
    assert abs(((u - 0.5) ** 2).mean() - 1 / 12) < 5 / np.sqrt(180 * N)
    counts = np.bincount((u * 64).astype(int), minlength=64)
    chi_square = ((counts - N / 64) ** 2 / (N / 64)).sum()
    assert abs(chi_square - 63) < 5 * np.sqrt(2 * 63)


def test_every_bit_of_a_word_is_set_half_of_the_time():
    drawn = words(5, Purpose.SHUFFLE, rows=256, columns=N // 256)
    for bit in range(32):
        share = (drawn >> np.uint32(bit) & np.uint32(1)).mean()
        assert abs(share - 0.5) < 5 * 0.5 / np.sqrt(N)


def test_neighbours_in_rows_and_columns_are_uncorrelated():
    u = _uniforms()
    for shift in range(1, 9):
        for a, b in ((u[shift:], u[:-shift]), (u[:, shift:], u[:, :-shift])):
            assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 5 / np.sqrt(a.size)


def test_normal_numbers_are_the_box_muller_transform():
    drawn = words(1, Purpose.RESTART, rows=5, columns=6)
    u = (drawn.astype(np.float64) + 0.5) / 2**32
    z = normal(drawn)
    for row in range(5):
        for pair in range(3):
            a, b = u[row, 2 * pair], u[row, 2 * pair + 1]
            radius = np.sqrt(-2 * np.log(a))
            expected = [radius * np.cos(2 * np.pi * b), radius * np.sin(2 * np.pi * b)]
            np.testing.assert_allclose(z[row, 2 * pair : 2 * pair + 2], expected, rtol=1e-12)


def test_normal_numbers_are_standard_normal():
    z = normals(4, Purpose.INITIALIZER, rows=256, columns=N // 256).ravel()
    assert abs(z.mean()) < 5 / np.sqrt(N)
    assert abs((z**2).mean() - 1) < 5 * np.sqrt(2 / N)
    assert abs((z**3).mean()) < 5 * np.sqrt(15 / N)
    assert abs((z**4).mean() - 3) < 5 * np.sqrt(96 / N)
    assert stats.kstest(z, "norm").statistic < 2.7 / np.sqrt(N)  # P = 2 exp(-2 * 2.7^2) < 1e-6
    pairs = z.reshape(-1, 2)
    assert abs((pairs[:, 0] * pairs[:, 1]).mean()) < 5 / np.sqrt(N / 2)


def test_no_word_gives_a_normal_number_beyond_the_smallest_uniform_ones():
    ends = np.array([[0, 0], [0, FULL], [FULL, 0], [0, 1 << 30], [0, 1 << 31]], dtype=np.uint32)
    z = normal(ends)
    assert np.isfinite(z).all()
    assert np.abs(z).max() <= np.sqrt(2 * 33 * np.log(2)) * (1 + 1e-15)


@pytest.mark.parametrize("columns", [1, 3, 5, 8])
def test_an_odd_number_of_normal_columns_is_the_head_of_an_even_one(columns):
    wide = normals(2, Purpose.INITIALIZER, rows=4, columns=12)
    np.testing.assert_array_equal(
        normals(2, Purpose.INITIALIZER, rows=4, columns=columns), wide[:, :columns]
    )


# ------------------------------------------------------------------------- orders and masks


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 100, 1001])
def test_a_permutation_is_the_stable_argsort_of_one_word_per_row(n):
    order = permutation(9, Purpose.SHUFFLE, n, step=4)
    assert sorted(order.tolist()) == list(range(n))
    drawn = [philox_scalar([i // 4, 0, 4, Purpose.SHUFFLE << 28], [9, 0])[i % 4] for i in range(n)]
    assert order.tolist() == sorted(range(n), key=lambda i: (drawn[i], i))


def test_permutations_of_different_epochs_are_fair():
    epochs, n = 600, 6
    orders = np.array([permutation(1, Purpose.SHUFFLE, n, step=e) for e in range(epochs)])
    deviation = np.sqrt(epochs * (1 / n) * (1 - 1 / n))
    for place in range(n):
        counts = np.bincount(orders[:, place], minlength=n)
        assert np.abs(counts - epochs / n).max() < 5 * deviation


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.25, 0.5, 0.9, 0.999])
def test_a_unit_is_kept_where_its_word_reaches_the_threshold(rate):
    shape = {"rows": 40, "columns": 50, "step": 3, "layer": 2}
    keep = keep_mask(8, rate, **shape)
    drawn = words(8, Purpose.DROPOUT, **shape)
    assert keep.dtype == bool
    np.testing.assert_array_equal(keep, drawn.astype(np.int64) >= int(np.floor(rate * 2**32)))
    assert abs(keep.mean() - (1 - rate)) <= 5 * np.sqrt(rate * (1 - rate) / keep.size)


def test_the_threshold_itself_is_kept_and_the_word_below_it_dropped(monkeypatch):
    threshold = 2**30  # rate 1/4
    near = np.array([[threshold - 1, threshold, threshold + 1, 0, FULL]], dtype=np.uint32)
    monkeypatch.setattr("deltarule.base.random.words", lambda *_, **__: near)
    kept = keep_mask(0, 0.25, rows=1, columns=5, step=0, layer=0)
    assert kept.tolist() == [[False, True, True, False, True]]


def test_units_dropped_at_a_rate_are_dropped_at_every_higher_rate():
    shape = {"rows": 20, "columns": 20, "step": 0, "layer": 0}
    low, high = keep_mask(1, 0.2, **shape), keep_mask(1, 0.6, **shape)
    assert (low | ~high).all()
    assert (low & ~high).any()


def test_masks_are_the_same_in_both_dtypes_and_differ_by_layer_step_and_seed():
    layers = [dr.Dropout(0.5), dr.Dropout(0.5), dr.Dense(1)]
    x, masks = np.ones((8, 16)), {}
    for dtype in ("float32", "float64"):
        net = dr.Network(layers, inputs=16, dtype=dtype)
        for seed, step in ((0, 0), (0, 1), (1, 0)):
            trace = dr.backpropagate(
                net, x, np.zeros((8, 1)), "squared_error", seed=seed, step=step
            )
            masks[dtype, seed, step, 0] = trace.activations["0"] != 0
            masks[dtype, seed, step, 1] = trace.activations["1"] != 0
    for key, mask in masks.items():
        np.testing.assert_array_equal(mask, masks["float64", *key[1:]])
    distinct = [masks["float64", s, e, 0] for s, e in ((0, 0), (0, 1), (1, 0))]
    distinct.append(keep_mask(0, 0.5, rows=8, columns=16, step=0, layer=1))
    for i, one in enumerate(distinct):
        for other in distinct[:i]:
            assert (one != other).any()
    np.testing.assert_array_equal(
        masks["float64", 0, 0, 1],
        distinct[0] & distinct[3],  # the layers stand on one another
    )


@pytest.mark.parametrize("seed", [-1, 1.5, "0", None, True])
def test_a_seed_that_is_no_whole_number_from_0_is_refused(seed):
    with pytest.raises(dr.DeltaruleError, match="seed"):
        check_seed(seed)
    with pytest.raises(dr.DeltaruleError, match="seed"):
        dr.Network([dr.Dense(1)], inputs=1, seed=seed)
