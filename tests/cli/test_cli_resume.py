"""``train --checkpoint`` and ``resume``: whatever ends a training, the same files come of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from typer.testing import CliRunner

import deltarule as dr
from deltarule.cli import app
from deltarule.cli.kept import Kept
from deltarule.cli.progress import Watch
from oracles import oracle

oracle("pyarrow")
runner = CliRunner()
FULL = int(os.environ.get("DELTARULE_SOAK", "0"))


def run(*arguments: object, code: int = 0) -> Any:
    found = runner.invoke(app, [str(argument) for argument in arguments])
    assert found.exit_code == code, found.output
    assert "Traceback" not in found.output
    return found


def refused(*arguments: object) -> str:
    """Return the one line with which a command refuses what it is given."""
    lines = run(*arguments, code=2).stderr.strip().splitlines()
    assert len(lines) == 1
    return str(lines[0])


def written(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    x = np.random.default_rng(0).normal(size=(24, 2)).round(3)
    lines = [f"{a},{b},{'YN'[int(a + b > 0)]}" for a, b in x]
    path = tmp_path_factory.mktemp("table") / "table.csv"
    path.write_text("\n".join(["a,b,kind", *lines]) + "\n")
    return path


@pytest.fixture(scope="module")
def expected(table: Path) -> dict[str, bytes]:
    """The files of a training that nobody has ended."""
    run("train", table, "--target", "kind", "--folds", 2, "--out", table.parent / "out")
    return written(table.parent / "out")


def ended_by(number: int, epoch: int) -> Any:
    """Send a signal after so many epochs of all networks."""
    count = 0

    def on_epoch(self: Watch, state: object) -> None:
        nonlocal count
        count += 1
        if count == epoch:
            signal.raise_signal(number)

    return mock.patch.object(Watch, "on_epoch", on_epoch)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the script forks")
def test_a_command_that_is_killed_again_and_again_writes_the_same_model() -> None:
    script = Path(__file__).with_name("killed_command.py")
    done = subprocess.run(
        [sys.executable, script, "200" if FULL else "3"],
        env=os.environ | {"PYTHONPATH": str(script.parents[1])},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == ""


# Of 15 networks with up to 150 epochs: in the first, between two, in the model of all rows.
@pytest.mark.parametrize(
    ("number", "epoch", "code"),
    [(signal.SIGTERM, 20, 143), (signal.SIGINT, 150, 130), (signal.SIGTERM, 1600, 143)],
)
def test_signals_end_it_and_resume_writes_the_same_files(
    number: int, epoch: int, code: int, table: Path, expected: dict[str, bytes], tmp_path: Path
) -> None:
    out, folder = tmp_path / "out", tmp_path / "run"
    arguments = ["train", table, "--target", "kind", "--folds", 2, "--out", out]
    with ended_by(number, epoch):
        found = run(*arguments, "--checkpoint", folder, "--quiet", code=code)
    assert f"terminated; `deltarule resume {folder}`" in found.stderr or number == signal.SIGINT
    assert f"`deltarule resume {folder}` goes on with it" in found.stderr
    assert not out.exists()
    run("resume", folder, "--quiet")
    assert written(out) == expected


def test_ctrl_c_where_nothing_is_trained(
    table: Path, expected: dict[str, bytes], tmp_path: Path
) -> None:
    out, folder = tmp_path / "out", tmp_path / "run"
    arguments = ["train", table, "--target", "kind", "--folds", 2, "--out", out]
    with mock.patch("deltarule.tables.study.partial_dependence", side_effect=KeyboardInterrupt):
        found = run(*arguments, "--checkpoint", folder, code=130)
    assert f"interrupted; `deltarule resume {folder}` goes on with it" in found.stderr
    assert not out.exists()
    found = run("resume", folder, "--json")
    assert json.loads(found.stdout)["files"]["model"] == str(out / "model.safetensors")
    assert written(out) == expected


def test_what_was_written_before_it_was_killed_is_overwritten_and_nothing_else(
    table: Path, expected: dict[str, bytes], tmp_path: Path
) -> None:
    from deltarule.cli import training

    def only_the_first(path: Path, content: bytes) -> None:
        path.write_bytes(content)
        (path.parent / f".{path.name}.abc.part").write_bytes(content[:9])
        raise KeyboardInterrupt

    out, folder = tmp_path / "out", tmp_path / "run"
    arguments = ["train", table, "--target", "kind", "--folds", 2, "--out", out]
    with mock.patch.object(training, "write_atomically", only_the_first):
        run(*arguments, "--checkpoint", folder, code=130)
    assert len(written(out)) == 2
    run("resume", folder, "--quiet")
    assert written(out) == expected
    run("resume", folder, "--quiet")  # once more, which changes nothing
    assert written(out) == expected
    (out / "report.html").write_text("mine")
    assert "report.html exists already; --force overwrites it" in refused("resume", folder)
    assert (out / "report.html").read_text() == "mine"
    run("resume", folder, "--force", "--quiet")
    assert written(out) == expected


def test_another_folder_and_relative_paths(
    table: Path, expected: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "table.csv").write_bytes(table.read_bytes())
    monkeypatch.chdir(tmp_path)
    with ended_by(signal.SIGTERM, 3):
        run("train", "table.csv", "--target", "kind", "--folds", 2, "--checkpoint", "a", code=143)
    (tmp_path / "b").mkdir()
    monkeypatch.chdir(tmp_path / "b")
    run("resume", "../a", "--quiet")
    assert written(tmp_path / "table-kind") == expected


@pytest.fixture(scope="module")
def begun(table: Path) -> Path:
    folder = table.parent / "begun"
    with ended_by(signal.SIGTERM, 2):
        arguments = ["--target", "kind", "--folds", 2, "--out", table.parent / "none"]
        run("train", table, *arguments, "--checkpoint", folder, code=143)
    return folder


def test_a_folder_of_another_training_is_refused(begun: Path, table: Path, tmp_path: Path) -> None:
    def again(*more: object, file: Path = table) -> str:
        arguments = ["--target", "kind", "--folds", 2, "--out", table.parent / "none", *more]
        return refused("train", file, *arguments, "--checkpoint", begun)

    before = {path: path.stat().st_mtime_ns for path in begun.rglob("*")}
    assert f"`deltarule resume {begun}` goes on with it" in again()
    assert "other arguments (--seed was 0, here it is 1)" in again("--seed", 1)
    assert "(--drop was [], here it is ['a'])" in again("--drop", "a")
    other = tmp_path / "other.csv"
    other.write_text(table.read_text() + "1,1,N\n")
    assert f"the training of another file, {table}" in again(file=other)
    assert {path: path.stat().st_mtime_ns for path in begun.rglob("*")} == before


def test_a_file_that_has_changed_is_refused(table: Path, tmp_path: Path) -> None:
    file, folder = tmp_path / "table.csv", tmp_path / "run"
    file.write_bytes(table.read_bytes())
    with ended_by(signal.SIGTERM, 2):
        run("train", file, "--target", "kind", "--checkpoint", folder, "--out", tmp_path, code=143)
    file.write_text(table.read_text() + "1,1,N\n")
    assert f"{file} is not as it was when the training" in refused("resume", folder)
    file.unlink()
    assert f"no such file: {file}" in refused("resume", folder)


def test_where_there_is_nothing_to_go_on_with(table: Path, tmp_path: Path) -> None:
    assert "has no training to go on with" in refused("resume", tmp_path / "nowhere")
    assert "has no training to go on with" in refused("resume", table)
    arguments = ["train", table, "--target", "kind", "--out", tmp_path / "out", "--checkpoint"]
    assert "is not empty; --checkpoint takes a new folder" in refused(*arguments, table.parent)
    assert "is a file; --checkpoint takes a folder" in refused(*arguments, table)
    standard = ["train", "-", *arguments[2:]]
    assert "standard input cannot be read again" in refused(*standard, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    wrong = ["train", table, "--target", "nothing", *arguments[4:]]
    assert "there is no column 'nothing'" in refused(*wrong, tmp_path / "run")
    assert not (tmp_path / "run").exists()


HOSTILE = [None, True, -1, 0.5, "x", [], ["a"], [1], {}, {"a": 1}, "\0", 10**30]


def test_a_damaged_description_is_one_clear_error(begun: Path, tmp_path: Path) -> None:
    whole = (begun / "training.json").read_text()
    about = json.loads(whole)
    places = [(name,) for name in about] + [("arguments", name) for name in about["arguments"]]
    wrong = [*(whole[:cut] for cut in range(0, len(whole), 97)), "[]", "[" * 99_999, "\udcff"]
    for *outer, last in places:
        for value in HOSTILE if last not in ("force", "no_report") else ["x"]:
            changed = json.loads(whole)
            within = changed[outer[0]] if outer else changed
            within[last] = value
            wrong.append(json.dumps(changed))
    taken = 0
    for text in wrong:
        (tmp_path / "training.json").write_bytes(text.encode(errors="surrogateescape"))
        with suppress(dr.DeltaruleError):
            Kept.of(tmp_path)
            taken += 1  # it is something that the options could have said
    assert taken < len(wrong) / 4
    (tmp_path / "training.json").write_text("{}")
    assert "training.json does not describe a training" in refused("resume", tmp_path)


def test_a_time_limit_counts_what_came_before(table: Path, tmp_path: Path) -> None:
    """A resumed training has no more seconds than one that is not ended: here none are left."""
    folder = tmp_path / "run"
    arguments = ["train", table, "--target", "kind", "--holdout", 0.5, "--out", tmp_path / "out"]
    with ended_by(signal.SIGTERM, 3):
        run(*arguments, "--time-limit", 3600, "--checkpoint", folder, code=143)
    (path,) = folder.glob("part-1/network-1/epoch-*")
    later(path, 3600 * 5.0)
    found = json.loads(run("resume", folder, "--json").stdout)
    assert found["stopped"] == "time limit"


def later(path: Path, seconds: float) -> None:
    """Let a checkpoint say that its run has taken so long."""
    from deltarule.network.model_file import load_networks
    from deltarule.training.checkpoint_file import content, saved_in

    file = load_networks(path)
    saved = saved_in(file, path)
    saved["run"]["seconds"] = seconds
    path.write_bytes(content(file.networks[0], saved))
