"""A run that goes on from any of its checkpoints ends in the bits of one that was never stopped."""

from __future__ import annotations

import logging
import shutil
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import deltarule as dr
from deltarule.training import pace
from deltarule.training.checkpoint_folder import checkpoints_in

ENGINES = [name for name, state in dr.engines().items() if state.startswith("available")]
Checkpoint = partial(dr.Checkpoint, share=1)  # each that is due
RNG = np.random.default_rng(7)
X, Y = RNG.standard_normal((37, 3)), RNG.standard_normal(37)
LABELS = RNG.integers(0, 3, 37)
WEIGHTS = RNG.uniform(0, 1, 37)
WEIGHTS[:9] = 0
HELD_OUT = X[:9] + 0.1, Y[:9]


def hidden(**settings: Any) -> list[dr.Layer]:
    return [dr.Dense(4, "tanh"), dr.Dropout(0.2), dr.BatchNorm(), dr.Dense(**settings)]


def network(**settings: Any) -> dr.Network:
    return dr.Network(hidden(units=1), inputs=3, seed=1, **settings)


def plain() -> dr.Network:
    return dr.Network([dr.Dense(4, "tanh"), dr.Dense(1)], inputs=3, seed=1)


def classifier() -> dr.Network:
    return dr.Network(hidden(units=3, activation="softmax"), inputs=3, seed=2)


def frozen() -> dr.Network:
    net = network(dtype="float64")
    net.scale_learning_rate(0, "0.weight")
    net.scale_learning_rate(0.5, "3.weight")
    return net


REGRESSION = {"loss": "squared_error", "epochs": 3, "batch_size": 8}
STOPPING = [
    lambda: dr.EarlyStopping("val_loss", patience=1, best_is="max"),
    lambda: dr.ReduceOnPlateau("val_loss", patience=1, factor=0.5),
]
RUNS: dict[str, tuple[Any, Any, dict[str, Any], dict[str, Any], list[Any]]] = {
    # network, targets, settings, data that resume takes again, callbacks
    "plain": (network, Y, {}, {}, []),
    "schedules": (network, Y, {"optimizer": dr.NAdam(dr.OneCycle(0.1))}, {}, []),
    "by epoch": (network, Y, {"optimizer": dr.SGD(dr.Step(0.1, 1, unit="epoch"), 0.9)}, {}, []),
    "metrics": (network, Y, {"metrics": ["mse", "r2", dr.metrics.MAE()]}, {}, []),
    "fraction": (network, Y, {"validation": 0.25, "metrics": ["r2"]}, {}, STOPPING),
    "held out": (network, Y, {"metrics": ["r2"]}, {"validation": HELD_OUT}, STOPPING),
    "weights": (network, Y, {"metrics": ["mse"]}, {"sample_weight": WEIGHTS}, []),
    "order": (network, Y, {"drop_last": True}, {"shuffle": np.arange(37)[::-1]}, []),
    "no shuffle": (network, Y, {"shuffle": False, "clip": dr.ClipNorm(0.1)}, {}, []),
    "full batch": (network, Y, {"batch_size": None, "penalty": dr.L2(0.1)}, {}, []),
    "least squares": (plain, Y, {"optimizer": dr.LevenbergMarquardt(), "batch_size": None,
                                 "epochs": 9}, {}, []),
    "bayesian": (plain, Y, {"optimizer": dr.BayesianRegularization(), "batch_size": None,
                            "epochs": 9}, {}, []),
    "diverging": (network, Y, {"optimizer": dr.SGD(10.0),
                               "on_divergence": "restore", "metrics": ["mse"]}, {}, []),
    "frozen": (frozen, Y, {"optimizer": "rprop", "constraint": dr.MaxNorm(1.0)}, {}, []),
    "classes": (
        classifier,
        LABELS,
        {"loss": dr.CrossEntropy(0.1), "metrics": ["accuracy", "roc_auc", "log_loss"],
         "class_weight": {0: 2.0, 2: 0.5}, "validation": 0.3},
        {},
        [lambda: dr.EarlyStopping("val_roc_auc", patience=2)],
    ),
    "exponential": (network, Y, {"metrics": ["r2"]}, {"validation": HELD_OUT},
                    [lambda: dr.EMA(0.8), lambda: dr.EarlyStopping("val_r2", patience=2)]),
    "averaged": (classifier, LABELS, {"loss": "cross_entropy", "validation": 0.25, "epochs": 4},
                 {}, [lambda: dr.SWA(2, every=3, unit="step")]),
    "swa": (frozen, Y, {}, {"sample_weight": WEIGHTS}, [lambda: dr.SWA(0.4)]),
    "balanced": (classifier, LABELS, {"loss": "cross_entropy", "class_weight": "balanced"}, {}, []),
}  # fmt: skip


