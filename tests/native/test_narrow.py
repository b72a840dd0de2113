"""Narrow networks, whose rows fill the vectors: as the reference engine, on any number of threads.

Batches are no multiple of any vector; the longest are several tiles, and several groups of tiles.
"""

import numpy as np
import pytest

import deltarule as dr
from agreement import Problem, assert_agree
from deltarule.engines import native
from native_cases import ACTIVATIONS, LOSSES, OPTIMIZERS
from problems import bits, examples, trained

D = dr.Dense
STACKS = {
    "2-8-1": (2, [D(8, "tanh"), D(1)]),
    "10-10-10-1": (10, [D(10, "tanh"), D(10, "tanh"), D(1)]),
    "no bias": (5, [D(9, "tanh", bias=False), D(3, bias=False)]),
    "activations apart": (3, [dr.Activation("tanh"), D(5), dr.Activation("gelu"), D(2)]),
    "frozen": (7, [D(4, "tanh", learning_rate_factor=0), D(3, learning_rate_factor=0.5)]),
    "30-64-32-1": (30, [D(64, "tanh"), D(32, "relu"), D(1)]),
}
SETTINGS = [{}, {"clip": dr.ClipNorm(0.1)}, {"penalty": dr.L2(0.1)}, {"clip": dr.ClipValue(0.01)}]


@pytest.mark.parametrize(("loss", "output"), LOSSES)
@pytest.mark.parametrize("weights", [None, "by row", "by output"])
def test_losses(loss, output, weights):
    X, y = examples(loss, 3, n=90)
    if weights == "by output" and str(loss).lower().startswith(("cross", "binary")):
        weights = "by row"
    shape = 90 if weights == "by row" else (90, 3)
    weight = None if weights is None else np.random.default_rng(5).integers(0, 3, shape) / 2
    problem = Problem([D(5, "tanh"), D(3, output)], X, y, loss, batch_size=37)
    problem.sample_weight = weight
    assert_agree(problem, steps=4)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations(activation):
    layers = [D(6, activation), dr.Activation(activation), D(3)]
    if activation == "exp":  # exp of exp is soon beyond any range
        layers = [D(6, "exp"), dr.Activation("tanh"), D(3)]
    X, y = examples("squared_error", 3, n=70)
    assert_agree(
        Problem(layers, X, y, optimizer=dr.SGD(1e-2), batch_size=41), steps=4, sharp=0.5
    )  # (flat ends learn nothing)


@pytest.mark.parametrize("name", STACKS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_layers(name, dtype):
    inputs, layers = STACKS[name]
    outputs = layers[-1].units
    X, y = examples("squared_error", outputs, n=601, inputs=inputs)
    optimizer = dr.SGD(1e-2, momentum=0.9)
    assert_agree(Problem(layers, X, y, optimizer=optimizer, batch_size=301, dtype=dtype), steps=4)


@pytest.mark.parametrize("i", range(len(OPTIMIZERS)))
def test_optimizers(i):
    X, y = examples("squared_error", 3, n=90)
    problem = Problem([D(6, "tanh"), D(3)], X, y, optimizer=OPTIMIZERS[i], batch_size=37)
    problem.settings = SETTINGS[i % len(SETTINGS)]
    assert_agree(problem, steps=4)


BATCHES = [*range(1, 71, 3), 257, 600, 1100]


@pytest.mark.parametrize("name", STACKS)
def test_threads_change_no_bit(name, target, monkeypatch):
    monkeypatch.setattr(native, "WORK_PER_THREAD", 1.0)  # so that all threads take part
    inputs, layers = STACKS[name]
    for i, batch in enumerate(BATCHES[list(STACKS).index(name) % 3 :: 3]):
        X, y = examples("squared_error", layers[-1].units, n=2 * batch + 1, inputs=inputs)
        settings = {"batch_size": batch, "optimizer": OPTIMIZERS[i % len(OPTIMIZERS)]}
        runs = [
            bits(layers, X, y, threads, dtype=dtype, **settings, **SETTINGS[i % len(SETTINGS)])
            for dtype in ("float32", "float64")
            for threads in (1, 2, 64)
        ]
        assert runs[:3] == runs[:1] * 3, f"float32, {batch} rows"
        assert runs[3:] == runs[3:4] * 3, f"float64, {batch} rows"


@pytest.mark.parametrize(("batch", "then"), [(64, 1), (1, 64)])
def test_the_optimizer_keeps_its_state_where_batches_change(batch, then, target):
    X, y = examples("squared_error", 3, n=64)
    layers = [D(6, "tanh"), D(3)]
    _, trainer, _ = trained("native", layers, X, y, batch_size=batch)
    _, other, _ = trained("native", layers, X[:then], y[:then], batch_size=then)
    other.network.vector = trainer.network.vector
    other._executor.optimizer_state = trainer._executor.optimizer_state
    for each in (trainer, other):
        each.run(X, y, batch_size=then, shuffle=False, progress=False)
    assert other.network.vector.tobytes() == trainer.network.vector.tobytes()
    states = [each._executor.optimizer_state.tobytes() for each in (trainer, other)]
    assert states[0] == states[1]
