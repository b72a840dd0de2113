"""The loop: what an epoch is, what is reported of it, and what the settings mean."""

from __future__ import annotations

import copy
import logging
import pickle
import signal
import threading
from collections.abc import Callable

import numpy as np
import pytest

import deltarule as dr
from ctrl_c import interrupted
from deltarule.base.random import Purpose, permutation
from deltarule.training.watching import lower_is_better

RNG = np.random.default_rng(0)
X = RNG.standard_normal((23, 3))
LABELS = RNG.integers(0, 2, 23)
TARGETS = X @ np.array([1.0, -2.0, 0.5]) + 0.1 * RNG.standard_normal(23)


def regressor(seed: int = 0, *layers: dr.Layer) -> dr.Network:
    stack = [dr.Dense(5, "tanh"), *layers, dr.Dense(1)]
    return dr.Network(stack, inputs=3, seed=seed, dtype="float64")


def classifier(seed: int = 0) -> dr.Network:
    return dr.Network([dr.Dense(5, "tanh"), dr.Dense(2, "softmax")], inputs=3, seed=seed)


def trained(net: dr.Network, **settings: object) -> tuple[dr.Network, dr.History]:
    arguments = {"loss": "squared_error", "optimizer": dr.SGD(0.05), "epochs": 3, **settings}
    data = (X, LABELS) if arguments["loss"] == "cross_entropy" else (X, TARGETS)
    return net, dr.train(net, *data, **arguments)  # type: ignore[arg-type]


# ----------------------------------------------------------------------------- epochs and batches


@pytest.mark.parametrize(
    ("batch_size", "drop_last", "steps"),
    [(1, False, 23), (5, False, 5), (5, True, 4), (23, False, 1), (99, True, 1), (None, False, 1)],
)
def test_an_epoch_has_one_step_per_batch(
    batch_size: int | None, drop_last: bool, steps: int
) -> None:
    _, history = trained(regressor(), batch_size=batch_size, drop_last=drop_last)
    assert history.epochs == 3
    assert history.steps == 3 * steps


def test_an_epochs_loss_weighs_examples_not_batches() -> None:
    """With a rate of 0 it is the loss of the data set, however the batches are cut."""
    weights = RNG.uniform(0, 2, 23)
    net = regressor()
    whole = dr.evaluate(net, X, TARGETS, "squared_error", sample_weight=weights)["loss"]
    for batch_size in (1, 4, 7, None):
        _, history = trained(
            net, optimizer=dr.SGD(0.0), batch_size=batch_size, sample_weight=weights
        )
        # Sums of 23 terms in another order: 23 roundings at most.
        assert history["loss"] == pytest.approx([whole] * 3, rel=23 * 2**-52)


def test_a_sum_adds_up_over_the_epoch() -> None:
    net = regressor()
    loss = dr.SquaredError(reduction="sum")
    whole = dr.evaluate(net, X, TARGETS, loss)["loss"]
    mean = dr.evaluate(net, X, TARGETS, "squared_error")["loss"]
    assert whole == pytest.approx(23 * mean, rel=23 * 2**-52)
    _, history = trained(net, loss=loss, optimizer=dr.SGD(0.0), batch_size=4)
    assert history["loss"] == pytest.approx([whole] * 3, rel=23 * 2**-52)


def test_the_loss_is_the_sum_of_data_loss_and_penalty_which_are_reported_too() -> None:
    net, history = trained(regressor(), penalty=dr.L2(0.1), optimizer=dr.SGD(0.0), validation=0.3)
    squares = sum((net.parameters[f"{i}.weight"] ** 2).sum() for i in (0, 1))
    assert history["penalty"] == pytest.approx([0.05 * squares] * 3)
    for prefix in ("", "val_"):
        total = np.add(history[f"{prefix}data_loss"], history[f"{prefix}penalty"])
        np.testing.assert_allclose(history[f"{prefix}loss"], total, rtol=1e-14)
    assert "penalty" not in trained(regressor())[1]


