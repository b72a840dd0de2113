"""Several networks whose outputs are averaged, in one file."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

import deltarule as dr
from deltarule.network.model_file import save_networks

X = np.random.default_rng(0).standard_normal((7, 3))


def network(seed: int = 0, outputs: int = 2, inputs: int = 3, dtype: str = "float32") -> dr.Network:
    layers = [dr.Dense(4, "tanh"), dr.BatchNorm(), dr.Dense(outputs, "softmax")]
    return dr.Network(layers, inputs=inputs, seed=seed, dtype=dtype)


def test_it_predicts_the_mean() -> None:
    nets = [network(seed) for seed in range(3)]
    ensemble = dr.Ensemble(nets)
    found = ensemble.predict(X)
    expected = np.mean([net.predict(X) for net in nets], axis=0, dtype=np.float64)
    assert found.dtype == np.float32
    assert np.array_equal(found, expected.astype(np.float32))
    assert (len(ensemble), ensemble.inputs, ensemble.outputs) == (3, 3, 2)
    assert np.array_equal(ensemble.predict(X[0]), found[:1])
    mixed = dr.Ensemble([network(), network(dtype="float64")])
    assert mixed.predict(X).dtype == np.float64


@pytest.mark.parametrize("count", [1, 3])
def test_one_file_holds_all(count: int, tmp_path: Path) -> None:
    ensemble = dr.Ensemble(network(seed) for seed in range(count))
    path = ensemble.save(tmp_path / "ensemble.safetensors")
    twin = dr.Ensemble.load(path)
    assert [net.vector.tobytes() for net in twin.networks] == [
        net.vector.tobytes() for net in ensemble.networks
    ]
    assert np.array_equal(twin.predict(X), ensemble.predict(X))
    if count > 1:
        with pytest.raises(dr.FileFormatError, match=r"has 3 networks, .*Ensemble\.load\(path\)"):
            dr.load(path)


def test_networks_that_do_not_belong_together_are_refused() -> None:
    named = network()
    named.feature_names = ("a", "b", "c")
    for others, what in (
        ([network(outputs=3)], "the same outputs"),
        ([network(inputs=2)], "the same inputs"),
        ([named], "the same feature_names"),
        (["net"], "must be deltarule.Networks"),
    ):
        with pytest.raises(dr.DeltaruleError, match=what):
            dr.Ensemble([network(), *others])
    with pytest.raises(dr.InvalidValueError, match="at least one"):
        dr.Ensemble([])


def test_the_networks_of_an_estimator_are_no_ensemble() -> None:
    file = io.BytesIO()
    save_networks([network(), network(1)], file, {"columns": []})
    file.seek(0)
    with pytest.raises(dr.FileFormatError, match=r"deltarule\.sklearn\.load"):
        dr.Ensemble.load(file)
