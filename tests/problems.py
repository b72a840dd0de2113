"""Data and short trainings that many tests begin from, and how much of everything is tried."""

from __future__ import annotations

import os

import numpy as np

import deltarule as dr
from deltarule.engines import native

# Under sanitizers, where all is ten times slower: fewer examples and shorter runs.
FEW = os.environ.get("DELTARULE_FEW_EXAMPLES") == "1"

# `make soak`: every combination where a pairwise design stands for them, and many more examples.
SOAK = os.environ.get("DELTARULE_SOAK") == "1"

_TARGETS = native.core().targets() if native.core() is not None else []
TARGETS = [name for name in _TARGETS if name != "avx512_bf16"]
"""The vector targets that this machine has, without the one that is another in bfloat16 alone."""


def examples(loss, outputs, *, n=37, inputs=7, seed=0, dtype=np.float64):
    """Random data in the form that a loss takes."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, inputs)).astype(dtype)
    name = loss if isinstance(loss, str) else loss.name
    if name == "cross_entropy":
        return X, rng.integers(0, outputs, n)
    if name == "binary_cross_entropy":
        return X, rng.integers(0, 2, (n, outputs)).astype(dtype)
    if name == "poisson":
        return X, rng.poisson(2, (n, outputs)).astype(dtype)
    return X, rng.normal(size=(n, outputs)).astype(dtype)


def trained(
    engine,
    layers,
    X,
    y,
    *,
    loss="squared_error",
    optimizer=None,
    epochs=1,
    batch_size=10,
    dtype="float64",
    threads=None,
    sample_weight=None,
    **settings,
):
    """Return (network, trainer, history) after training from one fixed start."""
    network = dr.Network(layers, inputs=X.shape[1], seed=1, dtype=dtype)
    trainer = dr.Trainer(
        network,
        loss=loss,
        optimizer=optimizer or dr.SGD(0.01, momentum=0.9),
        engine=engine,
        threads=threads,
        seed=3,
        **settings,
    )
    history = trainer.run(
        X, y, epochs=epochs, batch_size=batch_size, sample_weight=sample_weight, progress=False
    )
    return network, trainer, history


def bits(layers, X, y, threads, **settings):
    """Return all that a native training leaves, as bytes."""
    net, trainer, history = trained("native", layers, X, y, threads=threads, **settings)
    return (
        net.vector.tobytes(), net.state_vector.tobytes(),
        trainer._executor.optimizer_state.tobytes(),
        np.array(history["loss"]).tobytes(), net.predict(X, threads=threads).tobytes(),
    )  # fmt: skip
