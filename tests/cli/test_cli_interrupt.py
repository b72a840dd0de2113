"""Ctrl-C in each part of ``train`` and ``predict``: 130, one line, nothing that is done is lost."""

from __future__ import annotations

import signal
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from typer.testing import CliRunner

from deltarule.cli import app
from deltarule.tables.model import TableModel
from oracles import oracle

oracle("pyarrow")
runner = CliRunner()


def run(*arguments):
    return runner.invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def table(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(80, 2))
    lines = [f"{a:.4f},{b:.4f},{'YN'[int(a + b > 0)]}" for a, b in x]
    path = tmp_path / "table.csv"
    path.write_text("a,b,kind\n" + "\n".join(lines) + "\n", encoding="utf-8")
    return path


def pressed_at(place: str, call: int = 1):
    """Press Ctrl-C when a function is called, or when it is called again."""
    module, _, name = place.rpartition(".")
    plain = getattr(__import__(module, fromlist=[name]), name)
    calls = []

    def pressed(*arguments, **settings):
        calls.append(name)
        if len(calls) == call:
            signal.raise_signal(signal.SIGINT)
        return plain(*arguments, **settings)

    return mock.patch(place, pressed)


def says_only(result, words: str) -> None:
    assert result.exit_code == 130, result.output
    assert "Traceback" not in result.output
    assert words in result.output


# What runs before there is a model: with folds, all but the last training.
BEFORE = {
    "reading the head": ("deltarule.tables.reading.reader.find_in", 1),
    "reading the rows": ("deltarule.tables.reading.rows.parse", 1),
    "finding the columns": ("deltarule.tables.study.plan_judgement", 1),
    "judging the first part": ("deltarule.tables.baselines.logistic", 1),
    "judging the second part": ("deltarule.tables.study._importances", 2),
}


@pytest.mark.parametrize("when", BEFORE)
def test_before_there_is_a_model_nothing_is_written(when: str, table: Path) -> None:
    place, call = BEFORE[when]
    out = table.parent / "out"
    with pressed_at(place, call):
        result = run("train", table, "--target", "kind", "--folds", 2, "--out", out)
    says_only(result, "deltarule: interrupted")
    assert not out.exists() or not list(out.iterdir())


AFTER = {
    "the linear model of a hold-out": (
        ["--holdout", 0.3],
        "deltarule.tables.baselines.logistic",
        1,
    ),
    "the importances of a hold-out": (["--holdout", 0.3], "deltarule.tables.study._importances", 1),
    "the effects": (["--folds", 2], "deltarule.tables.study.partial_dependence", 1),
}


@pytest.mark.parametrize("when", AFTER)
def test_a_model_that_is_trained_is_kept(when: str, table: Path) -> None:
    options, place, call = AFTER[when]
    out = table.parent / "out"
    with pressed_at(place, call):
        result = run("train", table, "--target", "kind", *options, "--out", out)
    says_only(result, "Training ended early: interrupted")
    assert sorted(path.name for path in out.iterdir()) == ["model.safetensors", "report.html"]
    model = TableModel.load(out / "model.safetensors")
    assert model.predict({"a": [2.0, -2.0], "b": [2.0, -2.0]}).tolist() == ["N", "Y"]


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_predict_leaves_no_half_output(form: str, table: Path) -> None:
    out, answers = table.parent / "out", table.parent / f"answers.{form}"
    assert run("train", table, "--target", "kind", "--folds", 2, "--out", out).exit_code == 0
    answers.write_bytes(b"before")
    with pressed_at("deltarule.cli.predict._answers"):
        result = run("predict", out / "model.safetensors", table, "--out", answers, "--force")
    says_only(result, "deltarule: interrupted")
    assert answers.read_bytes() == b"before"
    assert sorted(p.name for p in table.parent.iterdir()) == sorted(
        ["table.csv", "out", answers.name]
    )
