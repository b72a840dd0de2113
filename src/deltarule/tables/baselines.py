"""What a model must beat: the most frequent class or the mean, and a linear model.

All of them see the training rows alone, as float32 columns that :class:`Columns` made.
"""

from __future__ import annotations

import numpy as np

from deltarule.base.types import Array
from deltarule.formulas.losses import CrossEntropy, SquaredError
from deltarule.formulas.optimizers import Adam
from deltarule.formulas.penalties import L2
from deltarule.formulas.schedules import Cosine
from deltarule.network.layers import Dense
from deltarule.network.network import Network
from deltarule.tables.ridge import ridge as exact_ridge
from deltarule.training.train import train

_STEPS = 2_000
_BATCH = 256
_RATE = 0.02
_LARGEST = 1_000
"""Up to so many columns or rows, the ridge regression is solved exactly."""


def majority(y: Array, classes: int, n: int) -> Array:
    """Return the shares of the classes among the training rows ``y``, for each of n rows."""
    share = np.bincount(y, minlength=classes) / len(y)
    return np.broadcast_to(share, (n, classes)).copy()


def mean(y: Array, n: int) -> Array:
    """Return the mean of the training values ``y``, for each of n rows."""
    return np.full(n, float(y.mean()))


def logistic(X: Array, y: Array, held: Array, classes: int, *, seed: int = 0) -> Array:
    """Return the probabilities (m, classes) that a logistic regression gives the rows ``held``.

    A network without hidden layers: cross-entropy, with the penalty of scikit-learn's default
    (C = 1): ``sum(W^2) / 2n``.
    """
    X, held = standardised(X, held)
    return _linear_network(X, y, held, classes, seed).astype(np.float64)


def ridge(X: Array, y: Array, held: Array, *, seed: int = 0) -> Array:
    """Return the values (m,) that a ridge regression predicts for the rows ``held``.

    Its strength is that of :func:`deltarule.tables.ridge.ridge`.
    """
    X, held = standardised(X, held)
    centre, spread = float(y.mean()), float(y.std()) or 1.0
    t = (y - centre) / spread
    if min(X.shape) > _LARGEST:
        answer = _linear_network(X, t, held, 0, seed)[:, 0].astype(np.float64)
    else:
        weights, bias = exact_ridge(X.astype(np.float64), t[:, None])
        answer = (held @ weights + bias)[:, 0]
    return centre + spread * answer


def standardised(X: Array, held: Array) -> tuple[Array, Array]:
    """Return training and held-out rows with columns of mean 0 and deviation 1, float32.

    A column that does not vary is 0.
    """
    centre = X.mean(axis=0, dtype=np.float64)
    spread = X.std(axis=0, dtype=np.float64)
    flat = spread <= 1e-6 * np.maximum(np.abs(centre), 1e-30)
    scale = np.where(flat, 0, 1 / np.where(flat, 1, spread))
    first, second = (((part - centre) * scale).astype(np.float32) for part in (X, held))
    return first, second


def _linear_network(X: Array, y: Array, held: Array, classes: int, seed: int) -> Array:
    """Train a network without hidden layers, for ``classes`` or, if 0, for one number."""
    n = len(X)
    batch = min(n, _BATCH)
    epochs = max(2, -(-_STEPS * batch // n))
    layer = Dense(classes, "softmax") if classes else Dense(1)
    network = Network([layer], inputs=X.shape[1], seed=seed, weight_initializer="zeros")
    train(
        network,
        X,
        y,
        loss=CrossEntropy() if classes else SquaredError(),
        optimizer=Adam(Cosine(_RATE)),
        penalty=L2(1 / n),
        epochs=epochs,
        batch_size=batch,
        seed=seed,
        progress=False,
    )
    return network.predict(held)
