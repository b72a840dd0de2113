"""The specification's worked example, number by number."""

from __future__ import annotations

import numpy as np
import pytest

import deltarule as dr

X, TARGET = np.array([0.5, 0.8]), 1.0


@pytest.fixture
def net():
    """Return the 2-2-1 network whose preactivations are the example's .1, .3 and .2.

    The example gives w_o = .4, .6 and the preactivations; the rest is chosen to yield them.
    """
    net = dr.Network([dr.Dense(2, "sigmoid"), dr.Dense(1, "sigmoid")], inputs=2, dtype="float64")
    W = np.array([[0.2, -0.4], [-0.3, 0.7]])
    net.parameters["0.weight"] = W
    net.parameters["0.bias"] = np.array([0.1, 0.3]) - X @ W
    w_o = np.array([0.4, 0.6])
    a_h = 1 / (1 + np.exp(-np.array([0.1, 0.3])))
    net.parameters["1.weight"] = w_o[:, None]
    net.parameters["1.bias"] = [0.2 - a_h @ w_o]
    return net


@pytest.fixture
def trace(net):
    return dr.backpropagate(net, X, TARGET, dr.SquaredError())


SIX_DIGITS = {
    "z_h": (lambda t: t.preactivations["0"], [[0.1, 0.3]]),
    "a_h": (lambda t: t.activations["0"], [[0.524979, 0.574443]]),
    "z_o": (lambda t: t.preactivations["1"], [[0.2]]),
    "a_o": (lambda t: t.activations["1"], [[0.549834]]),
    "loss": (lambda t: t.loss, 0.101325),
    "delta_o": (lambda t: t.deltas["1"], [[-0.111424]]),
    "delta_h": (lambda t: t.deltas["0"], [[-0.011115, -0.016343]]),
    "dW_o": (lambda t: t.gradients["1.weight"], [[-0.058495], [-0.064006]]),
    # the specification writes (units, inputs), deltarule (inputs, units)
    "dW_h": (
        lambda t: t.gradients["0.weight"].T,
        [[-0.005557, -0.008892], [-0.008172, -0.013074]],
    ),
    "db_o": (lambda t: t.gradients["1.bias"], [-0.111424]),
    "db_h": (lambda t: t.gradients["0.bias"], [-0.011115, -0.016343]),
}


@pytest.mark.parametrize("name", SIX_DIGITS)
def test_the_example_has_its_numbers_to_six_digits(name, trace):
    value, expected = SIX_DIGITS[name]
    # printed to 6 decimals: off by half a unit of the last
    np.testing.assert_allclose(value(trace), expected, rtol=0, atol=0.5e-6 + 1e-12)


def test_the_derivatives_of_the_units_are_those_of_float64(trace):
    sigmoid = dr.activations.Sigmoid()
    z_h, a_h = trace.preactivations["0"], trace.activations["0"]
    z_o, a_o = trace.preactivations["1"], trace.activations["1"]
    np.testing.assert_allclose(
        sigmoid.derivative(z_h, a_h), [[0.249376, 0.244458]], rtol=0, atol=0.5e-6
    )
    np.testing.assert_allclose(sigmoid.derivative(z_o, a_o), [[0.247517]], rtol=0, atol=0.5e-6)


def test_the_three_figures_that_the_page_prints_wrong_are_not_ours(trace):
    derivative = dr.activations.Sigmoid().derivative(
        trace.preactivations["0"], trace.activations["0"]
    )
    assert derivative.round(3).tolist() == [[0.249, 0.244]]  # printed: .247, .241
    assert round(trace.loss, 3) == 0.101  # printed: .102


def test_the_other_figures_of_the_page_agree_to_its_three_digits(trace):
    # The page goes on with rounded figures, so its last digit may be off by one.
    for value, printed in [
        (trace.activations["0"], [[0.525, 0.574]]),
        (trace.activations["1"], [[0.549]]),
        (trace.deltas["1"], [[-0.111]]),
        (trace.deltas["0"], [[-0.011, -0.016]]),
        (trace.gradients["1.weight"].T, [[-0.058, -0.064]]),
        (trace.gradients["0.weight"].T, [[-0.006, -0.009], [-0.008, -0.013]]),
    ]:
        np.testing.assert_allclose(value, printed, rtol=0, atol=1e-3)


def test_the_formulas_of_the_page_hold_as_it_writes_them_with_columns(net, trace):
    """``delta_h = (w_o^T delta_o) . s'(z_h)``, ``dw = delta a^T`` with columns and (out, in) w."""
    w_h, w_o = net.parameters["0.weight"].T, net.parameters["1.weight"].T
    b_h, b_o = net.parameters["0.bias"][:, None], net.parameters["1.bias"][:, None]
    x = X[:, None]

    def s(z):
        return 1 / (1 + np.exp(-z))

    z_h = w_h @ x + b_h
    z_o = w_o @ s(z_h) + b_o
    a_h, a_o = s(z_h), s(z_o)
    delta_o = (a_o - TARGET) * a_o * (1 - a_o)
    delta_h = (w_o.T @ delta_o) * a_h * (1 - a_h)
    for ours, theirs in [
        (trace.deltas["1"], delta_o.T),
        (trace.deltas["0"], delta_h.T),
        (trace.gradients["1.weight"], (delta_o @ a_h.T).T),
        (trace.gradients["0.weight"], (delta_h @ x.T).T),
        (trace.gradients["1.bias"], delta_o[:, 0]),
        (trace.gradients["0.bias"], delta_h[:, 0]),
        (trace.loss, 0.5 * ((TARGET - a_o) ** 2).sum()),
    ]:
        np.testing.assert_allclose(ours, theirs, rtol=1e-14)


def test_one_step_subtracts_the_rate_times_the_gradient(net, trace):
    before = net.vector.copy()
    gradient = np.concatenate([g.ravel() for g in trace.gradients.values()])
    trainer = dr.Trainer(net, dr.SquaredError(), dr.SGD(0.7))
    assert trainer.step(X[None], [[TARGET]]) == pytest.approx(trace.loss, rel=1e-15)
    np.testing.assert_allclose(net.vector, before - 0.7 * gradient, rtol=1e-15)


def test_the_printed_trace_shows_the_numbers(trace):
    text = str(trace)
    for number in ("0.524979", "0.549834", "0.101325", "-0.111424", "-0.016343", "-0.013074"):
        assert number in text
