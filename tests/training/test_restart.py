"""Several initialisations at once: each is a run of its own, and the best is kept."""

from __future__ import annotations

import gc
import inspect
import logging
import math
import signal
import threading
import time
import weakref
from typing import Any

import numpy as np
import pytest

import deltarule as dr
from ctrl_c import DELAYS, press
from deltarule.base.interrupt import deferred_interrupt
from deltarule.base.random import Purpose, philox

RNG = np.random.default_rng(0)
X = RNG.standard_normal((23, 3))
LABELS = RNG.integers(0, 2, 23)
TARGETS = X @ np.array([1.0, -2.0, 0.5]) + 0.1 * RNG.standard_normal(23)
PATIENCE = 100  # seconds that no sound test waits, however busy the machine
PLAIN = {"loss": "squared_error", "optimizer": dr.SGD(0.05), "epochs": 3}


def regressor() -> dr.Network:
    return dr.Network([dr.Dense(5, "tanh"), dr.Dense(1)], inputs=3, seed=9, dtype="float64")


def classifier() -> dr.Network:
    layers = [dr.Dense(6), dr.BatchNorm(), dr.Activation("tanh"), dr.Dropout(0.2)]
    return dr.Network([*layers, dr.Dense(2, "softmax")], inputs=3, seed=4)


class Shared(dr.Callback):
    """A callback that all restarts share."""

    def __deepcopy__(self, memo: dict[int, object]) -> Shared:
        return self


class Results(Shared):
    """What each restart's network held in the end, by its seed."""

    def __init__(self) -> None:
        self.of: dict[int, dr.Network] = {}

    def on_end(self, state: dr.State) -> None:
        self.of[state.network.seed] = state.network.copy()


# ------------------------------------------------------------------------ which are kept


@pytest.mark.parametrize("threads", [1, 3])
def test_the_best_are_returned_the_best_first(threads: int) -> None:
    net = regressor()
    found = dr.restart(net, X, TARGETS, restarts=6, keep=3, threads=threads, **PLAIN)
    order = sorted(range(6), key=lambda i: found.scores[i])
    assert [each.seed for each in found.networks] == [found.seeds[i] for i in order[:3]]
    assert found.networks[0].vector.tobytes() == net.vector.tobytes()
    for i, kept in zip(order, found.networks, strict=False):
        alone = regressor() if i == 0 else regressor().initialize(found.seeds[i])
        dr.train(alone, X, TARGETS, **PLAIN)
        assert kept.vector.tobytes() == alone.vector.tobytes()
    # The squared error is convex, so that of the mean is at most the mean of theirs.
    mean = dr.Ensemble(found.networks).predict(X).ravel()
    scores = [found.scores[i] for i in order[:3]]
    assert np.mean((mean - TARGETS) ** 2) / 2 <= np.mean(scores)
    assert len(dr.restart(net, X, TARGETS, restarts=2, keep=9, **PLAIN).networks) == 2


# ------------------------------------------------------------------------ each restart is one run


@pytest.mark.parametrize("engine", ["auto", "reference"])
@pytest.mark.parametrize("threads", [1, 2, 5, None])
def test_each_restart_is_to_the_bit_that_network_trained_alone(
    engine: str, threads: int | None
) -> None:
    settings = {
        "loss": "cross_entropy",
        "optimizer": dr.Adam(dr.Cosine(0.05)),
        "epochs": 4,
        "batch_size": 5,
        "drop_last": True,
        "validation": 0.3,
        "metrics": ["accuracy"],
        "penalty": dr.L2(1e-3),
        "constraint": dr.MaxNorm(1.0),
        "clip": dr.ClipNorm(0.5),
        "sample_weight": np.linspace(0.5, 2, 23),
        "class_weight": {0: 2.0, 1: 1.0},
        "seed": 3,
        "engine": engine,
    }
    net, results = classifier(), Results()
    net.vector[:] += 1  # no longer what its seed draws: restart 0 begins here all the same
    start = net.copy()
    found = dr.restart(net, X, LABELS, restarts=5, threads=threads, callbacks=[results], **settings)
    for i, seed in enumerate(found.seeds):
        alone = start.copy() if i == 0 else start.copy().initialize(seed)
        history = dr.train(alone, X, LABELS, **settings)
        np.testing.assert_array_equal(results.of[seed].vector, alone.vector)
        np.testing.assert_array_equal(results.of[seed].state_vector, alone.state_vector)
        assert dict(found.histories[i]) == dict(history)
        assert found.scores[i] == history["val_loss"][-1]
    assert found.best == int(np.argmin(found.scores)) > 0
    best = results.of[found.seeds[found.best]]
    np.testing.assert_array_equal(net.vector, best.vector)
    np.testing.assert_array_equal(net.state_vector, best.state_vector)
    assert net.seed == found.seeds[found.best]


