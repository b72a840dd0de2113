"""The range test: rates, losses, when it ends, what it suggests, and that it changes nothing."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import deltarule as dr
from oracles import oracle

RNG = np.random.default_rng(3)
X = RNG.standard_normal((40, 3))
Y = X @ [1.0, -2.0, 0.5]


def network() -> dr.Network:
    layers = [dr.Dense(4, "tanh"), dr.BatchNorm(), dr.Dense(1)]
    return dr.Network(layers, inputs=3, seed=1, dtype="float64")


def find(net: dr.Network, **more: Any) -> dr.RangeTest:
    return dr.find_learning_rate(net, X, Y, "squared_error", **{"batch_size": 8} | more)


def test_losses_are_those_of_a_run_with_these_rates() -> None:
    found = find(network(), optimizer=dr.SGD(7.0, 0.9), smallest=1e-4, largest=1e-2, steps=12)
    np.testing.assert_allclose(found.rates, np.geomspace(1e-4, 1e-2, 12), rtol=1e-13)
    net = network()
    trainer = dr.Trainer(net, "squared_error", dr.SGD(dr.Exponential(1e-4, 100 ** (1 / 11)), 0.9))
    losses: list[float] = []

    class Note(dr.Callback):
        every_steps = 1

        def on_steps(self, state: dr.State) -> None:
            losses.append(float(state.step_losses[-1].sum()))

    trainer.run(X, Y, epochs=3, batch_size=8, callbacks=[Note()], progress=False)
    np.testing.assert_allclose(found.losses, losses[:12], rtol=1e-9)
    # The smoothed loss is a weighted mean of the losses so far.
    powers = 0.9 ** np.arange(12)[::-1]
    for t in range(12):
        weights = powers[11 - t :]
        expected = weights @ found.losses[: t + 1] / weights.sum()
        assert math.isclose(found.smoothed[t], expected, rel_tol=1e-13)


def test_network_and_trainer_are_not_changed() -> None:
    net = network()
    trainer = dr.Trainer(net, "squared_error", "adam")
    trainer.run(X, Y, epochs=1, progress=False)
    twin = network()
    other = dr.Trainer(twin, "squared_error", "adam")
    other.run(X, Y, epochs=1, progress=False)
    before = net.vector.copy(), net.state_vector.copy()
    find(net, largest=1e30)
    assert net.vector.tobytes() == before[0].tobytes()
    assert net.state_vector.tobytes() == before[1].tobytes()
    for one in (trainer, other):
        one.run(X, Y, epochs=1, progress=False)
    assert net.vector.tobytes() == twin.vector.tobytes()


def test_it_ends_where_the_loss_grows_and_suggests_a_rate_that_trains() -> None:
    """Steepest descent on squares grows beyond the rate 2 / the largest curvature."""
    line = dr.Network([dr.Dense(1)], inputs=3, dtype="float64", seed=1)
    inputs = np.column_stack([X, np.ones(40)])
    bound = 2 / np.linalg.eigvalsh(inputs.T @ inputs / 40)[-1]
    found = find(line, optimizer="sgd", batch_size=None, steps=100, smallest=1e-5, largest=1e3)
    assert bound < found.rates[-1] < 1e3
    assert found.smoothed[-1] > 4 * found.smoothed.min() > 0
    assert found.suggestion is not None
    assert found.suggestion == pytest.approx(found.rates[np.argmin(found.smoothed)] / 10)
    assert bound / 100 < found.suggestion < bound
    history = dr.train(
        line, X, Y, loss="squared_error", optimizer=dr.SGD(found.suggestion), epochs=9,
        batch_size=None, progress=False,
    )  # fmt: skip
    assert history["loss"] == sorted(history["loss"], reverse=True)


def test_divergence_ends_it_too() -> None:
    found = find(network(), optimizer="sgd", smallest=1e-3, largest=1e99, steps=20)
    assert len(found.rates) == len(found.losses) == len(found.smoothed) < 20
    assert np.isfinite(found.losses).all()


def test_where_nothing_falls_there_is_no_suggestion() -> None:
    found = find(network(), smallest=1e3, largest=1e6, optimizer="sgd", steps=30)
    assert found.suggestion is None
    assert "The loss fell at no rate" in str(found)
    assert "suggestion none" in repr(found)


def test_its_text_and_its_picture() -> None:
    oracle("matplotlib")
    from matplotlib import pyplot

    found = find(network(), optimizer=dr.Adam(1.0), steps=60)
    lines = str(found).splitlines()
    assert lines[0].split() == ["rate", "loss,", "smoothed"]
    assert lines[-1].startswith(f"Suggestion: {found.suggestion:.3g}, a tenth of ")
    assert float(lines[1].split()[0]) == pytest.approx(found.rates[0], rel=1e-2)
    axes = found.plot()
    assert axes.get_xscale() == "log"
    assert axes.get_xlabel() == "learning rate"
    drawn = [line.get_ydata() for line in axes.lines[:2]]
    assert np.array_equal(drawn, [found.losses, found.smoothed])
    assert axes.lines[2].get_xdata()[0] == found.suggestion
    assert found.plot(axes) is axes
    pyplot.close(axes.figure)
    with pytest.raises(dr.InvalidTypeError, match="ax must be matplotlib axes"):
        found.plot(3)


def test_what_cannot_be_is_refused() -> None:
    for wrong in (
        {"steps": 1}, {"smallest": 0}, {"smallest": 1.0, "largest": 0.5}, {"optimizer": "rprop"},
        {"optimizer": "levenberg_marquardt"}, {"largest": math.inf}, {"batch_size": 0},
    ):  # fmt: skip
        with pytest.raises(dr.DeltaruleError):
            find(network(), **wrong)
    with pytest.raises(dr.InvalidTypeError, match=r"expected a deltarule\.Network"):
        dr.find_learning_rate("net", X, Y, "mse")  # type: ignore[arg-type]
    huge = network()
    huge.vector *= 1e200
    with pytest.raises(dr.InvalidValueError, match="not finite before the first step"):
        find(huge)
