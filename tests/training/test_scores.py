"""What is reported as best is what the kept network scores; callbacks end with their run."""

from __future__ import annotations

import copy
import logging
import pickle
import threading
from typing import Any

import numpy as np
import pytest

import deltarule as dr
from deltarule.training.watching import Monitor

RNG = np.random.default_rng(5)
X = RNG.standard_normal((23, 3))
TARGETS = X @ np.array([1.0, -2.0, 0.5]) + 0.1 * RNG.standard_normal(23)
LABELS = (TARGETS > 0).astype(int)
WEIGHTS = RNG.uniform(0.5, 2, 23)
# Sums of 23 terms, evaluated by two executors: a few roundings of the sum.
CLOSE = 23 * 2**-52


def network(*layers: dr.Layer) -> dr.Network:
    stack = [dr.Dense(5, "tanh"), *layers, dr.Dense(1)]
    return dr.Network(stack, inputs=3, seed=2, dtype="float64")


class Average(dr.Callback):
    """Keeps the network at a moving average of what the epochs left."""

    def on_start(self, state: dr.State) -> None:
        self.mean = state.network.vector.copy()

    def on_epoch(self, state: dr.State) -> None:
        self.mean += 0.3 * (state.network.vector - self.mean)
        state.network.vector = self.mean


CASES: dict[str, dict[str, Any]] = {
    "rates that rise": {"optimizer": dr.SGD(dr.Piecewise([12], [0.05, 0.3]))},
    "adam": {"optimizer": dr.Adam(0.3)},
    "full batch": {"optimizer": dr.RMSprop(0.2), "batch_size": None},
    "one by one": {"optimizer": dr.SGD(0.2), "batch_size": 1},
    "dropped rows": {"batch_size": 7, "drop_last": True, "optimizer": dr.Adam(0.2)},
    "a penalty": {"penalty": dr.L2(0.1), "optimizer": dr.Adam(0.2)},
    "weights": {"sample_weight": WEIGHTS, "optimizer": dr.Adam(0.2)},
    "an average": {"callbacks": [Average()], "optimizer": dr.Adam(0.5)},
}


def score(net: dr.Network, monitor: str, settings: dict[str, Any]) -> float:
    given = {k: v for k, v in settings.items() if k in ("penalty", "sample_weight")}
    return dr.evaluate(net, X, TARGETS, "squared_error", metrics=["mae"], **given)[monitor]


@pytest.mark.parametrize("engine", ["auto", "reference"])
@pytest.mark.parametrize("monitor", ["loss", "mae"])
@pytest.mark.parametrize(
    "layers", [(), (dr.BatchNorm(),), (dr.Dropout(0.4),)], ids=["plain", "BatchNorm", "Dropout"]
)
@pytest.mark.parametrize("case", CASES)
def test_the_best_is_what_the_restored_network_scores_on_the_training_data(
    case: str, layers: tuple[dr.Layer, ...], monitor: str, engine: str
) -> None:
    settings = {"epochs": 15, "batch_size": 8, "metrics": ["mae"], "engine": engine} | CASES[case]
    if layers and isinstance(layers[0], dr.BatchNorm) and case == "one by one":
        settings["batch_size"] = 23
    net = network(*layers)
    stopping = dr.EarlyStopping(monitor, patience=4)
    settings["callbacks"] = [*settings.get("callbacks", ()), stopping]
    dr.train(net, X, TARGETS, loss="squared_error", **settings)
    assert stopping.best_epoch > 0
    assert stopping.best == pytest.approx(score(net, monitor, settings), rel=CLOSE)


@pytest.mark.parametrize("monitor", ["loss", "mae"])
@pytest.mark.parametrize("case", CASES)
def test_a_restart_scores_what_its_network_scores(case: str, monitor: str) -> None:
    settings = {"epochs": 6, "batch_size": 8, "metrics": ["mae"]} | CASES[case]
    net = network()
    found = dr.restart(
        net, X, TARGETS, restarts=3, monitor=monitor, loss="squared_error", **settings
    )
    assert found.scores[found.best] == pytest.approx(score(net, monitor, settings), rel=CLOSE)


