"""From the same random_state, the numbers are scikit-learn's.

Weights, orders and splits are drawn alike, and each step computes the same sums in another order.
So losses and coefficients agree to rounding, which 50 epochs let grow; 1e-9 is far above that and
far below any difference of formula.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from oracles import oracle

oracle("sklearn")

import sklearn.neural_network  # noqa: E402
from sklearn.datasets import (  # noqa: E402
    make_classification,
    make_multilabel_classification,
    make_regression,
)

import deltarule.sklearn  # noqa: E402

N = 207  # four batches of 50 and one of 7
RELATIVE = 1e-9
rng = np.random.default_rng(0)
WEIGHTS = rng.uniform(0.1, 3, N)


def classes(count: int) -> tuple[np.ndarray, np.ndarray]:
    X, y = make_classification(N, 8, n_informative=5, n_classes=count, random_state=0)
    return X, np.array(["ash", "beech", "cedar"])[y]


def labels() -> tuple[np.ndarray, np.ndarray]:
    X, y = make_multilabel_classification(N, 8, random_state=0)
    return (X - X.mean(axis=0)) / X.std(axis=0), y


def values(outputs: int = 1) -> tuple[np.ndarray, np.ndarray]:
    X, y = make_regression(N, 8, n_targets=outputs, noise=2, random_state=0)
    return X, y / y.std()


def counts(outputs: int = 1) -> tuple[np.ndarray, np.ndarray]:
    X = rng.normal(size=(N, 8))
    return X, rng.poisson(np.exp(0.3 * X[:, :outputs])).squeeze()


DATA: dict[str, tuple[str, tuple[np.ndarray, np.ndarray], dict[str, Any]]] = {
    "two classes": ("MLPClassifier", classes(2), {}),
    "three classes": ("MLPClassifier", classes(3), {}),
    "several labels": ("MLPClassifier", labels(), {}),
    "one value": ("MLPRegressor", values(), {}),
    "three values": ("MLPRegressor", values(3), {}),
    "counts": ("MLPRegressor", counts(), {"loss": "poisson"}),
    "counts of two": ("MLPRegressor", counts(2), {"loss": "poisson"}),
}


def both(name: str, X: Any, y: Any, weights: Any = None, **settings: Any) -> tuple[Any, Any]:
    """Return scikit-learn's estimator and ours, fitted."""
    settings = {"random_state": 3, "max_iter": 50, "hidden_layer_sizes": (10,)} | settings
    theirs = getattr(sklearn.neural_network, name)(**settings).fit(X, y, sample_weight=weights)
    ours = getattr(deltarule.sklearn, name)(**settings).fit(X, y, sample_weight=weights)
    return theirs, ours


def assert_agree(theirs: Any, ours: Any, relative: float = RELATIVE) -> None:
    """All that is reported, and the coefficients, are the same."""
    for name in ("n_iter_", "t_", "n_layers_", "n_outputs_", "out_activation_"):
        assert getattr(ours, name) == getattr(theirs, name), name
    for one, other in zip(
        [*ours.coefs_, *ours.intercepts_], [*theirs.coefs_, *theirs.intercepts_], strict=True
    ):
        assert one.shape == other.shape
        assert one.dtype == other.dtype
        np.testing.assert_allclose(one, other, rtol=relative, atol=relative)
    np.testing.assert_allclose(ours.loss_, theirs.loss_, rtol=relative)
    for name in ("loss_curve_", "validation_scores_", "best_loss_", "best_validation_score_"):
        expected = getattr(theirs, name, None)
        if expected is None:
            assert getattr(ours, name, None) is None
        else:
            np.testing.assert_allclose(getattr(ours, name), expected, rtol=relative)


weighted = pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["rows", "weights"])
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@weighted
@pytest.mark.parametrize("solver", ["adam", "sgd"])
@pytest.mark.parametrize("name", DATA)
def test_losses_and_coefficients_of_50_epochs(name: str, solver: str, weights: Any) -> None:
    kind, (X, y), settings = DATA[name]
    assert_agree(*both(kind, X, y, weights, solver=solver, batch_size=50, **settings))


@pytest.mark.parametrize("learning_rate", ["constant", "invscaling", "adaptive"])
@pytest.mark.parametrize(
    "momentum",
    [{"momentum": 0}, {"nesterovs_momentum": False}, {"momentum": 0.8}, {"momentum": 1.0}],
    ids=str,
)
def test_schedules_and_kinds_of_momentum(learning_rate: str, momentum: dict[str, Any]) -> None:
    rate = 1e-4 if momentum.get("momentum") == 1 else 0.05  # nothing brakes it
    settings = {"learning_rate": learning_rate, "learning_rate_init": rate, "alpha": 0.1}
    assert_agree(*both("MLPClassifier", *classes(3), solver="sgd", **settings, **momentum))