def test_the_reported_gradient_norm_is_that_of_the_trace() -> None:
    net = regressor()
    trace = dr.backpropagate(net, X, TARGETS, "squared_error", penalty="l2")
    _, history = trained(net, batch_size=None, epochs=1, penalty="l2")
    for name, gradient in trace.gradients.items():
        assert history[f"gradient_norm.{name}"] == pytest.approx([np.linalg.norm(gradient)])


def test_shuffled_epochs_have_orders_of_their_own_and_depend_on_the_seed() -> None:
    same = [trained(regressor(), seed=1, batch_size=4)[0].vector for _ in range(2)]
    np.testing.assert_array_equal(*same)
    other = trained(regressor(), seed=2, batch_size=4)[0].vector
    unshuffled = trained(regressor(), shuffle=False, batch_size=4)[0].vector
    assert not np.array_equal(same[0], other)
    assert not np.array_equal(same[0], unshuffled)


def test_a_given_order_is_followed() -> None:
    order = RNG.permutation(23)
    ordered = regressor()
    dr.train(ordered, X, TARGETS, loss="squared_error", shuffle=order, epochs=2, batch_size=4)
    rearranged = regressor()
    dr.train(
        rearranged,
        X[order],
        TARGETS[order],
        loss="squared_error",
        shuffle=False,
        epochs=2,
        batch_size=4,
    )
    np.testing.assert_array_equal(ordered.vector, rearranged.vector)


# ----------------------------------------------------------------------------------------- weights


def test_an_example_of_weight_2_counts_like_two_and_one_of_weight_0_not_at_all() -> None:
    weights = np.ones(23)
    weights[4], weights[9] = 2, 0
    repeated = np.repeat(np.arange(23), weights.astype(int))
    net, twin = regressor(), regressor()
    trained(net, sample_weight=weights, batch_size=None)
    dr.train(
        twin,
        X[repeated],
        TARGETS[repeated],
        loss="squared_error",
        optimizer=dr.SGD(0.05),
        epochs=3,
        batch_size=None,
    )
    # Three steps on sums of 23 terms, of numbers of size 1.
    np.testing.assert_allclose(net.vector, twin.vector, rtol=0, atol=3 * 23 * 2**-52)


def test_a_batch_of_total_weight_0_changes_nothing() -> None:
    weights = np.ones(23)
    weights[:10] = 0
    stack = (dr.BatchNorm(),)
    net, twin = regressor(0, *stack), regressor(0, *stack)
    settings = dict(optimizer=dr.Adam(0.1), shuffle=False, batch_size=5, epochs=1)
    trained(net, sample_weight=weights, **settings)
    trainer = dr.Trainer(twin, "squared_error", dr.Adam(0.1))
    trainer._steps = 2  # the two empty batches count as steps, but change no state
    trainer.run(X[10:], TARGETS[10:], shuffle=False, batch_size=5, sample_weight=weights[10:])
    np.testing.assert_array_equal(net.vector, twin.vector)
    np.testing.assert_array_equal(net.state_vector, twin.state_vector)


def test_class_weights_multiply_sample_weights() -> None:
    weights = RNG.uniform(0.5, 2, 23)
    by_class = np.where(LABELS == 1, 3.0, 0.5)
    net, twin, listed = classifier(), classifier(), classifier()
    settings = dict(loss="cross_entropy")
    trained(net, class_weight={0: 0.5, 1: 3.0}, sample_weight=weights, **settings)
    trained(twin, sample_weight=weights * by_class, **settings)
    trained(listed, class_weight=[0.5, 3.0], sample_weight=weights, **settings)
    np.testing.assert_array_equal(net.vector, twin.vector)
    np.testing.assert_array_equal(net.vector, listed.vector)


def test_class_weights_leave_validation_alone_however_it_is_given() -> None:
    held = dr.data.split_rows(23, 0.3, LABELS, seed=0)
    settings = dict(loss="cross_entropy", class_weight={0: 9.0}, metrics=["accuracy"])
    drawn, history = trained(classifier(), validation=0.3, **settings)
    result = dr.evaluate(drawn, X[held[1]], LABELS[held[1]], "cross_entropy", metrics=["accuracy"])
    assert history["val_loss"][-1] == result["loss"]
    assert history["val_accuracy"][-1] == result["accuracy"]


