"""Finite means finite: new weights, optimizer state and running statistics, and every norm."""

import contextlib
import math

import numpy as np
import pytest

import deltarule as dr
from members import by_rule, members
from native_cases import STACKS
from pairwise import pairwise
from problems import TARGETS, examples

D = dr.Dense
ENGINES = ["reference", "native"]
DTYPES = ["float32", "float64"]


def state_of(trainer):
    net = trainer.network
    arrays = (net.vector, net.state_vector, trainer._executor.optimizer_state)
    return [array.copy() for array in arrays]


def assert_stops_with_the_values_before(trainer, X, y, layer, **settings):
    """The step that leaves the finite numbers is not made: nothing of it stays."""
    before, steps = state_of(trainer), trainer.steps
    with pytest.raises(dr.DivergenceError) as caught:
        trainer.run(X, y, progress=False, **settings)
    assert caught.value.layer == layer
    assert trainer.steps == steps
    for one, other in zip(before, state_of(trainer), strict=True):
        assert np.isfinite(other).all()
        np.testing.assert_array_equal(one, other)


# ---------------------------------------------------------------------------- weights and state


@pairwise(
    engine=ENGINES,
    dtype=DTYPES,
    # One row of a large layer: its update waits for the next step. A small one moves at once.
    layers=[[D(300, "tanh"), D(1)], [D(3, "tanh"), D(1)]],
    batch_size=[1, 2, 4, 17, None],
    threads=[1, 2],
    penalty=[None, dr.ElasticNet(1e-3, 1e-3)],
    clip=[None, dr.ClipValue(1e30), dr.ClipNorm(1e30)],
    target=TARGETS,
)
def test_a_step_to_infinite_weights_is_not_made(
    engine, dtype, layers, batch_size, threads, penalty, clip, target
):
    X, y = examples("squared_error", 1, inputs=70)
    net = dr.Network(layers, inputs=70, seed=1, dtype=dtype)
    most = float(np.finfo(dtype).max)
    rates = dr.Piecewise((0, 3), (0.0, 1e-4, most / 2))
    trainer = dr.Trainer(
        net, "squared_error", dr.SGD(rates, momentum=0.5), engine=engine, threads=threads,
        penalty=penalty, clip=clip, seed=0,
    )  # fmt: skip
    settings = dict(batch_size=batch_size, shuffle=False)
    with pytest.raises(dr.DivergenceError) as caught:
        trainer.run(X * 10, y * 10, progress=False, epochs=10, **settings)
    assert (trainer.steps, caught.value.step) == (3, 4)
    assert caught.value.layer in net.parameters
    twin = dr.Trainer(
        net.copy().initialize(1), "squared_error", dr.SGD(1e-4, momentum=0.5), engine=engine,
        threads=threads, penalty=penalty, clip=clip, seed=0,
    )  # fmt: skip
    size = batch_size or len(X)
    for first in np.arange(3) * size % len(X):
        twin.step(10 * X[first : first + size], 10 * y[first : first + size])
    for one, other in zip(state_of(trainer), state_of(twin), strict=True):
        assert np.isfinite(one).all()
        np.testing.assert_allclose(one, other, rtol=0, atol=1e4 * np.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("optimizer", by_rule("optimizer"))
@pytest.mark.parametrize("batch_size", [1, 8])
def test_no_rate_leaves_infinite_weights(optimizer, engine, batch_size, dtype, target):
    """The largest rate of all, growing weights and state: an error, or finite numbers."""
    kind = type(dr.optimizers.Optimizer.resolve(optimizer))
    most = float(np.finfo(dtype).max)
    large = dict(smallest=1.0, largest=most / 2) if optimizer == "rprop" else {}
    X, y = examples("squared_error", 2, inputs=40)
    net = dr.Network([D(450, "tanh"), D(2)], inputs=40, seed=1, dtype=dtype)
    trainer = dr.Trainer(net, "squared_error", kind(most / 4, **large), engine=engine, seed=0)
    for _ in range(3):
        with contextlib.suppress(dr.DivergenceError):
            trainer.run(X, y, batch_size=batch_size, progress=False)
        for array in state_of(trainer):
            assert np.isfinite(array).all()


@pytest.mark.parametrize("engine", ENGINES)
def test_sgd_with_a_rate_of_1e25_diverges(engine, target):
    X, y = examples("squared_error", 1)
    net = dr.Network([D(1)], inputs=7)
    trainer = dr.Trainer(net, "squared_error", dr.SGD(1e25), engine=engine)
    with pytest.raises(dr.DivergenceError):
        trainer.run(1e14 * X, y, epochs=50, progress=False)
    assert np.isfinite(net.vector).all()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("batch_size", [1, 4])
def test_a_square_that_overflows_in_the_state_is_an_error(engine, batch_size, target):
    X, y = np.full((4, 2), 1e10), np.full((4, 1), 1e12)
    net = dr.Network([D(1)], inputs=2, weight_initializer="zeros")
    trainer = dr.Trainer(net, "squared_error", "adam", engine=engine)
    settings = dict(batch_size=batch_size)
    assert_stops_with_the_values_before(trainer, X, y, "0.weight", **settings)
    clipped = dr.Trainer(net, "squared_error", "adam", engine=engine, clip=dr.ClipNorm(1.0))
    clipped.run(X, y, progress=False, **settings)
    assert net.vector.any()


@pytest.mark.parametrize("engine", ENGINES)
def test_after_a_divergence_training_goes_on(engine, target):
    X, y = examples("squared_error", 1)
    net = dr.Network([D(9, "tanh"), D(1)], inputs=7, seed=1)
    rates = iter([1e-2, 1e-2, 3e38, 1e-2, 1e-2])
    trainer = dr.Trainer(net, "squared_error", dr.SGD(lambda t: next(rates)), engine=engine)
    losses = [trainer.step(X, 9 * y) for _ in range(2)]
    with pytest.raises(dr.DivergenceError):
        trainer.step(X, 9 * y)
    assert trainer.steps == 2
    losses += [trainer.step(X, 9 * y) for _ in range(2)]
    assert losses == sorted(losses, reverse=True)


# ------------------------------------------------------------------------------ running statistics


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("dtype", "size"), [("float32", 1e20), ("float64", 1e160)])
def test_statistics_that_overflow_are_an_error(engine, dtype, size, target):
    X, y = examples("squared_error", 1)
    layers = [dr.LayerNorm(), dr.BatchNorm(), D(3, "tanh"), D(1)]
    net = dr.Network([dr.BatchNorm(), *layers], inputs=7, seed=1, dtype=dtype)
    trainer = dr.Trainer(net, "squared_error", "adam", engine=engine)
    trainer.run(X, y, progress=False)
    assert_stops_with_the_values_before(trainer, size * X, y, "0.running_variance")
    trainer.run(math.sqrt(size) * X, y, progress=False)
    assert np.isfinite(net.state_vector).all()