def test_one_weight_whose_rate_rises() -> None:
    """y = 1, w = 0: the second step overshoots from 0.25 of the error to -2 of it."""
    net = dr.Network([dr.Dense(1, bias=False)], inputs=1, weight_initializer="zeros")
    stopping = dr.EarlyStopping("loss")
    optimizer = dr.SGD(dr.Piecewise([1], [0.5, 3.0]))
    settings = {"loss": "squared_error", "batch_size": None, "epochs": 2, "optimizer": optimizer}
    history = dr.train(net, [[1.0]], [1.0], callbacks=[stopping], **settings)
    assert history["loss"] == [0.5, 0.125]  # before each step
    assert (stopping.best, stopping.best_epoch) == (0.125, 1)
    assert net.vector.tolist() == [0.5]
    found = dr.restart(
        dr.Network([dr.Dense(1, bias=False)], inputs=1, weight_initializer="zeros"),
        [[1.0]], [1.0], restarts=1, **settings,
    )  # fmt: skip
    assert found.scores == (0.5 * 1.0**2,)  # after the second step: w = 2


@pytest.mark.parametrize("first", [True, False])
def test_validation_is_measured_again_where_a_callback_has_changed_the_network(
    first: bool,
) -> None:
    held_out, stopping = (X[:8], TARGETS[:8]), dr.EarlyStopping(patience=30)
    callbacks = [Average(), stopping] if first else [stopping, Average()]
    net = network()
    dr.train(
        net, X[8:], TARGETS[8:], loss="squared_error", optimizer=dr.Adam(0.2), epochs=20,
        validation=held_out, callbacks=callbacks,
    )  # fmt: skip
    found = dr.evaluate(net, *held_out, "squared_error")["loss"]
    assert stopping.best == pytest.approx(found, rel=CLOSE)


def test_an_unchanged_network_is_not_evaluated_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    from deltarule.training import columns

    calls: list[int] = []
    measure = columns.evaluate_dataset
    monkeypatch.setattr(
        columns, "evaluate_dataset", lambda *a: (calls.append(len(a[3])), measure(*a))[1]
    )
    watchers = [dr.EarlyStopping("val_loss"), dr.EarlyStopping("loss"), dr.EarlyStopping("loss")]
    dr.train(
        network(), X, TARGETS, loss="squared_error", epochs=2, validation=(X[:8], TARGETS[:8]),
        callbacks=watchers,
    )  # fmt: skip
    assert calls == [8, 23] * 2


def test_without_restoring_the_column_itself_is_watched() -> None:
    stopping = dr.EarlyStopping("gradient_norm.0.bias", restore_best=False)
    history = dr.train(network(), X, TARGETS, loss="squared_error", epochs=5, callbacks=[stopping])
    column = history["gradient_norm.0.bias"]
    assert stopping.best == min(column)
    assert stopping.best_epoch == 1 + column.index(min(column))
    with pytest.raises(dr.InvalidValueError, match="not to a network that could be restored"):
        dr.train(
            network(), X, TARGETS, loss="squared_error",
            callbacks=[dr.EarlyStopping("gradient_norm.0.bias")],
        )  # fmt: skip


def test_a_callback_may_ask_for_scores_and_is_told_which_there_are() -> None:
    class Ask(dr.Callback):
        def on_epoch(self, state: dr.State) -> None:
            self.scores = state.score("loss"), state.score("val_mae")
            with pytest.raises(dr.InvalidValueError, match="unknown column to score 'val_los'"):
                state.score("val_los")

    ask, net, held_out = Ask(), network(), (X[:8], TARGETS[:8])
    dr.train(
        net, X, TARGETS, loss="squared_error", epochs=1, metrics=["mae"], validation=held_out,
        callbacks=[ask],
    )  # fmt: skip
    expected = (
        dr.evaluate(net, X, TARGETS, "squared_error")["loss"],
        dr.evaluate(net, *held_out, "squared_error", metrics=["mae"])["mae"],
    )
    assert ask.scores == pytest.approx(expected, rel=CLOSE)


# ------------------------------------------------------------------------------- one run at a time


class Refuse(dr.Callback):
    def on_start(self, state: dr.State) -> None:
        raise RuntimeError("not today")


@pytest.mark.parametrize("refuse_first", [True, False])
def test_a_callback_of_an_earlier_run_leaves_one_that_does_not_start_alone(
    refuse_first: bool,
) -> None:
    stopping = dr.EarlyStopping("loss")
    dr.train(network(), X, TARGETS, loss="squared_error", callbacks=[stopping])
    net = network()
    net.vector[:] += 1
    before = net.vector.copy()
    callbacks = [Refuse(), stopping] if refuse_first else [stopping, Refuse()]
    with pytest.raises(RuntimeError, match="not today"):
        dr.train(net, X, TARGETS, loss="squared_error", callbacks=callbacks)
    np.testing.assert_array_equal(net.vector, before)
    dr.train(net, X, TARGETS, loss="squared_error", callbacks=[stopping])  # and is free


