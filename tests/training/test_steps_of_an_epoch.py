"""What callbacks see of the steps of an epoch, an order for each, and epochs at once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import deltarule as dr
from deltarule.data.source import Orders

rng = np.random.default_rng(0)
X, Y = rng.normal(size=(23, 4)), rng.normal(size=23)
WEIGHTS = rng.uniform(0.5, 2, 23)
ENGINES = ["native", "reference"]


def network() -> dr.Network:
    return dr.Network([dr.Dense(3, "tanh"), dr.Dense(1)], inputs=4, seed=1, dtype="float64")


class Given(Orders):
    """A list of orders."""

    def __init__(self, orders: list[Any]) -> None:
        self.orders = orders

    def of_epoch(self, epoch: int) -> Any:
        return self.orders[epoch]


class Steps(dr.Callback):
    """Keeps the losses of all steps; wants to be asked after so many epochs at once."""

    def __init__(self, at_once: int = 1) -> None:
        self.at_once, self.losses = at_once, list[np.ndarray]()

    def epochs_at_once(self, state: dr.State) -> int:
        return self.at_once

    def on_epoch(self, state: dr.State) -> None:
        self.losses.append(state.step_losses.copy())


@pytest.mark.parametrize("engine", ENGINES)
def test_each_steps_loss_is_that_of_its_batch_before_the_step(engine: str) -> None:
    seen, net = Steps(), network()
    settings = {"loss": "squared_error", "penalty": dr.L2(0.1, over_batch=True)}
    dr.train(
        net, X, Y, optimizer=dr.SGD(0.0), batch_size=10, shuffle=False, sample_weight=WEIGHTS,
        callbacks=[seen], engine=engine, epochs=1, **settings,
    )  # fmt: skip
    (losses,) = seen.losses
    for i, part in enumerate((slice(0, 10), slice(10, 20), slice(20, 23))):
        batch = dr.evaluate(net, X[part], Y[part], sample_weight=WEIGHTS[part], **settings)
        expected = [batch["data_loss"], batch["penalty"]]
        np.testing.assert_allclose(losses[i], expected, rtol=1e-12)
        squares = sum((net.parameters[f"{i}.weight"] ** 2).sum() for i in range(2))
        assert batch["penalty"] == pytest.approx(0.05 * squares / WEIGHTS[part].sum())


@pytest.mark.parametrize("engine", ENGINES)
def test_a_step_without_weight_has_no_loss(engine: str) -> None:
    seen = Steps()
    dr.train(
        network(), X, Y, loss="mse", batch_size=10, shuffle=False, epochs=1, engine=engine,
        sample_weight=np.arange(23) >= 10, callbacks=[seen],
    )  # fmt: skip
    assert (seen.losses[0][:, 0] > 0).tolist() == [False, True, True]


@pytest.mark.parametrize("engine", ENGINES)
def test_epochs_at_once_are_the_same_training(engine: str) -> None:
    vectors, losses = [], []
    for at_once in (1, 3):
        net, seen = network(), Steps(at_once)
        dr.train(net, X, Y, loss="mse", epochs=7, batch_size=10, callbacks=[seen], engine=engine)
        assert [len(part) // 3 for part in seen.losses] == ([1] * 7 if at_once == 1 else [3, 3, 1])
        vectors.append(net.vector.tolist())
        losses.append(np.concatenate(seen.losses).tolist())
    assert vectors[0] == vectors[1]
    assert losses[0] == losses[1]


def test_an_epoch_that_is_cut_into_calls_has_all_its_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, cut = Steps(), Steps()
    settings = {"loss": "mse", "epochs": 2, "batch_size": 5, "metrics": ["mae"]}
    dr.train(network(), X, Y, callbacks=[whole], **settings)
    monkeypatch.setattr("deltarule.training.pace.ROWS_PER_CALL", 10)
    dr.train(network(), X, Y, callbacks=[cut], **settings)
    assert [losses.tolist() for losses in cut.losses] == [p.tolist() for p in whole.losses]
    assert [len(losses) for losses in cut.losses] == [5, 5]


def test_who_wants_each_epoch_has_each_epoch() -> None:
    for other in ({"callbacks": [Steps(3), Steps()]}, {"validation": (X, Y)}, {"metrics": ["mae"]}):
        seen = Steps(3)
        callbacks = [*other.pop("callbacks", []), seen]
        dr.train(network(), X, Y, loss="mse", epochs=4, callbacks=callbacks, **other)
        assert len(seen.losses) == 4


def test_a_factor_that_is_set_at_the_start_holds_from_the_first_step() -> None:
    class Half(dr.Callback):
        def on_start(self, state: dr.State) -> None:
            state.rate_factor = 0.5

    halved, slower = network(), network()
    dr.train(halved, X, Y, loss="mse", optimizer=dr.SGD(0.2), callbacks=[Half()])
    dr.train(slower, X, Y, loss="mse", optimizer=dr.SGD(0.1))
    assert halved.vector.tolist() == slower.vector.tolist()


@pytest.mark.parametrize("engine", ENGINES)
def test_each_epoch_may_have_an_order_of_its_own(engine: str) -> None:
    orders = [np.random.default_rng(i).permutation(23) for i in range(3)]
    given = Given(orders)
    by_function, by_order = network(), network()
    settings = {"batch_size": 10, "progress": False}
    one = dr.Trainer(by_function, "mse", "adam", engine=engine)
    one.run(X, Y, epochs=2, shuffle=given, **settings)
    one.run(X, Y, epochs=1, shuffle=given, **settings)
    other = dr.Trainer(by_order, "mse", "adam", engine=engine)
    for order in orders:
        other.run(X, Y, epochs=1, shuffle=order, **settings)
    assert by_function.vector.tolist() == by_order.vector.tolist()


@pytest.mark.parametrize("order", [np.arange(22), np.zeros(23, int), np.arange(23) + 1, "random"])
def test_what_is_no_order_of_an_epoch_is_refused(order: object) -> None:
    net = network()
    before = net.vector.copy()
    with pytest.raises((ValueError, TypeError), match="shuffle"):
        dr.train(net, X, Y, loss="mse", shuffle=Given([order]))
    assert (net.vector == before).all()
