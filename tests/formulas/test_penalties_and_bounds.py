"""Penalties, constraints and clipping: their formulas, bounds and ends."""

from __future__ import annotations

import numpy as np
import pytest

import deltarule as dr
from deltarule.formulas.clipping import sum_of_squares
from deltarule.formulas.constraints import MaxNorm
from deltarule.formulas.penalties import L1, L2, ElasticNet, Penalty

W = np.array([[1.0, -2.0, 0.0], [0.5, -0.25, 3.0]])  # sum |W| = 6.75, sum W^2 = 14.3125


@pytest.mark.parametrize(
    ("penalty", "value", "gradient"),
    [
        (L2(0.4), 0.2 * 14.3125, 0.4 * W),
        (L1(0.4), 0.4 * 6.75, 0.4 * np.sign(W)),
        (ElasticNet(0.3, 0.4), 0.3 * 6.75 + 0.2 * 14.3125, 0.3 * np.sign(W) + 0.4 * W),
        (ElasticNet(0.0, 0.4), 0.2 * 14.3125, 0.4 * W),
        (L2(0.0), 0.0, 0 * W),
    ],
)
def test_a_penalty_has_the_value_and_gradient_of_its_formula(penalty, value, gradient):
    assert penalty.value(W) == pytest.approx(value, rel=1e-15)
    np.testing.assert_allclose(penalty.gradient(W), gradient, rtol=1e-15)
    assert penalty.gradient(W).shape == W.shape


def test_the_penalty_of_0_is_0_and_has_gradient_0():
    for penalty in (L1(2.0), L2(2.0), ElasticNet(1.0, 1.0)):
        assert penalty.value(np.zeros((3, 2))) == 0
        assert (penalty.gradient(np.zeros((3, 2))) == 0).all()


def test_a_penalty_keeps_float32_and_is_summed_in_float64():
    wide = np.full((1000, 1000), np.float32(0.1))
    for penalty in (L1(1.0), L2(1.0), ElasticNet(1.0, 1.0)):
        assert penalty.gradient(wide).dtype == np.float32
    exact = 1e6 * float(np.float32(0.1))
    assert L1(1.0).value(wide) == pytest.approx(exact, rel=1e-12)
    assert L2(1.0).value(wide) == pytest.approx(exact * float(np.float32(0.1)) / 2, rel=1e-12)


@pytest.mark.parametrize("kind", [L1, L2])
@pytest.mark.parametrize("strength", [-1e-3, float("nan"), float("inf"), "0.1", None, True])
def test_an_impossible_strength_is_refused(kind, strength):
    with pytest.raises(dr.DeltaruleError, match="strength must be a finite number >= 0"):
        kind(strength)


def test_a_penalty_is_known_by_name():
    assert Penalty.resolve("l2") == L2()
    assert Penalty.resolve(L1) == L1()
    with pytest.raises(dr.DeltaruleError, match="did you mean 'elastic_net'"):
        Penalty.resolve("elasticnte")


@pytest.mark.parametrize("engine", ["reference"])
def test_a_penalty_alone_shrinks_weights_geometrically_and_leaves_biases(engine):
    net = dr.Network([dr.Dense(2), dr.Dense(1)], inputs=3, dtype="float64", seed=1)
    net.parameters["0.bias"] = [1.0, 2.0]
    before = {k: v.copy() for k, v in net.parameters.items()}
    trainer = dr.Trainer(net, "squared_error", dr.SGD(0.1), penalty=L2(0.5), engine=engine)
    outputs = net.predict(np.zeros((1, 3)))
    trainer.step(np.zeros((1, 3)), outputs)  # no data loss at all
    np.testing.assert_allclose(net.parameters["0.weight"], 0.95 * before["0.weight"], rtol=1e-15)
    np.testing.assert_array_equal(net.parameters["0.bias"], before["0.bias"])


# ---------------------------------------------------------------------------------- MaxNorm


def test_max_norm_shrinks_the_long_columns_to_the_limit_and_leaves_the_others():
    weights = np.array([[3.0, 0.3, 0.0], [4.0, 0.4, 0.0]])
    MaxNorm(1.0).apply(weights)
    np.testing.assert_allclose(weights, [[0.6, 0.3, 0.0], [0.8, 0.4, 0.0]], rtol=1e-15)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_max_norm_bounds_every_column_keeps_directions_and_changes_nothing_twice(dtype):
    weights = np.random.default_rng(0).normal(0, 2, (6, 40)).astype(dtype)
    before, eps = weights.copy(), np.finfo(dtype).eps
    MaxNorm(3.0).apply(weights)
    norm = np.linalg.norm(weights.astype(float), axis=0)
    # the sum of 6 squares, the root, the quotient and the product
    assert (norm <= 3.0 * (1 + 6 * eps)).all()
    short = np.linalg.norm(before, axis=0) <= 3.0
    assert short.any()
    assert not short.all()
    np.testing.assert_array_equal(weights[:, short], before[:, short])
    ratio = weights[:, ~short] / before[:, ~short]
    np.testing.assert_allclose(ratio, ratio[:1].repeat(6, axis=0), rtol=4 * eps)
    again = weights.copy()
    MaxNorm(3.0).apply(again)
    np.testing.assert_allclose(again, weights, rtol=8 * eps)


