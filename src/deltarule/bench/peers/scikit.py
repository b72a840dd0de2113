"""scikit-learn's multilayer perceptron."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from deltarule.base.types import Array
from deltarule.bench.peers.base import Session, import_peer
from deltarule.bench.workloads import Data, Workload, initial_parameters


class ScikitLearn:
    """MLPClassifier and MLPRegressor."""

    key = "sklearn"
    title = "scikit-learn"
    note = (
        "MLPClassifier or MLPRegressor, fit() with warm_start for all epochs of a turn, alpha=0, "
        "no momentum in SGD; it records loss_ for each epoch"
    )

    def suits(self, workload: Workload) -> bool:
        """Every workload."""
        return True

    def prepare(self, workload: Workload, data: Data, threads: int) -> Session:
        """Return a session; the number of threads is that of NumPy's BLAS, see ``confined``."""
        return _Session(import_peer("sklearn.neural_network"), workload, data)


class _Session:
    def __init__(self, module: Any, workload: Workload, data: Data) -> None:
        self._workload, self._data = workload, data
        kind = module.MLPClassifier if workload.classifies else module.MLPRegressor
        self._model = kind(
            hidden_layer_sizes=workload.widths[1:-1],
            activation={"relu": "relu", "sigmoid": "logistic", "tanh": "tanh"}[workload.hidden],
            solver=workload.optimizer,
            alpha=0.0,
            batch_size=workload.batch_size,
            learning_rate_init=workload.learning_rate,
            momentum=0.0,
            nesterovs_momentum=False,
            shuffle=workload.shuffles and not workload.full_batch,
            tol=0.0,
            n_iter_no_change=np.inf,
            warm_start=True,
            random_state=0,
        )
        self._fit(1)  # only then there are arrays to put parameters into
        self.reset()

    def reset(self) -> None:
        start = initial_parameters(self._workload)
        for i, (W, b) in enumerate(start):
            self._model.coefs_[i] = W
            self._model.intercepts_[i] = b

    def run_epochs(self, epochs: int) -> float:
        self._fit(epochs)
        # Its squared error is a mean over the outputs too.
        outputs = 1 if self._workload.classifies else self._workload.widths[-1]
        return float(self._model.loss_) * outputs

    def _fit(self, epochs: int) -> None:
        self._model.max_iter = epochs
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it has not converged is no news
            self._model.fit(self._data.X, self._data.y)

    def predictor(self, X: Array) -> Callable[[], Any]:
        predict = self._model.predict_proba if self._workload.classifies else self._model.predict
        return lambda: predict(X)
