"""Fitted multilayer estimators as files: what comes back, and what is refused."""

from __future__ import annotations

import io
import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import deltarule as dr
from deltarule.network.model_file import load_networks, save_networks
from oracles import oracle

oracle("sklearn")

import pandas as pd  # noqa: E402
from sklearn.datasets import make_classification, make_regression  # noqa: E402

import deltarule.sklearn  # noqa: E402
from deltarule.sklearn import MLPClassifier, MLPRegressor  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, CODES = make_classification(90, 5, n_classes=3, n_informative=4, n_redundant=0, random_state=0)
Y = make_regression(90, 5, n_targets=2, random_state=0)[1]
LABELS = np.array(["ash", "beech", "cedar"])[CODES]
FRAME = pd.DataFrame(X, columns=list("abcde"))
PAIR = (4,)
MODELS: dict[str, tuple[Any, Any, Any]] = {
    "words": (MLPClassifier(PAIR, max_iter=3), X, LABELS),
    "two truths": (MLPClassifier(PAIR, max_iter=3), X, CODES > 0),
    "several labels": (MLPClassifier(PAIR, max_iter=3), X, np.eye(3, dtype=int)[CODES]),
    "named columns": (MLPClassifier(PAIR, max_iter=3, n_iter_no_change=np.inf), FRAME, CODES),
    "an ensemble": (
        MLPClassifier(
            (4, dr.LayerNorm(), 3),
            activation=["tanh", "relu"],
            class_weight={0: 1, 1: 2, 2: 1.5},
            early_stopping=True,
            restarts=3,
            ensemble=2,
            optimizer=dr.AdamW(dr.Cosine(1e-2)),
            scoring="balanced_accuracy",
            random_state=np.random.RandomState(0),
            max_iter=3,
        ),
        X,
        CODES,
    ),
    "values": (MLPRegressor(hidden_layer_sizes=PAIR, dtype="float32", max_iter=3), X, Y),
    "lbfgs": (MLPRegressor(hidden_layer_sizes=PAIR, solver="lbfgs", max_iter=3), X, Y[:, 0]),
}


@cache
def fitted(name: str) -> Any:
    model, features, targets = MODELS[name]
    return model.fit(features, targets)


def saved(model: Any) -> io.BytesIO:
    file = io.BytesIO()
    model.save(file)
    file.seek(0)
    return file


@pytest.mark.parametrize("name", MODELS)
def test_what_comes_back_predicts_the_same_bits_and_knows_its_past(name: str) -> None:
    model = fitted(name)
    twin = deltarule.sklearn.load(saved(model))
    features = MODELS[name][1]
    assert type(twin) is type(model)
    assert np.array_equal(twin.predict(features), model.predict(features))
    assert twin.predict(features).dtype == model.predict(features).dtype
    if hasattr(model, "predict_proba"):
        assert np.array_equal(twin.predict_proba(features), model.predict_proba(features))
        assert twin.classes_.dtype == model.classes_.dtype
    for known in ("loss_curve_", "best_loss_", "validation_scores_", "t_", "n_iter_", "loss_"):
        assert getattr(twin, known, None) == getattr(model, known, None), known
    left = {"callbacks", "engine", "threads", "verbose", "random_state"}
    for parameter, value in model.get_params().items():
        got = twin.get_params()[parameter]
        assert parameter in left or got == (tuple(value) if isinstance(value, list) else value)
    assert saved(twin).getvalue() == saved(model).getvalue()


def test_what_comes_back_can_be_trained_on() -> None:
    twin = MLPClassifier.load(saved(fitted("words"))).set_params(warm_start=True, max_iter=20)
    before = twin.loss_curve_[-1]
    twin.fit(X, LABELS)
    assert len(twin.loss_curve_) == 3 + 20
    assert twin.loss_ < before
    twin.partial_fit(X[:10], np.array(["ash"] * 10))
    assert len(twin.loss_curve_) == 3 + 20 + 1


def test_a_file_of_one_network_is_that_network_too(tmp_path: Path) -> None:
    path = fitted("lbfgs").save(tmp_path / "model.safetensors")
    assert np.array_equal(dr.load(path).vector, fitted("lbfgs").network_.vector)


def test_the_wrong_class_is_named(tmp_path: Path) -> None:
    path = fitted("values").save(tmp_path / "model.safetensors")
    with pytest.raises(OSError, match="has a MLPRegressor, not a MLPClassifier"):
        MLPClassifier.load(path)
    plain = fitted("lbfgs").network_.save(tmp_path / "net.safetensors")
    with pytest.raises(OSError, match="no MLPClassifier and no MLPRegressor"):
        MLPRegressor.load(plain)


def test_before_fit_there_is_nothing_to_save(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not fitted"):
        MLPClassifier().save(tmp_path / "model.safetensors")
    assert not list(tmp_path.iterdir())


def changed(**how: Any) -> io.BytesIO:
    """Return the file of an estimator with some things in its description changed."""
    networks, about, _ = load_networks(saved(fitted("words")))
    described = json.loads(json.dumps(about["multilayer"]))
    for dotted, value in how.items():
        *parents, last = dotted.split("__")
        place = described
        for parent in parents:
            place = place[parent]
        if value is None:
            del place[last]
        else:
            place[last] = value
    file = io.BytesIO()
    save_networks(networks, file, {"multilayer": described})
    file.seek(0)
    return file


@pytest.mark.parametrize(
    "how",
    [
        {"class": "os.system"},
        {"class": None},
        {"parameters__solver": "newton"},
        {"parameters__alpha": "much"},
        {"parameters__unheard_of": 1},
        {"parameters__loss": {"loss": "nothing"}},
        {"fitted__n_features_in_": 6},
        {"fitted__n_outputs_": 2},
        {"fitted__predict": "nonsense"},
        {"fitted__n_features_in_": None},
        {"classes__labels": ["ash", "beech"]},
        {"classes__labels": ["ash", "beech", "much too long a name"]},
        {"classes__labels": 3},
        {"classes__dtype": "V8"},
        {"classes__dtype": "nonsense"},
        {"multilabel": None},
        {"courses": []},
        {"courses": [{}]},
        {"feature_names": ["a", "b"]},
    ],
    ids=str,
)
def test_a_strangers_file_gets_one_clear_error(how: dict[str, Any]) -> None:
    with pytest.raises(dr.FileFormatError, match=r"does not describe an e|not a MLPClassifier or"):
        deltarule.sklearn.load(changed(**how))


def test_a_cut_file_gets_one_clear_error() -> None:
    content = saved(fitted("words")).getvalue()
    for end in (0, 7, 100, len(content) - 1):
        with pytest.raises(dr.FileFormatError):
            deltarule.sklearn.load(io.BytesIO(content[:end]))
