"""How a table is fitted: rows held out, weights, time, Ctrl-C, seeds; what is refused."""

from __future__ import annotations

import itertools
import os
import signal
import time
from typing import ClassVar

import numpy as np
import pytest

import deltarule as dr
from deltarule.base.settings import setting
from oracles import oracle

pd = oracle("pandas")
pl = oracle("polars")
pa = oracle("pyarrow")
oracle("sklearn")

from tabular_cases import FRAME, LABELS, QUICK, VALUES, table  # noqa: E402

from deltarule.sklearn import TabularClassifier, TabularRegressor, load  # noqa: E402
from deltarule.tables.recipe import Plain  # noqa: E402

LONG = Plain(hidden=(4,), epochs=100_000, networks=3)
"""Hours, if nothing ends it."""


def proba(**settings):
    fit = settings.pop("fit", {})
    frame, labels = settings.pop("data", (FRAME, LABELS))
    return TabularClassifier(QUICK, **settings).fit(frame, labels, **fit).predict_proba(FRAME)


def test_the_same_seed_is_the_same_model_on_any_number_of_threads():
    one = proba(random_state=3, threads=1)
    np.testing.assert_array_equal(proba(random_state=3, threads=4), one)
    assert np.abs(proba(random_state=4) - one).max() > 0
    drawn = np.random.RandomState(0)
    assert np.abs(proba(random_state=drawn) - proba(random_state=drawn)).max() > 0
    assert np.abs(proba(random_state=None) - proba(random_state=None)).max() > 0


def test_both_engines_agree():
    np.testing.assert_allclose(proba(engine="reference"), proba(engine="native"), atol=1e-3)


def test_a_row_of_weight_0_might_as_well_not_be_there():
    weights = np.tile([1.0, 2.0, 0.0, 1.0], 20)
    kept = weights > 0
    strange = FRAME.copy()
    strange.loc[~kept, "size"] = 1e9
    strange.loc[~kept, "colour"] = "mauve"
    weighted = proba(data=(strange, LABELS), fit={"sample_weight": weights})
    fewer = proba(data=(FRAME[kept], LABELS[kept]), fit={"sample_weight": weights[kept]})
    np.testing.assert_array_equal(weighted, fewer)


def test_weights_draw_the_answer_to_the_rows_that_have_them():
    X = np.zeros((60, 1)) + np.arange(60)[:, None] % 2  # says nothing of y
    y = np.repeat([0, 1], 30)
    heavy = np.where(y == 1, 9.0, 1.0)
    shares = TabularClassifier(QUICK).fit(X, y, heavy).predict_proba(X)[:, 1]
    np.testing.assert_allclose(shares, 0.9, atol=0.1)


def test_class_weights_multiply_sample_weights():
    rare = np.where(np.arange(80) % 8 == 0, "rare", "usual")
    balanced = proba(data=(FRAME, rare), class_weight="balanced")
    by_hand = proba(data=(FRAME, rare), class_weight={"rare": 4.0, "usual": 80 / 140})
    np.testing.assert_allclose(balanced, by_hand, atol=1e-6)
    plain = proba(data=(FRAME, rare))
    assert balanced[:, 0].mean() > 0.3 > plain[:, 0].mean()


def test_the_epoch_is_kept_that_is_best_by_the_metric_on_the_rows_held_out():
    for metric, column, best in (
        ("loss", "val_loss", min),
        ("balanced_accuracy", "val_balanced_accuracy", max),
    ):
        model = TabularClassifier(QUICK, folds=1, metric=metric, random_state=1)
        model.fit(FRAME, LABELS)
        (history,) = model.histories_
        held = model.validation_score_
        at = list(history[column]).index(best(history[column]))
        if metric == "balanced_accuracy":
            assert 0 <= at < history.epochs
            assert held > 0.5
    accuracy = TabularClassifier(QUICK, folds=1, metric="accuracy", random_state=1)
    accuracy.fit(FRAME, LABELS)
    # The rows held out are those that the score is taken on: the best of the history is the score.
    assert accuracy.validation_score_ == pytest.approx(max(accuracy.histories_[0]["val_accuracy"]))


def test_given_validation_rows_decide_in_the_place_of_rows_held_out():
    frame, labels, _ = table(40, seed=7)
    model = TabularClassifier(QUICK, metric="accuracy").fit(
        FRAME, LABELS, X_val=frame, y_val=labels
    )
    assert len(model.networks_) == 2
    assert model.validation_score_ == model.score(frame, labels)
    scores = [max(history["val_accuracy"]) for history in model.histories_]
    X = model.columns_.transform(frame)
    for net, score in zip(model.networks_, scores, strict=True):
        found = model.classes_[net.predict(X).argmax(axis=1)]
        assert (found == labels).mean() == pytest.approx(score)