class Run:
    """A run with a checkpoint after every step, and what it ended in."""

    def __init__(self, name: str, folder: Path, engine: str = "auto", **more: Any) -> None:
        make, self.y, settings, self.data, callbacks = RUNS[name]
        self.folder, self.net = folder, make()
        self.history = dr.train(
            self.net, X, self.y, engine=engine,
            callbacks=[
                Checkpoint(folder, unit="step", keep=99), *(callback() for callback in callbacks)
            ],
            **REGRESSION | settings | self.data | more,
        )  # fmt: skip

    def check(self, net: dr.Network, history: dr.History) -> None:
        assert net.vector.tobytes() == self.net.vector.tobytes()
        assert net.state_vector.tobytes() == self.net.state_vector.tobytes()
        assert {k: np.array(v).tobytes() for k, v in history.items()} == {
            k: np.array(v).tobytes() for k, v in self.history.items()
        }
        assert (history.steps, history.stopped) == (self.history.steps, self.history.stopped)


def alone(path: Path, folder: Path) -> Path:
    """Return a folder that has one checkpoint."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    shutil.copy(path, folder)
    return folder


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", RUNS)
def test_from_every_step_it_ends_in_the_same_bits(name: str, engine: str, tmp_path: Path) -> None:
    run = Run(name, tmp_path / "run", engine)
    files = checkpoints_in(run.folder)
    assert len(files) == run.history.steps + 1
    for path in files:
        net, history = dr.resume(alone(path, tmp_path / "copy"), X, run.y, **run.data)
        run.check(net, history)


def test_metrics_of_an_epoch_in_several_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where an epoch has more rows than metrics take at once, their tallies are kept."""
    monkeypatch.setattr(pace, "ROWS_PER_CALL", 16)
    for name in ("metrics", "weights", "classes"):
        run = Run(name, tmp_path / name)
        for path in checkpoints_in(run.folder):
            run.check(*dr.resume(alone(path, tmp_path / "copy"), X, run.y, **run.data))


@pytest.mark.parametrize("threads", [1, 2, 3, 5])
def test_on_any_number_of_threads(threads: int, tmp_path: Path) -> None:
    run = Run("metrics", tmp_path / "run", threads=2)
    for path in checkpoints_in(run.folder)[::4]:
        run.check(*dr.resume(alone(path, tmp_path / "copy"), X, Y, threads=threads))


def test_checkpoints_change_no_bit(tmp_path: Path) -> None:
    make, _, settings, data, callbacks = RUNS["held out"]
    for number, checkpoint in enumerate([
        {}, {"every": 2}, {"unit": "step"}, {"unit": "step", "every": 3}, {"monitor": "val_r2"}
    ]):  # fmt: skip
        results = []
        for extra in ([], [Checkpoint(tmp_path / str(number), **checkpoint)]):
            net = make()
            history = dr.train(
                net, X, Y, callbacks=[callback() for callback in callbacks] + extra,
                **REGRESSION | settings | data,
            )  # fmt: skip
            results.append((net.vector.tobytes(), dict(history)))
        assert results[0] == results[1]


def test_a_resumed_run_writes_the_checkpoints_of_the_run(tmp_path: Path) -> None:
    """Each in the same bytes, but for the time that was measured."""
    run = Run("held out", tmp_path / "run")
    files = checkpoints_in(run.folder)
    copy = alone(files[4], tmp_path / "copy")
    dr.resume(copy, X, Y, **run.data)
    found = checkpoints_in(copy)
    assert [path.name for path in found] == [path.name for path in files[4:]]
    for one, other in zip(found, files[4:], strict=True):
        a, b = (content_without_seconds(path) for path in (one, other))
        assert a == b, one.name


def content_without_seconds(path: Path) -> Any:
    from deltarule.network.model_file import load_networks

    file = load_networks(path)
    about = dict(file.about["checkpoint"])
    about["run"] = {k: v for k, v in about["run"].items() if k != "seconds"}
    for callback in about["callbacks"]:
        callback["settings"].pop("folder", None)
    return about, {name: array.tobytes() for name, array in file.beside.items()}


def test_more_epochs_go_on_from_the_end(tmp_path: Path) -> None:
    """With a constant rate, as a run that was to have so many from the beginning."""
    short = Run("metrics", tmp_path / "short")
    long = Run("metrics", tmp_path / "long", epochs=7)
    net, history = dr.resume(short.folder, X, Y, epochs=7)
    long.check(net, history)
    with pytest.raises(dr.InvalidValueError, match="epochs"):
        dr.resume(short.folder, X, Y, epochs=0)


