"""Held-out rows, scores with intervals, baselines."""

import numpy as np
import pytest

import deltarule as dr
from deltarule.tables import baselines
from deltarule.tables.described import number
from deltarule.tables.judging import judge, plan_judgement, resamplings, wilson
from oracles import oracle

sklearn_metrics = oracle("sklearn.metrics")
sklearn_linear = oracle("sklearn.linear_model")


def answers(n=200, classes=3, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, classes, n)
    p = rng.dirichlet(np.ones(classes), n) + 0.5 * np.eye(classes)[y]
    return y, p / p.sum(axis=1, keepdims=True)


# who holds out what


@pytest.mark.parametrize("n", [4, 5, 11, 4_999])
def test_a_small_table_holds_out_each_row_once(n):
    plan = plan_judgement(n)
    assert plan.folds == min(5, n)
    judged = np.concatenate([held for _, held in plan.splits])
    assert sorted(judged) == list(range(n))
    for training, held in plan.splits:
        assert sorted([*training, *held]) == list(range(n))


def test_a_large_table_holds_out_a_fifth_once():
    plan = plan_judgement(5_000)
    ((training, held),) = plan.splits
    assert (plan.folds, len(training), len(held)) == (0, 4_000, 1_000)


def test_more_folds_than_rows_are_refused():
    with pytest.raises(ValueError, match="at most the number of rows, 40; got 41"):
        plan_judgement(40, folds=41)
    assert plan_judgement(40, folds=40).folds == 40


def test_every_class_is_spread_over_the_folds_evenly_and_rare_ones_do_no_harm():
    labels = np.repeat([0, 1, 2, 3], [50, 23, 2, 1])
    counts = [
        np.bincount(labels[held], minlength=4) for _, held in plan_judgement(76, labels).splits
    ]
    assert np.ptp(counts, axis=0).max() <= 1


def test_the_seed_decides_who_is_held_out():
    parts = [plan_judgement(50, seed=s).splits[0][1].tolist() for s in (1, 1, 2)]
    assert parts[0] == parts[1] != parts[2]


@pytest.mark.parametrize(
    ("n", "wish"),
    [(3, {}), (9, {"folds": 1}), (9, {"holdout": 1.5}), (9, {"folds": 2, "holdout": 0.5})],
)
def test_an_impossible_plan_is_refused(n, wish):
    with pytest.raises(dr.DeltaruleError):
        plan_judgement(n, **wish)


# scores


def test_scores_of_classes_are_scikit_learns():
    y, p = answers()
    found = {
        s.name: s.value for s in judge("classification", np.arange(200), y, {"m": p}).scores["m"]
    }
    guess = p.argmax(axis=1)
    expected = {
        "accuracy": sklearn_metrics.accuracy_score(y, guess),
        "balanced_accuracy": sklearn_metrics.balanced_accuracy_score(y, guess),
        "roc_auc": sklearn_metrics.roc_auc_score(y, p, multi_class="ovr"),
        "log_loss": sklearn_metrics.log_loss(y, p),
    }
    assert found == pytest.approx(expected, rel=1e-12)


def test_the_auc_of_two_classes_with_ties_is_scikit_learns():
    y, p = answers(classes=2)
    p = p.round(1)
    found = judge("classification", np.arange(200), y, {"m": p}).score("m", "roc_auc")
    assert found.value == pytest.approx(sklearn_metrics.roc_auc_score(y, p[:, 1]), rel=1e-12)


def test_scores_of_numbers_are_scikit_learns_however_far_they_lie_from_zero():
    rng = np.random.default_rng(0)
    y = 1e6 + rng.normal(size=300)
    a = y + rng.normal(size=300) / 2
    found = {s.name: s.value for s in judge("regression", np.arange(300), y, {"m": a}).scores["m"]}
    assert found == pytest.approx(
        {
            "r2": sklearn_metrics.r2_score(y, a),
            "mae": sklearn_metrics.mean_absolute_error(y, a),
            "rmse": sklearn_metrics.root_mean_squared_error(y, a),
        },
        rel=1e-9,
    )


def test_what_is_not_defined_is_left_out():
    one_class = judge(
        "classification", np.arange(4), np.zeros(4, int), {"m": np.eye(2)[[0, 0, 1, 0]]}
    )
    assert [s.name for s in one_class.scores["m"]] == ["accuracy", "log_loss"]
    constant = judge("regression", np.arange(4), np.ones(4), {"m": np.ones(4)})
    assert [s.name for s in constant.scores["m"]] == ["mae", "rmse"]


