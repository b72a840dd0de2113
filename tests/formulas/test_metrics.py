"""Metrics against scikit-learn: binary, several classes, several labels; weighted or not."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as sk

import deltarule as dr
from deltarule.formulas.metrics import Metric, classes, confusion_matrix, resolve_metric
from members import own

N = 60
KINDS = ["binary", "multiclass", "multilabel"]
WEIGHTED = [False, True]


def rng(seed=0):
    return np.random.default_rng(seed)


def problem(kind, seed=0):
    """Return targets, predictions (n, outputs) and the classes that both mean."""
    r = rng(seed)
    if kind == "binary":
        y = r.integers(0, 2, N)
        a = np.round(np.clip(0.4 * y + 0.6 * r.random(N), 0.01, 0.99), 2)[:, None]  # with ties
        return y, a, y, (a[:, 0] > 0.5).astype(int)
    if kind == "multiclass":
        y = r.integers(0, 4, N)
        a = r.dirichlet(np.ones(4), N)
        a[np.arange(N), y] += 0.3
        a /= a.sum(axis=1, keepdims=True)
        return y, a, y, a.argmax(axis=1)
    y = r.integers(0, 2, (N, 3))
    a = np.clip(0.3 * y + 0.7 * r.random((N, 3)), 0.01, 0.99)
    return y, a, y, (a > 0.5).astype(int)


def weights(weighted, seed=5):
    """Return weights as this library and as scikit-learn take them."""
    return rng(seed).uniform(0, 3, N) if weighted else None


def compute(name, y, a, w):
    return Metric.resolve(name)(y, a, w)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("weighted", WEIGHTED)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["precision", "recall", "f1"])
def test_precision_recall_and_f1_agree(name, kind, weighted, seed):
    y, a, truth, predicted = problem(kind, seed)
    w = weights(weighted)
    function = {"precision": sk.precision_score, "recall": sk.recall_score, "f1": sk.f1_score}
    expected = function[name](
        truth,
        predicted,
        sample_weight=w,
        average="binary" if kind == "binary" else "macro",
        zero_division=0,
    )
    assert compute(name, y, a, w) == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("weighted", WEIGHTED)
@pytest.mark.parametrize("kind", KINDS)
def test_accuracy_agrees(kind, weighted, seed):
    y, a, truth, predicted = problem(kind, seed)
    w = weights(weighted)
    if kind == "multilabel":  # of single labels: scikit-learn's would ask for whole rows
        expected = 1 - sk.hamming_loss(truth, predicted, sample_weight=w)
    else:
        expected = sk.accuracy_score(truth, predicted, sample_weight=w)
    assert compute("accuracy", y, a, w) == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize("weighted", WEIGHTED)
@pytest.mark.parametrize("kind", ["binary", "multiclass"])
def test_balanced_accuracy_and_the_confusion_matrix_agree(kind, weighted):
    y, a, truth, predicted = problem(kind)
    w = weights(weighted)
    expected = sk.balanced_accuracy_score(truth, predicted, sample_weight=w)
    assert compute("balanced_accuracy", y, a, w) == pytest.approx(expected, rel=1e-13)
    np.testing.assert_allclose(
        confusion_matrix(y, a, w), sk.confusion_matrix(truth, predicted, sample_weight=w)
    )


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("weighted", WEIGHTED)
@pytest.mark.parametrize("kind", KINDS)
def test_the_area_under_the_roc_curve_agrees(kind, weighted, seed):
    y, a, truth, _ = problem(kind, seed)
    w = weights(weighted)
    if kind == "multiclass":  # scikit-learn refuses weights here: one class against the rest
        expected = np.mean(
            [sk.roc_auc_score(truth == k, a[:, k], sample_weight=w) for k in range(4)]
        )
    else:
        scores = a[:, 0] if kind == "binary" else a
        expected = sk.roc_auc_score(truth, scores, average="macro", sample_weight=w)
    assert compute("roc_auc", y, a, w) == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize("weighted", WEIGHTED)
@pytest.mark.parametrize("kind", KINDS)
def test_the_log_loss_agrees(kind, weighted):
    y, a, truth, _ = problem(kind)
    w = weights(weighted)
    if kind == "multilabel":  # one question per output, added up
        expected = sum(
            sk.log_loss(truth[:, k], a[:, k], sample_weight=w, labels=[0, 1]) for k in range(3)
        )
    else:
        p = a[:, 0] if kind == "binary" else a
        expected = sk.log_loss(
            truth, p, sample_weight=w, labels=range(2 if kind == "binary" else 4)
        )
    assert compute("log_loss", y, a, w) == pytest.approx(expected, rel=1e-12)


REGRESSION = {
    "mse": sk.mean_squared_error,
    "rmse": lambda y, a, **k: np.sqrt(sk.mean_squared_error(y, a, **k)),
    "mae": sk.mean_absolute_error,
    "mape": sk.mean_absolute_percentage_error,
    "r2": sk.r2_score,
}


@pytest.mark.parametrize("weighted", WEIGHTED)
@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("name", REGRESSION)
def test_metrics_of_regression_agree(name, outputs, weighted):
    y = rng(1).normal(3, 2, (N, outputs))
    a = y + rng(2).normal(0, 1, (N, outputs))
    w = weights(weighted)
    expected = REGRESSION[name](y, a, sample_weight=w)
    assert compute(name, y, a, w) == pytest.approx(expected, rel=1e-12)
    if outputs == 1:
        assert compute(name, y[:, 0], a, w) == pytest.approx(expected, rel=1e-12)


def test_every_metric_is_compared():
    compared = {"precision", "recall", "f1", "accuracy", "balanced_accuracy", "roc_auc", "log_loss"}
    assert set(own("metric")) - {"function"} == compared | REGRESSION.keys()


@pytest.mark.parametrize("name", ["accuracy", "f1", "roc_auc", "log_loss", "mse", "r2", "mape"])
def test_weight_2_counts_an_example_twice_and_weight_0_not_at_all(name):
    regression = name in REGRESSION
    y, a, *_ = problem("binary")
    if regression:
        y = rng(3).normal(3, 1, N)
    w = rng(4).integers(0, 3, N)
    rows = np.repeat(np.arange(N), w)
    assert compute(name, y, a, w.astype(float)) == pytest.approx(
        compute(name, y[rows], a[rows], None), rel=1e-12
    )


# ------------------------------------------------------------------------- forms and edges


@pytest.mark.parametrize("name", ["accuracy", "precision", "f1", "roc_auc", "log_loss"])
def test_labels_columns_and_one_hot_rows_mean_the_same(name):
    y = rng(1).integers(0, 4, N)
    X = rng(2).normal(y[:, None], 1, (N, 3))
    net = dr.Network([dr.Dense(4, "softmax")], inputs=3, seed=1)
    expected = dr.evaluate(net, X, y, "cross_entropy", metrics=[name])[name]
    assert expected == pytest.approx(compute(name, y, net.predict(X), None))
    for form in (y[:, None], np.eye(4)[y], 0.1 / 4 + 0.9 * np.eye(4)[y]):
        assert dr.evaluate(net, X, form, "cross_entropy", metrics=[name])[name] == expected


def test_a_column_of_yes_and_no_is_the_same_as_a_row():
    y, a, *_ = problem("binary")
    for name in ("accuracy", "f1", "roc_auc", "log_loss"):
        assert compute(name, y[:, None].astype(float), a, None) == compute(name, y, a, None)


def test_the_classes_are_the_largest_output_or_more_than_a_half_of_one():
    truth, predicted = classes(np.array([0, 1, 1]), np.array([[0.5], [0.51], [0.2]]))
    assert (truth.tolist(), predicted.tolist()) == ([0, 1, 1], [0, 1, 0])
    truth, predicted = classes(np.array([2, 0]), np.array([[0.1, 0.2, 0.7], [0.4, 0.4, 0.2]]))
    assert (truth.tolist(), predicted.tolist()) == ([2, 0], [2, 0])


def test_a_class_that_is_never_predicted_counts_as_0():
    y, a = np.array([0, 1, 2]), np.eye(3)[[0, 0, 0]]
    assert compute("precision", y, a, None) == pytest.approx(1 / 9)
    assert compute("f1", y, a, None) == pytest.approx(0.5 / 3)


def test_scores_that_are_all_equal_have_an_area_of_one_half():
    assert compute("roc_auc", np.array([0, 1, 1]), np.full((3, 1), 0.3), None) == 0.5


def test_the_area_is_the_mean_over_the_classes_that_occur():
    r = rng(7)
    y, a = r.integers(0, 3, N), r.random((N, 5))
    expected = np.mean([sk.roc_auc_score(y == k, a[:, k]) for k in range(3)])
    assert compute("roc_auc", y, a, None) == pytest.approx(expected, rel=1e-13)
    labels = np.eye(5)[y]
    labels[:, 4] = 1  # a label that all have
    assert compute("roc_auc", labels, a, None) == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize("outputs", [1, 3])
def test_where_all_are_of_one_class_there_is_no_area_and_the_error_names_it(outputs):
    with pytest.raises(ValueError, match=r"no 'roc_auc' .* all examples are of class 1"):
        compute("roc_auc", np.ones(3, int), np.full((3, outputs), 0.3), None)
    w = np.array([0.0, 1.0, 1.0])  # a class without weight is absent
    with pytest.raises(ValueError, match="all examples are of class 1"):
        compute("roc_auc", np.array([0, 1, 1]), np.full((3, outputs), 0.3), w)


def test_the_log_loss_of_a_certain_mistake_is_large_and_finite():
    value = compute("log_loss", np.array([1]), np.array([[0.0]], np.float32), None)
    assert 700 < value < 710


def test_soft_answers_to_yes_or_no_have_their_cross_entropy_as_log_loss():
    t, a = np.array([[0.25]]), np.array([[0.5]])
    assert compute("log_loss", t, a, None) == pytest.approx(np.log(2))


def test_a_constant_target_has_r2_1_if_met_and_0_otherwise_as_in_scikit_learn():
    y = np.full(4, 2.0)
    for a in (np.full((4, 1), 2.0), np.full((4, 1), 3.0)):
        assert compute("r2", y, a, None) == sk.r2_score(y, a)


@pytest.mark.parametrize("value", [0.1, 1 / 3, 1e-20, -7.3e19, 2.0])
@pytest.mark.parametrize("n", [1, 3, 1000])
def test_a_constant_target_is_recognised_whatever_its_mean_rounds_to(value, n):
    y = np.full(n, value)
    assert compute("r2", y, y[:, None], None) == 1
    assert compute("r2", y, y[:, None].astype(np.float32), None) == 1
    assert compute("r2", y, np.full((n, 1), 0.5), None) == 0
    parts = [Metric.resolve("r2").tally(y, 2 * y[:, None], None) for _ in range(3)]
    metric = Metric.resolve("r2")
    assert metric.finish(metric.merge(metric.merge(*parts[:2]), parts[2])) == 0


def test_targets_that_hardly_differ_have_their_r2():
    y = 0.1 + np.arange(1000) % 2 * np.spacing(0.1)
    assert compute("r2", y, y[:, None], None) == 1
    assert compute("r2", y, np.full((1000, 1), y[0]), None) == pytest.approx(-1, rel=1e-3)


def test_mape_leaves_out_targets_of_0():
    y, a = np.array([0.0, 2.0, 4.0]), np.array([[1.0], [1.0], [5.0]])
    assert compute("mape", y, a, None) == pytest.approx((0.5 + 0.25) / 2)
    with pytest.raises(ValueError, match=r"no 'mape' .* every target with weight is 0; use 'mae'"):
        compute("mape", np.zeros(2), np.ones((2, 1)), None)


def test_a_function_is_a_metric_of_its_own_name():
    def bias(y, a, w):
        return (a[:, 0] - y).mean()

    name, metric = resolve_metric(bias)
    assert name == "bias"
    assert metric(np.array([1.0, 2.0]), np.array([[2.0], [4.0]])) == 1.5


@pytest.mark.parametrize("name", ["mse", "rmse", "mae", "mape", "log_loss"])
def test_of_losses_the_least_is_best_and_of_the_others_the_most(name):
    lower = {n for n in own("metric") if n != "function" and Metric.resolve(n).best == "min"}
    assert name in lower
    assert len(lower) == 5


def test_an_unknown_metric_names_the_nearest():
    with pytest.raises(dr.DeltaruleError, match="did you mean 'accuracy'"):
        resolve_metric("acuracy")
    with pytest.raises(dr.DeltaruleError, match="a metric is a name"):
        resolve_metric(3)


def test_float32_predictions_are_averaged_in_float64():
    n = 100_000
    y, a = np.zeros(n), np.full((n, 1), 0.1, np.float32)
    exact = float(np.float32(0.1))
    assert compute("mae", y, a, None) == pytest.approx(exact, rel=1e-12)
    assert compute("mse", y, a, None) == pytest.approx(exact**2, rel=1e-12)


def test_a_function_that_returns_no_number_is_named() -> None:
    def spread(y: np.ndarray, a: np.ndarray, w: np.ndarray | None) -> np.ndarray:
        return a

    with pytest.raises(TypeError, match="the metric 'spread' must return one number, got"):
        resolve_metric(spread)[1](np.ones((2, 1)), np.ones((2, 1)))


def test_a_function_of_other_arguments_is_refused_and_one_without_a_signature_is_tried() -> None:
    with pytest.raises(TypeError, match=r"takes \(y, a, w\)"):
        resolve_metric(lambda y: 0.0)
    assert resolve_metric(max)[1](3.0, 2.0, 5.0) == 5.0  # a builtin, which tells no signature


@pytest.mark.parametrize("name", own("metric"))
def test_where_no_row_has_weight_there_is_no_figure(name: str) -> None:
    if name == "function":
        return
    metric, y, a = Metric.resolve(name), np.array([0.0, 1.0]), np.array([[0.2], [0.9]])
    with pytest.raises(ValueError, match=f"there is no '{name}' of these rows: .*weight"):
        metric(y, a, np.zeros(2))
    empty = metric.tally(y, a, np.zeros(2))
    merged = metric.merge(empty, metric.tally(y, a, np.ones(2)))
    assert metric.finish(merged) == pytest.approx(metric(y, a), rel=1e-12)


def test_a_confusion_matrix_needs_one_class_per_row() -> None:
    with pytest.raises(ValueError, match="one class per row, got several labels"):
        confusion_matrix(np.array([[1, 1, 0]]), np.array([[0.9, 0.8, 0.1]]))


def test_parts_without_weight_add_nothing_to_r2() -> None:
    metric = Metric.resolve("r2")
    rng = np.random.default_rng(0)
    y, a, w = rng.normal(size=(6, 1)), rng.normal(size=(6, 1)), np.array([0, 0, 0, 1.0, 2, 3])
    empty = metric.tally(y[:3], a[:3], w[:3])
    merged = metric.merge(metric.merge(empty, empty), metric.tally(y[3:], a[3:], w[3:]))
    assert metric.finish(merged) == pytest.approx(metric(y[3:], a[3:], w[3:]), rel=1e-12)