# ----------------------------------------------------------------------------------------- norms


def one_gradient(size, dtype, engine, *, inputs=3, batch=4, limit=None, optimizer=None, x=1.0):
    """Train one step by gradients dW = -size of each of the weights; return norm and change."""
    net = dr.Network([D(1)], inputs=inputs, dtype=dtype, weight_initializer="zeros")
    X, y = np.full((batch, inputs), x), np.full((batch, 1), size / x)
    history = dr.train(
        net, X, y, loss=dr.SquaredError(), optimizer=optimizer or dr.SGD(0.0), epochs=1,
        batch_size=None, engine=engine, clip=limit and dr.ClipNorm(limit), progress=False,
    )  # fmt: skip
    return history["gradient_norm.0.weight"][0], net.vector


SIZES = {
    "float32": [1e-36, 1e-30, 1e-23, 1e-19, 1e-12, 1e-6, 1.0, 1e6, 1e12, 1e17],
    "float64": [1e-150, 1e-100, 1e-23, 1.0, 1e23, 1e100, 1e150],
}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("batch", [1, 2, 5])
@pytest.mark.parametrize("inputs", [1, 5, 40, 700])
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_gradient_norm_is_right_however_small_or_large(dtype, inputs, batch, engine, target):
    for size in SIZES[dtype]:
        norm, _ = one_gradient(size, dtype, engine, inputs=inputs, batch=batch)
        expected = size * math.sqrt(inputs)
        tolerance = (batch + inputs + 8) * np.finfo(dtype).eps
        assert abs(norm / expected - 1) <= tolerance, (size, norm)


