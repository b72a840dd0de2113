"""Averages of the weights: what they are, where they take the weights' place, their statistics."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import deltarule as dr
from oracles import oracle

ENGINES = [name for name, state in dr.engines().items() if state.startswith("available")]
RNG = np.random.default_rng(5)
X, Y = RNG.standard_normal((30, 3)), RNG.standard_normal((30, 2))
HELD_OUT = RNG.standard_normal((8, 3)), RNG.standard_normal((8, 2))
EPOCHS, STEPS = 5, 3


def network(dtype: str = "float64") -> dr.Network:
    layers = [dr.Dense(4, "tanh"), dr.BatchNorm(), dr.Residual([dr.BatchNorm(momentum=0.3)])]
    return dr.Network([*layers, dr.Dense(2)], inputs=3, seed=1, dtype=dtype)


def train(net: dr.Network, *callbacks: dr.Callback, **more: Any) -> dr.History:
    settings: dict[str, Any] = {
        "loss": "squared_error", "optimizer": dr.SGD(0.05, 0.9), "epochs": EPOCHS,
        "batch_size": 10, "progress": False, "validation": HELD_OUT,
    }  # fmt: skip
    return dr.train(net, **{"X": X, "y": Y} | settings | more, callbacks=list(callbacks))


class Weights(dr.Callback):
    """Keeps the weights after every step, which other callbacks see as they are."""

    every_steps = 1

    def on_start(self, state: dr.State) -> None:
        self.all: list[Any] = []

    def on_steps(self, state: dr.State) -> None:
        self.all.append(state.network.vector.copy())


def exponential(weights: list[Any], decay: float) -> Any:
    mean = weights[0]
    for w in weights[1:]:
        mean = decay * mean + (1 - decay) * w
    return mean


AVERAGES: dict[str, tuple[Any, Any]] = {
    "EMA": (lambda: dr.EMA(0.8), lambda w: exponential(w, 0.8)),
    "EMA of some": (lambda: dr.EMA(0.7, every=4), lambda w: exponential(w[3::4], 0.7)),
    "decay 0": (lambda: dr.EMA(0), lambda w: w[-1]),
    "last two epochs": (lambda: dr.SWA(0.75), lambda w: np.mean([w[11], w[14]], axis=0)),
    "every second": (lambda: dr.SWA(1, every=2), lambda w: np.mean([w[2], w[8], w[14]], axis=0)),
    "every epoch": (lambda: dr.SWA(0), lambda w: np.mean(w[2::3], axis=0)),
    "every step": (lambda: dr.SWA(2, unit="step"), lambda w: np.mean(w[5:], axis=0)),
    "every fourth": (lambda: dr.SWA(0.0, 4, "step"), lambda w: np.mean(w[3::4], axis=0)),
}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", AVERAGES)
def test_the_network_ends_with_the_average(name: str, engine: str) -> None:
    """Within roundings: each of fewer than 16 additions is off by eps."""
    make, mean = AVERAGES[name]
    net, average, weights = network(), make(), Weights()
    train(net, weights, average, engine=engine)
    assert len(weights.all) == EPOCHS * STEPS
    expected = mean(weights.all)
    tolerance = 16 * np.finfo(float).eps * np.abs(weights.all).max()
    np.testing.assert_allclose(net.vector, expected, rtol=0, atol=tolerance)
    assert net.vector.tobytes() == average.network.vector.tobytes()
    assert net.state_vector.tobytes() == average.network.state_vector.tobytes()


@pytest.mark.parametrize("engine", ENGINES)
def test_training_itself_stays_as_it_is(engine: str) -> None:
    plain = network()
    expected = train(plain, engine=engine)
    for in_place in (True, False):
        net, average = network(), dr.EMA(0.8, in_place=in_place)
        history = train(net, average, engine=engine)
        assert average.network is not None
        for name in expected:
            assert (history[name] == expected[name]) == (name != "val_loss" or not in_place)
        assert (net.vector.tobytes() == plain.vector.tobytes()) != in_place
        assert average.network.vector.tobytes() != plain.vector.tobytes()


def test_validation_scores_and_early_stopping_see_the_average(tmp_path: Path) -> None:
    scores = []

    class Look(dr.Callback):
        def on_epoch(self, state: dr.State) -> None:
            found = dr.evaluate(state.network, *HELD_OUT, "squared_error")["loss"]
            assert state.history.latest("val_loss") == found == state.score("val_loss")
            scores.append(found)

    net, stopping = network(), dr.EarlyStopping("val_loss", best_is="max")
    checkpoint = dr.Checkpoint(tmp_path, share=1, monitor="val_loss", best_is="max", keep=9)
    history = train(net, checkpoint, Look(), stopping, dr.EMA(0.8))
    assert scores == history["val_loss"]
    assert stopping.best == max(scores) != scores[-1]
    assert dr.evaluate(net, *HELD_OUT, "squared_error")["loss"] == stopping.best
    # Checkpoints go on, so their networks have the weights themselves.
    assert checkpoint.best is not None
    assert checkpoint.best.name == f"epoch-{1 + scores.index(max(scores)):06d}.safetensors"
    plain = network()
    train(plain)
    assert dr.load(tmp_path / "epoch-000005.safetensors").vector.tobytes() == plain.vector.tobytes()


@pytest.mark.parametrize("engine", ENGINES)
def test_statistics_are_those_of_update_bn(engine: str) -> None:
    """In float64, where two sums of some 40 terms in another order differ by 40 eps of them."""
    torch = oracle("torch")
    from deltarule.exchange.torch import from_torch, to_torch

    net = network()
    train(net, dr.SWA(0), engine=engine, shuffle=False)
    module = to_torch(net)
    batches = [torch.from_numpy(X[i : i + 10]) for i in range(0, 30, 10)]
    torch.optim.swa_utils.update_bn(batches, module)
    expected = from_torch(module).state
    for name, found in net.state.items():
        tolerance = 40 * np.finfo(float).eps * np.abs(X).max() ** 2
        np.testing.assert_allclose(found, expected[name], rtol=0, atol=tolerance)


def test_frozen_statistics_and_empty_batches() -> None:
    frozen = network()
    frozen.freeze("1")
    before = frozen.state["1.running_mean"].copy()
    train(frozen, dr.SWA(0))
    assert np.array_equal(frozen.state["1.running_mean"], before)
    # A batch whose weights are all 0 moves no statistics, as in training.
    weights, light, without = np.ones(30), network(), network()
    weights[:10] = 0
    train(light, dr.SWA(0), sample_weight=weights, shuffle=False)
    train(without, dr.SWA(0), X=X[10:], y=Y[10:], shuffle=False)
    assert light.state_vector.tobytes() == without.state_vector.tobytes()


def test_before_there_is_an_average_the_weights_stay() -> None:
    plain, net, average = network(), network(), dr.SWA(3)
    expected = train(plain, epochs=2)
    history = train(net, average, epochs=2)
    assert average.network is None
    assert dict(history) == dict(expected)
    assert net.vector.tobytes() == plain.vector.tobytes()


def test_after_an_interrupt_the_network_has_the_average() -> None:
    class Press(dr.Callback):
        every_steps = 7

        def on_steps(self, state: dr.State) -> None:
            signal.raise_signal(signal.SIGINT)

    net, weights = network(), Weights()
    with pytest.raises(dr.TrainingInterrupted):
        train(net, weights, dr.SWA(0, unit="step"), Press())
    assert len(weights.all) == 7
    np.testing.assert_allclose(net.vector, np.mean(weights.all, axis=0), rtol=1e-13)


def test_where_a_run_goes_back_the_average_begins_anew() -> None:
    """Steepest descent on squares diverges at rates above 2 / the largest curvature."""
    net, weights = dr.Network([dr.Dense(2)], inputs=3, seed=1), Weights()
    average = dr.SWA(0, unit="step", in_place=False)
    history = train(
        net, weights, average, optimizer=dr.SGD(10.0), on_divergence="restore", epochs=30
    )
    assert history.restored
    count = history.steps - history.restored[-1].epoch * STEPS
    assert average.network is not None
    expected = np.mean(np.float64(weights.all[-count:]), axis=0)
    eps = float(np.finfo(np.float32).eps)
    np.testing.assert_allclose(average.network.vector, expected, rtol=eps)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(dr.InvalidValueError, match="a run has one average of the weights"):
        train(network(), dr.EMA(), dr.SWA())
    for make in (
        lambda: dr.EMA(1.0), lambda: dr.EMA(every=0), lambda: dr.SWA(1.5), lambda: dr.SWA(True),
        lambda: dr.SWA(-1), lambda: dr.SWA(unit="batch"), lambda: dr.EMA(in_place=1),
    ):  # fmt: skip
        with pytest.raises(dr.DeltaruleError):
            make()


def test_each_restart_has_its_own() -> None:
    net, average = network(), dr.EMA(0.8)
    found = dr.restart(
        net, X, Y, restarts=2, loss="squared_error", epochs=2, batch_size=10, callbacks=[average],
        progress=False,
    )  # fmt: skip
    assert average.network is None
    alone = network().initialize(found.seeds[found.best])
    dr.train(alone, X, Y, loss="squared_error", epochs=2, batch_size=10, callbacks=[dr.EMA(0.8)],
             progress=False)  # fmt: skip
    assert alone.vector.tobytes() == net.vector.tobytes()