def test_an_adaptive_rate_falls_in_the_same_epochs_and_ends_alike(capsys: Any) -> None:
    settings = {
        "solver": "sgd", "learning_rate": "adaptive", "learning_rate_init": 0.05, "tol": 0.02,
        "n_iter_no_change": 2, "max_iter": 100, "verbose": True,
    }  # fmt: skip
    theirs, ours = both("MLPClassifier", *classes(3), **settings)
    assert_agree(theirs, ours)
    assert ours._optimizer.learning_rate == pytest.approx(theirs._optimizer.learning_rate)
    printed = capsys.readouterr().out.splitlines()
    assert printed[: len(printed) // 2] == printed[len(printed) // 2 :]
    assert any("Learning rate too small. Stopping." in line for line in printed)


@weighted
@pytest.mark.parametrize("alpha", [0, 1.0, 30.0])
@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
def test_activations_and_penalties(activation: str, alpha: float, weights: Any) -> None:
    settings = {"activation": activation, "alpha": alpha, "hidden_layer_sizes": (6, 5)}
    assert_agree(
        *both("MLPClassifier", *classes(3), weights, batch_size=50, max_iter=20, **settings)
    )


@weighted
@pytest.mark.parametrize("name", ["two classes", "three classes", "several labels", "three values"])
def test_early_stopping_holds_out_the_same_rows_and_keeps_the_same_network(
    name: str, weights: Any
) -> None:
    kind, (X, y), settings = DATA[name]
    settings = settings | {"early_stopping": True, "n_iter_no_change": 3, "batch_size": 50}
    theirs, ours = both(kind, X, y, weights, learning_rate_init=0.02, **settings)
    assert_agree(theirs, ours)
    assert max(ours.validation_scores_) == ours.best_validation_score_
    np.testing.assert_allclose(ours.predict(X) == y, theirs.predict(X) == y)


@weighted
@pytest.mark.parametrize("name", DATA)
def test_lbfgs(name: str, weights: Any) -> None:
    kind, (X, y), settings = DATA[name]
    theirs, ours = both(kind, X, y, weights, solver="lbfgs", max_iter=15, tol=1e-6, **settings)
    # A search along a line may end elsewhere for another last digit: fewer steps, a wider bound.
    assert_agree(theirs, ours, 1e-6)


def test_without_shuffling_and_in_one_batch() -> None:
    assert_agree(*both("MLPRegressor", *values(), shuffle=False, batch_size=64))
    assert_agree(*both("MLPRegressor", *values()))


@pytest.mark.filterwarnings("ignore:Got `batch_size` less than 1")
def test_single_precision_and_clipped_batches() -> None:
    X, y = values()
    theirs, ours = both("MLPRegressor", X.astype(np.float32), y, max_iter=5, batch_size=500)
    assert ours.coefs_[0].dtype == theirs.coefs_[0].dtype == np.float32
    # 5 steps of Adam; each adds some roundings of the weights' size, 2^-24.
    np.testing.assert_allclose(ours.coefs_[0], theirs.coefs_[0], atol=100 * 2**-24)


def test_warm_starts_and_partial_fits_go_on_alike() -> None:
    X, y = classes(3)
    pairs = []
    for module in (sklearn.neural_network, deltarule.sklearn):
        warm = module.MLPClassifier((7,), random_state=1, max_iter=5, warm_start=True)
        warm.fit(X, y).fit(X, y)
        part = module.MLPClassifier((7,), random_state=1, batch_size=40, learning_rate="invscaling",
                                    solver="sgd")  # fmt: skip
        for i in range(4):
            part.partial_fit(X[i * 50 :], y[i * 50 :], classes=["ash", "beech", "cedar"])
        pairs.append((warm, part))
    for theirs, ours in zip(*pairs, strict=True):
        assert_agree(theirs, ours)


def test_a_random_state_that_is_shared_is_left_alike() -> None:
    random = [np.random.RandomState(5) for _ in range(2)]
    for state, module in zip(random, (sklearn.neural_network, deltarule.sklearn), strict=True):
        for early in (False, True):
            module.MLPRegressor(random_state=state, max_iter=7, early_stopping=early).fit(*values())
    assert random[0].randint(1 << 30) == random[1].randint(1 << 30)