def test_only_what_has_started_ends() -> None:
    seen: list[str] = []

    class Seen(dr.Callback):
        def __init__(self, name: str) -> None:
            self.name = name

        def on_end(self, state: dr.State) -> None:
            seen.append(self.name)

    with pytest.raises(RuntimeError, match="not today"):
        dr.train(
            network(), X, TARGETS, loss="squared_error",
            callbacks=[Seen("before"), Refuse(), Seen("after")],
        )  # fmt: skip
    assert seen == ["before"]


@pytest.mark.parametrize("make", [dr.EarlyStopping, dr.ReduceOnPlateau])
def test_one_callback_follows_one_run_at_a_time(make: Any) -> None:
    watcher, refused = make("loss"), []

    class Inner(dr.Callback):
        def on_epoch(self, state: dr.State) -> None:
            with pytest.raises(dr.InUseError, match="give each run its own") as caught:
                dr.train(network(), X, TARGETS, loss="squared_error", callbacks=[watcher])
            refused.append(caught.value)
            twin = copy.deepcopy(watcher)  # is free
            dr.train(network(), X, TARGETS, loss="squared_error", epochs=1, callbacks=[twin])
            pickle.dumps(watcher)

    dr.train(network(), X, TARGETS, loss="squared_error", epochs=2, callbacks=[watcher, Inner()])
    assert len(refused) == 2
    with pytest.raises(dr.InUseError):
        dr.train(network(), X, TARGETS, loss="squared_error", callbacks=[watcher, watcher])
    threads = [
        threading.Thread(
            target=dr.train, args=(network(), X, TARGETS),
            kwargs={"loss": "squared_error", "callbacks": [make("loss")]},
        )
        for _ in range(2)
    ]  # fmt: skip
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


class Spoil(dr.Callback):
    """Leaves a network whose loss is not a number."""

    def on_epoch(self, state: dr.State) -> None:
        if state.epoch == 3:
            state.network.vector[:] = np.nan


@pytest.mark.parametrize("monitor", ["loss", "val_loss"])
def test_a_score_that_is_not_a_number_is_an_error_at_once(monitor: str) -> None:
    net, stopping = network(), dr.EarlyStopping(monitor, patience=2)
    with pytest.raises(dr.InvalidValueError, match=f"monitor: '{monitor}' is NaN.*monitor another"):
        dr.train(
            net, X, TARGETS, loss="squared_error", epochs=9, validation=(X[:8], TARGETS[:8]),
            callbacks=[Spoil(), stopping],
        )  # fmt: skip
    assert stopping.best_epoch == 2
    assert np.isfinite(net.vector).all()  # the best is restored


@pytest.mark.parametrize("best_is", ["min", "max"])
def test_nothing_is_better_or_worse_than_what_is_not_a_number(best_is: str) -> None:
    watch = Monitor("val_loss", best_is=best_is)
    assert watch.improved(2.0)
    with pytest.raises(dr.InvalidValueError, match="is NaN"):
        watch.improved(float("nan"))
    assert not watch.improved(2.0)
    assert watch.waited == 1


# ------------------------------------------------------------------------------------- their words


@pytest.mark.parametrize(
    ("monitor", "settings", "message"),
    [
        ("val_los", {"validation": 0.3}, "did you mean 'val_loss'"),
        ("val_los", {}, r"did you mean 'val_loss'\? pass validation="),
        ("val_loss", {}, "pass validation="),
        ("val_mae", {"metrics": ["mae"]}, "pass validation="),
        ("val_acuracy", {"validation": 0.3, "metrics": ["mae"]}, "no 'val_acuracy' to watch"),
        ("Loss", {}, "did you mean 'loss'"),
    ],
)
def test_a_column_that_there_will_not_be_is_refused_in_one_error(
    monitor: str, settings: dict[str, Any], message: str, caplog: pytest.LogCaptureFixture
) -> None:
    for watcher in (dr.EarlyStopping, dr.ReduceOnPlateau):
        with (
            caplog.at_level(logging.DEBUG),
            pytest.raises(dr.InvalidValueError, match=message) as caught,
        ):
            dr.train(
                network(), X, TARGETS, loss="squared_error", callbacks=[watcher(monitor)],
                **settings,
            )  # fmt: skip
        assert "of your own" not in str(caught.value)
    assert caplog.records == []


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("on_epoch_end", "call it on_epoch"),
        ("on_train_begin", "call it on_start"),
        ("on_train_end", "call it on_end"),
        ("on_epochs", "call it on_epoch"),
        ("onEpoch", "call it on_epoch"),
        ("on_strat", "call it on_start"),
        ("on_batch_end", "call it on_steps"),
        ("on_batch_begin", "there is none for this moment"),
        ("on_epoch_begin", "there is none for this moment"),
    ],
)
def test_a_hook_by_another_name_is_refused_where_it_is_written(wrong: str, right: str) -> None:
    with pytest.raises(dr.InvalidAttributeError, match=f"Mine.{wrong} would never .*{right}"):
        type("Mine", (dr.Callback,), {wrong: lambda self, state: None})