def test_load_returns_the_network_of_a_checkpoint(tmp_path: Path) -> None:
    run = Run("plain", tmp_path / "run")
    net = dr.load(checkpoints_in(run.folder)[-1])
    assert net.vector.tobytes() == run.net.vector.tobytes()
    assert net.predict(X).tobytes() == run.net.predict(X).tobytes()
    with pytest.raises(dr.InvalidValueError, match=r"dr\.load\(path\) returns it"):
        dr.resume(net.save(tmp_path / "net.safetensors"), X, Y)


# ------------------------------------------------------------------------------- what must fit


def test_other_data_are_refused_unless_told_otherwise(tmp_path: Path) -> None:
    run = Run("held out", tmp_path / "run", epochs=2)
    other = X.copy()
    other[3, 1] += 1e-6
    later = alone(checkpoints_in(run.folder)[-1], tmp_path / "copy")
    for wrong, what in (
        ({"X": other}, "X, y or sample_weight are not the training data"),
        ({"y": Y + 1e-3}, "X, y or sample_weight are not the training data"),
        ({"sample_weight": np.full(37, 2.0)}, "sample_weight are not the training data"),
        ({"validation": (other[:9], Y[:9])}, "validation is not the validation data"),
    ):
        arguments = {"X": X, "y": Y, **run.data} | wrong
        with pytest.raises(dr.InvalidValueError, match=what):
            dr.resume(later, **arguments, epochs=3)
        net, history = dr.resume(
            alone(checkpoints_in(run.folder)[-1], tmp_path / "other"), **arguments,
            other_data=True, epochs=3,
        )  # fmt: skip
        assert history.epochs <= 3
        assert np.isfinite(net.vector).all()


def test_the_same_numbers_are_the_same_data_in_any_form(tmp_path: Path) -> None:
    import pandas as pd

    run = Run("plain", tmp_path / "run")
    first = checkpoints_in(run.folder)[2]
    X32 = np.float32(X)
    for same in (X.tolist(), np.asfortranarray(X), pd.DataFrame(X), X32, X32.astype(">f4")):
        run.check(*dr.resume(alone(first, tmp_path / "copy"), same, Y.tolist()))


def test_a_checkpoint_within_an_epoch_belongs_to_its_rows(tmp_path: Path) -> None:
    run = Run("plain", tmp_path / "run")
    with pytest.raises(dr.InvalidValueError, match="lies within an epoch"):
        dr.resume(
            alone(checkpoints_in(run.folder)[4], tmp_path / "copy"), X[:16], Y[:16], other_data=True
        )


def test_arrays_of_the_run_must_be_passed_again(tmp_path: Path) -> None:
    for name, what in (("held out", "validation"), ("order", "shuffle")):
        run = Run(name, tmp_path / name)
        folder = alone(checkpoints_in(run.folder)[1], tmp_path / "copy")
        with pytest.raises(dr.InvalidValueError, match=f"the run had {what} .*{what}=..."):
            dr.resume(folder, X, Y)
    run = Run("fraction", tmp_path / "fraction")
    with pytest.raises(dr.InvalidValueError, match=r"validation=0.25; leave validation out"):
        dr.resume(run.folder, X, Y, validation=0.3)
    order = Run("order", tmp_path / "again")
    with pytest.raises(dr.InvalidValueError, match="shuffle is not the order of rows of the run"):
        dr.resume(order.folder, X, Y, shuffle=np.arange(37))


def test_settings_that_are_passed_must_be_those_of_the_run(tmp_path: Path) -> None:
    run = Run("schedules", tmp_path / "run")
    same = {"loss": "squared_error", "optimizer": dr.NAdam(dr.OneCycle(0.1))}
    run.check(*dr.resume(run.folder, X, Y, **same))
    for wrong in (
        {"loss": "huber"}, {"optimizer": dr.NAdam(dr.OneCycle(0.2))}, {"clip": dr.ClipNorm(1.0)},
        {"penalty": dr.L2(0.1)},
    ):  # fmt: skip
        with pytest.raises(dr.InvalidValueError, match=f"{next(iter(wrong))} is .*the run had"):
            dr.resume(run.folder, X, Y, **wrong)
    with pytest.raises(dr.InvalidValueError, match="metrics are mse, those of the run none"):
        dr.resume(run.folder, X, Y, metrics=["mse"])
    with pytest.raises(dr.InvalidValueError, match=r"those of the run .*Checkpoint"):
        dr.resume(run.folder, X, Y, callbacks=[dr.EarlyStopping("loss")])


