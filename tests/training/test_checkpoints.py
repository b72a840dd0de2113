"""The files of checkpoints: when, which are kept, what happens where they cannot be written."""

from __future__ import annotations

import errno
import io
import json
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import deltarule as dr
from deltarule.network.model_file import digest_of
from faults import at_call, failing

Checkpoint = partial(dr.Checkpoint, share=1)  # each that is due
RNG = np.random.default_rng(11)
X, Y = RNG.standard_normal((24, 3)), RNG.standard_normal(24)
FULL = int(os.environ.get("DELTARULE_SOAK", "0"))


def network(seed: int = 1) -> dr.Network:
    return dr.Network([dr.Dense(4, "tanh"), dr.BatchNorm(), dr.Dense(1)], inputs=3, seed=seed)


def train(net: dr.Network, *callbacks: dr.Callback, **settings: Any) -> dr.History:
    return dr.train(
        net, X, Y, callbacks=list(callbacks),
        **{"loss": "squared_error", "epochs": 4, "batch_size": 8} | settings,
    )  # fmt: skip


def names(folder: Path) -> list[str]:
    return sorted(path.name.removesuffix(".safetensors") for path in folder.iterdir())


# -------------------------------------------------------------------------- when, and which


@pytest.mark.parametrize(
    ("settings", "kept"),
    [
        ({}, ["epoch-000003", "epoch-000004"]),
        ({"keep": 1}, ["epoch-000004"]),
        ({"keep": 9}, [f"epoch-00000{i}" for i in range(5)]),
        ({"keep": 9, "every": 3}, ["epoch-000000", "epoch-000003", "epoch-000004"]),
        ({"keep": 3, "unit": "step", "every": 5},
         ["epoch-000001-batch-000002", "epoch-000003-batch-000001", "epoch-000004"]),
    ],
)  # fmt: skip
def test_the_first_the_last_and_every_so_many(
    settings: dict[str, Any], kept: list[str], tmp_path: Path
) -> None:
    """Four epochs of three steps; the first is written before the first step."""
    checkpoint = Checkpoint(tmp_path / "deep" / "run", **settings)
    assert checkpoint.latest is None
    train(network(), checkpoint)
    assert names(tmp_path / "deep" / "run") == kept
    assert checkpoint.latest == tmp_path / "deep" / "run" / f"{kept[-1]}.safetensors"


def test_writing_takes_a_share_of_the_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second each, by a clock that goes on by 1 s when a file is written, by 0.25 s in an epoch.

    Of 0.25 of the time: after the first, which ends at 1 s, the next may begin at 8 s.
    """
    now = 0.0

    class Epoch(dr.Callback):
        def on_epoch(self, state: dr.State) -> None:
            nonlocal now
            now += 0.25

    def replace(*paths: Any) -> None:
        nonlocal now
        now += 1
        usual(*paths)

    usual = os.replace
    monkeypatch.setattr(os, "replace", replace)
    monkeypatch.setattr(time, "perf_counter", lambda: now)
    train(network(), Epoch(), dr.Checkpoint(tmp_path, share=0.25, keep=99), epochs=60)
    found = [int(name[-6:]) for name in names(tmp_path)]
    assert found == [0, 28, 40, 52, 60]  # at 1 + 28 / 4 = 8 s, 9 + 12 / 4 = 12 s, 16 s, the last


class Scores(dr.Callback):
    """Lets the network's output be one of these numbers after each epoch."""

    def on_epoch(self, state: dr.State) -> None:
        state.network.vector[:] = 0
        state.network.vector[-1] = [0.5, 0.1, 0.3, 0.4, 0.2, 0.05][state.epoch - 1]


def test_the_checkpoint_of_the_best_epoch_is_kept(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path, keep=1, monitor="val_loss", every=2)
    zero = X[:6], np.zeros(6)
    train(network(), Scores(), checkpoint, validation=zero)
    assert names(tmp_path) == ["epoch-000002", "epoch-000004"]
    assert checkpoint.best == tmp_path / "epoch-000002.safetensors"
    assert dr.load(checkpoint.best).vector[-1] == np.float32(0.1)
    for epochs, best in ((5, 2), (6, 6)):  # which the resumed runs know
        dr.resume(tmp_path, X, Y, validation=zero, epochs=epochs, callbacks=[Scores()])
        assert names(tmp_path) == sorted({f"epoch-00000{best}", f"epoch-00000{epochs}"})