LARGE = {"float32": [1e20, 1e28, 1e36], "float64": [1e155, 1e200, 1e300]}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("batch", [1, 2, 5])
@pytest.mark.parametrize("inputs", [1, 5, 40, 700])
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_gradient_whose_square_overflows_is_clipped(dtype, inputs, batch, engine, target):
    for size in LARGE[dtype]:
        x = size**0.75  # so that the loss, of size / x, is finite
        norm, vector = one_gradient(
            size, dtype, engine, inputs=inputs, batch=batch, x=x, limit=1.0, optimizer=dr.SGD(1.0)
        )
        tolerance = (batch + inputs + 16) * np.finfo(dtype).eps
        if size * size * inputs < np.finfo("float64").max:
            assert abs(norm / (size * math.sqrt(inputs)) - 1) <= tolerance
        np.testing.assert_allclose(vector[:-1], 1 / math.sqrt(inputs), rtol=tolerance)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("inputs", [1, 3, 20])
@pytest.mark.parametrize("units", [1, 5, 33])
def test_max_norm_holds_whatever_the_size_of_the_weights(dtype, inputs, units, engine, target):
    most = math.sqrt(float(np.finfo(dtype).max))
    for size, limit in [(10 * most, 2.0), (1e3, 1e-2), (1e-1 / most, 1e-3 / most), (1e-3, 1.0)]:
        net = dr.Network([D(units)], inputs=inputs, dtype=dtype)
        factors = np.linspace(1, 2, units)
        net.parameters["0.weight"][:] = size * factors
        trainer = dr.Trainer(
            net, "squared_error", dr.SGD(0.0), engine=engine, constraint=dr.MaxNorm(limit)
        )
        trainer.step(np.zeros((4, inputs)), np.zeros((4, units)))
        expected = np.minimum(size * factors, limit / math.sqrt(inputs))
        found = net.parameters["0.weight"]
        tolerance = (inputs + 16) * np.finfo(dtype).eps
        np.testing.assert_allclose(found, np.tile(expected, (inputs, 1)), rtol=tolerance)


# --------------------------------------------------------------------------------------- padding


@pytest.mark.parametrize("batch_size", [1, 2, 3, 4, 5, 16, 17, 33, 70])
@pytest.mark.parametrize("width", [1, 7, 31, 33, 300])
@pytest.mark.parametrize("optimizer", members("optimizer"), ids=lambda o: repr(o)[:40])
def test_a_gradient_of_zero_harms_no_layer(optimizer, width, batch_size, target):
    """Features that are 0 and units that are dead, next to padding: 0 / (0 + epsilon) is 0."""
    X, y = examples("squared_error", 3, n=70)
    X[:, ::2] = 0
    net = dr.Network([D(width, "relu"), D(width, "relu"), D(3)], inputs=7, seed=1)
    net.parameters["0.bias"][::2] = -100
    trainer = dr.Trainer(net, "squared_error", optimizer, engine="native")
    before = net.parameters["0.weight"][::2].copy()
    trainer.run(X, y, batch_size=batch_size, progress=False)
    assert np.isfinite(net.vector).all()
    if not getattr(optimizer, "weight_decay", 0):
        np.testing.assert_array_equal(net.parameters["0.weight"][::2], before)


@pairwise(
    name=STACKS,
    batch_size=range(2, 71),
    target=TARGETS,
    optimizer=by_rule("optimizer"),
    dtype=DTYPES,
)
def test_layers_survive_examples_of_zeros(name, batch_size, target, optimizer, dtype):
    X, y = np.zeros((2 * batch_size, 7)), np.zeros((2 * batch_size, 3))
    net = dr.Network(STACKS[name], inputs=7, seed=1, dtype=dtype)
    for rows in (batch_size, 2 * batch_size):
        dr.train(
            net, X[:rows], y[:rows], loss="squared_error", optimizer=optimizer, engine="native",
            batch_size=batch_size, epochs=2, progress=False,
        )  # fmt: skip
        assert np.isfinite(net.vector).all()
        assert np.isfinite(net.state_vector).all()