def test_one_restart_is_train() -> None:
    one, other = regressor(), regressor()
    found = dr.restart(one, X, TARGETS, restarts=1, **PLAIN)
    history = dr.train(other, X, TARGETS, **PLAIN)
    np.testing.assert_array_equal(one.vector, other.vector)
    assert dict(found.history) == dict(history)


def test_it_takes_whatever_train_takes_with_the_same_defaults() -> None:
    ours = dict(inspect.signature(dr.restart).parameters)
    for name in ("restarts", "keep", "halving", "monitor", "best_is"):
        del ours[name]
    assert list(ours.values()) == list(inspect.signature(dr.train).parameters.values())


def test_seeds_are_one_word_each_and_those_of_fewer_restarts_come_first() -> None:
    few = dr.restart(regressor(), X, TARGETS, restarts=3, seed=7 + (1 << 40), **PLAIN)
    many = dr.restart(regressor(), X, TARGETS, restarts=6, seed=7 + (1 << 40), **PLAIN)
    assert many.seeds[0] == 9
    assert many.seeds[:3] == few.seeds
    assert many.scores[:3] == few.scores
    for i in range(1, 6):
        block = philox(np.array([0, i, 0, Purpose.RESTART << 28]), (7, 1 << 8))
        assert many.seeds[i] == block[0]


def test_what_is_frozen_is_alike_in_every_restart() -> None:
    net, results = classifier().freeze("0", "1"), Results()
    net.vector[:] += 0.25
    net.state_vector[:] += 0.5
    before = net.copy()
    settings = PLAIN | {"loss": "cross_entropy"}
    found = dr.restart(net, X, LABELS, restarts=3, callbacks=[results], **settings)
    assert len(set(found.scores)) == 3  # what is not frozen differs
    for trained in results.of.values():
        for name in ("0.weight", "0.bias", "1.scale", "1.shift"):
            np.testing.assert_array_equal(trained.parameters[name], before.parameters[name])
        np.testing.assert_array_equal(trained.state_vector, before.state_vector)


def test_a_generator_of_metrics_serves_every_restart() -> None:
    metrics = (name for name in ["mae", "r2"])
    found = dr.restart(regressor(), X, TARGETS, restarts=3, metrics=metrics, **PLAIN)
    assert all({"mae", "r2"} <= history.keys() for history in found.histories)


def test_features_become_an_array_once_not_in_every_restart() -> None:
    class Frame:
        conversions = 0

        def __array__(self, *arguments: object, **keywords: object) -> np.ndarray:
            self.conversions += 1
            return X.copy()

    once, many = Frame(), Frame()
    dr.restart(regressor(), once, TARGETS, restarts=1, **PLAIN)
    dr.restart(regressor(), many, TARGETS, restarts=5, **PLAIN)
    assert many.conversions == once.conversions > 0


# -------------------------------------------------------------------------------- which is the best


@pytest.mark.parametrize(
    ("settings", "choose"),
    [
        ({}, np.argmin),
        ({"monitor": "val_r2"}, np.argmax),
        ({"monitor": "mae"}, np.argmin),
        ({"monitor": "spread", "best_is": "max"}, np.argmax),
        ({"monitor": "spread", "best_is": "min"}, np.argmin),
    ],
)
def test_the_monitor_decides_in_its_own_direction(settings: dict, choose: object) -> None:
    def spread(y: np.ndarray, a: np.ndarray, w: np.ndarray | None) -> float:
        return float(np.ptp(a))

    found = dr.restart(
        regressor(), X, TARGETS, restarts=6, validation=0.3, metrics=["r2", "mae", spread],
        **settings, **PLAIN,
    )  # fmt: skip
    assert found.monitor == settings.get("monitor", "val_loss")
    if found.monitor.startswith("val_"):
        assert found.scores == tuple(history[found.monitor][-1] for history in found.histories)
    assert found.best == choose(found.scores)
    assert np.argmin(found.scores) != np.argmax(found.scores)


def test_without_validation_the_training_loss_decides() -> None:
    found = dr.restart(regressor(), X, TARGETS, restarts=4, **PLAIN)
    assert found.monitor == "loss"


