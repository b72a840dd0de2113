"""Successive halving of restarts: who is left out, and that the others are as they would be."""

from __future__ import annotations

import math
import signal
import threading
from typing import Any

import numpy as np
import pytest

import deltarule as dr

RNG = np.random.default_rng(0)
X = RNG.standard_normal((23, 3))
Y = np.sin(X @ np.array([1.0, -2.0, 0.5]))
PLAIN: dict[str, Any] = {
    "loss": "squared_error", "optimizer": dr.SGD(0.05), "epochs": 8, "progress": False,
}  # fmt: skip


def network() -> dr.Network:
    layers = [dr.Dense(5, "tanh"), dr.Dropout(0.1), dr.BatchNorm(), dr.Dense(1)]
    return dr.Network(layers, inputs=3, seed=9)


class Scores(dr.Callback):
    """What each restart scores after each epoch, by its seed; all restarts share it."""

    def __init__(self) -> None:
        self.of: dict[int, list[float]] = {}

    def __deepcopy__(self, memo: dict[int, object]) -> Scores:
        return self

    def on_epoch(self, state: dr.State) -> None:
        self.of.setdefault(state.network.seed, []).append(state.score("loss"))


def halved(**more: Any) -> tuple[dr.Network, dr.Restarts]:
    net = network()
    return net, dr.restart(net, X, Y, **{"restarts": 8, "halving": True} | PLAIN | more)


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_the_worse_half_is_left_out_and_the_others_are_as_they_would_be(threads: int) -> None:
    scores = Scores()
    whole = dr.restart(network(), X, Y, restarts=8, callbacks=[scores], **PLAIN)
    left = list(range(8))
    epochs = [8] * 8
    for rung in (2, 4):
        ranked = sorted(left, key=lambda i: scores.of[whole.seeds[i]][rung - 1])
        left = ranked[: len(left) // 2]
        for i in ranked[len(left) :]:
            epochs[i] = rung
    net, found = halved(threads=threads, keep=9)
    assert [history.epochs for history in found.histories if history] == epochs
    stopped = [history.stopped for history in found.histories if history]
    assert stopped == ["" if n == 8 else f"left out after {n} epochs" for n in epochs]
    for i, history in enumerate(found.histories):
        assert history is not None
        assert whole.histories[i] is not None
        for name in history:
            assert history[name] == whole.histories[i][name][: epochs[i]]
        assert found.scores[i] == scores.of[found.seeds[i]][epochs[i] - 1]
    assert found.best == min(left, key=lambda i: whole.scores[i])
    assert [each.seed for each in found.networks] == [
        found.seeds[i] for i in sorted(left, key=lambda i: whole.scores[i])
    ]
    alone = network()
    if found.best:
        alone.initialize(found.seeds[found.best])
    dr.train(alone, X, Y, **PLAIN)
    assert net.vector.tobytes() == alone.vector.tobytes()
    assert net.state_vector.tobytes() == alone.state_vector.tobytes()


@pytest.mark.parametrize(
    ("restarts", "epochs", "expected"),
    [(1, 8, [8]), (3, 8, [8, 8, 8]), (4, 1, [1] * 4), (5, 3, [2, 2, 3, 3, 3])],
)
def test_few_restarts_and_few_epochs(restarts: int, epochs: int, expected: list[int]) -> None:
    _, found = halved(restarts=restarts, epochs=epochs)
    assert sorted(history.epochs for history in found.histories if history) == expected


def test_sixteen_do_five_sixteenths_of_the_work() -> None:
    _, found = halved(restarts=16, epochs=16)
    assert sum(history.epochs for history in found.histories if history) == 5 * 16


def test_restarts_that_end_early_or_diverge_hold_nobody_up() -> None:
    class Ends(dr.Callback):
        """Ends a run after an epoch that depends on its seed, from before the first rung on."""

        def on_epoch(self, state: dr.State) -> None:
            if state.epoch > state.network.seed % 5:
                state.stop = "enough"

    _, found = halved(callbacks=[Ends()])
    epochs = [history.epochs for history in found.histories if history]
    for seed, done in zip(found.seeds, epochs, strict=True):
        assert done in {2, 4, seed % 5 + 1}
    _, found = halved(callbacks=[dr.EarlyStopping("loss", patience=1)])
    assert math.isfinite(found.scores[found.best])

    class Breaks(dr.Callback):
        def on_epoch(self, state: dr.State) -> None:
            if state.network.seed % 2 and state.epoch == 1:  # that of restart 0 is 9
                state.network.vector[:] = np.inf

    net, found = halved(callbacks=[Breaks()])
    assert found.seeds[found.best] % 2 == 0
    assert np.isfinite(net.vector).all()


@pytest.mark.parametrize("threads", [1, 3])
def test_an_error_or_an_interrupt_ends_those_that_wait(threads: int) -> None:
    class Fails(dr.Callback):
        def on_epoch(self, state: dr.State) -> None:
            if state.network.seed == 9 and state.epoch == 2:
                raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        halved(callbacks=[Fails()], threads=threads)

    with pytest.raises(dr.TrainingInterrupted):
        halved(callbacks=[Press()], threads=threads, epochs=10_000)


class Press(dr.Callback):
    """Presses Ctrl-C once, whichever restart comes first to its third epoch."""

    def __init__(self) -> None:
        self.first = threading.Lock()

    def __deepcopy__(self, memo: dict[int, object]) -> Press:
        return self

    def on_epoch(self, state: dr.State) -> None:
        if state.epoch == 3 and self.first.acquire(blocking=False):
            signal.raise_signal(signal.SIGINT)