def test_balanced_class_weights_give_every_class_the_same_total() -> None:
    counts = np.bincount(LABELS)
    net, twin = classifier(), classifier()
    trained(net, loss="cross_entropy", class_weight="balanced")
    trained(twin, loss="cross_entropy", class_weight=(23 / (2 * counts)).tolist())
    np.testing.assert_array_equal(net.vector, twin.vector)


# -------------------------------------------------------------------------- validation and metrics


def test_a_validation_set_is_evaluated_after_each_epoch_and_not_trained_on() -> None:
    held_out = (X[:8], TARGETS[:8], np.arange(8.0))
    net, history = trained(regressor(), validation=held_out, metrics=["mae"])
    final = dr.evaluate(
        net, *held_out[:2], "squared_error", sample_weight=held_out[2], metrics=["mae"]
    )
    assert (history["val_loss"][-1], history["val_mae"][-1]) == (final["loss"], final["mae"])
    without, _ = trained(regressor(), metrics=["mae"])
    np.testing.assert_array_equal(net.vector, without.vector)


def test_a_validation_fraction_is_drawn_from_every_class_alike() -> None:
    labels = np.repeat([0, 1, 2], [60, 30, 10])
    kept, held = dr.data.split_rows(100, 0.2, labels, seed=3)
    assert np.bincount(labels[held]).tolist() == [12, 6, 2]
    assert sorted([*kept, *held]) == list(range(100))
    assert not np.array_equal(held, dr.data.split_rows(100, 0.2, labels, seed=4)[1])


def test_training_metrics_are_measured_on_outputs_as_each_batch_was_seen() -> None:
    """With one batch per epoch they are those of the network before the step."""
    net = classifier()
    before = dr.evaluate(net, X, LABELS, "cross_entropy", metrics=["accuracy", "log_loss"])
    _, history = trained(
        net, loss="cross_entropy", batch_size=None, epochs=1, metrics=["accuracy", "log_loss"]
    )
    assert history["accuracy"] == [before["accuracy"]]
    # float32 outputs of the same products, cut into other blocks: a few roundings of 2^-24.
    assert history["log_loss"] == pytest.approx([before["log_loss"]], rel=8 * 2**-24)


def test_a_function_is_a_metric_under_its_own_name() -> None:
    def largest_error(y: np.ndarray, a: np.ndarray, w: np.ndarray | None) -> float:
        return float(np.abs(y - a).max())

    _, history = trained(regressor(), metrics=[largest_error], validation=0.2)
    assert len(history["largest_error"]) == len(history["val_largest_error"]) == 3


def test_rows_dropped_from_the_last_batch_do_not_enter_the_metrics() -> None:
    seen: list[int] = []

    def count(y: np.ndarray, a: np.ndarray, w: np.ndarray | None) -> float:
        assert np.isfinite(a).all()
        seen.append(len(y))
        return 0.0

    trained(regressor(), metrics=[count], batch_size=5, drop_last=True)
    assert seen == [20, 20, 20]


# ----------------------------------------------------------------------------------------- trainer


def test_a_trainer_keeps_its_state_between_calls() -> None:
    """Three epochs at once, or one and two: the same bits."""
    at_once, in_parts = regressor(0, dr.Dropout(0.3)), regressor(0, dr.Dropout(0.3))
    dr.Trainer(at_once, "squared_error", "adam", seed=5).run(X, TARGETS, epochs=3, batch_size=4)
    trainer = dr.Trainer(in_parts, "squared_error", "adam", seed=5)
    trainer.run(X, TARGETS, epochs=1, batch_size=4)
    trainer.run(X, TARGETS, epochs=2, batch_size=4)
    assert (trainer.epochs, trainer.steps) == (3, 18)
    np.testing.assert_array_equal(at_once.vector, in_parts.vector)


