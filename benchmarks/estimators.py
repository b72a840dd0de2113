"""How fast the estimators fit: python benchmarks/estimators.py [ROUNDS]

`MLPClassifier().fit` on 20,000 x 50, all settings those of scikit-learn, beside scikit-learn's own,
in turns. Both draw the same weights and orders, so both do the same steps and end with the same
loss (to rounding, which in float32 adds up). And what the estimator takes beyond `dr.train` with
the same network and settings.
"""

from __future__ import annotations

import statistics
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import sklearn.neural_network
from sklearn.datasets import make_classification
from sklearn.exceptions import ConvergenceWarning

import deltarule as dr
import deltarule.sklearn
from deltarule.bench.machine import OtherProcesses, cpu_model

ROWS, COLUMNS = 20_000, 50


def seconds(run: Callable[[], Any]) -> tuple[float, Any]:
    """Return how long a call takes, and what it returns."""
    start = time.perf_counter()
    result = run()
    return time.perf_counter() - start, result


def beside_sklearn(X: np.ndarray, y: np.ndarray, rounds: int) -> None:
    """Print the times of both, from the first epoch to the end that each of them finds."""
    times = []
    for i in range(rounds):
        turn = {}
        modules = [deltarule.sklearn, sklearn.neural_network]
        for module in modules if i % 2 else modules[::-1]:
            model = module.MLPClassifier(random_state=0)
            turn[module] = seconds(lambda model=model: model.fit(X, y))
        (own, ours), (other, theirs) = (turn[module] for module in modules)
        if X.dtype == np.float64:  # in float32 rounding makes them part
            assert ours.n_iter_ == theirs.n_iter_
            np.testing.assert_allclose(ours.loss_curve_, theirs.loss_curve_, rtol=1e-6)
        times.append((own, other))
    own, other = (min(column) for column in zip(*times, strict=True))
    ratio = statistics.median(b / a for a, b in times)
    print(
        f"| {X.dtype} | {own:.2f} s: {ours.n_iter_} epochs, loss {ours.loss_:.6g} | "
        f"{other:.2f} s: {theirs.n_iter_} epochs, loss {theirs.loss_:.6g} | {ratio:.1f}x |"
    )


def beside_train(X: np.ndarray, y: np.ndarray, epochs: int, rounds: int) -> None:
    """Print what `fit` takes beyond `dr.train` with the same network, optimizer and penalty."""
    layers = [dr.Dense(100, "relu"), dr.Dense(1, "sigmoid")]
    network = dr.Network(layers, inputs=X.shape[1], dtype="float64")
    model = deltarule.sklearn.MLPClassifier(max_iter=epochs, random_state=0)

    def train() -> None:
        dr.train(
            network.copy(),
            X,
            y,
            loss="binary_cross_entropy",
            optimizer=dr.Adam(epsilon_first=True),
            penalty=dr.L2(1e-4, over_batch=True),
            epochs=epochs,
            batch_size=min(200, len(X)),
            progress=False,
        )

    def fit() -> None:
        model.fit(X, y)

    times = []
    for i in range(rounds):
        turn = {run: seconds(run)[0] for run in ([fit, train] if i % 2 else [train, fit])}
        times.append((turn[fit], turn[train]))
    with_estimator, alone = (1e3 * min(column) for column in zip(*times, strict=True))
    print(
        f"| {len(X):,} rows, {epochs} epochs | {alone:.2f} ms | {with_estimator:.2f} ms | "
        f"{with_estimator - alone:+.2f} ms |"
    )


def main(rounds: int) -> None:
    """Measure and print two tables."""
    warnings.simplefilter("ignore", ConvergenceWarning)
    X, y = make_classification(ROWS, COLUMNS, n_informative=20, random_state=0)
    others = OtherProcesses()
    print("| MLPClassifier().fit | deltarule | scikit-learn | median ratio |\n|---|---|---|---|")
    for dtype in (np.float64, np.float32):
        beside_sklearn(X.astype(dtype), y, rounds)
    print("\n| | dr.train | fit | beyond |\n|---|---|---|---|")
    for count, epochs in ((200, 1), (200, 100), (ROWS, 1), (ROWS, 10)):
        beside_train(X[:count], y[:count], epochs, 20)
    share = others.share()
    busy = "" if share is None else f"; other processes took {share:.0%} of the cores"
    print(f"\n{cpu_model()}, deltarule {dr.engines()['native']}{busy}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) == 2 else 3)
