"""``deltarule demo`` on scikit-learn's digits."""

import os
import re
import signal
import sys

import pytest
from typer.testing import CliRunner

import deltarule as dr
import deltarule.cli.demo as demo_module
from deltarule.cli import app

runner = CliRunner()


def run(*arguments):
    return runner.invoke(app, ["demo", *map(str, arguments)])


@pytest.fixture(scope="module")
def demonstration(tmp_path_factory):
    path = tmp_path_factory.mktemp("demo") / "digits.html"
    result = run("--report", path)
    assert result.exit_code == 0, result.output
    return result, path


def test_it_reaches_97_percent_on_digits_it_has_not_seen(demonstration):
    result, _ = demonstration
    accuracy = float(re.search(r"Test accuracy +([\d.]+)%", result.stdout)[1])
    assert accuracy >= 97


def test_in_the_reference_engine_it_takes_at_most_20_seconds_of_one_core(tmp_path, monkeypatch):
    """Counted, since a clock counts the neighbours too: 10^9 operations a second are few.

    A multiplication and an addition for each weight and row: forward, delta and gradient. A step
    costs NumPy some thirty calls of 50 microseconds at most.
    """
    seen, train = [], demo_module.train

    def counted(network, X, *arguments, **settings):
        history = train(network, X, *arguments, **settings)
        seen.append((6 * network.vector.size * len(X) * history.epochs, history))
        return history

    monkeypatch.setattr(demo_module, "train", counted)
    monkeypatch.chdir(tmp_path)
    result = run("--engine", "reference", "--no-report")
    ((operations, history),) = seen
    assert history.engine.startswith("reference")
    assert operations / 1e9 + history.steps * 30 * 50e-6 <= 20
    assert float(re.search(r"Test accuracy +([\d.]+)%", result.stdout)[1]) >= 97


def test_it_prints_engine_time_and_a_confusion_matrix_that_adds_up(demonstration):
    text = demonstration[0].stdout
    assert re.search(r"Engine +(reference|native)", text)
    assert re.search(r"in [\d.]+ s", text)
    rows = re.findall(r"^ *\d +((?:[\d·]+ +){10})\d+%", text, re.MULTILINE)
    counts = [[0 if cell == "·" else int(cell) for cell in row.split()] for row in rows]
    right, total = map(int, re.search(r"\((\d+) of (\d+)\)", text).groups())
    assert sum(map(sum, counts)) == total
    assert sum(counts[k][k] for k in range(10)) == right


def test_it_shows_progress_on_standard_error(demonstration):
    assert "epochs: 40/40" in demonstration[0].stderr


def test_its_report_shows_every_wrong_digit(demonstration):
    result, path = demonstration
    right, total = map(int, re.search(r"\((\d+) of (\d+)\)", result.stdout).groups())
    assert path.read_text(encoding="utf-8").count('src="data:image/png') == total - right


def test_by_default_the_report_is_in_the_current_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run("--epochs", 1).exit_code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_no_report_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run("--epochs", 1, "--no-report").exit_code == 0
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--report", "no/such/folder/report.html"], "there is no folder"),
        (["--report", "."], "it is a folder"),
        (["--no-report", "--epochs", "0"], "epochs must be a whole number >= 1"),
        (["--no-report", "--engine", "fastest"], "engine must be"),
        (["--no-report", "--seed", "-1"], "seed must be"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line_before_training(
    arguments, says, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    result = run(*arguments)
    assert result.exit_code == 1
    assert len(result.stderr.strip().splitlines()) == 1
    assert says in result.stderr
    assert "Traceback" not in result.output
    assert not list(tmp_path.iterdir())


def test_a_bad_number_is_a_usage_error():
    assert run("--epochs", "many").exit_code == 2


def test_interrupted_training_is_tested_reported_and_told_by_the_status(tmp_path, monkeypatch):
    class PressCtrlC(dr.Callback):
        def on_epoch(self, state):
            if state.epoch == 2:
                os.kill(os.getpid(), signal.SIGINT)

    train = demo_module.train
    monkeypatch.setattr(
        demo_module, "train", lambda *a, **k: train(*a, callbacks=[PressCtrlC()], **k)
    )
    path = tmp_path / "report.html"
    result = run("--report", path)
    assert result.exit_code == 130
    assert "interrupted" in result.stdout
    assert "Test accuracy" in result.stdout
    assert "interrupted" in path.read_text(encoding="utf-8")


def test_interrupted_before_the_first_epoch_it_says_so_in_one_line(tmp_path, monkeypatch):
    def interrupted(*arguments, **settings):
        return dr.History("reference")

    monkeypatch.setattr(demo_module, "train", interrupted)
    result = run("--report", tmp_path / "report.html")
    assert result.exit_code == 130
    assert "interrupted before the first epoch was finished" in result.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("missing", "libraries"),
    [("sklearn.datasets", "scikit-learn"), ("deltarule.report", "matplotlib jinja2")],
)
def test_without_a_library_pip_is_told_its_name(missing, libraries, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, missing, None)
    result = run("--epochs", 1, "--report", tmp_path / "report.html")
    assert result.exit_code == 1
    assert f"pip install {libraries}" in result.stderr
