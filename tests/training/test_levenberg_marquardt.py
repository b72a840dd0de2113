"""Levenberg-Marquardt as an optimizer: its steps, what it refuses, and how a run of it ends."""

import pickle

import numpy as np
import pytest

import deltarule as dr
from ctrl_c import press
from deltarule.formulas.full_batch import next_damping
from deltarule.training import levenberg_marquardt
from deltarule.training.levenberg_marquardt import solve
from gradient_cases import Bilinear

RNG = np.random.default_rng(0)
X = RNG.uniform(-1, 1, (60, 3))
Y = np.stack([np.sin(2 * X[:, 0]) * X[:, 1], X[:, 2] ** 2], axis=1) + 0.05 * RNG.normal(
    size=(60, 2)
)
ROWS, CELLS = RNG.uniform(0.5, 2, 60), RNG.uniform(0.5, 2, (60, 2))


def net(*layers, dtype="float64", seed=1):
    return dr.Network(list(layers) or [dr.Dense(5, "tanh"), dr.Dense(2)], 3, seed=seed, dtype=dtype)


def train(network, *, X=X, y=Y, loss="squared_error", epochs=8, batch_size=None, **settings):
    settings = {"optimizer": dr.LevenbergMarquardt(), "progress": False} | settings
    return dr.train(network, X, y, loss=loss, epochs=epochs, batch_size=batch_size, **settings)


LOSSES = {
    "squared_error": {},
    "mean_squared_error": {"loss": "mse"},
    "a sum": {"loss": dr.SquaredError(reduction="sum")},
    "a sum of means": {"loss": dr.MeanSquaredError(reduction="sum")},
    "weights of rows": {"sample_weight": ROWS},
    "weights of cells": {"loss": "mse", "sample_weight": CELLS},
    "some weights are 0": {"sample_weight": np.where(ROWS > 1, ROWS, 0)},
    "a penalty": {"penalty": dr.L2(0.1)},
    "a penalty over the batch": {"penalty": dr.L2(2.0, over_batch=True), "sample_weight": ROWS},
}
EACH_LOSS = pytest.mark.parametrize("settings", LOSSES.values(), ids=LOSSES)
BOTH_ENGINES = pytest.mark.parametrize("engine", ["reference", "native"])


@EACH_LOSS
@BOTH_ENGINES
def test_loss_and_gradient_are_those_of_backpropagation(settings, engine):
    network = net()
    passed = {"loss": "squared_error"} | settings
    trace = dr.backpropagate(network, X, Y, **passed)
    history = train(network, **settings, engine=engine, epochs=1)
    assert history["loss"][0] == pytest.approx(trace.loss, rel=1e-12)
    for name, gradient in trace.gradients.items():
        norm = history[f"gradient_norm.{name}"][0]
        assert norm == pytest.approx(np.linalg.norm(gradient), rel=1e-10)


@EACH_LOSS
def test_of_a_linear_network_one_step_with_hardly_any_damping_finds_the_minimum(settings):
    """Its loss is quadratic, so ``J'J`` and the penalty's curvature are its whole Hessian."""
    network = net(dr.Dense(2))
    before, _ = gradient(network, settings)
    train(network, **settings, epochs=1, optimizer=dr.LevenbergMarquardt(damping=1e-13))
    after, _ = gradient(network, settings)
    assert after < 1e-11 * before


def gradient(network, settings):
    trace = dr.backpropagate(network, X, Y, **({"loss": "squared_error"} | settings))
    return max(np.abs(g).max() for g in trace.gradients.values()), trace.loss


def test_the_damping_moves_as_nielsen_has_it():
    assert next_damping(1.0, 8.0, 1.0) == (1 / 3, 2.0)
    assert next_damping(1.0, 8.0, 0.5) == (1.0, 2.0)
    mu, nu = next_damping(1.0, 8.0, 1e-9)
    assert (mu, nu) == (pytest.approx(2.0), 2.0)
    assert next_damping(1.0, 8.0, 0.0) == next_damping(1.0, 8.0, -1.0) == (8.0, 16.0)


@pytest.mark.parametrize("size", [1, 63, 64, 65, 130])
def test_equations_are_solved_by_cholesky_block_after_block(size):
    J = np.random.default_rng(size).normal(size=(2 * size, size))
    A, d, b = J.T @ J, np.linspace(0.5, 2, size), np.arange(1.0, size + 1)
    x = solve(A, d, b)
    np.testing.assert_allclose((A + np.diag(d)) @ x, b, rtol=1e-9, atol=1e-9 * size)