def test_methods_of_ones_own_are_welcome() -> None:
    class Mine(dr.Callback):
        def on_improvement(self) -> None: ...
        def onset(self) -> None: ...
        def epoch(self) -> None: ...
        def start(self) -> None: ...

    assert dr.train(network(), X, TARGETS, loss="squared_error", callbacks=[Mine()]).epochs == 10


def test_a_hook_that_does_not_take_the_state_is_refused_before_training() -> None:
    class Keras(dr.Callback):
        def on_epoch(self, epoch: int, logs: dict[str, float]) -> None: ...  # type: ignore[override]

    with pytest.raises(dr.InvalidTypeError, match=r"Keras.on_epoch must take one argument"):
        dr.train(network(), X, TARGETS, loss="squared_error", callbacks=[Keras()])


@pytest.mark.parametrize("name", ["patiance", "mode", "restore_best_weights"])
def test_a_misspelt_attribute_of_a_callback_is_refused(name: str) -> None:
    stopping = dr.EarlyStopping()
    with pytest.raises(dr.InvalidAttributeError, match=name):
        setattr(stopping, name, 3)


@pytest.mark.parametrize("kind", [dr.EarlyStopping, dr.ReduceOnPlateau])
@pytest.mark.parametrize(("name", "wrong"), [("patience", -1), ("monitor", 3), ("best_is", "up")])
def test_a_setting_of_a_callback_is_checked_when_it_is_assigned(kind, name: str, wrong) -> None:
    callback = kind()
    before = getattr(callback, name)
    with pytest.raises(dr.DeltaruleError, match=name):
        setattr(callback, name, wrong)
    assert getattr(callback, name) == before
    setattr(callback, name, before)


@pytest.mark.parametrize("name", ["best", "best_epoch"])
def test_what_a_callback_has_found_cannot_be_set(name: str) -> None:
    with pytest.raises(dr.InvalidAttributeError, match=name):
        setattr(dr.EarlyStopping(), name, 3)


def test_the_state_refuses_what_it_has_not() -> None:
    class Wrong(dr.Callback):
        def on_epoch(self, state: dr.State) -> None:
            with pytest.raises(dr.InvalidAttributeError, match=r"set state.rate_factor"):
                state.lr = 0.1  # type: ignore[attr-defined]
            with pytest.raises(dr.InvalidAttributeError, match=r"set state.stop to a reason"):
                state.stop_training = True  # type: ignore[attr-defined]
            with pytest.raises(dr.InvalidAttributeError, match=r"State.epoch is fixed"):
                state.epoch = 7  # type: ignore[misc]
            state.stop = "enough"

    history = dr.train(network(), X, TARGETS, loss="squared_error", callbacks=[Wrong()])
    assert (history.epochs, history.stopped) == (1, "enough")


def test_no_metrics_may_be_none() -> None:
    for metrics in (None, ()):
        trained = dr.train(network(), X, TARGETS, loss="squared_error", metrics=metrics)
        assert "mae" not in trained
        assert set(dr.evaluate(network(), X, TARGETS, "squared_error", metrics=metrics)) == {"loss"}
        dr.restart(network(), X, TARGETS, loss="squared_error", metrics=metrics, restarts=1)


def test_a_class_that_only_validation_has_is_blamed_on_validation() -> None:
    net = dr.Network([dr.Dense(2, "softmax")], inputs=3)
    before = net.vector.copy()
    with pytest.raises(dr.InvalidValueError, match="validation y"):
        dr.train(net, X, LABELS, loss="cross_entropy", validation=(X[:3], [0, 1, 2]))
    np.testing.assert_array_equal(net.vector, before)


@pytest.mark.parametrize("clip", [None, dr.ClipNorm(1.0), dr.ClipValue(1.0)])
def test_the_advice_against_a_divergence_leaves_out_what_is_set(clip: dr.Clip | None) -> None:
    net = network()
    net.vector[:] = 1e200
    with pytest.raises(dr.DivergenceError, match="Lower the learning rate") as caught:
        dr.train(net, X, TARGETS, loss="squared_error", clip=clip)
    assert ("clip" in str(caught.value)) == (clip is None)
