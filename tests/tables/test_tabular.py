"""TabularClassifier and TabularRegressor: any frame in, labels or values out."""

from __future__ import annotations

import numpy as np
import pytest

import deltarule as dr
from oracles import oracle

pd = oracle("pandas")
pl = oracle("polars")
pa = oracle("pyarrow")
sklearn = oracle("sklearn")

from tabular_cases import FRAME, LABELS, QUICK, VALUES, table  # noqa: E402

from deltarule.sklearn import TabularClassifier, TabularRegressor, load  # noqa: E402

FRAMES = {
    "pandas": FRAME,
    "polars": pl.from_pandas(FRAME),
    "pyarrow": pa.Table.from_pandas(FRAME),
    "a dict": {name: FRAME[name].tolist() for name in FRAME},
    "a list of dicts": FRAME.to_dict("records"),
}


@pytest.fixture(scope="module")
def classifier():
    return TabularClassifier(QUICK).fit(FRAME, LABELS)


def test_text_numbers_and_gaps_become_labels(classifier):
    frame, labels, _ = table(seed=1)
    assert classifier.score(frame, labels) > (labels == "low").mean() + 0.1
    assert classifier.classes_.tolist() == ["high", "low"]
    np.testing.assert_allclose(classifier.predict_proba(frame).sum(axis=1), 1, rtol=1e-12)


def test_text_numbers_and_gaps_become_values():
    frame, _, values = table(seed=1)
    model = TabularRegressor(QUICK).fit(FRAME, 1000 + 50 * VALUES)
    assert model.score(frame, 1000 + 50 * values) > 0.5


@pytest.mark.parametrize("kind", FRAMES)
def test_every_frame_gives_the_same_model(classifier, kind):
    other = TabularClassifier(QUICK).fit(FRAMES[kind], LABELS)
    expected = classifier.predict_proba(FRAME)
    np.testing.assert_array_equal(other.predict_proba(FRAMES[kind]), expected)
    assert other.feature_names_in_.tolist() == list(FRAME)


def test_a_file_holds_the_whole_estimator(classifier, tmp_path):
    path = classifier.save(tmp_path / "model.safetensors")
    twin = load(path)
    assert isinstance(twin, TabularClassifier)
    assert twin.get_params() == classifier.get_params()
    np.testing.assert_array_equal(twin.predict_proba(FRAME), classifier.predict_proba(FRAME))
    again = TabularClassifier(QUICK).fit(FRAME, LABELS).save(tmp_path / "again.safetensors")
    assert again.read_bytes() == path.read_bytes()


def test_columns_matter_by_how_much_the_score_falls_without_them(classifier):
    found = classifier.feature_importances(FRAME, LABELS, metric="loss")
    assert [name for name, _, _ in found.ranked()][-1] == "noise"
    assert found.mean[0] > 5 * abs(found.mean[2])
    assert "size" in str(found)


def test_a_target_that_cannot_be_is_refused(classifier):
    for y, message in (
        (["a"] * 80, "one class"),
        ([None] * 79 + ["a"], "NaN"),
        (LABELS[:-1], "80 and 79"),
        (VALUES, "continuous"),
    ):
        with pytest.raises(ValueError, match=message):
            TabularClassifier(QUICK).fit(FRAME, y)
    with pytest.raises(dr.InvalidValueError, match="NaN"):
        TabularRegressor(QUICK).fit(FRAME, ["1.5"] * 79 + ["?"])