def test_a_matrix_that_is_not_positive_has_no_solution():
    assert solve(np.diag([1.0, -1.0]), np.zeros(2), np.ones(2)) is None
    assert solve(np.zeros((2, 2)), np.zeros(2), np.ones(2)) is None


def test_such_a_matrix_makes_the_damping_grow_until_a_step_is_possible(monkeypatch):
    refusals = []

    def refuse(matrix, diagonal, b):
        refusals.append(diagonal.max())
        return None if len(refusals) <= 3 else solve(matrix, diagonal, b)

    monkeypatch.setattr(levenberg_marquardt, "solve", refuse)
    history = train(net(), epochs=1)
    np.testing.assert_allclose(np.array(refusals[1:]) / refusals[:-1], [2, 4, 8])
    assert history["damping"] == [pytest.approx(64e-3)]


def test_units_that_are_alike_or_dead_do_no_harm():
    network = net(dr.Dense(4, "relu"), dr.Dense(2))
    network.parameters["0.weight"][:, 1] = network.parameters["0.weight"][:, 0]
    network.parameters["0.bias"][3] = -100.0  # dead
    history = train(network, epochs=30)
    assert history["loss"][-1] < history["loss"][0]
    assert np.isfinite(network.vector).all()


@pytest.mark.parametrize("cells", [1, 500])
def test_blocks_of_rows_give_the_same_sums(cells, monkeypatch):
    whole, parts = net(), net()
    train(whole, sample_weight=CELLS)
    monkeypatch.setattr(levenberg_marquardt, "CELLS_PER_BLOCK", cells)
    train(parts, sample_weight=CELLS)
    np.testing.assert_allclose(parts.vector, whole.vector, rtol=1e-7)


def test_a_float32_network_holds_the_rounded_steps_of_a_float64_one():
    narrow = net(dtype="float32")
    wide = narrow.copy(dtype="float64")
    x, y = X.astype(np.float32), Y.astype(np.float32)
    train(narrow, X=x, y=y)
    train(wide, X=x, y=y)
    np.testing.assert_array_equal(narrow.vector, wide.vector.astype(np.float32))


def test_frozen_parameters_stay_and_others_move():
    network = net().freeze("0.weight")
    before = network.copy()
    history = train(network)
    for name in network.parameters:
        moved = (network.parameters[name] != before.parameters[name]).any()
        assert moved == (name != "0.weight")
    assert history["gradient_norm.0.weight"] == [0.0] * 8


def test_a_layer_whose_backward_formula_a_user_wrote_is_trained():
    network = net(dr.Dense(3, "tanh"), Bilinear(2))
    history = train(network)
    assert history["loss"][-1] < 0.5 * history["loss"][0]


# ------------------------------------------------------------------------------ within a run


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


def test_early_stopping_restores_the_best():
    network = net()
    stopping = dr.EarlyStopping("val_loss", patience=3)
    history = train(
        network, validation=0.4, callbacks=[stopping], epochs=200, loss="mse",
    )  # fmt: skip
    assert "val_loss has not improved" in history.stopped
    assert stopping.best == min(history["val_loss"])


def test_the_last_epoch_of_a_run_that_has_converged_has_the_loss_of_the_network():
    network = net(dr.Dense(2, "tanh"), dr.Dense(2))
    history = train(network, epochs=500, penalty=dr.L2(0.01))
    assert history.stopped.startswith("converged")
    assert history.epochs < 500
    found = dr.evaluate(network, X, Y, "squared_error", penalty=dr.L2(0.01))
    assert history["loss"][-1] == found["loss"]
    slope, _ = gradient(network, {"penalty": dr.L2(0.01)})
    assert slope < 1e-6
    again = train(network, epochs=500, penalty=dr.L2(0.01))
    assert again.epochs <= 3


def growth(**rule):
    """Fit e^w to two numbers, from w = 0: the Gauss-Newton step is 144, far too long."""
    network = dr.Network([dr.Dense(1, "exp", bias=False)], 1, dtype="float64")
    network.vector[:] = 0
    rule = dr.LevenbergMarquardt(**rule)
    ones, values = [[1.0], [1.0]], [150.0, 140.0]
    return network, train(network, X=ones, y=values, epochs=200, optimizer=rule)


