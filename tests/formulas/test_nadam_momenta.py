"""NAdam's product of momenta: closed form, against mpmath, in memory that no step enlarges."""

import tracemalloc

import numpy as np
import pytest
from mpmath import mp, mpf, qp

import deltarule as dr
from deltarule.formulas.optimizers import _nadam_momenta

BETAS = [0.0, 1e-6, 0.5, 0.9, 0.999, 1 - 1e-9]
DECAYS = [0.0, 1e-40, 1e-12, 4e-3, 0.1, 1.0, 50.0, 1e300]


def exact(beta1, decay, t):
    """Return ``mu_t`` and ``1 - prod_{i<=t} beta1 (1 - q^i / 2)``, by the q-Pochhammer symbol."""
    with mp.workdps(60):
        q = mp.power(mpf("0.96"), mpf(decay))
        mu = mpf(beta1) * (1 - mp.power(q, t) / 2)
        product = mpf(beta1) ** t * (mpf(1) / 2**t if q == 1 else qp(q / 2, q, t))
        return float(mu), 1 - product


@pytest.mark.parametrize("decay", DECAYS)
@pytest.mark.parametrize("beta1", BETAS)
def test_momenta_are_exact_to_rounding(beta1, decay):
    t = np.array([1.0, 2.0, 3.0, 7.0, 20.0, 50.0])
    mu, rest = _nadam_momenta(beta1, decay, t)
    eps = np.finfo(np.float64).eps
    for i, count in enumerate(t.tolist()):
        with mp.workdps(60):
            expected_mu, expected = exact(beta1, decay, int(count))
            # 0.96 and log 0.96 are rounded: t * decay * log 0.96 is off by some eps of itself,
            # which exp(-x) makes at most eps / e; 1 - x keeps that, relative to what is left.
            assert abs(mu[i] - expected_mu) <= 8 * eps * max(beta1, 1e-300)
            assert abs(mpf(float(rest[i])) / expected - 1) <= 16 * eps / min(float(expected), 0.5)


def test_ten_million_steps_take_no_memory():
    optimizer = dr.NAdam()
    optimizer.scalars(np.ones(1), np.ones(1))
    tracemalloc.start()
    try:
        row = optimizer.scalars(np.array([1e7]), np.array([1e-3]))
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 50_000
    # The products are 0 by then: mu_t is beta1.
    np.testing.assert_allclose(row[0, :2], [1e-3 * (1 - 0.9), 1e-3 * 0.9], rtol=1e-15)


@pytest.mark.parametrize("first", [1, 1000, 5000, 10**9])
def test_a_long_table_has_what_single_steps_have(first):
    t = np.arange(first, first + 9000, dtype=np.float64)
    whole = dr.NAdam().scalars(t, np.ones(9000))
    for i in (0, 1, 4095, 4096, 8999):
        (row,) = dr.NAdam().scalars(t[i : i + 1], np.ones(1))
        np.testing.assert_array_equal(whole[i], row)
