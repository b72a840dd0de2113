"""Bayesian regularisation: the evidence of a linear network, and how a run of it ends."""

import pickle

import numpy as np
import pytest

import deltarule as dr
from deltarule.formulas.full_batch import effective_parameters, evident_strength

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 6)) * [1, 2, 0.5, 1, 1, 3]
Y = X @ [1, 0, 0, 2, -1, 0] + RNG.normal(size=40)
LINE = np.linspace(-1, 1, 40)[:, None]
WAVE = np.sin(3 * LINE) + 0.2 * RNG.normal(size=(40, 1))


def train(network, X=LINE, y=WAVE, epochs=500, **settings):
    settings = {"loss": "mse", "optimizer": dr.BayesianRegularization()} | settings
    return dr.train(network, X, y, epochs=epochs, batch_size=None, progress=False, **settings)


def hidden(seed=0, units=15, dtype="float64"):
    return dr.Network([dr.Dense(units, "tanh"), dr.Dense(1)], 1, seed=seed, dtype=dtype)


def test_the_effective_number_of_parameters_is_foresee_and_hagans():
    """``gamma = p - 2 alpha tr(H^-1)`` with ``H = 2 beta J'J + 2 alpha I``, and s = alpha/beta."""
    J = RNG.normal(size=(9, 5))
    alpha, beta = 0.3, 1.7
    H = 2 * beta * J.T @ J + 2 * alpha * np.eye(5)
    gamma = 5 - 2 * alpha * np.trace(np.linalg.inv(H))
    found = effective_parameters(np.linalg.eigvalsh(J.T @ J), alpha / beta)
    assert found == pytest.approx(gamma, rel=1e-12)
    assert effective_parameters(np.array([-1e-18, 2.0]), 2.0) == 0.5


def test_the_strength_is_foresee_and_hagans():
    """``alpha = gamma / (2 w'w)``, ``beta = (n - gamma) / (2 r'r)``."""
    alpha, beta = 2.5 / (2 * 8.0), (40 - 2.5) / (2 * 3.0)
    assert evident_strength(2.5, 3.0, 40, 8.0) == pytest.approx(alpha / beta, rel=1e-15)
    assert evident_strength(4.0, 0.0, 4, 1.0) == 0.0  # a perfect fit


SCALES = {
    "a mean": ({"loss": "squared_error"}, 1 / 40),
    "a mean square": ({"loss": "mse"}, 2 / 40),
    "a sum": ({"loss": dr.SquaredError(reduction="sum")}, 1.0),
}


@pytest.mark.parametrize(("settings", "unit"), SCALES.values(), ids=SCALES)
def test_of_a_linear_network_it_is_scikit_learns_bayesian_ridge(settings, unit):
    """With flat priors; ``unit`` is the loss over half the sum of squares."""
    linear_model = pytest.importorskip("sklearn.linear_model")
    flat = dict.fromkeys(("alpha_1", "alpha_2", "lambda_1", "lambda_2"), 0)
    theirs = linear_model.BayesianRidge(**flat, fit_intercept=False, tol=1e-14, max_iter=5000)
    theirs.fit(X, Y)
    network = dr.Network([dr.Dense(1, bias=False)], 6, seed=0, dtype="float64")
    rule = dr.BayesianRegularization(loss_tolerance=1e-13)
    history = train(network, X, Y, **settings, optimizer=rule)
    np.testing.assert_allclose(network.vector, theirs.coef_, rtol=1e-5)
    strength = unit * theirs.lambda_ / theirs.alpha_
    assert history["penalty_strength"][-1] == pytest.approx(strength, rel=1e-4)


def test_a_run_goes_on_until_the_strength_has_settled():
    """With one step of so lenient a rule a linear network's loss has settled long before."""
    network = dr.Network([dr.Dense(1, bias=False)], 6, seed=0, dtype="float64")
    history = train(network, X, Y, optimizer=dr.BayesianRegularization(loss_tolerance=0.5))
    exact = train(network, X, Y, optimizer=dr.BayesianRegularization(loss_tolerance=1e-13))
    strength = exact["penalty_strength"][-1]
    assert history["penalty_strength"][-1] == pytest.approx(strength, rel=1e-2)
    assert history["penalty_strength"][0] < 1e-2 * strength


@pytest.mark.parametrize("seed", range(4))
def test_it_does_not_shrink_all_parameters_to_zero_before_it_fits(seed):
    network = hidden(seed, units=30)
    history = train(network, epochs=100)
    assert history["effective_parameters"][-1] > 4
    assert history["loss"][-1] < 0.1 * history["loss"][0]


def test_rows_without_weight_are_no_residuals():
    weights = np.repeat([1.0, 0.0], [30, 10])
    some, all_of_them = (dr.Network([dr.Dense(1)], 6, seed=0) for _ in range(2))
    first = train(some, X, Y, sample_weight=weights, epochs=5)
    second = train(all_of_them, X[:30], Y[:30], epochs=5)
    for column in ("penalty_strength", "effective_parameters", "loss"):
        np.testing.assert_allclose(first[column], second[column], rtol=1e-9)


def test_a_network_that_is_too_large_does_not_fit_the_noise():
    """Of 46 parameters a handful count, and the curve is nearer to the truth than to the data."""
    network, free = hidden(), hidden()
    history = train(network)
    train(free, optimizer=dr.LevenbergMarquardt())
    truth = np.sin(3 * LINE)
    errors = [dr.evaluate(n, LINE, truth, "mse")["loss"] for n in (network, free)]
    assert history.stopped.startswith("converged")
    assert history.epochs < 500
    assert 4 < history["effective_parameters"][-1] < 12
    assert errors[0] < 0.5 * errors[1]
    assert history["loss"][-1] > errors[0]


def test_callbacks_change_no_bit_and_a_copy_goes_on_in_the_same():
    alone, watched = hidden(), hidden()
    first = train(alone, epochs=9)
    trainer = dr.Trainer(watched, "mse", dr.BayesianRegularization())
    history = trainer.run(LINE, WAVE, epochs=4, batch_size=None, callbacks=[dr.Callback()])
    copy = pickle.loads(pickle.dumps(trainer))
    then = copy.run(LINE, WAVE, epochs=5, batch_size=None)
    np.testing.assert_array_equal(copy.network.vector, alone.vector)
    for column in first:
        assert [*history[column], *then[column]] == first[column]


@pytest.mark.parametrize("rows", [1, 2])
def test_fewer_rows_than_parameters_do_no_harm(rows):
    network = hidden(dtype="float32")
    history = train(network, LINE[:rows], WAVE[:rows], epochs=100)
    assert np.isfinite(network.vector).all()
    assert max(history["effective_parameters"]) <= rows
    assert np.isfinite(history["penalty_strength"]).all()


def test_a_network_of_zeros_and_one_that_is_frozen_do_no_harm():
    zero = hidden()
    zero.vector[:] = 0
    assert np.isfinite(train(zero, epochs=5)["penalty_strength"]).all()
    frozen = hidden().freeze("0", "1")
    before = frozen.vector.copy()
    for rule in (dr.BayesianRegularization(), dr.LevenbergMarquardt()):
        train(frozen, epochs=3, optimizer=rule)
    np.testing.assert_array_equal(frozen.vector, before)


def test_another_penalty_is_refused():
    with pytest.raises(ValueError, match="finds the strength of its penalty itself: leave out"):
        train(hidden(), penalty=dr.L2(0.1))
