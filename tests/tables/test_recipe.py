"""Recipes: the plain one holds the linear model; others take its place by name or object."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest

import deltarule as dr
from deltarule.base.settings import setting
from deltarule.tables.components import principal_components
from deltarule.tables.fitting import in_folds, in_two
from deltarule.tables.recipe import Plain, Recipe, Running, Task, linear_start
from deltarule.tables.ridge import ridge
from oracles import oracle

oracle("sklearn")

from tabular_cases import FRAME, LABELS, QUICK  # noqa: E402

from deltarule.sklearn import TabularClassifier, TabularRegressor, load  # noqa: E402

ONES = np.ones(60)


def rows(n=60, inputs=4, seed=0):
    return np.random.default_rng(seed).normal(size=(n, inputs)).astype(np.float32)


@pytest.mark.parametrize(("inputs", "outputs"), [(4, 1), (4, 3), (3, 3), (1, 1)])
def test_without_its_hidden_layers_the_network_is_the_linear_model(inputs, outputs):
    X = rows(inputs=inputs)
    net = Plain(hidden=(5,)).network(Task(60, inputs, outputs, False), (X, X, ONES), seed=1)
    path = next(name for name in net.parameters if name.endswith("projection.weight"))
    P = rows(*net.parameters[path].shape, seed=2)
    net.parameters[path] = P
    front = X @ net.parameters["0.weight"] if inputs == outputs else X
    np.testing.assert_allclose(net.predict(X), front @ P, rtol=1e-5, atol=1e-5)


def test_a_network_begins_with_the_shares_of_the_classes():
    y = np.repeat([0, 1, 2], [30, 20, 10])
    net = Plain().network(Task(60, 4, 4, True), (rows(), y, ONES), seed=0)
    shares = net.predict(rows())[0]
    np.testing.assert_allclose(shares, [1 / 2, 1 / 3, 1 / 6, 0], atol=2e-3)  # 1e-3 of a class's


def test_a_table_that_is_linear_is_learnt_almost_as_by_the_linear_model():
    """Of 20 coefficients, 200 rows with noise 1 leave an error of 20 / 200 of the noise."""
    rng = np.random.default_rng(0)
    X, w = rng.normal(size=(600, 20)), rng.normal(size=20) / 2
    y = X @ w + rng.normal(size=600)
    train, test = slice(0, 200), slice(200, 600)
    exact = X[test] @ np.linalg.lstsq(X[train], y[train], rcond=None)[0]
    linear = 1 - np.square(y[test] - exact).sum() / np.square(y[test] - y[test].mean()).sum()
    assert TabularRegressor().fit(X[train], y[train]).score(X[test], y[test]) > linear - 0.05


@pytest.mark.parametrize(("n", "p"), [(40, 6), (12, 30)])
def test_ridge_is_that_of_least_generalised_cross_validation(n, p):
    """Against the definition: n |(I - H) y|^2 / tr(I - H)^2 with the hat matrix H."""
    rng = np.random.default_rng(3)
    X, weights = rng.normal(size=(n, p)) * 3 + 1, rng.uniform(0.5, 2, n)
    y = X[:, :1] - X[:, 1:2] + rng.normal(size=(n, 1))
    v = weights / weights.mean()
    root = np.sqrt(v)[:, None]
    spread = np.sqrt(v @ np.square(X - v @ X / n) / n)
    Z, T = (X - v @ X / n) / spread * root, (y - v @ y / n) * root
    found = {}
    for strength in n * np.logspace(-6, 3, 19):
        A = Z @ np.linalg.inv(Z.T @ Z + strength * np.eye(p))
        free = max(n - 1 - np.trace(A @ Z.T), 0.5)
        found[np.square(T - A @ Z.T @ T).sum() / free**2] = A.T @ T / spread[:, None]
    W, b = ridge(X, y, weights)
    np.testing.assert_allclose(W, found[min(found)], rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(b, v @ (y - X @ W) / n, atol=1e-9)


@pytest.mark.parametrize("outputs", [1, 2])
def test_with_more_columns_than_rows_no_network_is_worse_than_the_ridge_regression(outputs):
    examples, validation, task = wide(outputs)
    net = Plain(epochs=20).network(task, examples, seed=0)
    start = net.copy()
    start.vector = linear_start(net, *examples)
    W, b = ridge(examples[0].astype(np.float64), examples[1], examples[2])
    np.testing.assert_allclose(start.predict(validation[0]), validation[0] @ W + b, atol=1e-4)
    Plain(epochs=20).train(net, task, examples, validation, 0, Running(progress=False))
    error = [np.square(n.predict(validation[0]) - validation[1]).mean() for n in (net, start)]
    assert error[0] <= error[1] * (1 + 1e-6)


def test_where_no_epoch_is_better_than_the_ridge_regression_it_stays():
    X = rows(inputs=4)
    examples = (X, X[:, :1] - X[:, 1:2], ONES)
    net = Plain(epochs=2).network(Task(60, 4, 1, False), examples, seed=0)
    start = linear_start(net, *examples)
    Plain(epochs=2).train(net, Task(60, 4, 1, False), examples, examples, 0, Running())
    np.testing.assert_array_equal(net.vector, start)


def wide(outputs, n=60, inputs=100):
    rng = np.random.default_rng(1)
    X = rng.normal(size=(2 * n, inputs)).astype(np.float32)
    y = (X[:, :8] @ rng.normal(size=(8, outputs)) / 3).astype(np.float32)
    parts = [(X[half], y[half], np.ones(n)) for half in (slice(n), slice(n, None))]
    return *parts, Task(n, inputs, outputs, False)


def test_a_training_that_begins_anew_goes_on_from_checkpoints_too(tmp_path):
    examples, validation, task = wide(1)
    vectors = []
    for folder in (None, tmp_path, tmp_path):
        net = Plain(epochs=5).network(task, examples, seed=0)
        running = Running(progress=False, checkpoints=folder)
        Plain(epochs=5).train(net, task, examples, validation, 0, running)
        vectors.append(net.vector.copy())
    assert (tmp_path / "from-ridge").is_dir()
    np.testing.assert_array_equal(vectors[1], vectors[0])
    np.testing.assert_array_equal(vectors[2], vectors[0])


def spectra(n=48, seed=0):
    """Curves that differ in baseline and height by far more than in what tells their class."""
    rng = np.random.default_rng(seed)
    t, label = np.linspace(0, 1, 120), np.arange(n) % 3
    peaks = np.stack([np.exp(-np.square((t - c) / 0.05)) for c in (0.3, 0.5, 0.7)])
    curves = rng.normal(size=(n, 1)) + rng.normal(size=(n, 1)) * t + 0.05 * peaks[label]
    return curves + 0.001 * rng.normal(size=(n, 120)), label


def test_many_columns_that_move_together_are_told_apart():
    X, label = spectra()
    Z, expected = spectra(seed=1)
    assert principal_components(np.float32((X - X.mean(0)) / X.std(0))) is not None
    assert TabularClassifier().fit(X, label).score(Z, expected) > 0.8


def test_principal_components_have_like_variance_and_stay_fixed():
    X = np.float32(spectra()[0])
    weights, bias = principal_components(X)
    z = X.astype(np.float64) @ weights + bias
    covariance = np.cov(z.T, bias=True)
    np.testing.assert_allclose(covariance, np.diag(np.diag(covariance)), atol=1e-3)
    assert (np.diag(covariance) > 0.49).all()  # v / (v + 1e-6 total), at least a half
    assert (np.diag(covariance) < 1 + 1e-6).all()
    task = Task(48, 120, 3, True)
    recipe = Plain(hidden=(4,), epochs=3)
    examples = (X, np.arange(48) % 3, np.ones(48))
    net = recipe.network(task, examples, seed=0)
    before = net.parameters["0.weight"].copy()
    recipe.train(net, task, examples, examples, 0, Running(progress=False))
    np.testing.assert_array_equal(net.parameters["0.weight"], before)


def test_a_decomposition_that_does_not_converge_ends_no_training(monkeypatch):
    """Some LAPACKs find no singular values where columns are equal, as a state and its code are."""

    def diverged(*args, **options):
        raise np.linalg.LinAlgError("SVD did not converge")

    monkeypatch.setattr(np.linalg, "svd", diverged)
    X, label = spectra()
    twice = np.hstack([X, X])
    weights, _ = principal_components(np.float32(twice))
    np.testing.assert_allclose(weights[:120], weights[120:], atol=1e-6 * np.abs(weights).max())
    assert TabularClassifier(Plain(hidden=(4,), epochs=1)).fit(twice, label).score(twice, label) > 0


@pytest.mark.parametrize("X", [rows(200, 40), rows(200, 5), np.zeros((50, 40), np.float32)])
def test_columns_of_their_own_are_left_as_they_are(X):
    assert principal_components(X) is None


def test_codes_are_embedded_and_what_no_row_had_is_the_mean_of_the_vectors():
    X = np.column_stack([rows(60, 2), np.arange(60) % 20, np.arange(60) % 7]).astype(np.float32)
    task = Task(60, 4, 2, True, ((2, 20), (3, 7)))
    net = Plain().network(task, (X, np.arange(60) % 2, ONES), seed=0)
    assert isinstance(net.layers[0], dr.Embedding)
    table = net.parameters["0.table"]
    assert table.shape == (27, 8)
    assert [i for i in range(27) if not table[i].any()] == [0, 20]  # code 0 of either column
    assert net.predict(X).shape == (60, 2)


def test_a_category_of_many_levels_is_learnt_and_an_unknown_one_is_as_the_mean():
    rng = np.random.default_rng(0)
    level = np.arange(1600) % 160
    effect = rng.normal(size=160)
    frame = {"shop": [f"shop {i}" for i in level], "size": rng.normal(size=1600)}
    y = effect[level] + frame["size"] + 10
    model = TabularRegressor().fit(frame, y)
    assert isinstance(model.networks_[0].layers[0], dr.Embedding)
    rows = {"shop": ["shop 3", "shop 4", "none", None], "size": [0.0] * 4}
    three, four, unknown, missing = model.predict(rows) - 10
    assert abs(three - effect[3]) < 0.5
    assert abs(four - effect[4]) < 0.5
    assert abs(unknown - effect.mean()) < 0.5  # the effects have deviation 1
    assert missing == unknown


@pytest.mark.parametrize(
    "wrong",
    [{"dropout": 1}, {"hidden": (0,)}, {"networks": 0}, {"label_smoothing": -0.1}, {"epochs": 1.5}],
)
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(dr.DeltaruleError, match=next(iter(wrong))):
        Plain(**wrong)


@setting
class LinearRecipe(Recipe):
    """A recipe of one's own: softmax regression."""

    name: ClassVar[str] = "linear-of-tests"
    epochs: int = 20

    def folds(self, rows):
        return 1

    def network(self, task, examples, seed):
        return dr.Network([dr.Dense(task.outputs, "softmax")], inputs=task.inputs, seed=seed)

    def train(self, network, task, examples, validation, seed, running):
        X, y, weights = examples
        return dr.train(
            network, X, y, loss="cross_entropy", epochs=self.epochs, sample_weight=weights,
            validation=validation, seed=seed, progress=False,
        )  # fmt: skip