@pytest.mark.parametrize("twin_of", [copy.deepcopy, lambda t: pickle.loads(pickle.dumps(t))])
def test_a_copied_trainer_trains_its_own_network_on_from_the_same_state(twin_of: object) -> None:
    trainer = dr.Trainer(regressor(0, dr.BatchNorm()), "squared_error", "adam", clip="clip_norm")
    trainer.run(X, TARGETS, batch_size=8)
    twin = twin_of(trainer)  # type: ignore[operator]
    before = trainer.network.vector.copy()
    twin.run(X, TARGETS, batch_size=8, epochs=2)
    np.testing.assert_array_equal(trainer.network.vector, before)
    trainer.run(X, TARGETS, batch_size=8, epochs=2)
    np.testing.assert_array_equal(twin.network.vector, trainer.network.vector)
    np.testing.assert_array_equal(twin.network.state_vector, trainer.network.state_vector)
    assert (twin.network.vector != before).all()


def test_the_network_of_a_trainer_is_fixed() -> None:
    trainer = dr.Trainer(regressor(), "squared_error")
    with pytest.raises(AttributeError):
        trainer.network = regressor()  # type: ignore[misc]


def test_single_steps_do_what_an_unshuffled_epoch_does() -> None:
    by_epoch, by_step = regressor(), regressor()
    history = dr.Trainer(by_epoch, "squared_error", "adam").run(
        X, TARGETS, batch_size=8, shuffle=False
    )
    trainer = dr.Trainer(by_step, "squared_error", "adam")
    losses = [
        trainer.step(X[rows], TARGETS[rows]) for rows in (slice(0, 8), slice(8, 16), slice(16, 23))
    ]
    np.testing.assert_array_equal(by_epoch.vector, by_step.vector)
    assert history["loss"][0] == pytest.approx(np.average(losses, weights=[8, 8, 7]))


def test_a_schedule_reaches_each_step_and_spans_the_run() -> None:
    _, history = trained(regressor(), optimizer=dr.SGD(dr.Linear(1.0)), epochs=4, batch_size=None)
    assert history["learning_rate"] == [1.0, 0.75, 0.5, 0.25]
    _, history = trained(
        regressor(), optimizer=dr.SGD(lambda step: 1 / (1 + step)), epochs=3, batch_size=12
    )
    assert history["learning_rate"] == [1 / 2, 1 / 4, 1 / 6]


def test_frozen_parameters_do_not_move_and_factors_scale_the_rest() -> None:
    net, twin = regressor(), regressor()
    net.freeze("0.bias").scale_learning_rate(0.5, "1")
    before, _ = net.copy(), trained(net, batch_size=None, epochs=1, penalty="l2")
    trained(twin, batch_size=None, epochs=1, penalty="l2")
    np.testing.assert_array_equal(net.parameters["0.bias"], before.parameters["0.bias"])
    np.testing.assert_array_equal(net.parameters["0.weight"], twin.parameters["0.weight"])
    for name in ("1.weight", "1.bias"):
        start = before.parameters[name]
        half, whole = net.parameters[name] - start, twin.parameters[name] - start
        np.testing.assert_allclose(half, whole / 2, rtol=0, atol=2 * 2**-52)


def test_freezing_between_calls_of_a_trainer_takes_effect_and_keeps_the_state() -> None:
    net = regressor()
    trainer = dr.Trainer(net, "squared_error", "adam")
    trainer.run(X, TARGETS)
    frozen, rest = net.parameters["0.weight"].copy(), net.parameters["1.weight"].copy()
    net.freeze("0.weight")
    trainer.run(X, TARGETS)
    np.testing.assert_array_equal(net.parameters["0.weight"], frozen)
    assert (net.parameters["1.weight"] != rest).all()
    assert trainer.steps == 2


def test_a_constraint_holds_after_every_update() -> None:
    net, _ = trained(regressor(), constraint=dr.MaxNorm(0.5), optimizer=dr.SGD(0.5))
    for i in (0, 1):
        norms = np.linalg.norm(net.parameters[f"{i}.weight"], axis=0)
        assert (norms <= 0.5 * (1 + 4 * 2**-52)).all()