def test_of_equals_the_first_is_the_best_whoever_ends_first() -> None:
    class FirstIsLast(Shared):
        def __init__(self) -> None:
            self.others = threading.Semaphore(0)

        def on_end(self, state: dr.State) -> None:
            if state.network.seed != 9:
                self.others.release()
            else:
                assert all(self.others.acquire(timeout=PATIENCE) for _ in range(3))

    net = dr.Network([dr.Dense(1)], inputs=3, seed=9, weight_initializer="zeros")
    found = dr.restart(net, X, TARGETS, restarts=4, threads=4, callbacks=[FirstIsLast()], **PLAIN)
    assert len(set(found.scores)) == 1
    assert found.best == 0


def test_early_stopping_scores_the_parameters_that_it_puts_back() -> None:
    stopping = dr.EarlyStopping("val_loss", patience=4)
    net, validation = regressor(), (X[16:], TARGETS[16:])
    settings = PLAIN | {"optimizer": dr.Adam(0.1), "epochs": 300}
    found = dr.restart(
        net, X[:16], TARGETS[:16], restarts=4, validation=validation, callbacks=[stopping],
        **settings,
    )  # fmt: skip
    column = found.history["val_loss"]
    assert column[-1] > min(column)  # so that the last epoch would be the wrong one
    assert found.scores == tuple(min(history["val_loss"]) for history in found.histories)
    kept = dr.evaluate(net, *validation, "squared_error")["loss"]
    assert kept == found.scores[found.best]
    (own,) = found.callbacks
    assert isinstance(own, dr.EarlyStopping)
    assert own.best_epoch == 1 + int(np.argmin(column))
    assert stopping.best_epoch == 0


# ---------------------------------------------------------------------------- divergence and errors


def test_a_restart_that_diverges_loses_and_the_others_go_on() -> None:
    net = regressor()
    net.vector[:] = 1e200
    found = dr.restart(net, X, TARGETS, restarts=4, **PLAIN)
    assert math.isnan(found.scores[0])
    assert found.histories[0].stopped == "diverged at step 1"
    assert all(history.epochs == 3 for history in found.histories[1:])
    assert found.best == 1 + int(np.argmin(found.scores[1:]))
    assert np.abs(net.vector).max() < 10
    assert "diverged at step 1" in str(found)


def test_where_all_diverge_the_error_says_so_and_the_network_is_as_before() -> None:
    net = regressor()
    before = net.copy()
    settings = PLAIN | {"optimizer": dr.SGD(1e200)}
    with pytest.raises(dr.DivergenceError, match=r"every restart .*\(4\).*Restart 0: ") as caught:
        dr.restart(net, X, TARGETS, restarts=4, **settings)
    with pytest.raises(dr.DivergenceError) as alone:
        dr.train(before.copy(), X, TARGETS, **settings)
    assert (caught.value.step, caught.value.layer) == (alone.value.step, alone.value.layer)
    assert caught.value.history is not None
    np.testing.assert_array_equal(net.vector, before.vector)


@pytest.mark.parametrize(
    ("value", "message"),
    [(math.nan, "strange"), (math.inf, "no restart ended with a finite")],
)
def test_where_the_monitor_is_not_finite_there_is_no_best(value: float, message: str) -> None:
    def strange(y: np.ndarray, a: np.ndarray, w: np.ndarray | None) -> float:
        return value

    net = regressor()
    before = net.vector.copy()
    with pytest.raises(dr.InvalidValueError, match=message):
        dr.restart(net, X, TARGETS, metrics=[strange], monitor="strange", best_is="min", **PLAIN)
    np.testing.assert_array_equal(net.vector, before)


def test_an_error_in_a_callback_ends_all_restarts() -> None:
    class Fail(Shared):
        def on_epoch(self, state: dr.State) -> None:
            if state.network.seed == 9:
                raise ZeroDivisionError("a fault of my own")

    net = regressor()
    before = net.vector.copy()
    settings = PLAIN | {"epochs": 10_000_000}
    with pytest.raises(ZeroDivisionError, match="a fault of my own"):
        dr.restart(net, X, TARGETS, restarts=5, threads=2, callbacks=[Fail()], **settings)
    np.testing.assert_array_equal(net.vector, before)
    assert not [t for t in threading.enumerate() if t.name.startswith("deltarule")]


