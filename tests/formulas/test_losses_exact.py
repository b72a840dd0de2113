"""Losses and their gradients against mpmath, at ordinary and at extreme arguments.

Bounds as in test_activations_exact: ``k * eps * scale``, the scale being the sum of the absolute
values of all terms, each of which is rounded a few times, an elementary function by 4 units.
"""

from __future__ import annotations

import numpy as np
import pytest
from mpmath import mp, mpf

import deltarule as dr
from deltarule.formulas.activations import Exp, Sigmoid, Softmax
from gradient_cases import PAIRS

mp.dps = 60

DTYPES = [np.float32, np.float64]
SIZES = [0.0, 1e-30, 1e-8, 0.3, 0.99, 1.0, 1.01, 5.0, 50.0, 88.0, 1e3, 1e8, 1e15]
SIGNED = np.array([s * v for v in SIZES for s in (1, -1)])
LOGITS = np.array(
    [s * v for v in [*SIZES, 17.0, 37.0, 104.0, 708.0, 710.0, 746.0, 1e30] for s in (1, -1)]
)


def exactly(rows):
    return [[mpf(float(v)) for v in row] for row in rows]


def assert_within(computed, exact, scale, k, dtype):
    info = np.finfo(dtype)
    assert computed.dtype == dtype
    computed = np.asarray(computed).ravel()
    for value, right, size in zip(computed, exact, scale, strict=True):
        assert not np.isnan(value)
        if abs(right) > mpf(float(info.max)):
            assert np.isinf(value)
            continue
        bound = k * float(info.eps) * size + float(info.tiny)
        assert abs(mpf(float(value)) - right) <= bound, (
            f"{value!r}, exactly {mp.nstr(right, 20)}, bound {mp.nstr(mpf(bound), 5)}"
        )


def pairs_of(values, dtype):
    """Return all pairs of arguments as rows of two columns: a (n, 2) and t (n, 2)."""
    a, t = (grid.ravel() for grid in np.meshgrid(values, values))
    a, t = np.stack([a, a[::-1]], axis=1), np.stack([t, t[::-1]], axis=1)
    return a.astype(dtype), t.astype(dtype)


