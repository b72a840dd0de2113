"""``deltarule train`` and ``deltarule predict`` on small files with the quirks of real ones."""

import csv
import io
import json

import numpy as np
import pytest
from typer.testing import CliRunner

from deltarule.cli import app
from oracles import oracle

oracle("pyarrow")
runner = CliRunner()


def run(*arguments, **settings):
    return runner.invoke(app, [str(argument) for argument in arguments], **settings)


def flowers(n=60, seed=0):
    """A table of two kinds of flowers that two numbers tell apart, with a key and gaps."""
    rng = np.random.default_rng(seed)
    kinds = rng.integers(0, 2, n)
    rows = [["key", "length", "Width ", "colour", "kind"]]
    for i, k in enumerate(kinds):
        length = "" if i % 9 == 4 else f"{k + rng.normal(0, 0.3):.3f}"
        colour = rng.choice(["red", "blue, pale", "white"])
        rows.append([f"f{i:04}", length, f"{2 * k + rng.normal(0, 0.4):.3f}", colour, "YN"[k]])
    return rows


def written(rows, separator=","):
    text = io.StringIO()
    csv.writer(text, delimiter=separator, lineterminator="\n").writerows(rows)
    return text.getvalue()


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """What `train` printed and wrote of the flowers."""
    folder = tmp_path_factory.mktemp("train")
    path = folder / "flowers.csv"
    path.write_text(written(flowers()), encoding="utf-8")
    out = folder / "out"
    result = run("train", path, "--target", "kind", "--folds", 2, "--out", out, "--json")
    assert result.exit_code == 0, result.output
    return path, out, result


def test_json_is_one_object_with_everything_a_machine_asks(trained):
    _, out, result = trained
    found = json.loads(result.stdout)
    assert (found["task"], found["target"]) == ("classification", "kind")
    assert (found["rows"], found["rows_dropped"]) == (60, 0)
    assert found["metric"] == "accuracy"
    assert found["score"] > 0.9 > 0.6 > found["baseline"]
    assert [(c["name"], c["use"]) for c in found["columns"]] == [
        ("key", "left out"),
        ("length", "number"),
        ("Width", "number"),
        ("colour", "one-hot"),
    ]
    assert found["files"] == {
        "model": str(out / "model.safetensors"),
        "report": str(out / "report.html"),
    }


def test_predictions_are_spelt_as_the_labels_and_keep_their_key(trained, tmp_path):
    path, out, _ = trained
    result = run("predict", out / "model.safetensors", path, "--keep", "key")
    assert result.exit_code == 0, result.output
    rows = list(csv.reader(io.StringIO(result.stdout)))
    assert rows[0] == ["key", "prediction"]
    assert [row[0] for row in rows[1:]] == [row[0] for row in flowers()[1:]]
    truth = [row[-1] for row in flowers()[1:]]
    assert np.mean([row[1] == label for row, label in zip(rows[1:], truth, strict=True)]) > 0.9