def test_a_callback_that_cannot_be_copied_is_refused() -> None:
    class Locked(dr.Callback):
        def __init__(self) -> None:
            self.lock = threading.Lock()

    with pytest.raises(dr.InvalidTypeError, match=r"cannot be copied .*__deepcopy__"):
        dr.restart(regressor(), X, TARGETS, callbacks=[Locked()], **PLAIN)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"restarts": 0}, "restarts must be a whole number >= 1, got 0"),
        ({"restarts": 2.5}, "restarts must be a whole number"),
        ({"threads": 0}, "threads must be a whole number >= 1, got 0"),
        ({"epochs": 0}, "epochs must be a whole number >= 1, got 0"),
        ({"seed": -1}, "seed must be a whole number >= 0"),
        ({"monitor": "val_loss"}, "pass validation="),
        ({"monitor": 3}, "monitor must be the name of a column"),
        ({"monitor": "lass"}, "no 'lass' to watch; did you mean 'loss'"),
        ({"monitor": "learning_rate", "best_is": "min"}, "belongs to the steps of an epoch"),
        ({"monitor": "gradient_norm.0.bias"}, "belongs to the steps of an epoch"),
        ({"on_interrupt": "stop"}, "on_interrupt must be 'raise' or 'return', got 'stop'"),
        ({"best_is": "low"}, "best_is must be 'min', 'max' or None, got 'low'"),
        ({"callbacks": dr.EarlyStopping()}, "callbacks must be a list"),
        ({"progress": "no"}, "progress must be True, False or 'auto'"),
        ({"batch_size": 0}, "batch_size must be a whole number"),
        ({"engine": "fast"}, "engine must be"),
        ({"sample_weight": np.ones(3)}, "sample_weight"),
        ({"validation": 2.0}, "a validation fraction must lie between 0 and 1"),
    ],
)
def test_bad_input_is_refused_and_changes_nothing(wrong: dict, message: str) -> None:
    net = regressor()
    before = net.vector.copy()
    with pytest.raises((ValueError, TypeError), match=message) as caught:
        dr.restart(net, X, TARGETS, **(PLAIN | wrong))
    assert isinstance(caught.value, dr.DeltaruleError)
    np.testing.assert_array_equal(net.vector, before)


# --------------------------------------------------------------------------------------- threads


def test_as_many_restarts_run_at_a_time_as_there_are_threads() -> None:
    class Meet(Shared):
        """Every restart waits for two companions; only where three run at a time they come."""

        def __init__(self) -> None:
            self.barrier = threading.Barrier(3)
            self.threads: set[str] = set()

        def on_start(self, state: dr.State) -> None:
            self.threads.add(threading.current_thread().name)
            self.barrier.wait(PATIENCE)

    meet = Meet()
    dr.restart(regressor(), X, TARGETS, restarts=9, threads=3, callbacks=[meet], **PLAIN)
    assert len(meet.threads) == 3


def test_by_default_the_reference_engine_runs_one_at_a_time() -> None:
    class Together(Shared):
        running = most = 0

        def on_start(self, state: dr.State) -> None:
            self.running += 1
            self.most = max(self.most, self.running)
            time.sleep(0.05)

        def on_end(self, state: dr.State) -> None:
            self.running -= 1

    together = Together()
    settings = PLAIN | {"engine": "reference", "callbacks": [together]}
    dr.restart(regressor(), X, TARGETS, restarts=4, **settings)
    assert together.most == 1


def test_networks_that_have_lost_are_not_kept() -> None:
    class Alive(Shared):
        def __init__(self) -> None:
            self.networks: list[weakref.ref[dr.Network]] = []
            self.counts: list[int] = []

        def on_start(self, state: dr.State) -> None:
            self.networks.append(weakref.ref(state.network))
            gc.collect()
            self.counts.append(sum(network() is not None for network in self.networks))

    alive = Alive()
    gc.collect()
    gc.freeze()  # what other tests have loaded need not be looked through each time
    try:
        dr.restart(regressor(), X, TARGETS, restarts=8, threads=1, callbacks=[alive], **PLAIN)
    finally:
        gc.unfreeze()
    assert len(alive.counts) == 8
    assert max(alive.counts) == 2  # the best so far, and the one that begins


# ---------------------------------------------------------------------------------------- Ctrl-C


class PressWhenBegun(Shared):
    """Ctrl-C from a thread of its own, so long after two restarts have begun."""

    def __init__(self, delay: float) -> None:
        self.both = threading.Barrier(2, lambda: threading.Timer(delay, press).start())

    def on_start(self, state: dr.State) -> None:
        self.both.wait(PATIENCE)


