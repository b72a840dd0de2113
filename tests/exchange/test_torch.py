"""Networks as PyTorch modules and back: the same numbers, the usual names, the rest refused."""

from __future__ import annotations

import sys

import numpy as np
import pytest

import deltarule as dr
from deltarule.exchange import from_state_dict, from_torch, to_state_dict, to_torch
from deltarule.exchange.torch import ACTIVATIONS
from exchanged import NETWORKS, WIDTH, network, prediction, rows
from members import assert_complete, members
from oracles import oracle

torch = oracle("torch")
nn = torch.nn

DTYPES = ("float32", "float64")


def outputs(module, X: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return module(torch.from_numpy(X)).numpy()


def test_every_activation_has_a_module() -> None:
    assert_complete("activation", {f.name for f in ACTIVATIONS}, "module of PyTorch")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NETWORKS)
def test_a_module_gives_what_predict_gives_and_comes_back(name: str, dtype: str) -> None:
    net = network(name, dtype)
    X = rows(net)
    module = to_torch(net)
    expected, tolerance = prediction(net, X)
    found = outputs(module, X)
    assert found.dtype == net.dtype
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)

    back = from_torch(module)
    assert (back.inputs, back.dtype) == (net.inputs, net.dtype)
    np.testing.assert_array_equal(back.vector, net.vector)
    np.testing.assert_array_equal(back.state_vector, net.state_vector)
    np.testing.assert_allclose(back.predict(X), expected, rtol=0, atol=tolerance)
    frozen = {n: not f for n, f in net.learning_rate_factors.items()}
    assert {n: not f for n, f in back.learning_rate_factors.items()} == frozen


@pytest.mark.parametrize("name", ["batch norm", "residual with projection"])
def test_in_training_a_module_does_what_the_network_does_in_training(name: str) -> None:
    net = network(name, "float64")
    net = dr.Network([_without_dropout(layer) for layer in net.layers], net.inputs, dtype="float64")
    X = rows(net)
    module = to_torch(net).train()
    targets = np.zeros((len(X), net.outputs))
    trace = dr.backpropagate(net, X, targets, dr.SquaredError(), training=True)
    found = module(torch.from_numpy(X))
    # Means over 11 rows and sums of up to 30 products of numbers near 1.
    tolerance = dict(rtol=0, atol=1000 * np.finfo(float).eps)
    np.testing.assert_allclose(
        found.detach().numpy(), list(trace.activations.values())[-1], **tolerance
    )
    (0.5 * ((found - torch.from_numpy(targets)) ** 2).sum(1).mean()).backward()
    gradients = [p.grad.numpy() for p in module.parameters()]
    for ours, theirs in zip(trace.gradients.values(), gradients, strict=True):
        np.testing.assert_allclose(theirs.T if theirs.ndim == 2 else theirs, ours, **tolerance)


def _without_dropout(layer: dr.Layer) -> dr.Layer:
    if isinstance(layer, dr.Residual):
        return dr.Residual([inner for inner in layer.layers if not isinstance(inner, dr.Dropout)])
    return layer


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("f", members("activation"), ids=repr)
def test_an_activation_goes_over_and_comes_back(f: dr.ActivationFunction, dtype: str) -> None:
    """Off by k eps: of exponentials and logarithms, and of a probability times |z| <= 38."""
    net = dr.Network([dr.Dense(4, f)], inputs=4, dtype=dtype)
    net.parameters["0.weight"] = np.eye(4)
    z = np.random.default_rng(0).permutation(np.linspace(-60, 60, 400).reshape(-1, 4)).astype(dtype)
    module, eps = to_torch(net), np.finfo(dtype).eps
    np.testing.assert_allclose(outputs(module, z), net.predict(z), rtol=8 * eps, atol=38 * eps)
    (layer,) = from_torch(module).layers
    assert layer.activation == f


def test_names_and_orientation_are_the_usual_ones() -> None:
    net = dr.Network([dr.Dense(3, "relu"), dr.BatchNorm(), dr.Dense(1)], inputs=2)
    state = to_state_dict(net)
    usual = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.BatchNorm1d(3), nn.Linear(3, 1))
    assert {k: v.shape for k, v in state.items()} == {
        k: v.shape for k, v in usual.state_dict().items()
    }
    usual.load_state_dict(state)
    np.testing.assert_array_equal(state["0.weight"].numpy(), net.parameters["0.weight"].T)


