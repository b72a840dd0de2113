"""Matt Mazur's step-by-step example, with the numbers right, and how the published ones arise.

2-2-2 logistic units, squared error, rate 0.5. Biases .35 and .60, frozen (one per layer, and the
article does not train them).
"""

from __future__ import annotations

import numpy as np
import pytest

import deltarule as dr

X, T = np.array([0.05, 0.10]), np.array([0.01, 0.99])
W_HIDDEN = np.array([[0.15, 0.25], [0.20, 0.30]])  # w1, w2 are the column of h1
W_OUTPUT = np.array([[0.40, 0.50], [0.45, 0.55]])


@pytest.fixture
def net():
    net = dr.Network([dr.Dense(2, "sigmoid"), dr.Dense(2, "sigmoid")], inputs=2, dtype="float64")
    net.parameters["0.weight"] = W_HIDDEN
    net.parameters["0.bias"] = [0.35, 0.35]
    net.parameters["1.weight"] = W_OUTPUT
    net.parameters["1.bias"] = [0.60, 0.60]
    return net.freeze("0.bias", "1.bias")


@pytest.fixture
def trace(net):
    return dr.backpropagate(net, X, T, dr.SquaredError())


PRINTED = {
    "net_h": (lambda t: t.preactivations["0"][0], [0.3775, 0.3925], 12),
    "out_h": (lambda t: t.activations["0"][0], [0.593269992107, 0.596884378260], 12),
    "net_o": (lambda t: t.preactivations["1"][0], [1.105905967060, 1.224921404096], 12),
    "out_o": (lambda t: t.activations["1"][0], [0.751365069552, 0.772928465321], 12),
    "E_o": (
        lambda t: 0.5 * (t.targets[0] - t.activations["1"][0]) ** 2,
        [0.274811083176, 0.023560025584],
        12,
    ),
    "E": (lambda t: t.loss, 0.298371108760, 12),
    "delta_o": (lambda t: t.deltas["1"][0], [0.138498561629, -0.038098236517], 12),
    "dE/dout_h": (
        lambda t: (t.deltas["1"] @ W_OUTPUT.T)[0],
        [0.036350306393, 0.041370322649],
        12,
    ),
    "delta_h": (lambda t: t.deltas["0"][0], [0.008771354689, 0.009954254705], 12),
    "dE/dw1..w4": (
        lambda t: t.gradients["0.weight"].T.ravel(),
        [0.000438567734, 0.000877135469, 0.000497712735, 0.000995425471],
        12,
    ),
    "dE/dw5..w8": (
        lambda t: t.gradients["1.weight"].T.ravel(),
        [0.082167040564, 0.082667627848, -0.022602540477, -0.022740242216],
        12,
    ),
}


def within_printed(value, expected, digits):
    np.testing.assert_allclose(value, expected, rtol=0, atol=0.5000001 * 10.0**-digits)


@pytest.mark.parametrize("name", PRINTED)
def test_a_quantity_has_its_float64_value_to_all_printed_digits(name, trace):
    value, expected, digits = PRINTED[name]
    within_printed(value(trace), expected, digits)


def descend(net, steps):
    trainer = dr.Trainer(net, dr.SquaredError(), dr.SGD(0.5))
    trainer.run(X[None], T[None], epochs=steps, batch_size=1, progress=False)


def error(net):
    return dr.evaluate(net, X[None], T[None], dr.SquaredError())["loss"]


def test_one_step_gives_the_weights_and_the_error_after_it(net):
    descend(net, 1)
    w = net.parameters["0.weight"].T.ravel()
    for value, expected, digits in [
        (w[0], 0.149780716, 9),
        (w[1], 0.19956143, 8),
        (w[2], 0.24975114, 8),
        (w[3], 0.29950229, 8),
    ]:
        within_printed(value, expected, digits)
    w = net.parameters["1.weight"].T.ravel()
    for value, expected, digits in [
        (w[0], 0.35891648, 8),
        (w[1], 0.408666186, 9),
        (w[2], 0.511301270, 9),
        (w[3], 0.561370121, 9),
    ]:
        within_printed(value, expected, digits)
    within_printed(error(net), 0.291027773694, 12)


def test_ten_thousand_steps_give_the_error_and_the_outputs(net):
    descend(net, 10_000)
    within_printed(error(net), 0.0000351018778, 13)
    within_printed(net.predict(X[None])[0], [0.015913620, 0.984064274], 9)


def test_frozen_biases_stay(net):
    descend(net, 100)
    assert net.parameters["0.bias"].tolist() == [0.35, 0.35]
    assert net.parameters["1.bias"].tolist() == [0.60, 0.60]


# --------------------------------------------- the article's own figures, and the bug behind them


def descend_with_the_bug(steps):
    """Return (W_hidden, W_output) when hidden deltas use output weights already updated."""
    hidden, output = W_HIDDEN.copy(), W_OUTPUT.copy()

    def sigmoid(z):
        return 1 / (1 + np.exp(-z))

    for _ in range(steps):
        a_h = sigmoid(X @ hidden + 0.35)
        a_o = sigmoid(a_h @ output + 0.60)
        delta_o = (a_o - T) * a_o * (1 - a_o)
        output -= 0.5 * np.outer(a_h, delta_o)  # too early
        delta_h = (output @ delta_o) * a_h * (1 - a_h)
        hidden -= 0.5 * np.outer(X, delta_h)
    return hidden, output


@pytest.mark.parametrize(
    ("steps", "computed", "computed_digits", "published", "published_digits"),
    [
        (1, 0.291027923905, 12, 0.291027924, 9),
        (10_000, 0.0000350847863, 13, 0.000035085, 9),
    ],
)
def test_the_published_errors_come_from_updating_the_output_weights_too_early(
    net, steps, computed, computed_digits, published, published_digits
):
    right = net.copy()
    descend(right, steps)
    hidden, output = descend_with_the_bug(steps)
    net.parameters["0.weight"], net.parameters["1.weight"] = hidden, output
    within_printed(error(net), computed, computed_digits)
    within_printed(error(net), published, published_digits)
    assert abs(error(right) - published) > 10.0**-published_digits


def test_the_published_outputs_come_from_it_too(net):
    net.parameters["0.weight"], net.parameters["1.weight"] = descend_with_the_bug(10_000)
    within_printed(net.predict(X[None])[0], [0.015912196, 0.984065734], 9)


def test_the_bug_put_into_the_engine_makes_the_published_error(net, monkeypatch):
    """``delta @ W.T`` with W as it will be after the step: the gradient check names the lesson."""
    from deltarule.engines.reference import formulas

    right = formulas.dense_backward

    def broken(delta, a_prev, W):
        _, dW, db = right(delta, a_prev, W)
        return delta @ (W - 0.5 * dW).T, dW, db

    monkeypatch.setattr(formulas, "dense_backward", broken)
    check = dr.check_gradients(net, X, T, dr.SquaredError())
    assert not check
    assert check.worst.name in ("0.weight", "0.bias")
    dr.Trainer(net, dr.SquaredError(), dr.SGD(0.5), engine="reference").step(X[None], T[None])
    within_printed(error(net), 0.291027923905, 12)


# --------------------------------------------------------------- one bias per neuron, trained too


def test_with_one_trained_bias_per_neuron_the_first_step_ends_elsewhere(net):
    net.unfreeze("0.bias", "1.bias")
    descend(net, 1)
    within_printed(error(net), 0.280471446791, 12)
    within_printed(net.parameters["0.bias"], [0.345614323, 0.345022873], 9)
    within_printed(net.parameters["1.bias"], [0.530750719, 0.619049118], 9)