@pytest.mark.parametrize("engine", ["auto", "reference"])
def test_ctrl_c_ends_all_restarts_and_keeps_the_best_so_far(
    engine: str, caplog: pytest.LogCaptureFixture
) -> None:
    settings = PLAIN | {"optimizer": dr.Adam(1e-5), "batch_size": None, "engine": engine}
    endless = settings | {"epochs": 100_000_000}
    for delay in DELAYS:  # until both that run have done a step when it comes
        net, callbacks = regressor(), [PressWhenBegun(delay)]
        caplog.clear()
        with caplog.at_level(logging.WARNING, logger="deltarule"):
            found = dr.restart(
                net, X, TARGETS, restarts=5, threads=2, callbacks=callbacks,
                on_interrupt="return", **endless,
            )  # fmt: skip
        assert found.stopped == "interrupted"
        begun = [history is not None for history in found.histories]
        assert begun == [True, True, False, False, False]
        if not np.isnan(found.scores[:2]).any():
            break
    assert found.best == np.nanargmin(found.scores)
    assert [record.getMessage() for record in caplog.records] == [
        "training interrupted after 2 of 5 restarts had begun; the network is that of restart "
        f"{found.best}, the best so far"
    ]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert "not begun" in str(found)
    start = regressor()
    if found.best:
        start.initialize(found.seeds[1])
    # A full batch is one step: exactly these have been made.
    assert 0 < found.history.steps < 100_000_000
    dr.train(start, X, TARGETS, **(settings | {"epochs": found.history.steps}))
    np.testing.assert_array_equal(net.vector, start.vector)


class Press(Shared):
    """Ctrl-C at the beginning of the first restart, once or twice, each time until it is heard."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, times: int) -> None:
        self.times, self.heard = times, threading.Semaphore(0)
        handle = deferred_interrupt._request

        def hearing(*arguments: Any) -> None:
            self.heard.release()
            handle(*arguments)

        monkeypatch.setattr(deferred_interrupt, "_request", hearing)

    def on_start(self, state: dr.State) -> None:
        for _ in range(self.times):
            press()
            assert self.heard.acquire(timeout=PATIENCE)


def test_ctrl_c_before_the_first_epoch_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    net = regressor()
    before = net.vector.copy()
    callbacks = [Press(monkeypatch, 1)]
    with pytest.raises(dr.TrainingInterrupted, match="is that of restart 0") as caught:
        dr.restart(net, X, TARGETS, restarts=3, threads=1, callbacks=callbacks, **PLAIN)
    found = caught.value.restarts
    assert caught.value.history is found.history
    assert (found.best, found.stopped) == (0, "interrupted")
    assert found.history.epochs == 0
    assert all(map(math.isnan, found.scores))
    assert "nan" in repr(found)
    np.testing.assert_array_equal(net.vector, before)


def test_a_second_ctrl_c_acts_as_usual_and_leaves_no_thread_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    net = regressor()
    before = net.vector.copy()
    callbacks = [Press(monkeypatch, 2)]
    with pytest.raises(KeyboardInterrupt):
        dr.restart(net, X, TARGETS, restarts=3, threads=1, callbacks=callbacks, **PLAIN)
    np.testing.assert_array_equal(net.vector, before)
    deadline = time.monotonic() + PATIENCE
    while any(t.name.startswith("deltarule") for t in threading.enumerate()):
        assert time.monotonic() < deadline  # nobody waits for it, but it has been told to end
        time.sleep(0.01)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_it_works_outside_the_main_thread() -> None:
    nets = [regressor(), regressor()]
    thread = threading.Thread(
        target=dr.restart, args=(nets[0], X, TARGETS), kwargs={"restarts": 3, **PLAIN}
    )
    thread.start()
    thread.join()
    dr.restart(nets[1], X, TARGETS, restarts=3, **PLAIN)
    np.testing.assert_array_equal(nets[0].vector, nets[1].vector)


# ------------------------------------------------------------------------------- what is reported


def test_the_table_has_a_row_per_restart_and_marks_the_best() -> None:
    found = dr.restart(regressor(), X, TARGETS, restarts=4, **PLAIN)
    head, *rows = str(found).splitlines()
    assert head.split() == ["restart", "seed", "loss", "epochs", "ended"]
    assert len(rows) == len(found) == 4
    for i, row in enumerate(rows):
        assert row.startswith("*") == (i == found.best)
        expected = [str(i), str(found.seeds[i]), f"{found.scores[i]:.6g}", "3"]
        assert row.lstrip("*").split() == expected
    low, high = min(found.scores), max(found.scores)
    assert repr(found).startswith(
        f"Restarts(4 restarts, best {found.best}: loss {low:.6g}, all {low:.6g} to {high:.6g}; "
    )