def test_a_column_to_watch_must_exist(tmp_path: Path) -> None:
    with pytest.raises(dr.InvalidValueError, match="monitor: the history will have no 'val_loss'"):
        train(network(), Checkpoint(tmp_path / "run", monitor="val_loss"))
    assert not (tmp_path / "run").exists()


def test_a_folder_with_another_runs_checkpoints_is_refused(tmp_path: Path) -> None:
    train(network(), Checkpoint(tmp_path))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    net = network()
    start = net.vector.copy()
    with pytest.raises(dr.InvalidValueError, match=r"checkpoints of another run.*dr\.resume"):
        train(net, Checkpoint(tmp_path))
    assert np.array_equal(net.vector, start)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_other_files_in_the_folder_stay(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "epoch-best.safetensors").write_text("mine too")
    (tmp_path / ".epoch-000001.safetensors.x.part").write_text("of a run that was killed")
    train(network(), Checkpoint(tmp_path, keep=1))
    found = sorted(path.name for path in tmp_path.iterdir())
    assert found == ["epoch-000004.safetensors", "epoch-best.safetensors", "notes.txt"]


def test_an_earlier_checkpoint_is_refused_while_later_ones_lie_beside_it(tmp_path: Path) -> None:
    train(network(), Checkpoint(tmp_path))
    with pytest.raises(dr.InvalidValueError, match=r"not the latest.*epoch-000004"):
        dr.resume(tmp_path / "epoch-000003.safetensors", X, Y)
    (tmp_path / "epoch-000004.safetensors").unlink()
    assert dr.resume(tmp_path / "epoch-000003.safetensors", X, Y).history.epochs == 4


def test_restarts_are_many_runs(tmp_path: Path) -> None:
    with pytest.raises(dr.InvalidValueError, match="a folder of checkpoints holds one run"):
        dr.restart(
            network(), X, Y, loss="squared_error", restarts=2, callbacks=[Checkpoint(tmp_path)]
        )
    assert names(tmp_path) == []


def test_where_there_is_nothing_to_go_on_with(tmp_path: Path) -> None:
    with pytest.raises(dr.MissingFileError, match="has no checkpoints"):
        dr.resume(tmp_path, X, Y)
    with pytest.raises(dr.MissingFileError, match="no such file or folder"):
        dr.resume(tmp_path / "run", X, Y)


def test_a_folder_may_be_moved(tmp_path: Path) -> None:
    net = network()
    train(net, Checkpoint(tmp_path / "run"), epochs=2)
    (tmp_path / "run").rename(tmp_path / "moved")
    dr.resume(tmp_path / "moved", X, Y, epochs=3)
    assert names(tmp_path) == ["moved"]
    assert names(tmp_path / "moved") == ["epoch-000002", "epoch-000003"]


def test_several_runs_of_one_trainer(tmp_path: Path) -> None:
    """Each run has its folder; epochs and steps of the earlier ones count for the schedule."""

    def trained(folder: Path) -> tuple[dr.Network, dr.History]:
        net = network()
        trainer = dr.Trainer(net, "squared_error", dr.Adam(dr.Exponential(0.1, 0.9)))
        trainer.run(X, Y, epochs=2)
        return net, trainer.run(X, Y, epochs=3, callbacks=[Checkpoint(folder, keep=9)])

    net, history = trained(tmp_path / "a")
    for path in sorted((tmp_path / "a").iterdir())[:-1]:
        copy = tmp_path / path.stem
        copy.mkdir()
        (copy / path.name).write_bytes(path.read_bytes())
        found, again = dr.resume(copy, X, Y)
        assert np.array_equal(found.vector, net.vector)
        assert dict(again) == dict(history)


# --------------------------------------------------------------------------- when it fails


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EACCES])
def test_every_call_that_fails_is_raised_and_loses_nothing(number: int, tmp_path: Path) -> None:
    """The earlier checkpoint is whole, the network in memory is that of the last epoch."""
    plain = network()
    train(plain, Checkpoint(tmp_path / "plain", keep=9))
    with at_call(-1, failing(number)) as made:
        train(network(), Checkpoint(tmp_path / "counted", keep=9))
    step = 1 if FULL or number == errno.ENOSPC else 5
    for call in range(0, len(made), step):
        folder, net = tmp_path / f"{number}-{call}", network()
        with (
            at_call(call, failing(number)) as calls,
            pytest.raises(dr.WriteError, match=os.strerror(number)) as caught,
        ):
            train(net, Checkpoint(folder, keep=9))
        assert caught.value.errno == number
        assert str(folder) in str(caught.value)
        assert len(calls) >= call + 1
        assert not list(folder.glob(".*.part")), made[call]
        for path in folder.glob("epoch-*"):  # each is whole, and that of a run where nothing fails
            same = dr.load(path).vector, dr.load(tmp_path / "plain" / path.name).vector
            assert np.array_equal(*same)
        if not list(folder.glob("epoch-*")):  # the first of all, before the first step
            assert np.array_equal(net.vector, network().vector)
        else:
            assert np.array_equal(dr.resume(folder, X, Y).network.vector, plain.vector)