@pytest.mark.parametrize("folds", [1, 2, 7])
def test_so_many_networks_as_folds(folds):
    model = TabularRegressor(QUICK, folds=folds).fit(FRAME, VALUES)
    assert len(model.networks_) == len(model.histories_) == folds


@pytest.mark.parametrize("folds", [1, 3])
@pytest.mark.parametrize("counts", [(40, 39, 1), (77, 1, 1, 1), (60, 18, 2), (2, 2), (1, 1, 1)])
def test_rare_classes_survive(counts, folds):
    y = np.repeat([f"class {i}" for i in range(len(counts))], counts)
    model = TabularClassifier(QUICK, folds=folds).fit(FRAME.head(len(y)), y)
    assert model.predict_proba(FRAME).shape == (80, len(counts))
    assert model.classes_.tolist() == [f"class {i}" for i in range(len(counts))]


LABELS_OF_ALL_KINDS = {
    "text": np.array(["no", "yes"]),
    "text with spaces": np.array([" no ", "no"], object),
    "booleans": np.array([False, True]),
    "integers": np.array([-7, 3]),
    "numbers": np.array([1.0, 2.0]),
    "words for nothing": np.array(["NA", "None"], object),
}


@pytest.mark.parametrize("kind", LABELS_OF_ALL_KINDS)
def test_what_is_predicted_is_what_was_given(kind, tmp_path):
    classes = LABELS_OF_ALL_KINDS[kind]
    y = classes[(LABELS == "high").astype(int)]
    model = TabularClassifier(QUICK).fit(FRAME, y)
    assert model.classes_.tolist() == classes.tolist()
    assert model.score(FRAME, y) > 0.7
    twin = TabularClassifier.load(model.save(tmp_path / "model"))
    assert twin.predict(FRAME).tolist() == model.predict(FRAME).tolist()
    assert {type(label) for label in twin.predict(FRAME).tolist()} == {type(classes.tolist()[0])}


@pytest.mark.parametrize(
    "make", [pd.Series, pl.Series, pa.array, list, tuple, lambda y: pa.chunked_array([y])]
)
def test_targets_come_in_any_container(make):
    expected = proba()
    np.testing.assert_array_equal(proba(data=(FRAME, make(LABELS.tolist()))), expected)
    values = TabularRegressor(QUICK).fit(FRAME, VALUES).predict(FRAME)
    again = TabularRegressor(QUICK).fit(FRAME, make(VALUES.tolist())).predict(FRAME)
    np.testing.assert_array_equal(again, values)


def test_values_as_text_are_parsed():
    text = [f"${value:.6f} " for value in 10 + VALUES]
    numbers = np.round(10 + VALUES, 6)
    found = TabularRegressor(QUICK).fit(FRAME, text).predict(FRAME)
    expected = TabularRegressor(QUICK).fit(FRAME, numbers).predict(FRAME)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_predictions_stay_within_the_range_of_what_was_given_unless_told_otherwise(tmp_path):
    frame = {"size": np.random.default_rng(0).permutation(40) / 2}
    values = 100 + 6 * frame["size"]
    beyond = {"size": [-500.0, 500.0]}
    bound = TabularRegressor(Plain(epochs=20)).fit(frame, values)
    free = TabularRegressor(Plain(epochs=20), within_range=False).fit(frame, values)
    assert bound.predict(beyond).tolist() == [100.0, 217.0]
    low, high = free.predict(beyond)
    assert low < 100
    assert high > 217
    free.save(tmp_path / "free.safetensors")
    assert (load(tmp_path / "free.safetensors").predict(beyond) == (low, high)).all()


def test_kinds_override_what_is_found():
    zips = FRAME.assign(zip=np.arange(80) % 4 + 80331)
    model = TabularClassifier(QUICK, kinds={"zip": "category", "noise": "left out"})
    model.fit(zips, LABELS)
    uses = {column.name: column.use for column in model.columns_.columns}
    assert (uses["zip"], uses["noise"]) == ("one-hot", "left out")
    assert model.feature_importances(zips, LABELS).mean[2] == 0