def test_settings_of_layers_go_over_and_come_back() -> None:
    layers = (dr.BatchNorm(1e-3, 0.3), dr.LayerNorm(1e-2), dr.Dropout(0.3), dr.Scale(), dr.Dense(2))
    module = to_torch(dr.Network(layers, inputs=3))
    assert (module[0].eps, module[0].momentum, module[1].eps, module[2].p) == (1e-3, 0.3, 1e-2, 0.3)
    assert from_torch(module).layers == layers


def test_a_missing_code_gives_nan_in_its_row_alone() -> None:
    net = network("embedding", "float32")
    X = rows(net)
    expected = net.predict(X)
    X[2, 1] = np.nan
    found = outputs(to_torch(net), X)
    assert np.isnan(found[2]).all()
    np.testing.assert_allclose(np.delete(found, 2, 0), np.delete(expected, 2, 0), rtol=1e-5)


def test_what_comes_over_shares_no_memory() -> None:
    net = dr.Network([dr.Dense(3)], inputs=2)
    before = net.vector.copy()
    module = to_torch(net)
    with torch.no_grad():
        for tensor in module.parameters():
            tensor.fill_(7)
    np.testing.assert_array_equal(net.vector, before)
    from_torch(module).vector[:] = 1
    assert float(module[0].bias[0].detach()) == 7


