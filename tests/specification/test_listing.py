"""The specification's NumPy listing: from its initial weights, the same parameters at the end."""

from __future__ import annotations

import numpy as np
import pytest

import deltarule as dr

# The listing as the page prints it, apart from the lines that draw the initial weights, which stay
# but follow a seed, and the number of epochs, which the tests set.
LISTING = """
import numpy as np

def sigmoid(x):
    return 1 / (1 + np.exp(-x))

def sigmoid_derivative(x):
    return x * (1 - x)

# Network architecture
input_size = 2
hidden_size = 3
output_size = 1

# Initialize weights and biases
W1 = np.random.randn(input_size, hidden_size)
b1 = np.zeros((1, hidden_size))
W2 = np.random.randn(hidden_size, output_size)
b2 = np.zeros((1, output_size))
initial = [array.copy() for array in (W1, b1, W2, b2)]

# Training data
X = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
y = np.array([[0], [1], [1], [0]])

learning_rate = 0.1

for epoch in range(epochs):
    # Forward pass
    z1 = np.dot(X, W1) + b1
    a1 = sigmoid(z1)
    z2 = np.dot(a1, W2) + b2
    a2 = sigmoid(z2)

    # Backward pass
    dz2 = a2 - y
    dW2 = np.dot(a1.T, dz2)
    db2 = np.sum(dz2, axis=0, keepdims=True)

    dz1 = np.dot(dz2, W2.T) * sigmoid_derivative(a1)
    dW1 = np.dot(X.T, dz1)
    db1 = np.sum(dz1, axis=0, keepdims=True)

    # Update weights
    W2 -= learning_rate * dW2
    b2 -= learning_rate * db2
    W1 -= learning_rate * dW1
    b1 -= learning_rate * db1
"""


def run_listing(seed, epochs):
    """Run the listing and return its variables."""
    kept = np.random.get_state()  # noqa: NPY002 - the listing uses the legacy generator
    try:
        np.random.seed(seed)  # noqa: NPY002
        variables = {"epochs": epochs}
        exec(compile(LISTING, "listing", "exec"), variables)
    finally:
        np.random.set_state(kept)  # noqa: NPY002
    return variables


def same_network(variables):
    net = dr.Network([dr.Dense(3, "sigmoid"), dr.Dense(1, "sigmoid")], inputs=2, dtype="float64")
    names = ["0.weight", "0.bias", "1.weight", "1.bias"]
    for name, array in zip(names, variables["initial"], strict=True):
        net.parameters[name] = array.reshape(net.parameters[name].shape)
    return net


def train(net, variables, epochs, **settings):
    return dr.train(
        net,
        variables["X"],
        variables["y"],
        loss=dr.BinaryCrossEntropy(reduction="sum"),
        optimizer=dr.SGD(0.1),
        epochs=epochs,
        batch_size=None,
        shuffle=False,
        progress=False,
        **settings,
    )


@pytest.mark.parametrize("seed", [0, 1, 42])
def test_ten_thousand_epochs_end_with_the_same_parameters(seed):
    listing = run_listing(seed, 10_000)
    net = same_network(listing)
    history = train(net, listing, 10_000)
    for name, array in zip(net.parameters, ["W1", "b1", "W2", "b2"], strict=True):
        expected = listing[array].reshape(net.parameters[name].shape)
        np.testing.assert_allclose(net.parameters[name], expected, rtol=0, atol=1e-9)
    assert history.epochs == 10_000
    assert np.abs(net.vector - same_network(listing).vector).max() > 1


@pytest.mark.parametrize("seed", range(10))
def test_the_first_epochs_agree_to_the_last_digits(seed):
    """Both add four examples; 20 steps of 0.1 on numbers near 1 round a few hundred times."""
    listing = run_listing(seed, 20)
    net = same_network(listing)
    train(net, listing, 20)
    expected = np.concatenate([listing[k].ravel() for k in ("W1", "b1", "W2", "b2")])
    atol = 500 * np.finfo(float).eps * np.abs(expected).max()
    np.testing.assert_allclose(net.vector, expected, rtol=0, atol=atol)


def test_the_listing_descends_binary_cross_entropy_summed_over_examples():
    listing = run_listing(0, 1)
    net = same_network(listing)
    loss = dr.BinaryCrossEntropy(reduction="sum")
    trace = dr.backpropagate(net, listing["X"], listing["y"], loss)
    for gradient, array in zip(trace.gradients.values(), ["dW1", "db1", "dW2", "db2"], strict=True):
        np.testing.assert_allclose(
            gradient, listing[array].reshape(gradient.shape), rtol=1e-12, atol=1e-15
        )
    dr.check_gradients(net, listing["X"], listing["y"], loss).raise_if_wrong()
    # The text above it has the squared error, whose gradient is another one.
    squared = dr.backpropagate(net, listing["X"], listing["y"], dr.SquaredError(reduction="sum"))
    assert np.abs(squared.gradients["1.weight"] - listing["dW2"]).max() > 0.1


def test_the_mean_over_examples_would_be_another_descent():
    listing = run_listing(0, 100)
    net = same_network(listing)
    dr.train(
        net,
        listing["X"],
        listing["y"],
        loss="binary_cross_entropy",
        optimizer=dr.SGD(0.4),  # four times the rate makes up for the four examples
        epochs=100,
        batch_size=None,
        shuffle=False,
        progress=False,
    )
    expected = np.concatenate([listing[k].ravel() for k in ("W1", "b1", "W2", "b2")])
    np.testing.assert_allclose(net.vector, expected, rtol=1e-10, atol=1e-12)