def test_a_time_limit_keeps_what_is_best_so_far(monkeypatch):
    class Clock:  # a second passes from one look to the next
        monotonic = itertools.count().__next__

    monkeypatch.setattr("deltarule.tables.fitting.time", Clock)
    model = TabularClassifier(LONG, time_limit=300, progress=False).fit(FRAME, LABELS)
    assert [history.stopped for history in model.histories_] == ["time limit"] * 3
    assert all(90 <= history.epochs <= 110 for history in model.histories_)
    assert model.score(FRAME, LABELS) > (LABELS == "low").mean()


class Press(dr.Callback):
    """Presses Ctrl-C after some epochs of the network of that number."""

    def __init__(self, network, epoch):
        self.network, self.epoch, self.begun = network, epoch, 0

    def on_start(self, state):
        self.begun += 1

    def on_epoch(self, state):
        if (self.begun, state.epoch) == (self.network, self.epoch):
            os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize(("network", "kept"), [(1, 1), (2, 1), (3, 2)])
def test_ctrl_c_keeps_what_was_learnt(network, kept):
    recipe = Plain(hidden=(4,), epochs=200, networks=3)
    whole = TabularClassifier(recipe).fit(FRAME, LABELS)
    model = TabularClassifier(recipe, callbacks=[Press(network, 150)]).fit(FRAME, LABELS)
    assert len(model.networks_) == kept
    assert model.score(FRAME, LABELS) > 0.7
    for one, other in zip(model.networks_[: network - 1], whole.networks_, strict=False):
        np.testing.assert_array_equal(one.vector, other.vector)


@setting
class Pressed(Plain):
    """Presses Ctrl-C while its networks are trained, by `train` or by other means."""

    name: ClassVar[str] = "pressed-of-tests"
    trains: bool = True

    def train(self, network, task, examples, validation, seed, running):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0)  # where Python calls the handler
        X, y, _ = examples
        if self.trains:
            return dr.train(network, X, y, loss="cross_entropy", progress=False)
        return dr.History("by hand")


@pytest.mark.parametrize("trains", [True, False])
def test_ctrl_c_in_a_recipe_of_ones_own_ends_the_fit_too(trains):
    model = TabularClassifier(Pressed(networks=3, trains=trains)).fit(FRAME, LABELS)
    assert len(model.networks_) == 1


def test_ctrl_c_can_be_raised_too_and_the_estimator_is_fitted():
    model = TabularClassifier(QUICK, callbacks=[Press(1, 30)], on_interrupt="raise")
    with pytest.raises(dr.TrainingInterrupted, match="fitted, with what 1 network has learnt"):
        model.fit(FRAME, LABELS)
    assert model.predict(FRAME).shape == (80,)


REFUSED = {
    "folds": ({"folds": 0}, {}),
    "validation_fraction": ({"validation_fraction": 1.0}, {}),
    "time_limit": ({"time_limit": 0}, {}),
    "on_interrupt": ({"on_interrupt": "stop"}, {}),
    "random_state": ({"random_state": "x"}, {}),
    "class_weight": ({"class_weight": {"tall": 2}}, {}),
    "class weight of 'high'": ({"class_weight": {"high": -1}}, {}),
    "kind": ({"kinds": {"size": "thing"}}, {}),
    "unknown column 'sizes'": ({"kinds": {"sizes": "number"}}, {}),
    "metric": ({"metric": "acuracy"}, {}),
    "callback": ({"callbacks": [3]}, {}),
    "engine": ({"engine": "fast"}, {}),
    "sample_weight must have one weight": ({}, {"sample_weight": [1.0]}),
    "sample_weight must be finite": ({}, {"sample_weight": [-1.0] * 80}),
    "X_val and y_val belong together": ({}, {"X_val": FRAME}),
    "X_val and y_val must have the same": ({}, {"X_val": FRAME, "y_val": ["high"]}),
    "'tall' is none of the classes": ({}, {"X_val": FRAME, "y_val": ["tall"] * 80}),
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_cannot_be_is_refused_and_changes_nothing(message):
    settings, data = REFUSED[message]
    model = TabularClassifier(QUICK).fit(FRAME, LABELS)
    before = model.model_
    model.set_params(**settings)
    with pytest.raises(dr.DeltaruleError, match=message) as caught:
        model.fit(FRAME, LABELS, **data)
    assert isinstance(caught.value, (ValueError, TypeError))
    assert model.model_ is before


def test_a_table_without_anything_of_use_is_refused():
    with pytest.raises(dr.InvalidValueError, match="no column of X is of use"):
        TabularClassifier(QUICK).fit({"same": [1] * 80, "none": [None] * 80}, LABELS)
    with pytest.raises(dr.InvalidTypeError, match="several types, int and str"):
        TabularClassifier(QUICK).fit(FRAME, np.array(["a", 1] * 40, object))
