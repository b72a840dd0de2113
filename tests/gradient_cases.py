"""Small networks and data for gradient checks: 3 inputs, 2 outputs, 7 examples, never equal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

import deltarule as dr
from deltarule.network.layers import ParameterSpec
from members import own

INPUTS, OUTPUTS, BATCH = 3, 2, 7


@dataclass(frozen=True)
class Bilinear(dr.CustomLayer):
    """``y = (x @ A) * tanh(x @ B)``: a layer with two parameters that changes the width."""

    name: ClassVar[str] = "test_bilinear"
    units: int

    def outputs(self, inputs):
        return self.units

    def parameters(self, inputs):
        return (
            ParameterSpec("left", (inputs, self.units), None, True),
            ParameterSpec("right", (inputs, self.units), None, False),
        )

    def forward(self, x, parameters, training):
        left, gate = x @ parameters["left"], np.tanh(x @ parameters["right"])
        return left * gate, (x, left, gate)

    def backward(self, gradient, cache, parameters):
        x, left, gate = cache
        of_left, of_right = gradient * gate, gradient * left * (1 - gate**2)
        dx = of_left @ parameters["left"].T + of_right @ parameters["right"].T
        return dx, {"left": x.T @ of_left, "right": x.T @ of_right}


ACTIVATIONS = {name: dr.activations.ActivationFunction.resolve(name) for name in own("activation")}
ACTIVATIONS |= {
    "leaky_relu(0.3)": dr.activations.LeakyReLU(0.3),
    "leaky_relu(0)": dr.activations.LeakyReLU(0.0),
    "leaky_relu(2.5)": dr.activations.LeakyReLU(2.5),
    "elu(0.4)": dr.activations.ELU(0.4),
    "elu(0)": dr.activations.ELU(0.0),
}
"""Every activation; those with a setting at several values of it."""

LAYERS = {
    "dense": lambda f: [dr.Dense(5, f)],
    "dense without bias": lambda f: [dr.Dense(5, f, bias=False)],
    "activation": lambda f: [dr.Dense(5), dr.Activation(f)],
    "batch norm": lambda f: [dr.Dense(5), dr.BatchNorm(), dr.Activation(f)],
    "frozen batch norm": lambda f: [
        dr.Dense(5),
        dr.BatchNorm(learning_rate_factor=0),
        dr.Activation(f),
    ],
    "layer norm": lambda f: [dr.Dense(5), dr.LayerNorm(), dr.Activation(f)],
    "scale": lambda f: [dr.Dense(5, f), dr.Scale(1.5)],
    "dropout": lambda f: [dr.Dense(5, f), dr.Dropout(0.3)],
    "residual": lambda f: [dr.Residual([dr.Dense(5, f), dr.Dense(3)])],
    "residual with projection": lambda f: [dr.Residual([dr.Dense(4, f), dr.Dense(5)])],
    "nested residual": lambda f: [
        dr.Residual(
            [dr.Dense(4, f), dr.Residual([dr.LayerNorm(), dr.Dense(5, f)]), dr.Dropout(0.2)]
        )
    ],
    "custom layer": lambda f: [dr.Dense(5, f), Bilinear(4)],
}
"""The layer under test, of a given activation; a Dense output layer follows."""

REGRESSION_LOSSES = {
    "squared_error": dr.SquaredError,
    "mean_squared_error": dr.MeanSquaredError,
    "mean_absolute_error": dr.MeanAbsoluteError,
    "huber": dr.Huber,
    "quantile": dr.Quantile,
}

PAIRS: dict[str, tuple[Any, str]] = {
    **{f"{name}-identity": (kind(), "identity") for name, kind in REGRESSION_LOSSES.items()},
    **{f"{name}-tanh": (kind(), "tanh") for name, kind in REGRESSION_LOSSES.items()},
    "huber(0.3)-identity": (dr.Huber(0.3), "identity"),
    "quantile(0.8)-identity": (dr.Quantile(0.8), "identity"),
    "poisson-exp": (dr.Poisson(), "exp"),
    "poisson-softplus": (dr.Poisson(), "softplus"),
    "binary_cross_entropy-sigmoid": (dr.BinaryCrossEntropy(), "sigmoid"),
    "cross_entropy-softmax": (dr.CrossEntropy(), "softmax"),
}
"""A loss and an output activation, canonical or not."""

PENALTIES = {
    "no penalty": None,
    "l2": dr.L2(0.3),
    "l1": dr.L1(0.2),
    "elastic net": dr.ElasticNet(0.1, 0.4),
    "l2 over the batch": dr.L2(2.0, over_batch=True),
}


def network(layers: list[dr.Layer], inputs: int = INPUTS, seed: int = 0) -> dr.Network:
    """Return a float64 network whose parameters and running statistics are all random."""
    net = dr.Network(layers, inputs=inputs, dtype="float64", seed=seed)
    rng = np.random.default_rng(100 + seed)
    net.vector[:] = 0.7 * rng.standard_normal(len(net.vector))
    for name, array in net.state.items():
        drawn = rng.standard_normal(array.shape)
        array[...] = np.exp(drawn) if name.endswith("variance") else drawn
    return net


def features(n: int = BATCH, inputs: int = INPUTS, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, inputs))


def targets(loss: dr.losses.Loss, n: int = BATCH, outputs: int = OUTPUTS, seed: int = 2):
    """Return targets that the loss takes."""
    rng = np.random.default_rng(seed)
    match loss.name:
        case "cross_entropy":
            return rng.integers(0, outputs, n)
        case "binary_cross_entropy":
            return rng.integers(0, 2, (n, outputs))
        case "poisson":
            return rng.poisson(2.0, (n, outputs))
    return rng.standard_normal((n, outputs))
