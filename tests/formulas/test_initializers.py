"""Initial weights: variance and bounds of each formula, and what they depend on.

Bounds on sampled moments are five standard deviations: for n values of variance s^2 and kurtosis
k the sample variance deviates by ``s^2 sqrt((k - 1) / n)``, k = 3 normal and 9/5 uniform.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

import deltarule as dr
from deltarule.formulas.initializers import (
    Constant,
    GlorotNormal,
    GlorotUniform,
    HeNormal,
    HeUniform,
    Initializer,
    LeCunNormal,
    LeCunUniform,
    Normal,
    Orthogonal,
    Uniform,
    Zeros,
)
from members import assert_complete

FAN_IN, FAN_OUT = 120, 75
N = FAN_IN * FAN_OUT

NORMAL = {
    "normal": (Normal(), 0.0, 1.0),
    "normal(2, -1)": (Normal(2.0, -1.0), -1.0, 4.0),
    "glorot": (GlorotNormal(), 0.0, 2 / (FAN_IN + FAN_OUT)),
    "he": (HeNormal(), 0.0, 2 / FAN_IN),
    "lecun": (LeCunNormal(), 0.0, 1 / FAN_IN),
}
UNIFORM = {
    "uniform": (Uniform(), -0.5, 0.5),
    "uniform(1, 3)": (Uniform(1.0, 3.0), 1.0, 3.0),
    "glorot": (GlorotUniform(), *(s * math.sqrt(6 / (FAN_IN + FAN_OUT)) for s in (-1, 1))),
    "he": (HeUniform(), *(s * math.sqrt(6 / FAN_IN) for s in (-1, 1))),
    "lecun": (LeCunUniform(), *(s * math.sqrt(3 / FAN_IN) for s in (-1, 1))),
}


@pytest.mark.parametrize("seed", [0, 1, 2**40])
@pytest.mark.parametrize("name", NORMAL)
def test_normal_weights_have_the_mean_and_variance_of_their_formula(name, seed):
    initializer, mean, variance = NORMAL[name]
    W = initializer(FAN_IN, FAN_OUT, seed=seed, layer=3)
    assert W.shape == (FAN_IN, FAN_OUT)
    assert W.dtype == np.float64
    assert abs(W.mean() - mean) < 5 * math.sqrt(variance / N)
    assert abs(((W - mean) ** 2).mean() - variance) < 5 * variance * math.sqrt(2 / N)
    standard = (W.ravel() - mean) / math.sqrt(variance)
    assert stats.kstest(standard, "norm").statistic < 2.7 / math.sqrt(N)


@pytest.mark.parametrize("seed", [0, 1, 2**40])
@pytest.mark.parametrize("name", UNIFORM)
def test_uniform_weights_fill_their_interval_evenly(name, seed):
    initializer, low, high = UNIFORM[name]
    W = initializer(FAN_IN, FAN_OUT, seed=seed, layer=3)
    assert W.shape == (FAN_IN, FAN_OUT)
    assert low < W.min() < W.max() < high
    # the chance that no value lies in the last 14/n of the interval is e^-14
    assert W.min() < low + 14 / N * (high - low)
    assert W.max() > high - 14 / N * (high - low)
    variance = (high - low) ** 2 / 12
    assert abs(W.mean() - (low + high) / 2) < 5 * math.sqrt(variance / N)
    assert abs(W.var() - variance) < 5 * variance * math.sqrt(0.8 / N)
    standard = (W.ravel() - low) / (high - low)
    assert stats.kstest(standard, "uniform").statistic < 2.7 / math.sqrt(N)


def test_the_fan_in_is_the_number_of_rows():
    tall, wide = (HeNormal()(*shape, seed=0, layer=0) for shape in ((400, 25), (25, 400)))
    assert abs(tall.var() * 400 - 2) < 10 * math.sqrt(2 / 10_000)
    assert abs(wide.var() * 25 - 2) < 10 * math.sqrt(2 / 10_000)


def test_zeros_and_constants_are_what_they_say():
    assert (Zeros()(3, 4, seed=1, layer=0) == np.zeros((3, 4))).all()
    assert (Constant(-2.5)(3, 4, seed=1, layer=0) == np.full((3, 4), -2.5)).all()


@pytest.mark.parametrize("gain", [1.0, 1.7])
@pytest.mark.parametrize("shape", [(5, 5), (9, 4), (4, 9), (1, 6), (6, 1), (60, 33)])
def test_orthogonal_weights_have_orthonormal_rows_or_columns(shape, gain):
    W = Orthogonal(gain)(*shape, seed=2, layer=1)
    assert W.shape == shape
    gram = W.T @ W if shape[0] >= shape[1] else W @ W.T
    # Householder's QR is orthogonal to a few eps per column
    bound = 10 * max(shape) * np.finfo(float).eps * gain**2
    np.testing.assert_allclose(gram, gain**2 * np.eye(min(shape)), rtol=0, atol=bound)


def test_orthogonal_weights_are_uniformly_distributed():
    """Every entry has mean 0 and variance 1/n; QR without the signs gives a one-sided diagonal."""
    draws = np.array([Orthogonal()(4, 4, seed=s, layer=0) for s in range(800)])
    assert np.abs(draws.mean(axis=0)).max() < 5 * math.sqrt(1 / 4 / 800)
    assert np.abs((draws**2).mean(axis=0) - 1 / 4).max() < 5 * math.sqrt(1 / 16 / 800)
    turns = (np.linalg.det(draws) > 0).mean()
    assert abs(turns - 0.5) < 5 * 0.5 / math.sqrt(800)


RANDOM = {
    name: initializer
    for name, (initializer, *_) in {
        **{f"normal {k}": v for k, v in NORMAL.items()},
        **{f"uniform {k}": v for k, v in UNIFORM.items()},
        "orthogonal": (Orthogonal(),),
    }.items()
}


@pytest.mark.parametrize("name", RANDOM)
def test_random_weights_are_a_function_of_seed_and_layer(name):
    initializer = RANDOM[name]
    W = initializer(6, 5, seed=1, layer=2)
    np.testing.assert_array_equal(initializer(6, 5, seed=1, layer=2), W)
    for seed, layer in ((2, 2), (1, 3), (1 + 2**32, 2)):
        assert (initializer(6, 5, seed=seed, layer=layer) != W).all()


# ----------------------------------------------------------------------------- in a network

DEFAULTS = {
    "identity": GlorotUniform,
    "sigmoid": GlorotUniform,
    "tanh": GlorotUniform,
    "hard_sigmoid": GlorotUniform,
    "softsign": GlorotUniform,
    "softmax": GlorotUniform,
    "exp": GlorotUniform,
    "relu": HeNormal,
    "leaky_relu": HeNormal,
    "elu": HeNormal,
    "gelu": HeNormal,
    "gelu_tanh": HeNormal,
    "silu": HeNormal,
    "mish": HeNormal,
    "hard_swish": HeNormal,
    "softplus": HeNormal,
    "selu": LeCunNormal,
}


def test_every_activation_has_a_default_here():
    assert_complete("activation", DEFAULTS, "default initializer")


@pytest.mark.parametrize("activation", DEFAULTS)
@pytest.mark.parametrize(
    "stack",
    [
        lambda f: [dr.Dense(7, f)],
        lambda f: [dr.Dense(7), dr.Activation(f)],
        lambda f: [dr.Dense(7), dr.BatchNorm(), dr.Activation(f)],
        lambda f: [dr.Dense(7), dr.LayerNorm(), dr.Dropout(0.1), dr.Activation(f)],
        lambda f: [dr.Residual([dr.Dense(7, f)])],
    ],
    ids=["own", "behind", "behind batch norm", "behind others", "inside a residual"],
)
def test_the_default_follows_the_activation(activation, stack):
    net = dr.Network(stack(activation), inputs=5, seed=3, dtype="float64")
    name = next(iter(net.parameters))
    index = list(net.parameters).index(name)
    if "projection" in name:
        name = "0.0.weight"
        index = list(net.parameters).index(name)
    expected = DEFAULTS[activation]()(5, 7, seed=3, layer=index)
    np.testing.assert_array_equal(net.parameters[name], expected)


@pytest.mark.parametrize("name", RANDOM)
def test_an_initializer_of_the_layer_wins_over_that_of_the_network(name):
    net = dr.Network(
        [dr.Dense(7, weight_initializer=RANDOM[name]), dr.Dense(2)],
        inputs=5,
        seed=3,
        dtype="float64",
        weight_initializer=Normal(9.0),
    )
    np.testing.assert_array_equal(net.parameters["0.weight"], RANDOM[name](5, 7, seed=3, layer=0))
    np.testing.assert_array_equal(net.parameters["1.weight"], Normal(9.0)(7, 2, seed=3, layer=2))


def test_biases_and_shifts_start_at_0_and_scales_at_1():
    net = dr.Network(
        [dr.Dense(4, "relu"), dr.BatchNorm(), dr.LayerNorm(), dr.Dense(2)],
        inputs=3,
        weight_initializer=Normal(),
    )
    for name, array in net.parameters.items():
        if name.endswith(("bias", "shift")):
            assert (array == 0).all()
        elif name.endswith("scale"):
            assert (array == 1).all()
        else:
            assert (array != 0).all()


def test_no_two_parameters_of_a_network_share_random_numbers():
    net = dr.Network(
        [
            dr.Dense(6, weight_initializer=Normal(), bias_initializer=Normal()),
            dr.Residual([dr.Dense(6, weight_initializer=Normal(), bias_initializer=Normal())]),
            dr.Residual(
                [dr.Dense(4, weight_initializer=Normal(), bias_initializer=Normal())],
                projection_initializer=Normal(),
            ),
            dr.Dense(6, weight_initializer=Normal(), bias_initializer=Normal()),
        ],
        inputs=6,
        dtype="float64",
    )
    assert len(np.unique(net.vector)) == len(net.vector)
    assert (net.parameters["0.bias"] != net.parameters["0.weight"][0]).all()


def test_the_seed_of_a_network_decides_its_weights():
    def build(seed):
        return dr.Network([dr.Dense(5, "relu"), dr.Dense(2)], inputs=3, seed=seed)

    np.testing.assert_array_equal(build(1).vector, build(1).vector)
    assert (build(1).parameters["0.weight"] != build(2).parameters["0.weight"]).all()


def test_weights_of_a_float32_network_are_those_of_a_float64_one_rounded():
    narrow, wide = (
        dr.Network([dr.Dense(5, "relu"), dr.Dense(2)], inputs=3, seed=4, dtype=d)
        for d in ("float32", "float64")
    )
    np.testing.assert_array_equal(narrow.vector, wide.vector.astype(np.float32))


@pytest.mark.parametrize(
    ("depth", "activation", "low", "high"), [(20, "tanh", 0.05, 1.0), (20, "relu", 0.1, 10.0)]
)
def test_the_default_keeps_signals_alive_through_many_layers(depth, activation, low, high):
    net = dr.Network([dr.Dense(64, activation)] * depth, inputs=64, seed=0)
    x = np.random.default_rng(0).standard_normal((200, 64))
    size = np.sqrt((net.predict(x) ** 2).mean())
    assert low < size < high


@pytest.mark.parametrize(
    "make",
    [
        lambda: Normal(-1.0),
        lambda: Uniform(1.0, 1.0),
        lambda: Uniform(2.0, 1.0),
        lambda: Orthogonal(0.0),
        lambda: Constant(float("nan")),
        lambda: Initializer.resolve("he_norml"),
        lambda: Initializer.resolve("constant"),
    ],
)
def test_impossible_settings_are_refused(make):
    with pytest.raises(dr.DeltaruleError):
        make()
