"""Your own activation: f and f', checked by finite differences, trained and saved."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

import deltarule as dr


@dataclass(frozen=True)
class Sine(dr.activations.ActivationFunction):
    """``f(z) = sin(w z)``, ``f'(z) = w cos(w z)``."""

    name: ClassVar[str] = "sine"
    frequency: float = 1.0

    def __call__(self, z: np.ndarray) -> np.ndarray:
        """Return f(z)."""
        return np.sin(self.frequency * z)

    def derivative(self, z: np.ndarray, a: np.ndarray) -> np.ndarray:
        """Return f'(z)."""
        return self.frequency * np.cos(self.frequency * z)


x = np.linspace(-1, 1, 200)[:, None]
t = np.sin(9 * x) * x

# The target is an even function and the sine is odd: random biases add an even part.
hidden = dr.Dense(32, Sine(20.0), bias_initializer=dr.initializers.Uniform(-1, 1))
net = dr.Network([hidden, dr.Dense(1)], inputs=1, seed=0)
check = dr.check_gradients(net, x[:20], t[:20], "squared_error")
print(check)
check.raise_if_wrong()

dr.train(net, x, t, loss="squared_error", optimizer=dr.Adam(dr.Cosine(1e-2)), epochs=150)
print(f"r2 {dr.evaluate(net, x, t, 'squared_error', metrics=['r2'])['r2']:.4f}")

net.save("sine.safetensors")  # a frozen dataclass with a name can be saved
print(dr.load("sine.safetensors").layers[0].activation)
