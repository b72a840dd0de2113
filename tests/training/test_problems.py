"""Real and classic problems, each trained to a stated figure."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import (
    load_diabetes,
    load_digits,
    make_circles,
    make_multilabel_classification,
)
from sklearn.dummy import DummyRegressor
from sklearn.linear_model import LogisticRegression, PoissonRegressor, Ridge
from sklearn.metrics import mean_poisson_deviance
from sklearn.model_selection import train_test_split
from sklearn.multioutput import MultiOutputClassifier
from sklearn.preprocessing import StandardScaler

import deltarule as dr

XOR_X = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
XOR_Y = np.array([0, 1, 1, 0])


@pytest.mark.parametrize("seed", range(5))
def test_xor_is_learnt_by_full_batch_descent(seed: int) -> None:
    net = dr.Network([dr.Dense(8, "tanh"), dr.Dense(1, "sigmoid")], inputs=2, seed=seed)
    history = dr.train(
        net,
        XOR_X,
        XOR_Y,
        loss="binary_cross_entropy",
        optimizer=dr.Adam(0.1),
        epochs=200,
        batch_size=None,
    )
    assert history["loss"][-1] < 0.01
    assert net.predict(XOR_X).round().ravel().tolist() == [0, 1, 1, 0]


def test_xor_is_learnt_by_per_example_descent_with_squared_error() -> None:
    net = dr.Network([dr.Dense(3, "sigmoid"), dr.Dense(1)], inputs=2, seed=3)
    history = dr.train(
        net,
        XOR_X,
        XOR_Y,
        loss=dr.SquaredError(),
        optimizer=dr.SGD(0.3),
        epochs=5000,
        batch_size=1,
    )
    assert history["loss"][-1] < 1e-3


def test_circles_are_separated() -> None:
    X, y = make_circles(600, noise=0.08, factor=0.5, random_state=0)
    X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
    net = dr.Network([dr.Dense(16, "relu"), dr.Dense(2, "softmax")], inputs=2, seed=0)
    dr.train(net, X_train, y_train, loss="cross_entropy", optimizer=dr.Adam(1e-2), epochs=60)
    result = dr.evaluate(net, X_test, y_test, "cross_entropy", metrics=["accuracy"])
    assert result["accuracy"] >= 0.98


def test_diabetes_is_predicted_as_well_as_by_ridge_regression() -> None:
    X, y = load_diabetes(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
    scaler = StandardScaler().fit(X_train)
    X_train, X_test = scaler.transform(X_train), scaler.transform(X_test)
    mean, deviation = y_train.mean(), y_train.std()

    net = dr.Network([dr.Dense(16, "tanh"), dr.Dense(1)], inputs=10, seed=0)
    dr.train(
        net,
        X_train,
        (y_train - mean) / deviation,
        loss=dr.MeanSquaredError(),
        optimizer=dr.Adam(dr.Cosine(1e-2)),
        penalty=dr.L2(0.05),
        epochs=100,
    )
    prediction = net.predict(X_test).ravel() * deviation + mean
    r2 = 1 - ((y_test - prediction) ** 2).sum() / ((y_test - y_test.mean()) ** 2).sum()
    linear = Ridge().fit(X_train, y_train).score(X_test, y_test)
    assert r2 >= linear - 0.02
    assert r2 > 0.3


def test_several_labels_per_row_are_learnt() -> None:
    X, Y = make_multilabel_classification(1200, n_features=12, n_classes=4, random_state=0)
    X = StandardScaler().fit_transform(X)
    X_train, X_test, Y_train, Y_test = train_test_split(X, Y, random_state=0)
    net = dr.Network([dr.Dense(32, "relu"), dr.Dense(4, "sigmoid")], inputs=12, seed=0)
    dr.train(net, X_train, Y_train, loss="binary_cross_entropy", optimizer=dr.Adam(3e-3), epochs=40)
    result = dr.evaluate(net, X_test, Y_test, "binary_cross_entropy", metrics=["accuracy"])
    linear = MultiOutputClassifier(LogisticRegression()).fit(X_train, Y_train)
    assert result["accuracy"] > (linear.predict(X_test) == Y_test).mean() > 0.8


def test_counts_are_predicted_better_than_by_a_log_linear_model() -> None:
    rng = np.random.default_rng(0)
    X = rng.uniform(-2, 2, (1500, 3))
    rate = np.exp(0.5 + np.sin(2 * X[:, 0]) + 0.5 * np.abs(X[:, 1]))
    counts = rng.poisson(rate)
    X_train, X_test, y_train, y_test = train_test_split(X, counts, random_state=0)
    net = dr.Network([dr.Dense(32, "silu"), dr.Dense(1, "exp")], inputs=3, seed=0)
    dr.train(net, X_train, y_train, loss="poisson", optimizer=dr.Adam(dr.Cosine(1e-2)), epochs=60)
    ours = mean_poisson_deviance(y_test, net.predict(X_test).ravel())
    linear = mean_poisson_deviance(y_test, PoissonRegressor().fit(X_train, y_train).predict(X_test))
    mean = DummyRegressor().fit(X_train, y_train).predict(X_test)
    assert ours < 1.35  # deviance of the true rates on this sample is about 1.1
    assert ours < 0.8 * linear < mean_poisson_deviance(y_test, mean)


def test_quantiles_are_covered() -> None:
    rng = np.random.default_rng(1)
    X = rng.uniform(-1, 1, (4000, 1))
    y = X[:, 0] + (0.2 + 0.3 * (X[:, 0] > 0)) * rng.standard_normal(4000)
    net = dr.Network([dr.Dense(16, "tanh"), dr.Dense(1)], inputs=1, seed=0)
    dr.train(net, X, y, loss=dr.Quantile(0.9), optimizer=dr.Adam(dr.Cosine(1e-2)), epochs=30)
    below = (y <= net.predict(X).ravel()).mean()
    # Binomial: 0.9 +- 4 standard deviations, and as much again for the fit's own bias.
    assert abs(below - 0.9) <= 8 * np.sqrt(0.9 * 0.1 / 4000)


@pytest.mark.parametrize("batch_size", [None, 200, 32])
def test_digits_are_recognised_with_every_size_of_batch(batch_size: int | None) -> None:
    X, y = load_digits(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(X / 16, y, stratify=y, random_state=0)
    net = dr.Network([dr.Dense(100, "relu"), dr.Dense(10, "softmax")], inputs=64, seed=0)
    epochs = {None: 150, 200: 60, 32: 20}[batch_size]
    dr.train(
        net,
        X_train,
        y_train,
        loss="cross_entropy",
        optimizer=dr.Adam(1e-2 if batch_size is None else 2e-3),
        epochs=epochs,
        batch_size=batch_size,
    )
    result = dr.evaluate(net, X_test, y_test, "cross_entropy", metrics=["accuracy"])
    assert result["accuracy"] >= 0.96


def test_a_deep_network_needs_its_remedies() -> None:
    """Thirty sigmoid layers get no gradient; residual blocks with normalisation do."""
    X, y = make_circles(300, noise=0.05, factor=0.5, random_state=0)
    plain = dr.Network(
        [dr.Dense(8, "sigmoid") for _ in range(30)] + [dr.Dense(2, "softmax")], inputs=2, seed=0
    )
    block = dr.Residual([dr.Dense(8), dr.BatchNorm(), dr.Activation("relu"), dr.Dense(8)])
    remedied = dr.Network(
        [dr.Dense(8, "relu"), *[block] * 14, dr.Dense(2, "softmax")], inputs=2, seed=0
    )
    histories = {}
    for name, net in (("plain", plain), ("remedied", remedied)):
        histories[name] = dr.train(
            net, X, y, loss="cross_entropy", optimizer="adam", epochs=20, metrics=["accuracy"]
        )
    assert histories["plain"]["accuracy"][-1] < 0.6
    assert histories["remedied"]["accuracy"][-1] > 0.95
    norms = [histories["plain"][f"gradient_norm.{layer}.weight"][0] for layer in (0, 30)]
    assert norms[0] < 1e-6 * norms[1]
