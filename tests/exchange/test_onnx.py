"""Networks exported to ONNX: valid, of core operators, and equal to `predict` wherever they run."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import deltarule as dr
from deltarule.exchange import to_onnx
from deltarule.exchange.operators import ACTIVATIONS, LAYERS
from exchanged import NETWORKS, RUNTIMES, WIDTH, network, prediction, rows, runner
from members import assert_complete, members
from oracles import oracle

onnx = oracle("onnx")

DTYPES = ("float32", "float64")


def test_every_activation_and_layer_has_a_form() -> None:
    assert_complete("activation", {f.name for f in ACTIVATIONS}, "form in ONNX")
    lays_out_others = {"residual"}
    assert_complete("layer", {layer.name for layer in LAYERS}, "form in ONNX", lays_out_others)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_gives_what_predict_gives(name: str, dtype: str) -> None:
    net = network(name, dtype)
    X = rows(net)
    model = to_onnx(net)
    onnx.checker.check_model(model, full_check=True)
    expected, tolerance = prediction(net, X)
    for runtime in RUNTIMES:
        for n in (len(X), 1):
            found = runner(model, runtime)({"X": X[:n]})["Y"]
            assert found.dtype == net.dtype
            np.testing.assert_allclose(found, expected[:n], rtol=0, atol=tolerance, err_msg=runtime)


def arguments(dtype: str) -> np.ndarray:
    """Small, usual and extreme ones, to a quarter of the largest of the dtype; (n, 4)."""
    largest = np.finfo(dtype).max / 4
    far = np.geomspace(1e-30, largest, 200)
    values = np.concatenate([np.linspace(-40, 40, 2000), far, -far]).astype(dtype)
    return np.random.default_rng(0).permutation(values).reshape(-1, 4)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("f", members("activation"), ids=repr)
def test_an_activation_is_right_at_any_argument(f: dr.ActivationFunction, dtype: str) -> None:
    """Off by k eps times the value or 1, whichever is larger.

    The factors sigma and Phi are off by eps / 2, the logarithm and the exponential of other
    libraries by a few eps, and a factor |z| <= 38 comes with them before they are exactly 0.
    """
    model = to_onnx(dr.Network([dr.Activation(f)], inputs=4, dtype=dtype))
    z = arguments(dtype)
    expected = f(z)
    atol, rtol = 38 * np.finfo(dtype).eps, 4 * np.finfo(dtype).eps
    for runtime in RUNTIMES:
        run = runner(model, runtime)
        with np.errstate(all="ignore"):  # of the evaluator, which computes both sides of Where
            found, nothing = run({"X": z})["Y"], run({"X": np.full((1, 4), np.nan, dtype)})["Y"]
            far = np.array([[-np.inf, np.inf, -1, 1]], dtype)
            at_infinity, limit = run({"X": far})["Y"], f(far)
        np.testing.assert_allclose(found, expected, rtol=rtol, atol=atol, err_msg=runtime)
        assert np.isnan(nothing).all()
        if f.name != "softmax":  # infinity minus infinity
            np.testing.assert_allclose(at_infinity, limit, rtol=rtol, atol=atol, err_msg=runtime)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_what_is_tiny_and_matters_stays_right(runtime: str, dtype: str) -> None:
    """softplus is a rate, whose logarithm is taken; elu is about z near 0."""
    z = -np.geomspace(1e-6, 60, 100).astype(dtype).reshape(-1, 4)
    for f in (dr.activations.Softplus(), dr.activations.ELU()):
        run = runner(to_onnx(dr.Network([dr.Activation(f)], inputs=4, dtype=dtype)), runtime)
        np.testing.assert_allclose(run({"X": z})["Y"], f(z), rtol=8 * np.finfo(dtype).eps)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_layer_norm_does_not_lose_the_spread_of_large_values(runtime: str) -> None:
    net = dr.Network([dr.LayerNorm()], inputs=4, dtype="float64")
    X = 1e6 + rows(net)
    expected = net.predict(X)
    found = runner(to_onnx(net), runtime)({"X": X})["Y"]
    # The mean is off by 4 eps 1e6, and is divided by a spread of about 1.
    np.testing.assert_allclose(found, expected, rtol=0, atol=4e7 * np.finfo(float).eps)


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("code", [-1.0, 4.0, 1.5, np.nan])
def test_a_code_that_is_none_gives_nan_in_its_row_alone(runtime: str, code: float) -> None:
    net = network("embedding", "float32")
    X = rows(net)
    expected = net.predict(X)
    X[2, 1] = code
    found = runner(to_onnx(net), runtime)({"X": X})["Y"]
    assert np.isnan(found[2]).all()
    np.testing.assert_allclose(np.delete(found, 2, 0), np.delete(expected, 2, 0), rtol=1e-5)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NETWORKS)
def test_only_core_operators_of_the_stated_version_are_used(name: str, dtype: str) -> None:
    model = to_onnx(network(name, dtype))
    assert [(i.domain, i.version) for i in model.opset_import] == [("", 13)]
    assert model.ir_version == 7
    assert {node.domain for node in model.graph.node} == {""}
    onnx.checker.check_model(model, full_check=True)


def test_the_file_is_the_model_and_the_same_each_time(tmp_path: Path) -> None:
    net = network(next(iter(NETWORKS)), "float32")
    net.feature_names = [f"column {i}" for i in range(WIDTH)]
    model = to_onnx(net, tmp_path / "a.onnx")
    to_onnx(net.copy(), tmp_path / "b.onnx")
    content = (tmp_path / "a.onnx").read_bytes()
    assert content == (tmp_path / "b.onnx").read_bytes()
    assert onnx.load(tmp_path / "a.onnx") == model
    assert model.producer_name == "deltarule"
    assert model.producer_version == dr.__version__
    held = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(held["feature_names"]) == list(net.feature_names)


@dataclass(frozen=True)
class Cube(dr.ActivationFunction):
    def __call__(self, z):
        return z**3

    def derivative(self, z, a):
        return 3 * z * z


@dataclass(frozen=True, repr=False)
class Doubled(dr.Dense):
    def forward(self, x, parameters, training):
        return 2 * x @ parameters["weight"], x

    def backward(self, gradient, cache, parameters):
        return 2 * gradient @ parameters["weight"].T, {"weight": 2 * cache.T @ gradient}


@pytest.mark.parametrize("layer", [dr.Dense(2, Cube()), Doubled(2, bias=False)], ids=["f", "layer"])
def test_formulas_in_python_are_refused_by_name(layer: dr.Layer, tmp_path: Path) -> None:
    name = "Cube" if type(layer.activation) is Cube else "Doubled"
    with pytest.raises(TypeError, match=f"layer '1': the .* {name} has formulas in Python") as held:
        to_onnx(dr.Network([dr.Dense(3), layer], inputs=2), tmp_path / "no.onnx")
    assert isinstance(held.value, dr.DeltaruleError)
    assert not list(tmp_path.iterdir())


def test_what_is_no_network_is_refused() -> None:
    with pytest.raises(TypeError, match=r"to_onnx takes a deltarule.Network, .*, got 'net'"):
        to_onnx("net")


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(dr.MissingExtraError, match="pip install onnx"):
        to_onnx(dr.Network([dr.Dense(1)], inputs=1))


def test_exchange_is_imported_without_any_other_library() -> None:
    code = """
import sys
for name in ("onnx", "torch", "sklearn", "scipy", "pandas", "polars", "pyarrow", "narwhals"):
    sys.modules[name] = None
import deltarule as dr
from deltarule import exchange
net = dr.Network([dr.Dense(1)], inputs=1)
for call in (exchange.to_onnx, exchange.to_torch, exchange.from_torch, exchange.to_sklearn):
    try:
        call(net)
    except dr.MissingExtraError as error:
        assert "pip install" in str(error)
    else:
        raise AssertionError(call)
state = {"a.weight": [[1.0]], "a.bias": [0.0]}
assert exchange.from_state_dict(state, net).vector.tolist() == [1, 0]
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_more_than_a_file_holds_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deltarule.exchange.graph.MOST_BYTES", 100)
    with pytest.raises(ValueError, match="less than 2 GiB"):
        to_onnx(dr.Network([dr.Dense(5), dr.Dense(5)], inputs=3))
