"""Networks from and to scikit-learn's multilayer perceptrons: the same predictions."""

from __future__ import annotations

import sys

import numpy as np
import pytest

import deltarule as dr
from deltarule.exchange import from_sklearn, to_sklearn
from exchanged import prediction
from oracles import oracle

neural_network = oracle("sklearn.neural_network")
MLPClassifier, MLPRegressor = neural_network.MLPClassifier, neural_network.MLPRegressor

rng = np.random.default_rng(0)
X = rng.normal(size=(30, 4))
KIND = rng.integers(0, 3, 30)
TARGETS = {
    "binary": (MLPClassifier, np.array(["no", "yes"])[KIND % 2]),
    "multiclass": (MLPClassifier, np.array(["a", "b", "c"])[KIND]),
    "multilabel": (MLPClassifier, np.column_stack([KIND > 0, KIND > 1]).astype(int)),
    "regression": (MLPRegressor, X @ [1.0, 2.0, 0.0, -1.0]),
    "several values": (MLPRegressor, X[:, :2] ** 2),
}


def fitted(name: str, activation: str, dtype: str):
    kind, y = TARGETS[name]
    mlp = kind(hidden_layer_sizes=(7, 5), activation=activation, random_state=0)
    known = (
        {} if kind is MLPRegressor else {"classes": np.arange(2) if y.ndim == 2 else np.unique(y)}
    )
    for _ in range(20):
        mlp.partial_fit(X.astype(dtype), y, **known)
    return mlp


def numbers(mlp, X: np.ndarray) -> np.ndarray:
    """What the last layer gives, (n, outputs)."""
    if isinstance(mlp, MLPRegressor):
        return mlp.predict(X).reshape(len(X), -1)
    found = mlp.predict_proba(X)
    return found[:, 1:] if mlp.n_outputs_ == 1 else found


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
@pytest.mark.parametrize("name", TARGETS)
def test_a_fitted_model_comes_over_and_goes_back(name: str, activation: str, dtype: str) -> None:
    mlp = fitted(name, activation, dtype)
    net = from_sklearn(mlp)
    assert net.dtype == dtype
    A = X.astype(dtype)
    expected, tolerance = prediction(net, A)
    np.testing.assert_allclose(numbers(mlp, A), expected, rtol=0, atol=tolerance)

    classes = None if name in ("multilabel", "regression", "several values") else mlp.classes_
    back = to_sklearn(net, classes)
    assert type(back) is type(mlp)
    assert back.activation == activation
    np.testing.assert_array_equal(numbers(back, A), numbers(mlp, A))
    np.testing.assert_array_equal(back.predict(A), mlp.predict(A))


def test_a_poisson_regressor_comes_over_and_goes_back() -> None:
    mlp = MLPRegressor(hidden_layer_sizes=(3,), loss="poisson", random_state=0).partial_fit(X, KIND)
    net = from_sklearn(mlp)
    assert net.layers[-1].activation == dr.activations.Exp()
    np.testing.assert_array_equal(to_sklearn(net).predict(X), mlp.predict(X))
    np.testing.assert_allclose(net.predict(X)[:, 0], mlp.predict(X), rtol=1e-14)


def test_softmax_over_two_units_becomes_the_sigmoid_of_their_difference() -> None:
    net = dr.Network(
        [
            dr.Dense(5), dr.Activation("tanh"), dr.Dropout(0.2),
            dr.Dense(2, "softmax", bias=False),
        ],
        inputs=4, dtype="float64",
    )  # fmt: skip
    mlp = to_sklearn(net, ["no", "yes"])
    expected, tolerance = prediction(net, X)
    np.testing.assert_allclose(mlp.predict_proba(X), expected, rtol=0, atol=tolerance)
    np.testing.assert_array_equal(mlp.predict(X), mlp.classes_[expected.argmax(axis=1)])


def test_what_came_over_can_be_fitted_further_and_keeps_names() -> None:
    pandas = oracle("pandas")
    frame = pandas.DataFrame(X, columns=list("abcd"))
    mlp = MLPRegressor(hidden_layer_sizes=(3,), random_state=0).partial_fit(frame, X[:, 0])
    net = from_sklearn(mlp)
    assert net.feature_names == ("a", "b", "c", "d")
    back = to_sklearn(net)
    before = back.predict(frame)
    assert back.n_iter_ == 0
    back.partial_fit(frame, X[:, 0])
    assert back.n_iter_ == 1
    # The first step of Adam moves whatever has a gradient by the learning rate, 0.001.
    moved = np.abs(back.intercepts_[-1] - mlp.intercepts_[-1])
    np.testing.assert_allclose(moved, 1e-3, rtol=1e-5)
    assert not np.array_equal(back.predict(frame), before)


NET = dr.Network([dr.Dense(3, "tanh"), dr.Dense(3, "softmax")], inputs=2)


@pytest.mark.parametrize(
    ("layers", "classes", "message"),
    [
        ([dr.Dense(2), dr.BatchNorm()], None, "Dense layers alone, this one has BatchNorm"),
        ([dr.Dense(2, "tanh"), dr.Activation("tanh")], None, "this one has Activation"),
        ([dr.Dense(2, "gelu"), dr.Dense(1)], None, "relu; this network has GELU"),
        ([dr.Dense(2, "tanh"), dr.Dense(2, "relu"), dr.Dense(1)], None, "has ReLU, Tanh"),
        ([dr.Dense(2, "tanh")], None, "ends with Tanh"),
        ([dr.Dense(1)], ["a", "b"], "regressor and has no classes"),
        (
            [dr.Dense(3, "softmax")],
            ["a", "b"],
            r"3 outputs, so classes are 3 labels; got \['a', 'b'\]",
        ),
        ([dr.Dense(3, "softmax")], ["a", "c", "b"], "ascending order"),
        ([dr.Dense(2, "sigmoid")], ["a", "b"], "multilabel"),
    ],
)
def test_what_scikit_learn_has_no_form_of_is_refused(layers, classes, message: str) -> None:
    with pytest.raises(ValueError, match=message) as held:
        to_sklearn(dr.Network(layers, inputs=2), classes)
    assert isinstance(held.value, dr.DeltaruleError)


def test_what_is_no_fitted_model_is_refused() -> None:
    with pytest.raises(ValueError, match="MLPRegressor is not fitted; call fit first"):
        from_sklearn(MLPRegressor())
    with pytest.raises(TypeError, match="takes scikit-learn's MLPClassifier or MLPRegressor"):
        from_sklearn(NET)
    with pytest.raises(TypeError, match=r"takes a deltarule.Network, got MLPRegressor\(\)"):
        to_sklearn(MLPRegressor())


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(dr.MissingExtraError, match="pip install scikit-learn"):
        to_sklearn(NET)