# --------------------------------------------------------------------------------------- callbacks


class Recorder(dr.Callback):
    def __init__(self) -> None:
        self.seen: list[str] = []

    def on_start(self, state: dr.State) -> None:
        self.seen.append(f"start {state.epochs}")

    def on_epoch(self, state: dr.State) -> None:
        self.seen.append(f"epoch {state.epoch} of {len(state.history['loss'])}")

    def on_end(self, state: dr.State) -> None:
        self.seen.append("end")


def test_callbacks_are_called_at_the_start_after_each_epoch_and_at_the_end() -> None:
    recorder = Recorder()
    trained(regressor(), callbacks=[recorder], epochs=2)
    assert recorder.seen == ["start 2", "epoch 1 of 1", "epoch 2 of 2", "end"]


def test_callbacks_know_the_columns_of_the_history_beforehand() -> None:
    class Columns(dr.Callback):
        def on_start(self, state: dr.State) -> None:
            self.columns = state.columns

    columns = Columns()
    _, history = trained(
        regressor(), callbacks=[columns], validation=0.2, metrics=["mae"], penalty="l1"
    )
    assert columns.columns == tuple(history)


def scripted(values: list[float]) -> Callable[..., float]:
    """Return a metric whose validation column follows a script."""
    rows, script = round(0.2 * len(X)), iter(values)

    def told(y: np.ndarray, a: np.ndarray, w: np.ndarray | None) -> float:
        return next(script) if len(y) == rows else 0.0

    return told


def test_early_stopping_waits_for_patience_and_puts_the_best_weights_back() -> None:
    class Copies(dr.Callback):
        def on_start(self, state: dr.State) -> None:
            self.vectors: list[np.ndarray] = []

        def on_epoch(self, state: dr.State) -> None:
            self.vectors.append(state.network.vector.copy())

    copies, stopping = Copies(), dr.EarlyStopping("val_told", patience=3, best_is="min")
    script = scripted([5, 3, 4, 3, 3.5, 1, 1, 1, 1, 1])
    net, history = trained(
        regressor(), epochs=10, validation=0.2, metrics=[script], callbacks=[copies, stopping]
    )
    assert history.epochs == 5
    assert history.stopped == "val_told has not improved for 3 epochs"
    assert (stopping.best, stopping.best_epoch) == (3, 2)
    np.testing.assert_array_equal(net.vector, copies.vectors[1])


def test_early_stopping_knows_which_way_a_metric_is_better() -> None:
    assert not lower_is_better("val_accuracy")
    assert not lower_is_better("r2")
    assert lower_is_better("val_loss")
    assert lower_is_better("val_rmse")


def test_the_rate_falls_on_a_plateau() -> None:
    script = scripted([5, 4, 4, 4, 4, 3, 3, 3])
    plateau = dr.ReduceOnPlateau("val_told", factor=0.5, patience=2, best_is="min")
    _, history = trained(
        regressor(), epochs=8, validation=0.2, optimizer=dr.SGD(1.0), metrics=[script],
        callbacks=[plateau],
    )  # fmt: skip
    assert history["learning_rate"] == [1, 1, 1, 1, 0.5, 0.5, 0.5, 0.5]


def test_every_callback_ends_even_where_another_fails() -> None:
    class Fails(dr.Callback):
        def on_end(self, state: dr.State) -> None:
            raise RuntimeError("on purpose")

    recorder = Recorder()
    with pytest.raises(RuntimeError, match="on purpose"):
        trained(regressor(), callbacks=[Fails(), recorder])
    assert recorder.seen[-1] == "end"


def test_layers_can_be_freed_by_a_callback() -> None:
    class Unfreeze(dr.Callback):
        def on_epoch(self, state: dr.State) -> None:
            self.seen = [*getattr(self, "seen", []), state.network.parameters["0.bias"].any()]
            if state.epoch == 2:
                state.network.unfreeze("0")

    unfreeze = Unfreeze()
    trained(regressor().freeze("0"), epochs=3, callbacks=[unfreeze])
    assert unfreeze.seen == [False, False, True]