# name: l(r) and dl/da(r) of one output with r = a - t, and whether outputs are averaged
ELEMENTWISE = {
    "squared_error": (dr.SquaredError(), lambda r: r * r / 2, lambda r: r, False),
    "mean_squared_error": (dr.MeanSquaredError(), lambda r: r * r, lambda r: 2 * r, True),
    "mean_absolute_error": (dr.MeanAbsoluteError(), abs, lambda r: mpf(mp.sign(r)), True),
    "huber": (
        dr.Huber(),
        lambda r: r * r / 2 if abs(r) <= 1 else abs(r) - mpf(1) / 2,
        lambda r: max(-1, min(1, r)),
        True,
    ),
    "huber(0.25)": (
        dr.Huber(0.25),
        lambda r: r * r / 2 if abs(r) <= mpf("0.25") else mpf("0.25") * (abs(r) - mpf("0.125")),
        lambda r: max(mpf("-0.25"), min(mpf("0.25"), r)),
        True,
    ),
    "quantile(0.75)": (
        dr.Quantile(0.75),
        lambda r: max(-mpf("0.75") * r, mpf("0.25") * r),
        lambda r: mpf("0.25") if r > 0 else mpf("-0.75") if r < 0 else mpf(0),
        True,
    ),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_a_loss_is_exact_within_rounding(name, dtype):
    """The difference, its square, the product, the sum and the division: 5 roundings of 1/2."""
    loss, value, _, averaged = ELEMENTWISE[name]
    a, t = pairs_of(SIGNED, dtype)
    exact = [
        sum(value(x - y) for x, y in zip(p, q, strict=True)) / (2 if averaged else 1)
        for p, q in zip(exactly(a), exactly(t), strict=True)
    ]
    # r itself is rounded: near Huber's threshold by half a unit of |a| + |t|.
    assert_within(loss.value(a, t), exact, exact, 4, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_the_gradient_of_a_loss_is_exact_within_rounding(name, dtype):
    loss, _, gradient, averaged = ELEMENTWISE[name]
    a, t = pairs_of(SIGNED, dtype)
    exact = [
        gradient(x - y) / (2 if averaged else 1)
        for p, q in zip(exactly(a), exactly(t), strict=True)
        for x, y in zip(p, q, strict=True)
    ]
    computed = loss.gradient(a, t)
    assert computed.shape == a.shape
    assert_within(computed, exact, [abs(v) for v in exact], 2, dtype)


def test_the_largest_finite_residual_gives_a_finite_linear_loss():
    for dtype in DTYPES:
        a = np.array([[np.finfo(dtype).max / 4]], dtype)
        t = np.zeros_like(a)
        for loss in (dr.MeanAbsoluteError(), dr.Huber(), dr.Quantile(0.25)):
            assert np.isfinite(loss.value(a, t)).all()
            assert np.isfinite(loss.gradient(a, t)).all()


# ----------------------------------------------------------------------- entropies and counts


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("target", [0.0, 1.0, 0.25, 0.5])
def test_binary_cross_entropy_is_exact_for_every_logit(target, dtype):
    """``max(z, 0) - t z + log1p(e^-|z|)``: terms of size |z| and log 2, 9 units in the last."""
    z = np.stack([LOGITS, LOGITS[::-1]], axis=1).astype(dtype)
    t = np.full_like(z, target)
    a = Sigmoid()(z)
    exact, scale = [], []
    for row in exactly(z):
        terms = [(max(v, mpf(0)) - target * v, mp.log1p(mp.exp(-abs(v)))) for v in row]
        exact.append(sum(u + v for u, v in terms))
        # t = 0 and 1 leave nothing to subtract
        whole = target in (0.0, 1.0)
        scale.append(
            sum((u if whole else abs(x)) + v for (u, v), x in zip(terms, row, strict=True))
        )
    assert_within(dr.BinaryCrossEntropy().canonical_value(z, a, t), exact, scale, 11, dtype)
    delta = dr.BinaryCrossEntropy().canonical_delta(z, a, t)
    exact = [1 / (1 + mp.exp(-v)) - target for row in exactly(z) for v in row]
    assert_within(delta, exact, [abs(v) + target for v in exact], 10, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("target", [(1, 0, 0), (0, 0, 1), (0.25, 0.25, 0.5)])
def test_cross_entropy_is_exact_for_all_logits(target, dtype):
    """The logarithm of a sum >= 1 is off by 4 units of 1 and of itself; products: |z - max|."""
    rng = np.random.default_rng(3)
    z = np.array([rng.choice(LOGITS, 3) for _ in range(300)]).astype(dtype)
    t = np.tile(np.array(target, dtype), (len(z), 1))
    a = Softmax()(z)
    exact, scale, deltas, sizes = [], [], [], []
    for row in exactly(z):
        top = max(row)
        e = [mp.exp(v - top) if v - top > -1e6 else mpf(0) for v in row]
        log_sum = mp.log(sum(e))
        exact.append(log_sum - sum(p * (v - top) for p, v in zip(target, row, strict=True)))
        scale.append(1 + log_sum + sum(p * (top - v) for p, v in zip(target, row, strict=True)))
        deltas += [v / sum(e) - p for v, p in zip(e, target, strict=True)]
        sizes += [v / sum(e) * (1 + top - x) + p for v, x, p in zip(e, row, target, strict=True)]
    loss = dr.CrossEntropy()
    assert_within(loss.canonical_value(z, a, t), exact, scale, 8, dtype)
    assert_within(loss.canonical_delta(z, a, t), deltas, sizes, 13, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_cross_entropy_takes_the_largest_logits(dtype):
    limit = np.finfo(dtype).max
    z = np.array([[limit, -limit], [limit, limit], [-limit, -limit]], dtype)
    a, t = Softmax()(z), np.array([[1, 0], [1, 0], [1, 0]], dtype)
    np.testing.assert_allclose(
        dr.CrossEntropy().canonical_value(z, a, t), [0, np.log(2), np.log(2)], rtol=1e-6
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("target", [0.0, 1.0, 7.0])
def test_poisson_is_exact_for_every_logarithm_of_the_rate(target, dtype):
    z = LOGITS[np.abs(LOGITS) < 1e20].astype(dtype)[:, None]
    t = np.full_like(z, target)
    a = Exp()(z)
    exact = [mp.exp(v) - target * v for (v,) in exactly(z)]
    scale = [mp.exp(v) + target * abs(v) for (v,) in exactly(z)]
    assert_within(dr.Poisson().canonical_value(z, a, t), exact, scale, 6, dtype)
    exact = [mp.exp(v) - target for (v,) in exactly(z)]
    scale = [mp.exp(v) + target for (v,) in exactly(z)]
    assert_within(dr.Poisson().canonical_delta(z, a, t), exact, scale, 6, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("target", [0.0, 1.0, 7.0])
def test_poisson_of_a_rate_is_exact_down_to_the_smallest_normal_number(target, dtype):
    rates = [1e-30, 1e-8, 0.3, 1.0, 1.01, 50.0, 1e8, 1e15, 1e30]
    a = np.array(rates, dtype)[:, None]
    t = np.full_like(a, target)
    exact = [v - target * mp.log(v) for (v,) in exactly(a)]
    scale = [v + target * abs(mp.log(v)) for (v,) in exactly(a)]
    assert_within(dr.Poisson().value(a, t), exact, scale, 6, dtype)
    exact = [1 - target / v for (v,) in exactly(a)]
    scale = [1 + target / v for (v,) in exactly(a)]
    assert_within(dr.Poisson().gradient(a, t), exact, scale, 3, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("count", [0.0, 1.0, 5.0, 1e4])
@pytest.mark.parametrize("z", [-90.0, -104.0, -720.0, -746.0, -1e3, -1e30])
def test_poisson_behind_softplus_has_the_right_delta_far_below_zero(z, count, dtype):
    """``sigma(z) (1 - t / a) = e^z - t``, the next term being e^2z; e^z stops at tiny / eps."""
    net = dr.Network([dr.Dense(1, "softplus")], inputs=1, dtype=dtype)
    net.vector[:] = [0.0, z]
    info = np.finfo(dtype)
    delta = dr.backpropagate(net, [[1.0]], [[count]], "poisson").deltas["0"]
    expected = np.exp(z) - count
    np.testing.assert_allclose(delta, expected, rtol=20 * info.eps, atol=2 * info.tiny / info.eps)


# ---------------------------------------------------------------------------------------- NaN


@pytest.mark.parametrize("where", ["output", "target"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("pair", PAIRS)
def test_nan_reaches_the_loss_and_the_delta_of_its_example(pair, dtype, where):
    loss, output = PAIRS[pair]
    z = np.array([[0.5, -1.0], [0.5, -1.0]], dtype)
    t = np.array([[1.0, 0.0], [1.0, 0.0]], dtype)
    (z if where == "output" else t)[1, 0] = np.nan
    function = dr.activations.ActivationFunction.resolve(output)
    a = function(z)
    if isinstance(function, loss.output_activation):
        value, delta = loss.canonical_value(z, a, t), loss.canonical_delta(z, a, t)
    else:
        value = loss.value(a, t)
        delta = function.backward(loss.gradient(a, t), z, a)
    assert np.isfinite(value[0])
    assert np.isfinite(delta[0]).all()
    assert np.isnan(value[1])
    assert np.isnan(delta[1, 0])


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "elu", "gelu", "selu", "mish"])
def test_nan_in_one_example_reaches_the_loss_and_stays_in_its_row(activation):
    net = dr.Network([dr.Dense(5, activation), dr.Dense(2)], inputs=3, dtype="float64", seed=1)
    x = np.ones((4, 3))
    x[2, 1] = np.nan
    trace = dr.backpropagate(net, x, np.zeros((4, 2)), "squared_error")
    assert np.isnan(trace.loss)
    np.testing.assert_array_equal(np.isnan(trace.losses), [False, False, True, False])
    np.testing.assert_array_equal(np.isnan(net.predict(x)).all(axis=1), [False, False, True, False])


# --------------------------------------------------------------------- targets as they are encoded


def test_labels_one_hot_rows_and_probabilities_are_the_same_targets():
    loss, labels = dr.CrossEntropy(), np.array([2, 0, 1, 1])
    one_hot = loss.encode(loss.check_targets(np.eye(3)[labels], 3), 3, np.dtype("float64"))
    np.testing.assert_array_equal(
        loss.encode(loss.check_targets(labels, 3), 3, np.dtype("float64")), one_hot
    )
    column = loss.check_targets(labels[:, None].astype(float), 3)
    np.testing.assert_array_equal(loss.encode(column, 3, np.dtype("float64")), one_hot)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.9])
def test_label_smoothing_mixes_with_the_uniform_distribution(smoothing):
    loss = dr.CrossEntropy(label_smoothing=smoothing)
    t = loss.encode(np.array([1, 3]), 4, np.dtype("float64"))
    np.testing.assert_allclose(t.sum(axis=1), 1, rtol=1e-15)
    np.testing.assert_allclose(t[0], np.array([0, 1, 0, 0]) * (1 - smoothing) + smoothing / 4)
    soft = np.array([[0.5, 0.5, 0, 0]])
    np.testing.assert_allclose(
        loss.encode(soft, 4, np.dtype("float64")), (1 - smoothing) * soft + smoothing / 4
    )
