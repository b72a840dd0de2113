"""L-BFGS as an optimizer: SciPy's iterations, seen from within a run."""

import gc
import os
import pickle
import sys
import threading
import weakref
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

import deltarule as dr
from ctrl_c import press
from deltarule.training import lbfgs
from deltarule.training.full_batch import FullBatch

optimize = pytest.importorskip("scipy.optimize")

RNG = np.random.default_rng(0)
X = RNG.uniform(-1, 1, (60, 3))
Y = np.stack([np.sin(2 * X[:, 0]) * X[:, 1], X[:, 2] ** 2], axis=1)
LABELS = (X[:, 0] * X[:, 1] > 0).astype(int) + (X[:, 2] > 0.5)
WEIGHTS = RNG.uniform(0.5, 2, 60)
THREAD = "deltarule-lbfgs"


def net(*layers, dtype="float64"):
    layers = layers or (dr.Dense(5, "tanh"), dr.Dense(2))
    return dr.Network(list(layers), 3, seed=1, dtype=dtype)


def train(network, *, y=Y, loss="squared_error", epochs=12, batch_size=None, **settings):
    settings = {"optimizer": dr.LBFGS(), "progress": False} | settings
    return dr.train(network, X, y, loss=loss, epochs=epochs, batch_size=batch_size, **settings)


SETTINGS = {
    "squared_error": {},
    "weights and a penalty": {"sample_weight": WEIGHTS, "penalty": dr.L2(0.01)},
    "classes": {"y": LABELS, "loss": "cross_entropy", "out": dr.Dense(3, "softmax")},
    "a sum": {"loss": dr.Huber(0.1, reduction="sum")},
}


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
@pytest.mark.parametrize("engine", ["reference", "native"])
@pytest.mark.parametrize("memory", [3, 10])
def test_it_takes_the_steps_that_scipy_takes(settings, engine, memory):
    settings = dict(settings)
    network = net(dr.Dense(4, "tanh"), settings.pop("out", dr.Dense(2)))
    passed = {"y": Y, "loss": "squared_error"} | settings
    function = FullBatch(network.copy(), X, **passed, engine=engine)
    losses, points = [], [network.vector.copy()]

    def loss_and_gradient(x):
        data, penalty, gradient = function(x)
        return data + penalty, gradient

    optimize.minimize(
        loss_and_gradient, points[0], jac=True, method="L-BFGS-B",
        callback=lambda x: points.append(x.copy()),
        options={"maxiter": 12, "maxcor": memory, "ftol": 1e-12, "gtol": 1e-8},
    )  # fmt: skip
    losses = [loss_and_gradient(x)[0] for x in points[:-1]]
    history = train(network, **settings, engine=engine, optimizer=dr.LBFGS(memory))
    np.testing.assert_array_equal(network.vector, points[-1])
    assert history["loss"] == losses
    for name, part in network.copy().parameters.items():
        assert history[f"gradient_norm.{name}"][-1] > 0, part


class Looks(dr.Callback):
    def on_epoch(self, state):
        pass


def test_callbacks_metrics_and_validation_change_no_bit():
    alone, watched = net(), net()
    first = train(alone)
    second = train(watched, callbacks=[Looks()], metrics=["mae"], validation=(X[:9], Y[:9]))
    np.testing.assert_array_equal(alone.vector, watched.vector)
    assert [second[name] for name in first] == [first[name] for name in first]
    assert "learning_rate" not in first
    assert dr.evaluate(net(), X, Y, "mse", metrics=["mae"])["mae"] == second["mae"][0]


def test_turns_of_any_length_change_no_bit(monkeypatch):
    long, short = net(), net()
    train(long)
    monkeypatch.setattr(lbfgs, "NUMBERS_PER_TURN", 3 * len(short.vector))
    train(short)
    np.testing.assert_array_equal(long.vector, short.vector)


