"""Few rows: large layers are cut by panels, and at one row their updates wait for a step."""

import numpy as np
import pytest

import deltarule as dr
from agreement import Problem, assert_agree
from ctrl_c import interrupted
from native_cases import OPTIMIZERS
from pairwise import pairwise
from problems import TARGETS, bits, examples, trained

D = dr.Dense
BATCHES = (1, 2, 4, 5, 16)
STACKS = {
    "two large layers": [D(161, "relu"), D(130, "tanh"), D(5)],
    "a wide softmax": [D(150, "gelu"), D(163, "softmax")],
    "an activation of its own": [D(150), dr.Activation("elu"), D(150, "sigmoid"), D(3)],
    "a residual": [D(140), dr.Residual([D(140, "relu"), D(140)]), D(3)],
    "no bias, norm, dropout": [D(150, bias=False), dr.LayerNorm(), dr.Dropout(0.2), D(150), D(2)],
    "a constraint": [D(150, "relu", constraint=dr.MaxNorm(0.8)), D(150, "relu"), D(2)],
    "panels not all in use": [D(1030, "relu"), D(17, "relu"), D(3)],
}


def case(name, n=18):
    layers = STACKS[name]
    loss = "cross_entropy" if "softmax" in name else "squared_error"
    X, y = examples(loss, layers[-1].units, n=n, inputs=130)
    return layers, X, y, loss


@pytest.mark.parametrize("batch_size", BATCHES)
@pytest.mark.parametrize("name", STACKS)
def test_layers(name, batch_size):
    layers, X, y, loss = case(name)
    slow = dr.SGD(1e-3, momentum=0.5)  # nothing explodes, so rounding does not either
    assert_agree(Problem(layers, X, y, loss=loss, batch_size=batch_size, optimizer=slow), steps=20)


@pytest.mark.parametrize("batch_size", [1, 4])
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda o: repr(o)[:40])
def test_optimizers(optimizer, batch_size):
    layers, X, y, _ = case("two large layers", n=9)
    assert_agree(Problem(layers, X, y, batch_size=batch_size, optimizer=optimizer), steps=3)


@pytest.mark.parametrize(
    "settings", [{"penalty": dr.L2(0.01)}, {"clip": dr.ClipNorm(0.5)}, {"clip": dr.ClipValue(0.02)}]
)
def test_what_needs_the_gradient_itself(settings):
    layers, X, y, _ = case("two large layers", n=9)
    slow = dr.SGD(1e-3, momentum=0.5)
    assert_agree(Problem(layers, X, y, batch_size=1, optimizer=slow, settings=settings), steps=20)


@pairwise(name=STACKS, batch_size=BATCHES, target=TARGETS)
def test_threads_change_no_bit(name, batch_size, target):
    layers, X, y, loss = case(name)
    settings = {"loss": loss, "batch_size": batch_size, "epochs": 2, "optimizer": dr.Adam()}
    runs = [bits(layers, X, y, threads, **settings) for threads in (1, 2, 3, 5)]
    assert all(run == runs[0] for run in runs)


def test_several_threads_are_used():
    layers, X, y, _ = case("two large layers")
    _, trainer, _ = trained("native", layers, X, y, threads=2, batch_size=4)
    assert trainer._executor.threads_used == 2


@pytest.mark.parametrize("weighted", [False, True])
def test_one_call_is_many(weighted, target):
    """An update that waits is done when the call returns."""
    layers, X, y, _ = case("two large layers")
    weights = np.arange(len(X)) % 3.0 if weighted else None
    settings = {"loss": "squared_error", "optimizer": dr.Adam(), "seed": 3, "threads": 2}
    a, b = (dr.Network(layers, inputs=130, seed=1) for _ in range(2))
    ta, tb = (dr.Trainer(net, engine="native", **settings) for net in (a, b))
    ta.run(X, y, epochs=1, batch_size=1, shuffle=False, sample_weight=weights, progress=False)
    for part in (slice(0, 2), slice(2, 3), slice(3, 9), slice(9, None)):
        w = None if weights is None else weights[part]
        tb.run(
            X[part], y[part], epochs=1, batch_size=1, shuffle=False, sample_weight=w, progress=False
        )
    assert a.vector.tobytes() == b.vector.tobytes()
    assert ta._executor.optimizer_state.tobytes() == tb._executor.optimizer_state.tobytes()


def test_divergence_leaves_the_parameters_of_the_last_good_step(target):
    layers, X, y, _ = case("two large layers")
    y[7] = 1e200
    runs = []
    for rows in (slice(None), slice(0, 7)):
        net = dr.Network(layers, inputs=130, seed=1, dtype="float64")
        trainer = dr.Trainer(
            net, loss="squared_error", optimizer=dr.SGD(0.01), engine="native", threads=2
        )
        settings = {"epochs": 1, "batch_size": 1, "shuffle": False, "progress": False}
        if rows == slice(None):
            with pytest.raises(dr.DivergenceError):
                trainer.run(X, y, **settings)
        else:
            trainer.run(X[rows], y[rows], **settings)
        runs.append(net.vector.tobytes())
    assert runs[0] == runs[1]


def test_ctrl_c_drops_no_update_that_waits():
    """The network is the one after some whole number of steps, whenever the interrupt comes."""
    layers, X, y, _ = case("two large layers", n=4)

    def start(threads):
        net = dr.Network(layers, inputs=130, seed=1)
        settings = {"loss": "squared_error", "optimizer": dr.SGD(1e-4), "engine": "native"}
        return dr.Trainer(net, threads=threads, **settings)

    def run(trainer, epochs):
        if epochs:
            trainer.run(X, y, epochs=epochs, batch_size=1, shuffle=False, progress=False)

    trainer, _ = interrupted(lambda: start(2), lambda trainer: run(trainer, 10**6))
    assert 0 < trainer.steps < 4 * 10**6
    again = start(1)
    whole, rest = divmod(trainer.steps, 4)
    run(again, whole)
    for i in range(rest):
        again.step(X[i : i + 1], y[i : i + 1])
    assert trainer.network.vector.tobytes() == again.network.vector.tobytes()
