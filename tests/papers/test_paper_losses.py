"""The quantile loss against Koenker and Bassett's definition."""

import numpy as np
import pytest
from numpy_network import X, Y, descent, follow, network

import deltarule as dr


def check_function(u, q):
    """Return rho_q(u) = u (q - I(u < 0)), as Koenker and Bassett have it."""
    return u * (q - (u < 0))


@pytest.mark.parametrize("q", [0.1, 0.5, 0.8])
def test_training_follows_the_slope_of_the_check_function(q):
    def slope(a, t):
        return -(q - (t - a < 0)) / a.shape[1]

    follow(dr.SGD(0.2), descent(lambda t, _: 0.2), loss=dr.losses.Quantile(q), slope=slope)


@pytest.mark.parametrize("q", [0.1, 0.5, 0.8])
def test_the_loss_is_the_mean_of_the_check_function(q):
    net = network()
    expected = check_function(Y - net.predict(X, engine="reference"), q).mean()
    found = dr.evaluate(net, X, Y, dr.Quantile(q), engine="reference")["loss"]
    assert found == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("q", [0.25, 0.6])
def test_a_lone_bias_finds_the_quantile_of_the_sample(q):
    # The slope of the mean is (share below) - q, hence the minimum lies where the shares are q.
    y = np.random.default_rng(8).exponential(size=(501, 1))
    net = dr.Network([dr.Dense(1, weight_initializer="zeros")], inputs=1, dtype="float64")
    dr.train(
        net.freeze("0.weight"),
        np.ones((501, 1)),
        y,
        loss=dr.Quantile(q),
        optimizer=dr.SGD(dr.Linear(0.5)),
        epochs=1500,
        batch_size=None,
        engine="reference",
        progress=False,
    )
    ordered = np.sort(y, axis=0)[:, 0]
    rank = int(q * 501)  # q n is no whole number here: the minimum is the one value of that rank
    assert ordered[rank - 1] < net.parameters["0.bias"][0] < ordered[rank + 1]
