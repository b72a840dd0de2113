"""The Jacobian: a gradient for each row and output, beside single passes and finite differences."""

import numpy as np
import pytest

import deltarule as dr
from deltarule.engines.reference.jacobian import jacobian
from deltarule.engines.reference.passes import Context
from deltarule.plan import compile_network
from gradient_cases import LAYERS, OUTPUTS, features, network

ROWS_APART = [name for name in LAYERS if name not in ("batch norm", "dropout", "nested residual")]
STACKS = {name: [*LAYERS[name]("tanh"), dr.Dense(OUTPUTS)] for name in ROWS_APART}
STACKS |= {
    "softmax": [dr.Dense(4, "gelu"), dr.Dense(OUTPUTS, "softmax")],
    "embedding": [dr.Embedding((3, 2), size=2), dr.Dense(3, "tanh"), dr.Dense(OUTPUTS)],
    "residual in residual": [
        dr.Residual([dr.Dense(4, "tanh"), dr.Residual([dr.LayerNorm(), dr.Dense(5, "tanh")])]),
        dr.Dense(OUTPUTS),
    ],
}
BY_NAME = pytest.mark.parametrize("name", STACKS)


def case(name):
    x = features()
    if name == "embedding":
        x[:, 0], x[:, 1] = [0, 1, 2, 0, 1, 2, 2], [0, 1, 1, 0, 1, 0, 1]
    return network(STACKS[name]), x


def jacobian_of(net, x):
    context = Context(list(net.parameters.values()), list(net.state.values()), training=True)
    return jacobian(compile_network(net), x, context)


@BY_NAME
def test_a_row_and_output_is_the_gradient_that_a_pass_of_that_example_alone_has(name):
    """With the loss 1/2 (a_j - t_j)^2 and t_j = a_j - 1, the loss's gradient is that of a_j."""
    net, x = case(name)
    a, J = jacobian_of(net, x)
    np.testing.assert_allclose(a, net.predict(x), rtol=1e-12)
    trained = [name for name, factor in net.learning_rate_factors.items() if factor]
    for i in range(len(x)):
        for j in range(OUTPUTS):
            weights = np.eye(OUTPUTS)[[j]]
            trace = dr.backpropagate(
                net, x[i : i + 1], a[i : i + 1] - 1, dr.SquaredError(reduction="sum"),
                sample_weight=weights,
            )  # fmt: skip
            alone = np.concatenate([trace.gradients[name].ravel() for name in trained])
            np.testing.assert_allclose(J[i, j], alone, rtol=1e-10, atol=1e-13)


@BY_NAME
def test_it_agrees_with_finite_differences(name):
    net, x = case(name)
    _, J = jacobian_of(net, x)
    factors = net.learning_rate_factors
    sizes = [parameter.size for parameter in net.parameters.values()]
    trained = np.repeat(np.array(list(factors.values())) != 0, sizes)
    h = np.finfo(float).eps ** (1 / 3)  # of central differences, whose error is then about h^2
    for column, i in enumerate(np.flatnonzero(trained)):
        here, sides = net.vector[i], []
        for step in (h, -h):
            net.vector[i] = here + step
            sides.append(net.predict(x))
        net.vector[i] = here
        np.testing.assert_allclose(J[:, :, column], (sides[0] - sides[1]) / (2 * h), atol=1e-7)


def test_frozen_parameters_have_no_columns():
    net, x = case("dense")
    _, whole = jacobian_of(net, x)
    net.freeze("0.weight", "1.bias")
    _, J = jacobian_of(net, x)
    np.testing.assert_array_equal(J, whole[:, :, 15:-2])  # 3 x 5 weights before, 2 biases behind