@pytest.mark.parametrize(
    ("tolerance", "reason"),
    [("loss", "the loss falls no further"), ("step", "a step is shorter"), ("gradient", "is 0")],
)
def test_each_rule_ends_a_run(tolerance, reason):
    exact = dict.fromkeys(("loss_tolerance", "step_tolerance", "gradient_tolerance"), 0.0)
    network, history = growth(**exact | {f"{tolerance}_tolerance": 1e-6})
    assert reason in history.stopped
    assert history.epochs < 100
    assert network.vector[0] == pytest.approx(np.log(145), rel=1e-5)


@pytest.mark.parametrize(("tolerance", "ends"), [(0.99, False), (1.01, True)])
def test_the_gradient_is_measured_by_its_angle_to_the_residuals(tolerance, ends):
    """All residuals are alike, as are the derivatives by the bias: the cosine is 1."""
    network = net(dr.Dense(1))
    network.vector[:] = 0
    rule = dr.LevenbergMarquardt(gradient_tolerance=tolerance)
    history = train(network, X=X - X.mean(axis=0), y=np.ones(60), optimizer=rule)
    assert (history.epochs == 1) == ends


def test_where_no_step_lowers_the_loss_the_run_says_so_and_nothing_has_moved():
    network = dr.Network([dr.Dense(1, "exp", bias=False)], 1, dtype="float64")
    network.vector[:] = 0
    rule = dr.LevenbergMarquardt(damping=1e-9, largest_damping=1e-9)
    trainer = dr.Trainer(network, "squared_error", rule)
    for _ in range(2):
        history = trainer.run([[1.0]], [150.0], epochs=5)
        assert history.stopped == "no step lowers the loss, up to a damping of 1e-09"
        assert history["loss"] == [149**2 / 2]
        assert network.vector[0] == 0


def test_a_run_that_has_converged_begins_anew_where_the_network_was_changed():
    network = net(dr.Dense(2))
    start = network.vector.copy()
    trainer = dr.Trainer(network, "mse", dr.LevenbergMarquardt())
    first = trainer.run(X, Y, epochs=50, batch_size=None)
    network.vector = start
    again = trainer.run(X, Y, epochs=50, batch_size=None)
    assert first.stopped.startswith("converged")
    assert again["loss"][0] == first["loss"][0]
    assert again["loss"][-1] == pytest.approx(first["loss"][-1])


def test_a_loss_that_is_not_finite_is_a_divergence_that_names_the_layer():
    network = net(dr.Dense(3, "exp"), dr.Dense(2))
    network.parameters["0.bias"][1] = 1000.0
    before = network.vector.copy()
    with pytest.raises(dr.DivergenceError, match="in '0' is not finite at step 1"):
        train(network)
    np.testing.assert_array_equal(network.vector, before)


def test_a_trainer_goes_on_where_it_was_and_so_does_its_copy():
    whole, parts = net(), net()
    train(whole, epochs=9)
    trainer = dr.Trainer(parts, "squared_error", dr.LevenbergMarquardt())
    trainer.run(X, Y, epochs=3, batch_size=None)
    copy = pickle.loads(pickle.dumps(trainer))
    for each in (trainer, copy):
        each.run(X, Y, epochs=5, batch_size=None)
        each.step(X, Y)
        np.testing.assert_array_equal(each.network.vector, whole.vector)
        assert each.steps == each.epochs + 1 == 9


@pytest.mark.parametrize("freed", [False, True])
def test_a_copy_knows_that_the_run_has_converged_unless_it_trains_more(freed):
    network = net(dr.Dense(2)).freeze("0.bias")
    trainer = dr.Trainer(network, "squared_error", dr.LevenbergMarquardt())
    history = trainer.run(X, Y, epochs=50, batch_size=None)
    copy = pickle.loads(pickle.dumps(trainer))
    if freed:
        copy.network.unfreeze("0.bias")
    again = copy.run(X, Y, epochs=50, batch_size=None)
    assert again["loss"][0] == history["loss"][-1]
    assert (again.epochs == 1) != freed
    assert (again.stopped == history.stopped) != freed


