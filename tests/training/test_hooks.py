"""When hooks are called, and that calling them changes no number of a run."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import deltarule as dr
from deltarule.training import pace

ENGINES = [name for name, state in dr.engines().items() if state.startswith("available")]
RNG = np.random.default_rng(5)
X, Y = RNG.standard_normal((23, 3)), RNG.standard_normal(23)
HELD_OUT = X[:5] + 0.1, Y[:5]


class EverySteps(dr.Callback):
    """Notes where it is called, and the losses that it sees there."""

    def __init__(self, every: int) -> None:
        self.every_steps, self.calls = every, list[tuple[str, int, int, int]]()

    def on_epoch(self, state: dr.State) -> None:
        self.calls.append(("epoch", state.epoch, state.steps, len(state.step_losses)))

    def on_steps(self, state: dr.State) -> None:
        self.calls.append(("steps", state.epoch, state.steps, len(state.step_losses)))


def train(*callbacks: dr.Callback, engine: str = "auto", **settings: Any) -> tuple[bytes, dict]:
    net = dr.Network(
        [dr.Dense(4, "tanh"), dr.Dropout(0.2), dr.BatchNorm(), dr.Dense(1)],
        inputs=3,
        seed=1,
        dtype="float64",
    )
    history = dr.train(
        net, X, Y, loss="squared_error", epochs=3, batch_size=4, validation=HELD_OUT,
        metrics=["mse", "r2"], callbacks=list(callbacks), engine=engine, **settings,
    )  # fmt: skip
    return net.vector.tobytes() + net.state_vector.tobytes(), dict(history)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("drop_last", [True, False])
def test_hooks_between_steps_change_no_bit(engine: str, drop_last: bool) -> None:
    """Steps, columns and metrics are those of a run in whole epochs (5 or 6 steps each)."""
    plain = train(engine=engine, drop_last=drop_last)
    for every in (1, 2, 3, 4, 5, 6, 7, 100):
        assert train(EverySteps(every), engine=engine, drop_last=drop_last) == plain, every


@pytest.mark.parametrize("rows", [4, 8, 12, 1 << 16])
def test_metrics_of_large_epochs_are_the_same_in_any_calls(
    rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where an epoch has more rows than metrics take at once."""
    monkeypatch.setattr(pace, "ROWS_PER_CALL", rows)
    plain = train()
    for every in (1, 2, 3, 5):
        assert train(EverySteps(every)) == plain, every


def test_on_steps_comes_every_so_many_steps_and_after_on_epoch() -> None:
    seen = EverySteps(4)
    train(seen)  # three epochs of 6 steps
    assert seen.calls == [
        ("steps", 0, 4, 4),
        ("epoch", 1, 6, 6),
        ("steps", 1, 8, 2),
        ("epoch", 2, 12, 6),
        ("steps", 2, 12, 6),
        ("steps", 2, 16, 4),
        ("epoch", 3, 18, 6),
    ]


def test_a_hook_between_steps_may_end_the_run_and_change_the_rate() -> None:
    class Stop(dr.Callback):
        every_steps = 2

        def on_steps(self, state: dr.State) -> None:
            state.rate_factor = 0.0
            if state.steps == 8:
                state.stop = "enough"

    net = dr.Network([dr.Dense(1)], inputs=3, seed=1)
    history = dr.train(
        net, X, Y, loss="squared_error", batch_size=4, epochs=9, callbacks=[Stop()], optimizer="sgd"
    )
    assert (history.steps, history.stopped) == (8, "enough")
    assert history["learning_rate"] == [0.0]  # of the last of 6 steps


@pytest.mark.parametrize("every", [-1, 1.5, "2", True])
def test_how_often_must_be_a_number_of_steps(every: Any) -> None:
    with pytest.raises(dr.DeltaruleError, match=r"EverySteps\.every_steps must be a whole number"):
        train(EverySteps(every))


def test_on_interrupt_sees_the_network_before_another_is_restored() -> None:
    class Press(dr.Callback):
        def on_epoch(self, state: dr.State) -> None:
            if state.epoch == 3:
                raise KeyboardInterrupt

        def on_interrupt(self, state: dr.State) -> None:
            self.found = state.network.vector.copy()

    press, stopping = Press(), dr.EarlyStopping("val_loss", best_is="max")
    net = dr.Network([dr.Dense(1)], inputs=3, seed=1)
    with pytest.raises(KeyboardInterrupt):
        dr.train(
            net,
            X,
            Y,
            loss="squared_error",
            epochs=9,
            validation=HELD_OUT,
            callbacks=[stopping, press],
        )
    assert stopping.best_epoch == 1  # the worst one
    assert not np.array_equal(press.found, net.vector)