def test_the_last_epoch_of_a_run_that_has_converged_has_the_loss_of_the_network():
    network = net()
    passed = {"y": LABELS, "loss": "cross_entropy", "penalty": dr.L2(0.1)}
    network = net(dr.Dense(3, "softmax"))
    history = train(network, epochs=500, **passed)
    assert history.stopped.startswith("converged")
    assert history.epochs < 500
    found = dr.evaluate(network, X, LABELS, "cross_entropy", penalty=dr.L2(0.1))
    assert history["loss"][-1] == pytest.approx(found["loss"], rel=1e-14)
    trace = dr.backpropagate(network, X, LABELS, "cross_entropy", penalty=dr.L2(0.1))
    assert max(np.abs(g).max() for g in trace.gradients.values()) < 1e-5
    assert train(network, epochs=500, **passed).epochs <= 3


def test_both_rules_end_a_run_and_say_so():
    rules = {"gradient is 0": dr.LBFGS(loss_tolerance=0), "the loss falls": dr.LBFGS(
        gradient_tolerance=0, loss_tolerance=1e-6)}  # fmt: skip
    for reason, rule in rules.items():
        assert reason in train(net(dr.Dense(2)), epochs=500, optimizer=rule).stopped


@dataclass(frozen=True)
class Uphill(dr.Loss):
    name: ClassVar[str] = "test_uphill"

    def value(self, a, t):
        return ((a - t) ** 2).sum(axis=1)

    def gradient(self, a, t):
        return -2 * (a - t)  # of the wrong sign


def test_where_no_step_lowers_the_loss_the_run_says_so_and_nothing_has_moved():
    network = net()
    before = network.vector.copy()
    history = train(network, loss=Uphill())
    assert history.stopped == "no step lowers the loss"
    assert history.epochs == 1
    assert history["evaluations"][0] > 10
    np.testing.assert_array_equal(network.vector, before)


def test_a_float32_network_holds_the_rounded_steps_of_a_float64_one():
    narrow = net(dtype="float32")
    wide = narrow.copy(dtype="float64")
    for network in (narrow, wide):
        train(network)
    np.testing.assert_array_equal(narrow.vector, wide.vector.astype(np.float32))


def test_frozen_parameters_stay_and_others_move():
    network = net().freeze("0.weight")
    before = network.copy()
    train(network)
    for name in network.parameters:
        moved = (network.parameters[name] != before.parameters[name]).any()
        assert moved == (name != "0.weight")


def test_what_a_callback_changes_is_where_the_search_begins_anew():
    class Reset(dr.Callback):
        def on_epoch(self, state):
            if state.epoch == 3:
                state.network.vector[:] = start

    network = net()
    start = network.vector.copy()
    history = train(network, epochs=6, callbacks=[Reset()])
    assert history["loss"][3:] == history["loss"][:3]


def test_another_run_of_a_trainer_begins_anew_on_its_data_and_so_does_a_copy():
    trainer = dr.Trainer(net(), "squared_error", dr.LBFGS())
    trainer.run(X, Y, epochs=4, batch_size=None)
    copy = pickle.loads(pickle.dumps(trainer))
    alone = dr.Trainer(trainer.network.copy(), "squared_error", dr.LBFGS())
    histories = [t.run(X, 2 * Y, epochs=4, batch_size=None) for t in (trainer, copy, alone)]
    assert histories[0]["loss"] == histories[1]["loss"] == histories[2]["loss"]
    before = trainer.network.vector.copy()
    trainer.step(X, Y)
    assert (trainer.network.vector != before).any()


def test_a_loss_that_is_not_finite_is_a_divergence_that_names_the_layer():
    network = net(dr.Dense(3, "exp"), dr.Dense(2))
    network.parameters["0.bias"][1] = 1000.0
    before = network.vector.copy()
    with pytest.raises(dr.DivergenceError, match="in '0' is not finite at step 1"):
        train(network)
    np.testing.assert_array_equal(network.vector, before)


# A function of the user's own runs in the reference engine, where SciPy asks for it.
CALLS = []


