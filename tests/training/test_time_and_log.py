"""Callbacks that end a run after some time, and that write its history into a file."""

from __future__ import annotations

import csv
import json
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import deltarule as dr
from deltarule.network.model_file import load_networks

RNG = np.random.default_rng(2)
X, Y = RNG.standard_normal((24, 3)), RNG.standard_normal(24)


def network() -> dr.Network:
    return dr.Network([dr.Dense(4, "tanh"), dr.Dense(1)], inputs=3, seed=1)


train = partial(dr.train, loss="squared_error", batch_size=8)

# ------------------------------------------------------------------------------------- time


@pytest.mark.parametrize(("engine", "rows"), [("native", 1_000_000), ("reference", 20_000)])
def test_a_run_ends_within_an_epoch_when_its_time_is_up(engine: str, rows: int) -> None:
    """Its epochs last longer than the budget."""
    big = np.zeros((rows, 3)), np.zeros(rows)
    start = time.perf_counter()
    history = train(
        network(), *big, epochs=100, callbacks=[dr.TimeBudget(0.1)], engine=engine, threads=1,
        batch_size=1, progress=False,
    )  # fmt: skip
    assert history.stopped == "the time budget of 0.1 s is used up"
    assert history.epochs < 100
    assert history.seconds >= 0.1
    assert time.perf_counter() - start < 60


def test_without_callbacks_that_want_each_epoch_calls_are_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trainer = dr.Trainer(network(), "squared_error")
    calls = []
    run = trainer._executor.run
    monkeypatch.setattr(
        trainer._executor, "run", lambda r, record: (calls.append(r.steps), run(r, record))[1]
    )
    trainer.run(X, Y, epochs=500, batch_size=8, callbacks=[dr.TimeBudget(1000)])
    assert calls == [1500]


def test_several_ends_the_earliest_counts_and_a_resumed_run_counts_all(tmp_path: Path) -> None:
    class Ends(dr.Callback):
        def on_start(self, state: dr.State) -> None:
            now = time.monotonic()
            state.end_at(now + 1000, "late")
            state.end_at(now - 1, "at once")
            state.end_at(now, "later")

    assert train(network(), X, Y, epochs=9, callbacks=[Ends()]).stopped == "at once"
    checkpoint = dr.Checkpoint(tmp_path, share=1)
    history = train(network(), X, Y, epochs=3, callbacks=[dr.TimeBudget(1000), checkpoint])
    assert history.epochs == 3
    saved = load_networks(tmp_path / "epoch-000003.safetensors").about["checkpoint"]["run"][
        "seconds"
    ]
    _, again = dr.resume(tmp_path, X, Y, epochs=5)
    assert (again.epochs, again.stopped) == (5, "")
    assert 0 < saved < again.seconds


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf"), "1", None, True])
def test_seconds_must_be_a_time(seconds: Any) -> None:
    with pytest.raises(dr.DeltaruleError, match="seconds must be a finite number > 0"):
        dr.TimeBudget(seconds)


# -------------------------------------------------------------------------------------- log


def test_each_epoch_is_a_line_when_it_ends(tmp_path: Path) -> None:
    path = tmp_path / "run.csv"
    lines = []

    class Look(dr.Callback):
        def on_epoch(self, state: dr.State) -> None:
            lines.append(len(path.read_text().splitlines()))

    history = train(
        network(), X, Y, epochs=4, validation=0.25, metrics=["mse"],
        callbacks=[dr.Log(path), Look()],
    )  # fmt: skip
    assert lines == [2, 3, 4, 5]
    with path.open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2", "3", "4"]
    for name in ("loss", "mse", "val_loss", "val_mse", "learning_rate"):
        assert [float(row[name]) for row in rows] == history[name]  # every bit
    seconds = [float(row["seconds"]) for row in rows]
    assert seconds == sorted(seconds)


def test_json_lines(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    log = dr.Log(path)
    history = train(network(), X, Y, epochs=2, callbacks=[log])
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [row["loss"] for row in rows] == history["loss"]
    assert list(rows[0]) == ["epoch", "seconds", "loss", "learning_rate"]
    odd = json.loads(log._line([3, 0.5, float("nan"), float("-inf")]))
    assert odd == {"epoch": 3, "seconds": 0.5, "loss": None, "learning_rate": None}


def test_an_existing_file_is_refused_and_stays(tmp_path: Path) -> None:
    path = tmp_path / "run.csv"
    path.write_text("mine")
    net = network()
    start = net.vector.copy()
    with pytest.raises(dr.WriteError, match="it exists already"):
        train(net, X, Y, callbacks=[dr.Log(path)])
    assert path.read_text() == "mine"
    assert np.array_equal(net.vector, start)
    with pytest.raises(dr.InvalidValueError, match=r"path must end with \.csv or \.jsonl"):
        dr.Log(tmp_path / "run.txt")
    with pytest.raises(dr.WriteError, match="there is no folder"):
        train(net, X, Y, callbacks=[dr.Log(tmp_path / "none" / "run.csv")])


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_a_resumed_run_goes_on_with_its_file(kind: str, tmp_path: Path) -> None:
    """Lines after the checkpoint, and one that a kill has cut, are written anew."""
    path, folder = tmp_path / f"run.{kind}", tmp_path / "run"
    callbacks = [dr.Log(path), dr.Checkpoint(folder, share=1, every=3)]
    train(network(), X, Y, epochs=5, callbacks=callbacks)
    whole = path.read_text()
    (folder / "epoch-000005.safetensors").unlink()
    path.write_text(whole[:-7])
    dr.resume(folder, X, Y)

    def without_seconds(text: str) -> list[Any]:
        if kind == "csv":
            return [line.split(",")[:1] + line.split(",")[2:] for line in text.splitlines()]
        return [json.loads(line) | {"seconds": 0} for line in text.splitlines()]

    assert without_seconds(path.read_text()) == without_seconds(whole)


def test_a_file_that_cannot_be_written_any_longer_ends_the_run(tmp_path: Path) -> None:
    class Replace(dr.Callback):
        def on_epoch(self, state: dr.State) -> None:
            if state.epoch == 2:
                (tmp_path / "run.csv").unlink()
                (tmp_path / "run.csv").mkdir()

    with pytest.raises(dr.WriteError, match=r"cannot write .*run\.csv"):
        train(network(), X, Y, epochs=5, callbacks=[Replace(), dr.Log(tmp_path / "run.csv")])
