"""MLPClassifier and MLPRegressor exported to ONNX say what they predict."""

from __future__ import annotations

import numpy as np
import pytest

from deltarule.exchange import from_sklearn, to_onnx
from exchanged import RUNTIMES, runner
from oracles import oracle

onnx = oracle("onnx")
oracle("sklearn")

from deltarule.sklearn import MLPClassifier, MLPRegressor  # noqa: E402

rng = np.random.default_rng(0)
X = rng.normal(size=(60, 4))
KIND = (X[:, 0] > 0).astype(int) + (X[:, 1] > 0.5)
TARGETS = {
    "two labels": np.array(["no", "yes"])[KIND % 2],
    "three labels": np.array(["a", "b", "c"])[KIND],
    "numbers": KIND + 3,
    "several labels": np.column_stack([KIND > 0, KIND > 1]).astype(int),
    "value": X @ [1.0, 2.0, 0.0, -1.0],
    "several values": X[:, :2] ** 2,
}


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", TARGETS)
def test_an_estimator_says_what_it_predicts(name: str, dtype: str, runtime: str) -> None:
    y, A = TARGETS[name], X.astype(dtype)
    kind = MLPRegressor if "value" in name else MLPClassifier
    estimator = kind(
        hidden_layer_sizes=(7,), max_iter=20, tol=0, n_iter_no_change=99, random_state=0
    )
    with pytest.warns(UserWarning, match="converge"):
        estimator.fit(A, y)
    model = to_onnx(estimator)
    onnx.checker.check_model(model, full_check=True)
    found = runner(model, runtime)({"X": A})
    eps = 64 * np.finfo(dtype).eps  # sums of 7 products, an exponential
    if "value" in name:
        np.testing.assert_allclose(found["value"], estimator.predict(A), rtol=eps, atol=eps)
        return
    np.testing.assert_allclose(found["probabilities"], estimator.predict_proba(A), rtol=0, atol=eps)
    np.testing.assert_array_equal(found["label"], estimator.predict(A))
    assert found["label"].shape == estimator.predict(A).shape


@pytest.mark.parametrize("name", ["three labels", "several values"])
def test_an_ensemble_is_averaged(name: str) -> None:
    kind = MLPRegressor if "value" in name else MLPClassifier
    estimator = kind(hidden_layer_sizes=(7,), restarts=3, ensemble=2, random_state=0)
    known = {} if "value" in name else {"classes": ["a", "b", "c"]}
    estimator.partial_fit(X, TARGETS[name], **known)
    assert len(estimator.networks_) > 1
    found = runner(to_onnx(estimator), "onnxruntime")({"X": X})
    expected = estimator.predict(X) if "value" in name else estimator.predict_proba(X)
    output = "value" if "value" in name else "probabilities"
    np.testing.assert_allclose(found[output], expected, rtol=1e-13, atol=1e-13)


def test_the_network_of_an_estimator_of_ours_comes_over_as_it_is() -> None:
    estimator = MLPRegressor(hidden_layer_sizes=(7,), activation="gelu").partial_fit(X, X[:, 0])
    net = from_sklearn(estimator)
    assert net.layers == estimator.network_.layers
    assert net is not estimator.network_