def test_the_network_in_memory_is_that_of_the_last_epoch(tmp_path: Path) -> None:
    class Fail(dr.Callback):
        def on_epoch(self, state: dr.State) -> None:
            if state.epoch == 3:
                os.fsync = failing(errno.ENOSPC)  # type: ignore[assignment]

    plain, net, fsync = network(), network(), os.fsync
    train(plain, epochs=3)
    try:
        with pytest.raises(dr.WriteError, match="No space left"):
            train(net, Fail(), Checkpoint(tmp_path))
    finally:
        os.fsync = fsync
    assert np.array_equal(plain.vector, net.vector)
    assert names(tmp_path) == ["epoch-000001", "epoch-000002"]


def test_a_full_disk_is_found_out_before_the_first_step(tmp_path: Path) -> None:
    net = network()
    start = net.vector.copy()
    with at_call(3, failing(errno.ENOSPC)), pytest.raises(dr.WriteError, match="No space left"):
        train(net, Checkpoint(tmp_path))
    assert np.array_equal(net.vector, start)


def test_no_folder_can_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(dr.WriteError, match=r"cannot make the folder .*file"):
        train(network(), Checkpoint(tmp_path / "file"))


# ------------------------------------------------------------------------- when it is ended


def press(number: int, step: int) -> dr.Callback:
    """Return a callback that sends a signal after a step."""

    class Press(dr.Callback):
        every_steps = 1

        def on_steps(self, state: dr.State) -> None:
            if state.steps == step:
                signal.raise_signal(number)

    return Press()


@pytest.mark.parametrize("step", [1, 3, 5, 11, 12])
def test_sigterm_writes_a_checkpoint_and_ends_the_process(step: int, tmp_path: Path) -> None:
    plain, net = network(), network()
    expected = train(plain)
    with pytest.raises(SystemExit) as caught:
        train(net, press(signal.SIGTERM, step), Checkpoint(tmp_path, every=99))
    assert caught.value.code == 143
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    epoch, batch = divmod(step, 3)
    assert names(tmp_path)[-1] == f"epoch-{epoch:06d}" + (f"-batch-{batch:06d}" if batch else "")
    found, history = dr.resume(tmp_path, X, Y, callbacks=[press(0, 0)])
    assert np.array_equal(found.vector, plain.vector)
    assert dict(history) == dict(expected)


def test_ctrl_c_writes_a_checkpoint(tmp_path: Path) -> None:
    plain, net = network(), network()
    train(plain)
    stopping = dr.EarlyStopping("loss")  # restores the best weights after the checkpoint
    with pytest.raises(dr.TrainingInterrupted):
        train(net, press(signal.SIGINT, 7), stopping, Checkpoint(tmp_path))
    assert names(tmp_path) == ["epoch-000002", "epoch-000002-batch-000001"]
    found, history = dr.resume(tmp_path, X, Y, callbacks=[press(0, 0), dr.EarlyStopping("loss")])
    assert history.epochs == 4
    again = network()
    train(again, dr.EarlyStopping("loss"))
    assert np.array_equal(found.vector, again.vector)


def test_sigterm_without_raising(tmp_path: Path) -> None:
    history = train(
        network(), press(signal.SIGTERM, 2), Checkpoint(tmp_path), on_interrupt="return"
    )
    assert (history.stopped, history.steps) == ("terminated", 2)


def test_without_a_checkpoint_sigterm_is_left_alone() -> None:
    class Look(dr.Callback):
        def on_epoch(self, state: dr.State) -> None:
            assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL

    train(network(), Look())


