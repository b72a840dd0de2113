"""Metrics in training and evaluate: what is not defined is an error; data stay as they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

import deltarule as dr

ENGINES = ["native", "reference"]
X = np.random.default_rng(0).normal(size=(20, 3))
Y = np.arange(20) % 2


def net(outputs=1, activation="sigmoid"):
    return dr.Network([dr.Dense(outputs, activation)], inputs=3, dtype="float64", seed=0)


def train(y=Y, network=None, loss="binary_cross_entropy", **settings):
    return dr.train(network or net(), X, y, loss=loss, progress=False, seed=0, **settings)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_class_that_validation_lacks_ends_the_run_with_an_error_that_names_all(engine):
    validation = X[:4], np.zeros(4)
    with pytest.raises(ValueError, match=r"roc_auc.*class 0.*measured on the validation data"):
        train(validation=validation, metrics=["roc_auc"], engine=engine)
    with pytest.raises(ValueError, match=r"roc_auc.*class 1.*measured on the training data"):
        train(np.ones(20), metrics=["roc_auc"], engine=engine)
    with pytest.raises(ValueError, match=r"roc_auc.*class 0.*measured on the data"):
        dr.evaluate(net(), *validation, "binary_cross_entropy", metrics=["roc_auc"], engine=engine)


def test_of_several_classes_those_that_occur_are_averaged():
    y = np.arange(20) % 4
    some = np.flatnonzero(y < 2)
    history = train(
        y, net(4, "softmax"), "cross_entropy", validation=(X[some], y[some]), metrics=["roc_auc"]
    )
    assert 0 <= history["val_roc_auc"][0] <= 1


@pytest.mark.parametrize("metric", ["accuracy", "balanced_accuracy", "f1", "roc_auc", "r2", "mape"])
@pytest.mark.parametrize("engine", ENGINES)
def test_an_epoch_in_which_no_row_has_weight_has_no_metric(engine, metric):
    weights = np.repeat([0.0, 1.0], [16, 4])
    with pytest.raises(ValueError, match=f"'{metric}'.* weight.*measured on the training data"):
        train(
            sample_weight=weights, batch_size=16, drop_last=True, shuffle=False, metrics=[metric],
            engine=engine,
        )  # fmt: skip


@pytest.mark.parametrize("engine", ENGINES)
def test_a_metric_that_is_nan_ends_the_run_with_an_error(engine):
    def undefined(y, a, w):
        return float("nan")

    with pytest.raises(ValueError, match=r"'undefined' is NaN.*measured on the training data"):
        train(metrics=[undefined], engine=engine)
    broken = net()
    broken.vector[:] = np.nan
    with pytest.raises(ValueError, match=r"'mse' is NaN.*the predictions hold NaN"):
        dr.evaluate(broken, X, Y, "binary_cross_entropy", metrics=["mse"], engine=engine)


@dataclass(frozen=True)
class Vandal(dr.Metric):
    """A metric that writes into what it is given."""

    name: ClassVar[str] = "test_vandal"

    def __call__(self, y, a, w=None):
        y[...] = 0
        return 1.0


def vandal_of_outputs(y, a, w):
    a[...] = 0
    return 1.0


def vandal_of_weights(y, a, w):
    w *= 2
    return 1.0


@pytest.mark.parametrize("metric", [Vandal(), vandal_of_outputs, vandal_of_weights])
@pytest.mark.parametrize("engine", ENGINES)
def test_a_metric_cannot_change_the_data_of_its_caller(engine, metric):
    y, weights = Y[:, None].astype(float), np.ones(20)
    with pytest.raises(ValueError, match="read-only"):
        train(y, metrics=[metric], sample_weight=weights, engine=engine)
    with pytest.raises(ValueError, match="read-only"):
        dr.evaluate(
            net(), X, y, "binary_cross_entropy", metrics=[metric], sample_weight=weights,
            engine=engine,
        )  # fmt: skip
    np.testing.assert_array_equal(y[:, 0], Y)
    assert (weights == 1).all()
    assert y.flags.writeable


@pytest.mark.parametrize("returned", [None, "0.5", np.zeros(2), 1j, [0.5]])
def test_a_metric_that_returns_no_number_is_refused(returned):
    def odd(y, a, w):
        return returned

    with pytest.raises(TypeError, match="the metric 'odd' must return one number"):
        train(metrics=[odd])
