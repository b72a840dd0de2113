"""A run that diverges: what it says, and how it goes back and on with a lower rate."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest

import deltarule as dr

ENGINES = [name for name, state in dr.engines().items() if state.startswith("available")]
RNG = np.random.default_rng(9)
X = RNG.standard_normal((32, 3))
Y = X @ [1.0, -2.0, 0.5]
EIGENVALUE = float(np.linalg.eigvalsh(X.T @ X / len(X))[-1])
"""Of the Hessian of the half squared error: gradient descent diverges above the rate 2 / this."""


def network() -> dr.Network:
    return dr.Network([dr.Dense(1, bias=False)], inputs=3, seed=1)


def train(rate: Any, engine: str = "auto", **settings: Any) -> tuple[dr.Network, dr.History]:
    net = network()
    history = dr.train(
        net, X, Y, loss="squared_error", optimizer=dr.SGD(rate), engine=engine,
        **{"epochs": 400, "batch_size": None, "on_divergence": "restore"} | settings,
    )  # fmt: skip
    return net, history


@pytest.mark.parametrize("engine", ENGINES)
def test_it_goes_back_until_the_rate_is_low_enough(
    engine: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The limit lies between 1/4 and 1/8 of the rate: three times."""
    with caplog.at_level(logging.WARNING, "deltarule"):
        net, history = train(12 / EIGENVALUE, engine, epochs=4000)
    assert [found.rate_factor for found in history.restored] == [0.5, 0.25, 0.125]
    assert caplog.text.count("training diverged at step") == 3
    assert "restored 3 times" in repr(history)
    assert history["learning_rate"][-1] == pytest.approx(1.5 / EIGENVALUE)
    assert len(history["loss"]) == history.epochs == history.steps == 4000
    assert np.isfinite(history["loss"]).all()
    assert history["loss"][-1] < history["loss"][0]
    assert np.isfinite(net.vector).all()


def test_where_no_rate_helps_it_ends_as_usual() -> None:
    with pytest.raises(dr.DivergenceError) as caught:
        train(1e6)
    restored = caught.value.history.restored
    assert [found.rate_factor for found in restored] == [0.5**i for i in range(1, 9)]
    assert caught.value.history.stopped.startswith("diverged at step")


def test_by_default_it_raises() -> None:
    with pytest.raises(dr.DivergenceError):
        train(12 / EIGENVALUE, epochs=4000, on_divergence="raise")
    with pytest.raises(dr.InvalidValueError, match="on_divergence must be 'raise' or 'restore'"):
        train(0.1, on_divergence="back")


@pytest.mark.parametrize("engine", ENGINES)
def test_the_epoch_is_done_anew_from_its_beginning(engine: str) -> None:
    """Its steps, callbacks and metrics are those of a run with the lower rate from there on."""

    class Spoil(dr.Callback):
        every_steps = 1
        spoilt = False

        def __init__(self) -> None:
            self.losses: list[int] = []

        def on_epoch(self, state: dr.State) -> None:
            self.losses.append(len(state.step_losses))

        def on_steps(self, state: dr.State) -> None:
            if state.steps == 10 and not self.spoilt:
                self.spoilt = True
                state.network.vector[:] = np.inf

    same = {"batch_size": 8, "epochs": 5, "metrics": ["mse"]}
    spoil = Spoil()
    net, history = train(0.1, engine, callbacks=[spoil], **same)
    assert history.restored == ((11, 2, 0.5),)
    assert (history.steps, history.epochs, spoil.losses) == (20, 5, [4] * 5)
    assert history["learning_rate"] == [0.1, 0.1, 0.05, 0.05, 0.05]
    assert np.isfinite(history["mse"]).all()
    # The second epoch had the lowest loss: from where it began, three more at half the rate.
    twin, first = train(0.1, engine, **same | {"epochs": 1})
    assert first["loss"] == history["loss"][:1]
    trainer = dr.Trainer(twin, "squared_error", dr.SGD(0.05), engine=engine)
    trainer._epochs, trainer._steps = 2, 8  # of which orders are a function
    later = trainer.run(X, Y, epochs=3, batch_size=8)
    assert later["loss"] == history["loss"][2:]
    assert np.array_equal(net.vector, twin.vector)


def test_without_divergence_nothing_changes() -> None:
    for settings in ({}, {"batch_size": 8}, {"metrics": ["mse"], "validation": 0.25}):
        one, two = (train(0.1, on_divergence=kind, **settings) for kind in ("raise", "restore"))
        assert np.array_equal(one[0].vector, two[0].vector)
        assert dict(one[1]) == dict(two[1])
        assert two[1].restored == ()