def test_a_sigterm_handler_of_ones_own_stays(tmp_path: Path) -> None:
    class MineError(Exception):
        pass

    def handler(*_: object) -> None:
        raise MineError

    before = signal.signal(signal.SIGTERM, handler)
    try:
        with pytest.raises(MineError):
            train(network(), press(signal.SIGTERM, 2), Checkpoint(tmp_path))
        assert signal.getsignal(signal.SIGTERM) is handler
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the script forks")
def test_a_run_that_is_killed_again_and_again_ends_in_the_same_bits() -> None:
    script = Path(__file__).with_name("killed.py")
    done = subprocess.run(
        [sys.executable, script, "200" if FULL else "6"],
        env=os.environ | {"PYTHONPATH": str(script.parents[1])},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == ""


# --------------------------------------------------------------------- when a file is wrong


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("whole")
    train(
        network(), dr.EarlyStopping("val_loss"), dr.ReduceOnPlateau("val_loss"),
        Checkpoint(folder, every=5, unit="step", keep=99), validation=1 / 3, metrics=["mse"],
    )  # fmt: skip
    found: bytes = sorted(folder.iterdir())[1].read_bytes()
    return found


def resumed(content: bytes, folder: Path) -> None:
    """Go on from what may be a checkpoint; it may run, or raise an error of ours."""
    path = folder / "epoch-000002.safetensors"
    path.write_bytes(content)
    for call in (lambda: dr.load(path), lambda: dr.resume(path, X, Y, progress=False)):
        with suppress(dr.DeltaruleError):
            call()
    for made in folder.glob("epoch*"):
        made.unlink()


def test_every_cut_and_every_flipped_byte_is_refused(whole: bytes, tmp_path: Path) -> None:
    random.seed(1)
    cuts = range(0, len(whole), 1 if FULL else 97)
    places = range(len(whole)) if FULL else random.sample(range(len(whole)), 300)
    for wrong in (
        *(whole[:cut] for cut in cuts),
        whole + b"\0",
        *(whole[:i] + bytes([whole[i] ^ 1 << i % 8]) + whole[i + 1 :] for i in places),
    ):
        for read in (dr.load, lambda file: dr.load(file)):
            with pytest.raises(dr.FileFormatError):
                read(io.BytesIO(wrong))
    path = tmp_path / "epoch-000001.safetensors"
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(dr.FileFormatError, match="damaged or was altered"):
        dr.resume(path, X, Y)


HOSTILE = [None, True, -1, 0, 1, 7, 1e300, -1.5, "", "x", [], [1], {}, {"a": 1}, {"$array": "x"},
           {"$array": "checkpoint/trainer/updates"}, {"$number": "nan"}, {"$tuple": [1]},
           {"$record": ["Spread"]}, {"$record": []}, 10**30, [[]], {"$x": 1}]  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the paths of all parts of a JSON value."""
    if not isinstance(value, (dict, list)):
        return [path]
    parts = value.items() if isinstance(value, dict) else enumerate(value)
    return [path, *(p for key, part in parts for p in places(part, (*path, key)))]


def put(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    key, *rest = path
    changed = value.copy()
    if new is KeyError and not rest:
        del changed[key]
    else:
        changed[key] = put(value[key], tuple(rest), new)
    return changed


def with_checkpoint(content: bytes, change: Any) -> bytes:
    """Return a file whose header says something else, with the digest that belongs to it."""
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    about = header["__metadata__"]
    about["checkpoint"] = json.dumps(change(json.loads(about["checkpoint"])))
    about["digest"] = "0" * 64
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    found = len(text).to_bytes(8, "little") + text + content[end:]
    spaced = f'"digest": "{"0" * 64}"'.encode()
    found = found.replace(spaced, b'"digest":"' + b"0" * 64 + b'" ', 1)
    return found.replace(b"0" * 64, digest_of(found).encode(), 1)


def test_a_stranger_who_knows_the_digest_gets_one_clear_error(whole: bytes, tmp_path: Path) -> None:
    same = with_checkpoint(whole, lambda value: value)
    path = tmp_path / "epoch-000001.safetensors"
    path.write_bytes(same)
    assert dr.resume(path, X, Y).history.epochs == 4
    for made in tmp_path.iterdir():
        made.unlink()
    found: list[tuple[Any, ...]] = []
    with_checkpoint(whole, lambda value: found.extend(places(value)) or value)
    random.seed(2)
    wrong: list[str] = []
    cases = [(path, new) for path in found[1:] for new in [*HOSTILE, KeyError]]
    for path, new in cases if FULL else random.sample(cases, 250):
        if new is KeyError and isinstance(path[-1], int) and len(path) == 1:
            continue
        content = with_checkpoint(whole, lambda value, p=path, n=new: put(value, p, n))
        try:
            resumed(content, tmp_path)
        except Exception as error:
            wrong.append(f"{path} = {new!r}: {type(error).__name__}: {error}")
    assert not wrong, "\n".join(wrong)
