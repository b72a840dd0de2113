"""What metrics take and refuse when they are called directly, and what they cost."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pandas as pd
import pytest

import deltarule as dr
from deltarule.formulas.metrics import Metric, confusion_matrix
from members import own

METRICS = [Metric.resolve(name) for name in own("metric") if name != "function"]
Y = np.array([0.0, 1.0, 1.0, 0.0])
A = np.array([0.2, 0.7, 0.4, 0.6])


def name(metric):
    return metric.name


@pytest.mark.parametrize("metric", METRICS, ids=name)
def test_rows_columns_lists_and_series_are_the_same(metric):
    expected = metric(Y, A[:, None])
    forms = (lambda v: v, lambda v: v[:, None], list, pd.Series)
    odd = (lambda v: pd.Series(v, index=[9, 9, 2, 1]), lambda v: pd.DataFrame({"v": v}))
    objects = (
        lambda v: np.array(list(v), dtype=object),
        lambda v: v.astype(np.float32)[::-1][::-1],
    )
    for of_y in (*forms, *odd, *objects):
        for of_a in (*forms, *odd):
            assert metric(of_y(Y), of_a(A)) == pytest.approx(expected, rel=1e-12)
    weighted = metric(Y, A, np.array([1.0, 2.0, 3.0, 4.0]))
    assert metric(list(Y), list(A), [1, 2, 3, 4]) == pytest.approx(weighted, rel=1e-12)


BAD = {
    "strings": (["no", "yes"], [0.1, 0.9], None, TypeError, "y must hold numbers"),
    "objects that are strings": (
        np.array(["0", "1"], object), [0.1, 0.9], None, TypeError, "y must hold numbers"
    ),
    "nothing": (None, [0.1, 0.9], None, TypeError, "y must hold numbers"),
    "ragged": ([0, 1], [[0.1], [0.2, 0.3]], None, TypeError, "a must hold numbers"),
    "other lengths": ([0, 1, 1], [0.1, 0.9], None, ValueError, "got 3 and 2"),
    "no rows": (np.zeros(0), np.zeros((0, 1)), None, ValueError, "at least one"),
    "a number": (1.0, 0.5, None, ValueError, "got shapes"),
    "three axes": ([0, 1], np.zeros((2, 1, 1)), None, ValueError, "got shapes"),
    "other columns": (
        np.zeros((2, 3)), np.full((2, 2), 0.5), None, ValueError, "a target for each prediction"
    ),
    "nan": ([0, 1], [0.1, np.nan], None, ValueError, "a has values that are not finite"),
    "weights of another length": ([0, 1], [0.1, 0.9], [1.0], ValueError, "weights w of shape"),
    "negative weights": ([0, 1], [0.1, 0.9], [1, -1], ValueError, "finite and >= 0"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
@pytest.mark.parametrize("metric", METRICS, ids=name)
def test_what_is_no_data_is_refused_with_one_error_that_names_the_metric(metric, case):
    y, a, w, kind, message = BAD[case]
    with pytest.raises(kind, match=message) as caught:
        metric(y, a, w)
    assert isinstance(caught.value, dr.DeltaruleError)
    assert metric.name in str(caught.value)


@pytest.mark.parametrize("metric", METRICS, ids=name)
def test_targets_that_the_predictions_cannot_tell_apart_are_refused(metric):
    if metric.needs == "numbers":
        with pytest.raises(ValueError, match=r"one target per output: y of shape \(3, 3\)"):
            metric([0, 1, 2], np.eye(3))
        return
    with pytest.raises(ValueError, match=r"0 or 1 for each column .* got 2"):
        metric([0, 1, 2], [0, 1, 2])  # classes instead of scores
    for labels in ([0, 1, 3], [0, 1, -1], [0, 1, 0.5]):
        with pytest.raises(ValueError, match="whole numbers from 0 to 2"):
            metric(labels, np.eye(3))


def test_log_loss_needs_probabilities():
    with pytest.raises(ValueError, match=r"'log_loss' needs probabilities, got 1.5"):
        dr.metrics.LogLoss()([0, 1], [0.2, 1.5])


@pytest.mark.parametrize("metric", [m for m in METRICS if m.needs != "numbers"], ids=name)
def test_many_classes_cost_no_table_of_classes_by_classes(metric):
    """10,000 classes and 50 rows are 4 MB of predictions; a table of both would be 800 MB."""
    r = np.random.default_rng(0)
    y, a = r.integers(0, 10_000, 50), r.random((50, 10_000))
    tracemalloc.start()
    metric(y, a)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5 * a.nbytes


def test_a_confusion_matrix_takes_what_metrics_take():
    np.testing.assert_array_equal(confusion_matrix(list(Y), list(A)), [[1, 1], [1, 1]])
    with pytest.raises(TypeError, match="y must hold numbers"):
        confusion_matrix(["a", "b"], [0.1, 0.9])
