"""A network 7 -> 8 -> 6 -> 4 with tanh between, by hand: the papers' f and its gradient.

Nothing of deltarule is used to compute it. ``train`` runs an update rule over batches of 5, 5 and
3 rows; ``follow`` asserts that deltarule's network, trained through the public API, stays with it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import deltarule as dr

EPOCHS = 11
STARTS = (0, 5, 10)
STEPS = EPOCHS * len(STARTS)
RELATIVE = 1e-9

_random = np.random.default_rng(17)
X = _random.normal(size=(13, 7))
Y = _random.normal(size=(13, 4))

Parameters = dict[str, np.ndarray]


def network() -> dr.Network:
    net = dr.Network(
        [dr.Dense(8, "tanh"), dr.Dense(6, "tanh"), dr.Dense(4)], inputs=7, seed=4, dtype="float64"
    )
    net.vector += 0.05 * np.random.default_rng(2).normal(size=net.vector.shape)
    return net


def half_squared_distance(a: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Return d/da of 1/2 ||a - t||^2."""
    return a - t


def gradient(
    p: Parameters, x: np.ndarray, t: np.ndarray, slope: Callable[..., np.ndarray]
) -> Parameters:
    """Return the gradient of the batch's mean loss, whose d/da is ``slope(a, t)``."""
    a1 = np.tanh(x @ p["0.weight"] + p["0.bias"])
    a2 = np.tanh(a1 @ p["1.weight"] + p["1.bias"])
    a3 = a2 @ p["2.weight"] + p["2.bias"]
    d3 = slope(a3, t) / len(x)
    d2 = d3 @ p["2.weight"].T * (1 - a2**2)
    d1 = d2 @ p["1.weight"].T * (1 - a1**2)
    return {
        "0.weight": x.T @ d1,
        "0.bias": d1.sum(axis=0),
        "1.weight": a1.T @ d2,
        "1.bias": d2.sum(axis=0),
        "2.weight": a2.T @ d3,
        "2.bias": d3.sum(axis=0),
    }


def descent(rate: Callable[[int, int], float]) -> Callable[..., None]:
    """Return the rule ``w -= rate(t, epoch) * g``, both counted from 0."""

    def rule(name: str, w: np.ndarray, g: np.ndarray, memory: dict[str, Any], t: int) -> None:
        w -= rate(t, t // len(STARTS)) * g

    return rule


def train(
    p: Parameters, rule: Callable[..., None], slope: Callable[..., np.ndarray]
) -> list[Parameters]:
    """Apply ``rule(name, w, g, memory, t)``, in place; return the parameters after each step."""
    memories: dict[str, dict[str, Any]] = {name: {} for name in p}
    after, t = [], 0
    for _ in range(EPOCHS):
        for start in STARTS:
            rows = slice(start, start + 5)
            for name, g in gradient(p, X[rows], Y[rows], slope).items():
                rule(name, p[name], g, memories[name], t)
            after.append({name: w.copy() for name, w in p.items()})
            t += 1
    return after


class Recorder(dr.Callback):
    def __init__(self) -> None:
        self.after: list[Parameters] = []

    def on_epoch(self, state: dr.State) -> None:
        self.after.append({n: w.copy() for n, w in state.network.parameters.items()})


def assert_same(found: Parameters, expected: Parameters, start: Parameters) -> None:
    """Assert agreement to 1e-9 of the farthest movement of each array since the start."""
    for name, w in expected.items():
        difference = np.abs(found[name] - w).max()
        assert difference <= RELATIVE * np.abs(w - start[name]).max(), name


def follow(
    optimizer: Any,
    rule: Callable[..., None],
    *,
    net: dr.Network | None = None,
    loss: Any = "squared_error",
    slope: Callable[..., np.ndarray] = half_squared_distance,
    by_step: bool = True,
    **settings: Any,
) -> None:
    """Assert that our network follows the rule, after every step and after every epoch."""
    net = net or network()
    start = {name: w.copy() for name, w in net.parameters.items()}
    expected = train({name: w.copy() for name, w in start.items()}, rule, slope)
    assert len(expected) >= 30
    if by_step:
        stepped = net.copy()
        trainer = dr.Trainer(stepped, loss, optimizer, engine="reference", **settings)
        for t, after in enumerate(expected):
            rows = slice(STARTS[t % 3], STARTS[t % 3] + 5)
            trainer.step(X[rows], Y[rows])
            assert_same(dict(stepped.parameters), after, start)
    recorder = Recorder()
    dr.train(
        net.copy(),
        X,
        Y,
        loss=loss,
        optimizer=optimizer,
        epochs=EPOCHS,
        batch_size=5,
        shuffle=False,
        callbacks=[recorder],
        engine="reference",
        progress=False,
        **settings,
    )
    for found, after in zip(recorder.after, expected[2::3], strict=True):
        assert_same(found, after, start)