@pytest.mark.parametrize(
    ("callback", "message"),
    [
        (dr.EarlyStopping("val_spread"), "say best_is"),
        (dr.ReduceOnPlateau("spread"), "say best_is"),
    ],
)
def test_the_direction_of_ones_own_metric_must_be_said(callback: dr.Callback, message: str) -> None:
    def spread(y: np.ndarray, a: np.ndarray, w: np.ndarray | None) -> float:
        return float(a.std())

    with pytest.raises(ValueError, match=message):
        trained(regressor(), metrics=[spread], validation=0.3, callbacks=[callback])
    callback.best_is = "max"  # type: ignore[attr-defined]
    trained(regressor(), metrics=[spread], validation=0.3, callbacks=[callback])


# ---------------------------------------------------------------------- divergence and interruption


def test_a_divergence_travels_between_processes() -> None:
    with pytest.raises(dr.DivergenceError) as caught:
        trained(regressor(), optimizer=dr.SGD(1e200), epochs=9)
    twin = pickle.loads(pickle.dumps(caught.value))
    assert (twin.step, twin.epoch, str(twin)) == (
        caught.value.step,
        caught.value.epoch,
        str(caught.value),
    )
    assert twin.history["loss"] == caught.value.history["loss"]


def test_ctrl_c_in_a_single_step_comes_after_the_step(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = dr.Trainer(regressor(), "squared_error", "adam", engine="reference")
    whole = type(trainer._executor)._update

    def pressed(self: object, *arguments: object) -> None:
        signal.raise_signal(signal.SIGINT)
        whole(self, *arguments)
        monkeypatch.setattr(type(trainer._executor), "_update", whole)

    monkeypatch.setattr(type(trainer._executor), "_update", pressed)
    with pytest.raises(KeyboardInterrupt):
        trainer.step(X, TARGETS)
    twin = dr.Trainer(regressor(), "squared_error", "adam", engine="reference")
    twin.step(X, TARGETS)
    assert trainer.steps == 1
    np.testing.assert_array_equal(trainer.network.vector, twin.network.vector)


def test_divergence_names_step_and_layer_and_leaves_the_network_before_that_step() -> None:
    net = dr.Network([dr.Dense(8, "relu"), dr.Dense(1)], inputs=3, seed=0)
    trainer = dr.Trainer(net, "squared_error", dr.SGD(1e10))
    with pytest.raises(dr.DivergenceError, match="Lower the learning rate") as caught:
        trainer.run(X, TARGETS, epochs=50, batch_size=8)
    error = caught.value
    assert isinstance(error, ArithmeticError)
    assert error.step == trainer.steps + 1
    assert error.epoch == trainer.epochs + 1
    assert error.layer is not None
    assert error.history is not None
    assert error.history.epochs == trainer.epochs
    assert error.history.stopped == f"diverged at step {error.step}"
    twin = dr.Network([dr.Dense(8, "relu"), dr.Dense(1)], inputs=3, seed=0)
    one_less = dr.Trainer(twin, "squared_error", dr.SGD(1e10))
    for step in range(error.step - 1):
        epoch, i = divmod(step, 3)
        order = permutation(0, Purpose.SHUFFLE, 23, step=epoch)
        rows = order[8 * i : 8 * i + 8]
        one_less.step(X[rows], TARGETS[rows])
    np.testing.assert_array_equal(net.vector, twin.vector)


def test_a_diverging_step_is_not_made() -> None:
    net = regressor()
    net.parameters["1.weight"][0] = np.inf
    before = net.vector.copy()
    trainer = dr.Trainer(net, "squared_error", "adam")
    with pytest.raises(dr.DivergenceError, match="in '1'") as caught:
        trainer.step(X, TARGETS)
    assert (caught.value.step, caught.value.layer) == (1, "1")
    np.testing.assert_array_equal(net.vector, before)
    assert not trainer._executor.optimizer_state.any()


def test_early_stopping_keeps_the_best_weights_through_a_divergence() -> None:
    class Explode(dr.Callback):
        def on_epoch(self, state: dr.State) -> None:
            if state.epoch == 3:
                state.rate_factor = 1e200

    net, kept = regressor(), regressor()
    with pytest.raises(dr.DivergenceError):
        trained(
            net, epochs=50, validation=0.2, callbacks=[Explode(), dr.EarlyStopping(patience=50)]
        )
    trained(kept, epochs=3, validation=0.2)
    np.testing.assert_array_equal(net.vector, kept.vector)


class PressIn3(dr.Callback):
    """Ctrl-C in the third epoch."""

    def on_epoch(self, state: dr.State) -> None:
        if state.epoch == 3:
            signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("engine", ["auto", "reference"])
@pytest.mark.parametrize("hooked", [False, True])
def test_ctrl_c_ends_the_run_after_a_whole_step_and_loses_nothing(
    hooked: bool, engine: str, caplog: pytest.LogCaptureFixture
) -> None:
    def start() -> dr.Trainer:
        return dr.Trainer(regressor(), "squared_error", "adam", engine=engine)

    def run(trainer: dr.Trainer) -> dr.History:
        callbacks = [PressIn3()] if hooked else None
        return trainer.run(
            X, TARGETS, epochs=1_000_000, batch_size=4, callbacks=callbacks, on_interrupt="return"
        )

    with caplog.at_level(logging.WARNING, logger="deltarule"):
        if hooked:
            trainer = start()
            history = run(trainer)
        else:
            trainer, history = interrupted(start, run)
    assert history.stopped == "interrupted"
    assert "interrupted after" in caplog.text
    assert 0 < history.steps == trainer.steps < 6 * 1_000_000
    assert history.epochs == trainer.epochs == len(history["loss"])
    if hooked:
        assert history.epochs == 3
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler

    again = regressor()  # exactly the steps that were counted have been made
    twin = dr.Trainer(again, "squared_error", "adam", engine=engine)
    if history.epochs:
        twin.run(X, TARGETS, epochs=history.epochs, batch_size=4)
    order = permutation(0, Purpose.SHUFFLE, 23, step=history.epochs)
    for i in range(history.steps - 6 * history.epochs):
        rows = order[4 * i : 4 * i + 4]
        twin.step(X[rows], TARGETS[rows])
    np.testing.assert_array_equal(trainer.network.vector, again.vector)


def test_training_works_outside_the_main_thread() -> None:
    nets = [regressor(), regressor()]
    thread = threading.Thread(target=trained, args=(nets[0],))
    thread.start()
    thread.join()
    trained(nets[1])
    np.testing.assert_array_equal(nets[0].vector, nets[1].vector)


# ---------------------------------------------------------------------------------------- reporting


def test_history_and_engines_say_which_engine_ran() -> None:
    _, history = trained(regressor(), engine="reference")
    assert history.engine == "reference (NumPy)"
    assert "reference (NumPy) engine" in repr(history)
    assert set(dr.engines()) == {"native", "reference"}


def test_columns_of_many_epochs_are_complete() -> None:
    net = dr.Network([dr.Dense(1)], inputs=3)
    history = dr.train(net, X[:4], TARGETS[:4], loss="squared_error", epochs=3000, batch_size=None)
    assert len(history["loss"]) == history.epochs == 3000
    assert history["loss"][-1] == history.latest("loss") < history["loss"][0]
    with pytest.raises(KeyError, match="did you mean 'loss'"):
        history["los"]


@pytest.mark.parametrize("clip", [None, "clip_value"])
def test_the_advice_after_a_divergence_does_not_repeat_what_is_set(clip):
    net = dr.Network([dr.Dense(1)], inputs=1, seed=0)
    with pytest.raises(dr.DivergenceError) as caught:
        dr.train(
            net, [[1e20], [-1e20]], [1e20, 1e20], loss="squared_error",
            optimizer=dr.SGD(1e30), clip=clip, epochs=9, progress=False,
        )  # fmt: skip
    assert ("clip gradients" in str(caught.value)) == (clip is None)
