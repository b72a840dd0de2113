"""Each activation follows PyTorch's: inside the network, and as its output."""

import numpy as np
import pytest
from twin import FUNCTIONS, F, X, follow, network, stack, torch

import deltarule as dr
from members import WITHOUT_PYTORCH, assert_complete

ALL = [*FUNCTIONS, dr.activations.LeakyReLU(0.2), dr.activations.ELU(0.7)]


def test_every_activation_has_a_twin():
    assert_complete("activation", FUNCTIONS, "twin in PyTorch", WITHOUT_PYTORCH)


def named(function):
    return function if isinstance(function, str) else f"{function.name} with a setting"


def mean_of_squares(z, a, t):
    return F.mse_loss(a, t, reduction="none").mean(dim=1)


@pytest.mark.parametrize("function", ALL, ids=named)
def test_follows_pytorch_in_hidden_layers(function):
    if function == "exp":  # e^(e^z), twice in a row, leaves the numbers within a few steps
        follow(stack([dr.Dense(8, "tanh"), dr.Dense(6, "exp"), dr.Dense(4)]))
    else:
        follow(network(hidden=function))


@pytest.mark.parametrize("function", ALL, ids=named)
def test_follows_pytorch_as_the_output(function):
    follow(network(function), loss=dr.MeanSquaredError(), criterion=mean_of_squares)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_layer_of_its_own_does_the_same(function):
    apart = stack([dr.Dense(8, "tanh"), dr.Dense(6), dr.Activation(function), dr.Dense(4)])
    together = stack([dr.Dense(8, "tanh"), dr.Dense(6, function), dr.Dense(4)])
    trained = follow(apart)
    together.vector[:] = trained.vector
    np.testing.assert_array_equal(
        together.predict(X, engine="reference"), trained.predict(X, engine="reference")
    )


def test_the_slope_of_pytorchs_hard_sigmoid_is_that_of_float32():
    z = torch.tensor([[0.5]], dtype=torch.float64, requires_grad=True)
    torch.nn.Hardsigmoid()(z).sum().backward()
    ours = dr.activations.HardSigmoid().derivative(np.array([[0.5]]), np.array([[3.5 / 6]]))
    assert ours[0, 0] == 1 / 6
    assert z.grad.item() != 1 / 6
    assert np.float32(z.grad.item()) == np.float32(1 / 6)


def test_softplus_stays_curved_beyond_20_where_pytorchs_goes_straight():
    z = np.array([[21.0]])
    ours = dr.activations.Softplus()(z)
    assert ours[0, 0] > 21
    assert F.softplus(torch.tensor(z)).item() == 21
    assert ours[0, 0] == F.softplus(torch.tensor(z), threshold=700).item()
