"""The fitted model of a table: predicts without scikit-learn, travels as one file."""

from __future__ import annotations

import io
import json
import subprocess
import sys

import numpy as np
import pytest

import deltarule as dr
from deltarule.tables.model import TableModel
from oracles import oracle

pd = oracle("pandas")
oracle("sklearn")

from tabular_cases import FRAME, LABELS, QUICK, VALUES  # noqa: E402

from deltarule.sklearn import TabularClassifier, TabularRegressor, load  # noqa: E402


@pytest.fixture(scope="module")
def estimators():
    return (
        TabularClassifier(QUICK, class_weight={"high": 2}).fit(FRAME, LABELS),
        TabularRegressor(QUICK).fit(FRAME, np.stack([VALUES, VALUES**2], axis=1)),
    )


def content(estimator):
    file = io.BytesIO()
    estimator.save(file)
    return file.getvalue()


def altered(content, key, change):
    """The file with another value of a key of the header."""
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    described = json.loads(header["__metadata__"][key])
    header["__metadata__"][key] = json.dumps(change(described))
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + content[end:]


def test_it_comes_back_with_the_same_predictions(estimators, tmp_path):
    for estimator in estimators:
        path = estimator.model_.save(tmp_path / "model")
        twin = TableModel.load(path)
        np.testing.assert_array_equal(twin.predict(FRAME), estimator.predict(FRAME))
        assert repr(twin) == repr(estimator.model_)
        assert load(estimator.save(path)).get_params() == estimator.get_params()


def test_it_predicts_without_scikit_learn_or_pandas(estimators, tmp_path):
    path = estimators[0].save(tmp_path / "model")
    code = (
        "import sys\n"
        "from deltarule.tables.model import TableModel\n"
        f"model = TableModel.load({str(path)!r})\n"
        "print(model.predict({'size': [-2.0, 3.0], 'colour': ['blue', 'red'], 'noise': [0, 0]}))\n"
        "loaded = {name.partition('.')[0] for name in sys.modules}\n"
        "print(sorted(loaded & {'sklearn', 'scipy', 'pandas', 'polars', 'pyarrow', 'torch'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["['low' 'high']", "[]"]


def test_the_header_is_read_by_people(estimators):
    end = 8 + int.from_bytes(content(estimators[0])[:8], "little")
    metadata = json.loads(content(estimators[0])[8:end])["__metadata__"]
    assert json.loads(metadata["target"])["classes"] == ["high", "low"]
    assert json.loads(metadata["recipe"])["recipe"] == "plain"
    assert [c["name"] for c in json.loads(metadata["columns"])["columns"]] == list(FRAME)
    assert json.loads(metadata["estimator"])["class"] == "TabularClassifier"


def test_blocks_of_rows_make_no_difference(estimators, monkeypatch):
    whole = estimators[0].predict_proba(FRAME)
    monkeypatch.setattr("deltarule.tables.model._BLOCK", 7)
    np.testing.assert_array_equal(estimators[0].predict_proba(FRAME), whole)


def test_a_regression_has_no_probabilities(estimators):
    with pytest.raises(dr.InvalidTypeError, match="call predict"):
        estimators[1].model_.probabilities(FRAME)


def test_every_cut_is_one_clear_error(estimators):
    whole = content(estimators[0])
    for end in range(0, len(whole), len(whole) // 50):
        with pytest.raises(dr.FileFormatError):
            load(io.BytesIO(whole[:end]))


def without_first(described):
    return {**described, "columns": described["columns"][1:]}


def without(key):
    return lambda described: {k: v for k, v in described.items() if k != key}


ALTERATIONS = {
    "fewer columns": ("columns", without_first),
    "no columns": ("columns", lambda d: {**d, "columns": []}),
    "columns of text": ("columns", lambda d: "size, colour"),
    "a column twice": ("columns", lambda d: {**d, "columns": d["columns"] * 2}),
    "one class more": ("target", lambda d: {**d, "classes": ["a", "b", "c"]}),
    "another task": ("target", lambda d: {"task": "regression", "centre": [0], "scale": [1]}),
    "no target": ("target", lambda d: None),
    "nested classes": ("target", lambda d: {**d, "classes": [["a"], ["b"]]}),
    "another estimator": ("estimator", lambda d: {**d, "class": "TabularRegressor"}),
    "a strange estimator": ("estimator", lambda d: {**d, "class": "Shell"}),
    "an estimator without parameters": ("estimator", without("parameters")),
    "unknown parameters": ("estimator", lambda d: {**d, "parameters": {"command": "rm"}}),
    "impossible parameters": (
        "estimator",
        lambda d: {**d, "parameters": {**d["parameters"], "validation_fraction": 2}},
    ),
    "a strange recipe": ("recipe", lambda d: {"recipe": "poison"}),
    "an impossible recipe": ("recipe", lambda d: {**d, "dropout": 7}),
    "no recipe": ("recipe", lambda d: 3),
}


@pytest.mark.parametrize("kind", ALTERATIONS)
def test_an_altered_file_is_one_clear_error(estimators, kind):
    file = altered(content(estimators[0]), *ALTERATIONS[kind])
    with pytest.raises(dr.FileFormatError, match="the file") as caught:
        load(io.BytesIO(file))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_a_regression_does_not_come_back_as_a_classification(estimators):
    file = altered(
        content(estimators[1]), "estimator", lambda d: {**d, "class": "TabularClassifier"}
    )
    with pytest.raises(dr.FileFormatError, match="TabularClassifier has no regression"):
        load(io.BytesIO(file))


def test_files_of_other_kinds_say_what_they_lack(estimators, tmp_path):
    net = dr.Network([dr.Dense(1)], inputs=2).save(tmp_path / "net")
    with pytest.raises(dr.FileFormatError, match="no columns and target"):
        TableModel.load(net)
    path = estimators[0].save(tmp_path / "model")
    with pytest.raises(dr.FileFormatError, match="has a TabularClassifier"):
        TabularRegressor.load(path)
    with pytest.raises(dr.FileFormatError, match=r"deltarule\.sklearn\.load"):
        dr.load(path)
    with pytest.raises(dr.MissingFileError):
        load(tmp_path / "absent")


def test_networks_that_do_not_fit_are_refused(estimators):
    model = estimators[0].model_
    with pytest.raises(dr.InvalidValueError, match="inputs=9"):
        TableModel(model.columns, model.target, [dr.Network([dr.Dense(2)], inputs=9)])
    width = model.columns.width
    with pytest.raises(dr.InvalidValueError, match="3 outputs, the target has 2 classes"):
        TableModel(model.columns, model.target, [dr.Network([dr.Dense(3)], inputs=width)])
    with pytest.raises(dr.InvalidValueError, match="at least one network"):
        TableModel(model.columns, model.target, [])