def test_another_recipe_takes_its_place_by_name_and_in_files(tmp_path):
    model = TabularClassifier("linear-of-tests").fit(FRAME, LABELS)
    assert [len(net.layers) for net in model.networks_] == [1]
    twin = load(model.save(tmp_path / "model"))
    assert twin.recipe == LinearRecipe()
    np.testing.assert_array_equal(twin.predict(FRAME), model.predict(FRAME))


def test_a_recipe_that_there_is_not_is_refused_with_the_nearest():
    with pytest.raises(dr.InvalidValueError, match="did you mean 'plain'"):
        TabularClassifier("plane").fit(FRAME, LABELS)
    with pytest.raises(dr.InvalidTypeError, match="expected a recipe"):
        TabularClassifier(3).fit(FRAME, LABELS)


def test_networks_of_a_model_differ_and_are_averaged():
    model = TabularClassifier(QUICK).fit(FRAME, LABELS)
    X = model.columns_.transform(FRAME)
    one, two = (net.predict(X).astype(np.float64) for net in model.networks_)
    assert np.abs(one - two).max() > 0.01
    np.testing.assert_allclose(model.predict_proba(FRAME), (one + two) / 2, atol=1e-6)


@pytest.mark.parametrize("folds", [2, 3, 5])
def test_each_row_is_held_out_once_and_each_class_in_its_share(folds):
    labels = np.array([0] * 23 + [1] * 9 + [2])
    parts = list(in_folds(33, folds, labels, seed=1))
    held = np.concatenate([h for _, h in parts])
    assert sorted(held) == list(range(32))  # the one row of class 2 is trained on in each
    for kept, away in parts:
        assert sorted([*kept, *away]) == list(range(33))
        assert abs(len(away) - 33 / folds) <= 1
        assert set(labels[kept]) == {0, 1, 2}
        assert abs((labels[away] == 1).sum() - 9 / folds) < 1


@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.9])
def test_every_class_is_trained_on_where_one_part_is_held_out(fraction):
    labels = np.array([0] * 20 + [1, 2, 3, 3])
    kept, held = in_two(24, fraction, labels, seed=0)
    assert sorted([*kept, *held]) == list(range(24))
    assert set(labels[kept]) == {0, 1, 2, 3}