def test_a_class_that_no_training_row_had_costs_a_finite_log_loss():
    found = judge(
        "classification", np.arange(4), np.array([0, 1, 1, 2]), {"m": np.eye(3)[[0, 1, 1, 1]]}
    )
    assert found.score("m", "log_loss").value == pytest.approx(-np.log(2.0**-23) / 4)


# intervals


def test_wilsons_interval_solves_its_equation():
    low, high = wilson(37, 50)
    for p in (low, high):
        assert (37 / 50 - p) ** 2 == pytest.approx(1.959963984540054**2 * p * (1 - p) / 50)


def test_bootstrap_intervals_of_a_mean_are_those_of_its_standard_error():
    """1,000 replicates know the interval's ends to some 4 % of its length."""
    rng = np.random.default_rng(1)
    y = np.zeros(2_000)
    a = rng.normal(size=2_000)
    score = judge("regression", np.arange(2_000), y, {"m": a}).scores["m"][0]
    error = 1.96 * np.abs(a).std() / np.sqrt(2_000)
    assert score.name == "mae"
    assert score.value - score.low == pytest.approx(error, rel=0.15)
    assert score.high - score.value == pytest.approx(error, rel=0.15)


def test_the_interval_of_a_gain_is_paired():
    """Two that err alike differ by little, however much both err."""
    rng = np.random.default_rng(2)
    y, error = rng.normal(size=400), rng.normal(size=400)
    found = judge("regression", np.arange(400), y, {"m": y + error, "other": y + 1.01 * error})
    mae, gain = found.scores["m"][1], found.gains["other"][1]
    assert gain.value == pytest.approx(-0.01 * mae.value)
    assert gain.high < 0
    assert gain.high - gain.low < 0.02 * (mae.high - mae.low)


def test_resamplings_draw_as_many_rows_as_there_are_and_are_the_same_again():
    counts = np.concatenate(list(resamplings(30, seed=3)))
    assert counts.shape == (1_000, 30)
    assert (counts.sum(axis=1) == 30).all()
    assert np.array_equal(counts, np.concatenate(list(resamplings(30, seed=3))))


# baselines


def test_the_majority_and_the_mean_come_from_training_rows():
    assert baselines.majority(np.array([0, 0, 2]), 3, 2).tolist() == [[2 / 3, 0, 1 / 3]] * 2
    assert baselines.mean(np.array([1.0, 2.0, 6.0]), 2).tolist() == [3, 3]


@pytest.mark.parametrize(("n", "p"), [(60, 7), (20, 40)])
def test_ridge_is_scikit_learns_at_the_strength_of_least_gcv(n, p):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n + 10, p)).astype(np.float32)
    y = X[:, 0] * 3 + rng.normal(size=n + 10) + 5
    Z, held = baselines.standardised(X[:n], X[n:])
    oracle_ = sklearn_linear.RidgeCV(n * np.logspace(-6, 3, 19)).fit(Z.astype(float), y[:n])
    expected = oracle_.predict(held.astype(float))
    assert baselines.ridge(X[:n], y[:n], X[n:]) == pytest.approx(expected, abs=1e-4 * y.std())


def test_logistic_is_scikit_learns_to_within_its_last_steps():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 4)).astype(np.float32)
    y = (X[:, :2] + rng.normal(size=(300, 2)) > 0).sum(axis=1)
    Z, held = baselines.standardised(X[:200], X[200:])
    expected = sklearn_linear.LogisticRegression().fit(Z, y[:200]).predict_proba(held)
    assert np.abs(baselines.logistic(X[:200], y[:200], X[200:], 3) - expected).max() < 0.02


def test_a_column_that_does_not_vary_in_training_moves_no_linear_model():
    X = np.full((30, 2), 7.7, dtype=np.float32)
    X[:, 1] = np.arange(30)
    training, held = baselines.standardised(X, X + 1)
    assert not training[:, 0].any()
    assert not held[:, 0].any()
    assert baselines.ridge(X, X[:, 1].astype(float), X) == pytest.approx(np.arange(30), abs=0.01)


# how numbers are written


def test_prices_and_populations_are_written_without_an_exponent():
    assert [number(x, 4) for x in (10863.52, -403.51, 0.01234567, 0.0)] == [
        "10860", "-403.5", "0.01235", "0",
    ]  # fmt: skip
    assert [number(x) for x in (25000.0, 1234567.0, 1e14)] == ["25000", "1234570", "1" + "0" * 14]
    assert [number(x) for x in (1e15, np.inf, 4e-16)] == ["1e+15", "inf", "4e-16"]