@dataclass(frozen=True)
class Counting(dr.activations.ActivationFunction):
    name: ClassVar[str] = "test_counting"

    def __call__(self, z):
        for call in CALLS:
            call()
        return np.tanh(z)

    def derivative(self, z, a):
        return 1 - a * a


@pytest.fixture
def calls():
    yield CALLS
    CALLS.clear()


def test_ctrl_c_within_a_step_leaves_the_network_of_the_last_whole_one(calls):
    interrupted, whole = (net(dr.Dense(3, Counting()), dr.Dense(2)) for _ in range(2))
    done = []
    calls.append(lambda: done.append(1) or (len(done) == 9 and press()))
    with pytest.raises(dr.TrainingInterrupted) as caught:
        train(interrupted, epochs=5000, callbacks=[Looks()])
    epochs = caught.value.history.epochs
    assert 0 < epochs < len(done)
    calls.clear()
    train(whole, epochs=epochs)
    np.testing.assert_array_equal(interrupted.vector, whole.vector)


def test_an_error_of_a_users_function_comes_out_and_no_thread_stays(calls):
    def fail():
        raise RuntimeError("of the user")

    network = net(dr.Dense(3, Counting()), dr.Dense(2))
    trainer = dr.Trainer(network, "squared_error", dr.LBFGS(), engine="reference")
    trainer.run(X, Y, epochs=2, batch_size=None)
    calls.append(fail)
    with pytest.raises(RuntimeError, match="of the user"):
        trainer.run(X, Y, epochs=2, batch_size=None)
    calls.clear()
    assert trainer.run(X, Y, epochs=2, batch_size=None).epochs == 2
    gone = weakref.ref(trainer)
    del trainer
    gc.collect()
    assert gone() is None
    for thread in threading.enumerate():
        if thread.name == THREAD:
            thread.join(60)  # of the other tests, too
            assert not thread.is_alive()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_after_a_fork_the_child_searches_in_a_thread_of_its_own():
    trainer = dr.Trainer(net(), "squared_error", dr.LBFGS())
    children = []

    class Fork(dr.Callback):
        def on_epoch(self, state):
            if state.epoch == 2:
                children.append(os.fork())

    try:
        history = trainer.run(X, Y, epochs=4, batch_size=None, callbacks=[Fork()])
    finally:
        if children == [0]:
            os._exit(0 if history["loss"][3] < history["loss"][2] else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(children[0], 0)[1]) == 0


REFUSED = {
    "mini-batches": ({"batch_size": 32}, "LBFGS takes all rows in each step: pass batch_size=None"),
    "a penalty with a kink": ({"penalty": "l1"}, r"the penalty L1\(\) has a kink at 0"),
    "clipping": ({"clip": dr.ClipNorm(1.0)}, "leave out clip="),
    "dropout": ({"layers": [dr.Dropout(0.1), dr.Dense(2)]}, "Dropout makes it one"),
}


@pytest.mark.parametrize(("settings", "message"), REFUSED.values(), ids=REFUSED)
def test_what_it_cannot_do_is_refused_before_anything_moves(settings, message):
    settings = dict(settings)
    network = net(*settings.pop("layers", []))
    before = network.vector.copy()
    with pytest.raises(dr.DeltaruleError, match=message):
        train(network, **settings)
    np.testing.assert_array_equal(network.vector, before)


def test_without_scipy_the_error_names_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    monkeypatch.setitem(sys.modules, "scipy", None)
    with pytest.raises(dr.MissingExtraError, match=r"LBFGS needs scipy.* pip install scipy"):
        train(net())


def test_a_resumed_run_searches_anew_from_where_it_was(tmp_path):
    """What SciPy remembers is in no checkpoint: it goes on as another run of a trainer does."""
    first = train(net(), epochs=4, callbacks=[dr.Checkpoint(tmp_path)])
    alone = net()
    train(alone, epochs=4)
    then = train(alone, epochs=4)
    network, history = dr.resume(tmp_path, X, Y, epochs=8, progress=False)
    assert history["loss"] == [*first["loss"], *then["loss"]]
    np.testing.assert_array_equal(network.vector, alone.vector)
