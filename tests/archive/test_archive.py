"""What earlier versions wrote loads for ever, and gives what they recorded; see ``make.py``."""

from __future__ import annotations

import json
import logging
import os
import shutil
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest

import deltarule as dr
from deltarule.network.model_file import load_networks
from members import own
from oracles import oracle
from problems import TARGETS

HERE = Path(__file__).parent
FOLDERS = sorted(path for path in HERE.iterdir() if (path / "expected.json").exists())
SAID = {folder.name: json.loads((folder / "expected.json").read_text()) for folder in FOLDERS}
ENGINES = ["reference", *TARGETS]
"""Engines, the native one by its vector target."""


def files(kind: str) -> list[Any]:
    return [
        pytest.param(version, name, id=f"{version}-{name.removesuffix('.safetensors')}")
        for version, said in SAID.items()
        for name in said[kind]
    ]


def data(version: str) -> dict[str, Any]:
    found = SAID[version]["data"]
    arrays = {name: np.array(found[name]) for name in found.keys() - {"validation"}}
    return arrays | {"validation": tuple(np.array(part) for part in found["validation"])}


def predicted(net: dr.Network, X: Any, engine: str) -> Any:
    if engine == "reference":
        return net.predict(X, engine=engine)
    with mock.patch.dict(os.environ, DELTARULE_TARGET=engine):
        return net.predict(X, engine="native")


def check(net: dr.Network, X: Any, recorded: Any, engine: str) -> None:
    """Compare predictions with those recorded; the tolerance is that of ``agreement.py``.

    Each operation is off by at most k eps of its operands, k being its longest sum: as much as
    the parameters are moved here, at random. Twice the largest change of three such draws.
    """
    eps, rng = np.finfo(net.dtype).eps, np.random.default_rng(1)
    k = 16 + max(max(array.shape) for array in net.parameters.values())
    plain, changes = net.predict(X, engine="reference"), []
    for _ in range(3):
        moved = net.copy()
        moved.vector *= (1 + k * eps * rng.choice([-1, 1], net.vector.shape)).astype(net.dtype)
        changes.append(np.abs(moved.predict(X, engine="reference") - plain))
    tolerance = 2 * np.max(changes) + 4 * eps * np.max(np.abs(recorded))
    np.testing.assert_allclose(predicted(net, X, engine), recorded, rtol=0, atol=tolerance)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("version", "name"), files("networks"))
def test_networks_predict_what_they_did(version: str, name: str, engine: str) -> None:
    found = load_networks(HERE / version / name).networks
    recorded = SAID[version]["networks"][name]
    for net, outputs in zip(found, recorded, strict=True):
        check(net, data(version)["X"], np.array(outputs), engine)


@pytest.mark.parametrize(("version", "name"), files("checkpoints"))
def test_checkpoints_go_on(
    version: str, name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)  # that another engine's last bits may differ
    said, known = SAID[version]["checkpoints"][name], data(version)
    path = Path(shutil.copy(HERE / version / name, tmp_path))
    for engine in ENGINES:
        check(dr.load(path), known["X"], np.array(said["loaded"]), engine)
    given = {key: known[key] for key in said["again"]}
    net, history = dr.resume(path, known["X"], known[said["y"]], progress=False, **given)
    assert history.epochs == said["epochs"]
    if "lbfgs" in name:  # which forgets the curvature: no step of it is as it was
        return
    # Some steps lose some digits, not half of them; a wrong state changes the first.
    recorded = np.array(said["resumed"])
    tolerance = np.sqrt(np.finfo(net.dtype).eps) * np.abs(recorded).max()
    np.testing.assert_allclose(net.predict(known["X"]), recorded, rtol=0, atol=tolerance)


@pytest.mark.parametrize(("version", "name"), files("estimators"))
def test_estimators_predict_what_they_did(version: str, name: str) -> None:
    oracle("sklearn")
    oracle("pyarrow")
    from deltarule import sklearn as ours

    estimator = ours.load(HERE / version / name)
    X = SAID[version]["table"] if "tabular" in name else data(version)["X"]
    for method, recorded in SAID[version]["estimators"][name].items():
        found = getattr(estimator, method)(X)
        scale = np.abs(recorded).max()
        atol = 64 * np.finfo(np.float32).eps * scale  # sums of a few dozen numbers
        np.testing.assert_allclose(found, recorded, rtol=0, atol=atol)


def test_the_archive_has_each_kind_and_is_small() -> None:
    """``make.py`` adds what is new."""
    (newest,) = FOLDERS[-1:]
    headers = " ".join(
        path.read_bytes()[:9000].decode(errors="replace").replace('\\"', '"')
        for path in newest.glob("*.safetensors")
    )
    missing = [
        (family, name)
        for family in ("layer", "activation", "initializer", "loss", "optimizer", "schedule",
                       "penalty", "constraint", "clip", "metric")
        for name in own(family)
        if f'"{family}": "{name}"' not in headers and name != "add"  # a part of Residual
    ]  # fmt: skip
    assert missing == []
    assert sum(path.stat().st_size for path in newest.iterdir()) < 300_000
