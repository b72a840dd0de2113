"""What the native tests share: skipped where it is absent, run for every vector target."""

import os

import numpy as np
import pytest

import deltarule as dr
from deltarule.engines import native

# Under sanitizers, where all is ten times slower: fewer examples and shorter runs.
FEW = os.environ.get("DELTARULE_FEW_EXAMPLES") == "1"

TARGETS = native.core().targets() if native.core() is not None else []


def pytest_collection_modifyitems(items):
    if native.core() is None:
        if os.environ.get("DELTARULE_REQUIRE_ORACLES") == "1":
            raise pytest.UsageError(f"no native engine: {native.unavailable()}")
        for item in items:
            if "tests/native" in str(item.path):
                item.add_marker(
                    pytest.mark.skip(reason=f"no native engine: {native.unavailable()}")
                )


@pytest.fixture(params=TARGETS)
def target(request, monkeypatch):
    """Each vector target that this machine has."""
    monkeypatch.setenv("DELTARULE_TARGET", request.param)
    return request.param


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