def test_what_a_callback_sets_is_where_the_next_step_begins():
    class Reset(dr.Callback):
        def on_epoch(self, state):
            if state.epoch == 3:
                state.network.vector[:] = start

    network = net()
    start = network.vector.copy()
    history = train(network, epochs=5, callbacks=[Reset()])
    assert history["loss"][3] == history["loss"][0]
    assert history["loss"][4] < history["loss"][3]


@pytest.mark.parametrize("within", ["solve", "jacobian"])
def test_ctrl_c_within_a_step_drops_it(within, monkeypatch):
    """The network is that of the last whole step, and nothing more is computed."""
    function, calls = getattr(levenberg_marquardt, within), []

    def call(*arguments):
        calls.append(1)
        if len(calls) == 9:
            press()
            return None if within == "solve" else function(*arguments)
        return function(*arguments)

    interrupted, whole = net(), net()
    monkeypatch.setattr(levenberg_marquardt, within, call)
    monkeypatch.setattr(levenberg_marquardt, "CELLS_PER_BLOCK", 2000)  # several calls in a step
    with pytest.raises(dr.TrainingInterrupted) as caught:
        train(interrupted, epochs=100)
    done = caught.value.history.epochs
    assert len(calls) == 9
    assert 0 < done < 9
    monkeypatch.undo()
    monkeypatch.setattr(levenberg_marquardt, "CELLS_PER_BLOCK", 2000)
    train(whole, epochs=done)
    np.testing.assert_array_equal(interrupted.vector, whole.vector)


def test_restarts_keep_the_best():
    network = net()
    found = dr.restart(
        network, X, Y, loss="mse", optimizer="lm", batch_size=None, epochs=6, restarts=3,
        progress=False,
    )  # fmt: skip
    assert found.scores[found.best] == min(found.scores)
    assert dr.evaluate(network, X, Y, "mse")["loss"] == found.scores[found.best]


# ------------------------------------------------------------------------------ what is refused

LIMITED = [dr.Dense(4, "tanh", constraint=dr.MaxNorm(1.0)), dr.Dense(2)]
REFUSED = {
    "mini-batches": ({"batch_size": 32}, "pass batch_size=None; got batch_size 32 for 60 rows"),
    "another loss": ({"loss": "mean_absolute_error"}, "sums of squares: the loss must be"),
    "another penalty": ({"penalty": "l1"}, r"the penalty L1\(\) is none"),
    "clipping": ({"clip": dr.ClipNorm(1.0)}, "leave out clip="),
    "a constraint": ({"constraint": dr.MaxNorm(1.0)}, "'0.weight' has one"),
    "a layer's constraint": ({"layers": LIMITED}, "'0.weight' has one"),
    "bfloat16": ({"dtype": "float32", "precision": "bfloat16"}, "leave out precision="),
    "dropout": ({"layers": [dr.Dense(4), dr.Dropout(0.1), dr.Dense(2)]}, "Dropout makes it one"),
    "batch statistics": ({"layers": [dr.BatchNorm(), dr.Dense(2)]}, r"freeze it \('0'\)"),
    "a factor on the rate": (
        {"layers": [dr.Dense(2, learning_rate_factor=0.1)]}, "'0.weight' a factor 0.1",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("settings", "message"), REFUSED.values(), ids=REFUSED)
def test_what_it_cannot_do_is_refused_before_anything_moves(settings, message):
    settings = dict(settings)
    network = net(*settings.pop("layers", []), dtype=settings.pop("dtype", "float64"))
    before = network.vector.copy(), network.state_vector.copy()
    with pytest.raises(ValueError, match=message) as caught:
        train(network, **settings)
    assert isinstance(caught.value, dr.DeltaruleError)
    np.testing.assert_array_equal(network.vector, before[0])
    np.testing.assert_array_equal(network.state_vector, before[1])


def test_a_callback_that_lowers_a_learning_rate_is_told_that_there_is_none():
    with pytest.raises(ValueError, match="LevenbergMarquardt has no learning rate"):
        train(net(), epochs=50, callbacks=[dr.ReduceOnPlateau("loss", patience=1, min_delta=1e9)])


def test_frozen_batch_statistics_are_allowed():
    network = net(dr.BatchNorm(), dr.Dense(2)).freeze("0")
    history = train(network)
    assert history["loss"][-1] < history["loss"][0]