class Names(nn.Module):
    """A module as people write them, with names of their own."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(4, 6)
        self.norm = nn.LayerNorm(6)
        self.fc2 = nn.Linear(6, 2)

    def forward(self, x):
        return self.fc2(torch.tanh(self.norm(self.fc1(x)))).softmax(dim=1)


LAYERS = [dr.Dense(6), dr.LayerNorm(), dr.Activation("tanh"), dr.Dense(2, "softmax")]


@pytest.mark.parametrize("kind", ["tensors", "arrays", "float64", "half"])
def test_a_state_dict_is_matched_by_order_and_shape(kind: str) -> None:
    torch.manual_seed(0)
    module = Names().to({"float64": torch.float64, "half": torch.bfloat16}.get(kind, torch.float32))
    state = module.state_dict()
    if kind == "arrays":
        state = {name: tensor.numpy() for name, tensor in state.items()}
    net = from_state_dict(state, LAYERS)
    assert net.dtype == ("float64" if kind == "float64" else "float32")
    X = rows(dr.Network([dr.Dense(1)], inputs=4, dtype=net.dtype))
    expected, tolerance = prediction(net, X)
    found = outputs(module.to(getattr(torch, net.dtype.name)), X)
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)
    blank = dr.Network(LAYERS, inputs=4).freeze("1")
    again = from_state_dict(state, blank)
    np.testing.assert_array_equal(again.vector, net.vector)
    assert again.learning_rate_factors["1.scale"] == 0
    assert not np.array_equal(blank.vector, net.vector.astype("float32"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda s: s.pop("fc2.bias"),
            "layer '3', Dense\\(2, softmax\\), needs 'bias', 'fc2' has none",
        ),
        (lambda s: s.update({"fc2.scale": 1.0}), "has no place for 'fc2.scale'"),
        (
            lambda s: s.update({"fc2.weight": np.ones((6, 2))}),
            r"takes 'weight' of shape \(2, 6\), 'fc2.weight' has \(6, 2\)",
        ),
        (
            lambda s: s.update({"fc3.weight": np.ones((6, 2))}),
            "3 groups .* has 4: fc1, norm, fc2, fc3",
        ),
        (lambda s: s.clear(), "do not say how many columns"),
        (
            lambda s: s.update({"epoch": 3, "model": dict(s)}),
            "'model' in it is a mapping, as in a checkpoint: pass what stands under 'model'",
        ),
        (lambda s: s.update({"fc1.weight": "x"}), "'fc1.weight' must be an array of numbers"),
    ],
)
def test_a_state_dict_that_does_not_fit_is_refused(change, message: str) -> None:
    state = dict(Names().state_dict())
    change(state)
    with pytest.raises((ValueError, TypeError), match=message) as held:
        from_state_dict(state, LAYERS)
    assert isinstance(held.value, dr.DeltaruleError)


def test_nested_sequentials_and_what_does_nothing_are_taken() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Flatten(), nn.Sequential(nn.Linear(4, 6), nn.Sequential(nn.GELU())), nn.Identity(),
        nn.Dropout(0.3), nn.LayerNorm(6, bias=False), nn.Linear(6, 2, bias=False), nn.Softmax(-1),
    ).eval()  # fmt: skip
    module[4].weight.requires_grad_(False)
    net = from_torch(module)
    assert net.layers == (
        dr.Dense(6, "gelu"), dr.Dropout(0.3), dr.LayerNorm(), dr.Dense(2, "softmax", bias=False),
    )  # fmt: skip
    assert net.learning_rate_factors["2.scale"] == net.learning_rate_factors["2.shift"] == 0
    assert net.learning_rate_factors["3.weight"] == 1
    X = rows(dr.Network([dr.Dense(1)], inputs=4))
    expected, tolerance = prediction(net, X)
    np.testing.assert_allclose(outputs(module, X), expected, rtol=0, atol=tolerance)


def test_a_module_that_stands_in_two_places_counts_twice() -> None:
    torch.manual_seed(0)
    relu = nn.ReLU()
    module = nn.Sequential(nn.Linear(4, 6), relu, nn.Linear(6, 5), relu)
    net = from_torch(module)
    assert net.layers == (dr.Dense(6, "relu"), dr.Dense(5, "relu"))
    tied = nn.Linear(4, 4)
    with pytest.raises(ValueError, match="share one array of weights"):
        from_torch(nn.Sequential(tied, relu, tied))


def test_one_module_alone_is_taken() -> None:
    assert from_torch(nn.Linear(4, 3)).layers == (dr.Dense(3),)


@pytest.mark.parametrize(
    ("module", "error", "message"),
    [
        (nn.Sequential(nn.Linear(2, 2), nn.Conv1d(2, 2, 1)), TypeError, "module '1', Conv1d"),
        (nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.PReLU())), TypeError, "'1.0', PReLU"),
        (Names(), TypeError, "'given', Names.*from_state_dict"),
        (nn.BatchNorm1d(2, affine=False), ValueError, "BatchNorm1d .*affine=False"),
        (nn.BatchNorm1d(2, track_running_stats=False), ValueError, "track_running_stats"),
        (nn.BatchNorm1d(2, momentum=None), ValueError, "momentum=None"),
        (nn.LayerNorm((2, 2)), ValueError, "columns of a row"),
        (nn.LayerNorm(2, elementwise_affine=False), ValueError, "elementwise_affine"),
        (nn.Softmax(dim=0), ValueError, "dim=0"),
        (nn.LogSoftmax(dim=1), ValueError, r"put torch.nn.Softmax\(dim=1\) in its place"),
        (nn.Softplus(beta=2), ValueError, "beta=2"),
        (nn.Flatten(0), ValueError, "rows must stay rows"),
        (nn.Sequential(nn.ReLU()), ValueError, "do not say how many columns"),
        (nn.Sequential(), ValueError, "no layers"),
        ("module", TypeError, "takes a torch.nn.Module, got 'module'"),
    ],
)
def test_what_has_no_counterpart_is_refused(module, error, message: str) -> None:
    with pytest.raises(error, match=message) as held:
        from_torch(module)
    assert isinstance(held.value, dr.DeltaruleError)


class Derived(dr.Dense):
    def forward(self, x, parameters, training):
        return x @ parameters["weight"], x

    def backward(self, gradient, cache, parameters):
        return gradient @ parameters["weight"].T, {"weight": cache.T @ gradient}


def test_formulas_in_python_are_refused_by_name() -> None:
    net = dr.Network([dr.Dense(3), Derived(2, bias=False)], inputs=WIDTH)
    with pytest.raises(dr.DeltaruleError, match="layer '1': the layer Derived has formulas"):
        to_torch(net)


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(dr.MissingExtraError, match="pip install torch"):
        to_torch(dr.Network([dr.Dense(1)], inputs=1))