@dataclass(frozen=True)
class MyLoss(dr.Loss):
    """A loss that no file can describe, since it has no name."""

    power: float = 2.5

    def value(self, a: Any, t: Any) -> Any:
        return (np.abs(a - t) ** self.power).sum(axis=1)

    def gradient(self, a: Any, t: Any) -> Any:
        return self.power * np.abs(a - t) ** (self.power - 1) * np.sign(a - t)


class Counts(dr.Callback):
    def __init__(self) -> None:
        self.count = 0

    def on_epoch(self, state: dr.State) -> None:
        self.count += 1

    def get_state(self) -> dict[str, Any]:
        return {"count": self.count}

    def set_state(self, saved: Any) -> None:
        self.count = saved["count"]


def bias(y: Any, a: Any, w: Any) -> float:
    return float((a.ravel() - y).mean())


def test_what_python_made_is_passed_again_and_compared_by_name(tmp_path: Path) -> None:
    net, mine = network(), {"loss": MyLoss(2.5), "metrics": [bias]}
    checkpoint = Checkpoint(tmp_path / "run", unit="step", keep=99)
    history = dr.train(net, X, Y, epochs=2, batch_size=8, callbacks=[Counts(), checkpoint], **mine)
    for path in checkpoints_in(tmp_path / "run"):
        folder = alone(path, tmp_path / "copy")
        counts = Counts()
        found, resumed = dr.resume(folder, X, Y, callbacks=[counts], **mine)
        assert found.vector.tobytes() == net.vector.tobytes()
        assert (dict(resumed), counts.count) == (dict(history), 2)
    folder = alone(checkpoints_in(tmp_path / "run")[3], tmp_path / "copy")
    with pytest.raises(dr.InvalidValueError, match=r"loss=.*MyLoss, which a file cannot hold"):
        dr.resume(folder, X, Y, callbacks=[Counts()], metrics=[bias])
    with pytest.raises(dr.InvalidValueError, match=r"metrics=.*bias, which a file cannot hold"):
        dr.resume(folder, X, Y, callbacks=[Counts()], loss=mine["loss"])
    with pytest.raises(dr.InvalidValueError, match=r"callbacks of your own \(.*Counts\)"):
        dr.resume(folder, X, Y, **mine)


def halved(step: int) -> float:
    return 0.1 * 0.5 ** (step / 5)


def test_a_function_as_a_schedule_is_passed_again_with_its_optimizer(tmp_path: Path) -> None:
    net = network()
    history = dr.train(
        net, X, Y, loss="squared_error", optimizer=dr.SGD(halved, 0.9), epochs=2,
        callbacks=[Checkpoint(tmp_path / "run", unit="step", keep=99)],
    )  # fmt: skip
    folder = alone(checkpoints_in(tmp_path / "run")[1], tmp_path / "copy")
    with pytest.raises(dr.InvalidValueError, match=r"optimizer=.*halved, which a file cannot"):
        dr.resume(folder, X, Y)
    for wrong in (dr.SGD(halved, 0.8), dr.SGD(lambda step: 0.1, 0.9)):
        with pytest.raises(dr.InvalidValueError, match=r"optimizer is .*the run had .*halved"):
            dr.resume(folder, X, Y, optimizer=wrong)
    found = dr.resume(folder, X, Y, optimizer=dr.SGD(halved, 0.9))
    assert found.network.vector.tobytes() == net.vector.tobytes()
    assert dict(found.history) == dict(history)


def test_lbfgs_goes_on_with_an_empty_memory_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = {"loss": "squared_error", "optimizer": dr.LBFGS(), "batch_size": None}
    net, checkpoint = plain(), Checkpoint(tmp_path / "run", keep=99)
    history = dr.train(net, X, Y, epochs=9, callbacks=[checkpoint], **settings)
    folder = alone(checkpoints_in(tmp_path / "run")[4], tmp_path / "copy")
    with caplog.at_level(logging.WARNING, "deltarule"):
        found = dr.resume(folder, X, Y)
    assert "LBFGS forgets" in caplog.text
    assert found.history["loss"][:4] == history["loss"][:4]
    assert found.history["loss"][-1] < history["loss"][4]


def test_another_engine_goes_on_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = Run("plain", tmp_path / "run", "reference")
    middle = checkpoints_in(run.folder)[5]
    with caplog.at_level(logging.WARNING, "deltarule"):
        dr.resume(alone(middle, tmp_path / "a"), X, Y)
        assert caplog.records == []
        if "native" in ENGINES:
            net, _ = dr.resume(alone(middle, tmp_path / "b"), X, Y, engine="native")
            assert "its last bits may differ" in caplog.text
            np.testing.assert_allclose(net.vector, run.net.vector, rtol=1e-4)  # float32, 10 steps
