"""A printed trace says by which formula each array came about, for every kind of layer."""

from __future__ import annotations

import numpy as np
import pytest

import deltarule as dr
from gradient_cases import Bilinear, network
from oracles import oracle

FORMULAS = """
z[0] = x @ W[0] + b[0]
a[0] = tanh(z[0])
a[1] = scale * normalised by column(a[0]) + shift
a[2] = scale * normalised by row(a[1]) + shift
a[3] = a[2] * scale[3]
a[4] = dropout(a[3], 0.5)
a[5.0] = a[4] @ W[5.0] + b[5.0]
a[5.projection] = a[4] @ W[5.projection]
a[5] = a[5.projection] + a[5.0]
a[6] = Bilinear(a[5])
delta[5] = (delta[6] back through layer 6)
delta[5.projection] = delta[5]
delta[5.0] = delta[5]
delta[4] = (delta[5.0] @ W[5.0].T) + (delta[5.projection] @ W[5.projection].T)
delta[2] = (delta[3] * scale[3])
delta[0] = (delta[1] back through layer 1) * tanh'(z[0])
dL/dW[0] = x.T @ delta[0] + l2 of W
dL/db[0] = sum of delta[0] over rows
dL/dscale[3] = sum of a[2] * delta[3] over rows
dL/dW[5.projection] = a[4].T @ delta[5.projection] + l2 of W
""".strip().splitlines()


@pytest.fixture(scope="module")
def trace() -> dr.Trace:
    residual = dr.Residual([dr.Dense(2)])
    net = network(
        [
            *(dr.Dense(3, "tanh"), dr.BatchNorm(), dr.LayerNorm(), dr.Scale()),
            *(dr.Dropout(0.5), residual, Bilinear(2)),
        ]
    )
    X = np.random.default_rng(0).normal(size=(4, 3))
    weights = [1.0, 2.0, 0.0, 1.0]
    return dr.backpropagate(
        net, X, np.zeros((4, 2)), dr.SquaredError(), penalty=dr.L2(0.1), sample_weight=weights
    )


@pytest.mark.parametrize("formula", FORMULAS)
def test_each_layer_says_its_formula(formula: str, trace: dr.Trace) -> None:
    assert f"  {formula} =" in str(trace)


def test_with_weights_and_a_penalty_the_loss_is_printed_in_its_parts(trace: dr.Trace) -> None:
    text = str(trace)
    W = [p for name, p in trace.network.parameters.items() if name.endswith(("weight", "left"))]
    penalty = 0.05 * sum(float((w**2).sum()) for w in W)
    data = float(np.array([1, 2, 0, 1]) @ trace.losses) / 4
    assert "  w = [1. 2. 0. 1.]" in text
    assert f"  data loss = sum(w l) / sum(w) = {data:.6f}" in text
    assert f"  penalty = {penalty:.6f}" in text
    assert f"  L = data loss + penalty = {data + penalty:.6f}" in text


def test_a_sum_is_not_divided() -> None:
    net = network([dr.Dense(2)])
    x, t = np.ones((2, 3)), np.zeros((2, 2))
    trace = dr.backpropagate(net, x, t, dr.SquaredError(reduction="sum"))
    assert f"L = sum(l) = {trace.losses.sum():.6f}" in str(trace)


def test_its_short_form_has_examples_loss_and_layers(trace: dr.Trace) -> None:
    layers = "0, 1, 2, 3, 4, 5.0, 5.projection, 5, 6"
    assert repr(trace) == f"Trace(4 examples, loss {trace.loss:.6g}, layers {layers})"


def test_a_network_without_parameters_has_nothing_to_check() -> None:
    net = dr.Network([dr.Activation("tanh")], inputs=2)
    with pytest.raises(ValueError, match="no parameters to check"):
        dr.check_gradients(net, np.ones((3, 2)), np.ones((3, 2)), "squared_error")


def test_a_trace_refuses_what_evaluation_alone_can_do() -> None:
    net = dr.Network([dr.Dense(2), dr.BatchNorm()], inputs=2)
    x, t = np.ones((1, 2)), np.ones((1, 2))
    with pytest.raises(ValueError, match=r"BatchNorm needs at least 2 rows .*training=False"):
        dr.backpropagate(net, x, t, "squared_error")
    assert dr.backpropagate(net, x, t, "squared_error", training=False).loss >= 0


def test_a_table_is_taken_as_examples() -> None:
    pandas = oracle("pandas")
    net = network([dr.Dense(2)])
    X, t = np.random.default_rng(1).normal(size=(4, 3)), np.zeros((4, 2))
    table = dr.backpropagate(net, pandas.DataFrame(X), t, "squared_error")
    np.testing.assert_array_equal(table.inputs, X)