def test_max_norm_holds_after_every_step_of_training():
    net = dr.Network([dr.Dense(5, "tanh"), dr.Dense(2)], inputs=3, dtype="float64", seed=0)
    rng = np.random.default_rng(0)
    dr.train(
        net,
        rng.normal(size=(20, 3)),
        50 * rng.normal(size=(20, 2)),
        loss="squared_error",
        optimizer=dr.SGD(0.05),
        constraint=MaxNorm(0.7),
        epochs=5,
        progress=False,
    )
    norms = [np.linalg.norm(net.parameters[f"{i}.weight"], axis=0) for i in range(2)]
    assert max(n.max() for n in norms) == pytest.approx(0.7, rel=1e-14)
    assert np.linalg.norm(net.parameters["1.bias"]) > 0.7  # biases are free


@pytest.mark.parametrize("limit", [0, -1, float("inf"), float("nan"), "3"])
def test_an_impossible_limit_is_refused(limit):
    for kind in (MaxNorm, dr.ClipNorm, dr.ClipValue):
        with pytest.raises(dr.DeltaruleError, match="limit must be a finite number > 0"):
            kind(limit)


# --------------------------------------------------------------------------------- clipping


def gradients(dtype=np.float64, scale=1.0):
    rng = np.random.default_rng(1)
    return [scale * rng.normal(size=shape).astype(dtype) for shape in ((4, 3), (3,), (3, 2))]


def norm_of(arrays):
    return np.sqrt(sum((a.astype(float) ** 2).sum() for a in arrays))


def test_clip_value_bounds_each_component_by_itself():
    g = gradients()
    before = [a.copy() for a in g]
    dr.ClipValue(0.5).apply(g)
    for a, b in zip(g, before, strict=True):
        np.testing.assert_array_equal(a, np.minimum(np.maximum(b, -0.5), 0.5))
    assert max(np.abs(a).max() for a in g) == 0.5


@pytest.mark.parametrize("limit", [0.01, 1.0, 2.5])
def test_clip_norm_shrinks_the_whole_gradient_and_keeps_its_direction(limit):
    g = gradients()
    before = [a.copy() for a in g]
    whole = norm_of(g)
    assert whole > limit
    dr.ClipNorm(limit).apply(g)
    assert norm_of(g) == pytest.approx(limit, rel=1e-14)
    for a, b in zip(g, before, strict=True):
        np.testing.assert_allclose(a, b * (limit / whole), rtol=1e-14)


@pytest.mark.parametrize("clip", [dr.ClipNorm(100.0), dr.ClipValue(100.0)])
def test_a_gradient_within_the_limit_is_left_alone(clip):
    g = gradients()
    before = [a.copy() for a in g]
    clip.apply(g)
    for a, b in zip(g, before, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("clip", [dr.ClipNorm(1.0), dr.ClipValue(1.0)])
def test_clipping_a_gradient_of_0_leaves_it_0(clip):
    g = [np.zeros((2, 2))]
    clip.apply(g)
    assert (g[0] == 0).all()


def test_the_norm_of_a_large_float32_gradient_does_not_overflow():
    g = gradients(np.float32, np.float32(1e25))
    dr.ClipNorm(1.0).apply(g)
    assert norm_of(g) == pytest.approx(1.0, rel=1e-6)
    assert sum_of_squares(np.full(10, np.float32(1e30))) == pytest.approx(1e61, rel=1e-6)


def test_clipping_bounds_the_step_of_data_and_penalty_together():
    net = dr.Network([dr.Dense(3, "tanh"), dr.Dense(2)], inputs=4, dtype="float64", seed=0)
    before = net.vector.copy()
    rng = np.random.default_rng(0)
    trainer = dr.Trainer(net, "squared_error", dr.SGD(1.0), clip=dr.ClipNorm(0.25), penalty=L2(5.0))
    trainer.step(rng.normal(size=(6, 4)), rng.normal(size=(6, 2)))
    assert np.linalg.norm(net.vector - before) == pytest.approx(0.25, rel=1e-13)


def test_frozen_parameters_do_not_count_in_the_norm():
    layers = [dr.Dense(3, "tanh", learning_rate_factor=0), dr.Dense(2)]
    net = dr.Network(layers, inputs=4, dtype="float64", seed=0)
    before = net.vector.copy()
    rng = np.random.default_rng(0)
    trainer = dr.Trainer(net, "squared_error", dr.SGD(1.0), clip=dr.ClipNorm(0.25))
    trainer.step(rng.normal(size=(6, 4)), 10 * rng.normal(size=(6, 2)))
    assert np.linalg.norm(net.vector - before) == pytest.approx(0.25, rel=1e-13)
