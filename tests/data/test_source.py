"""A source of blocks is cut into the same batches, whatever the blocks and wherever one begins."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

import deltarule as dr
from deltarule.base.interrupt import Interrupt
from deltarule.base.random import permutations
from deltarule.base.settings import members
from deltarule.data import source
from deltarule.data.arrays import Dataset
from deltarule.data.source import Batches, InMemory
from deltarule.engines import Record, Run, UpdateCounts, select_engine
from deltarule.plan import compile_network

METRIC_HOME = dr.metrics.__name__
ENGINES = [name for name, state in dr.engines().items() if state.startswith("available")]
RNG = np.random.default_rng(0)
N = 37
X, Y = RNG.normal(size=(N, 5)), RNG.normal(size=(N, 2))
WEIGHTS = RNG.uniform(0, 2, N)


class Blocks:
    """A source of several blocks; it notes which are asked for."""

    def __init__(self, data: Dataset, cuts: tuple[int, ...]) -> None:
        places = [0, *cuts, len(data)]
        self._parts = [data.take(slice(a, b)) for a, b in pairwise(places)]
        self.asked: list[int] = []

    @property
    def lengths(self) -> tuple[int, ...]:
        return tuple(map(len, self._parts))

    def block(self, i: int) -> Dataset:
        self.asked.append(i)
        return self._parts[i]


CUTS = {
    "halves": (18,),
    "whole batches": (15, 30),
    "small blocks": (1, 2, 4, 9, 11),
    "a block for each row": tuple(range(1, N)),
}


def rows_of(batches: Batches, epoch: int, batch: int, steps: int) -> list[list[float]]:
    """Return the first column of the rows of each step."""
    return [
        stretch.data.X[rows, 0].tolist()
        for stretch in batches.stretches(epoch, batch, steps)
        for _, rows in stretch.batches()
    ]


@pytest.mark.parametrize("size", [1, 4, 5, 7, N])
@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("cuts", CUTS.values(), ids=CUTS)
def test_unshuffled_blocks_make_the_batches_of_one_array(
    cuts: tuple[int, ...], drop_last: bool, size: int
) -> None:
    data = Dataset(X, Y)
    one = Batches(InMemory(data), size, drop_last=drop_last)
    several = Batches(Blocks(data, cuts), size, drop_last=drop_last)
    steps = one.steps_per_epoch
    assert several.steps_per_epoch == steps
    assert rows_of(several, 0, 0, 2 * steps) == rows_of(one, 0, 0, 2 * steps)


@pytest.mark.parametrize("size", [1, 4, 7])
@pytest.mark.parametrize("cuts", [(), *CUTS.values()], ids=["one block", *CUTS])
def test_each_epoch_visits_every_row_once_in_another_order(
    cuts: tuple[int, ...], size: int
) -> None:
    batches = Batches(Blocks(Dataset(X, Y), cuts), size, shuffle=True, seed=3)
    epochs = []
    for epoch in range(3):
        steps = rows_of(batches, epoch, 0, batches.steps_per_epoch)
        assert [len(rows) for rows in steps[:-1]] == [size] * (len(steps) - 1)
        epochs.append([row for rows in steps for row in rows])
        assert sorted(epochs[-1]) == sorted(X[:, 0].tolist())
    assert epochs[0] != epochs[1] != epochs[2]


@pytest.mark.parametrize("cuts", [(), *CUTS.values()], ids=["one block", *CUTS])
def test_a_position_in_an_epoch_is_a_pure_function(cuts: tuple[int, ...]) -> None:
    """From any batch on the steps are those of a run from the beginning, over an epoch's end."""
    batches = Batches(Blocks(Dataset(X, Y), cuts), 4, shuffle=True, seed=3)
    per_epoch = batches.steps_per_epoch
    expected = rows_of(batches, 5, 0, 3 * per_epoch)
    for batch in range(per_epoch):
        assert rows_of(batches, 5, batch, per_epoch) == expected[batch : batch + per_epoch]


def test_a_position_late_in_an_epoch_asks_for_the_blocks_behind_it_alone() -> None:
    source = Blocks(Dataset(X, Y), (10, 20, 30))
    rows_of(Batches(source, 5), 0, 6, 2)
    assert source.asked == [3]


def test_a_block_has_the_same_order_whatever_is_around_it() -> None:
    data = Dataset(X, Y)
    two, three = (
        Batches(Blocks(data, cuts), 4, shuffle=True, seed=1) for cuts in ((10,), (10, 20))
    )
    one, other = two.orders(2, 1, 0), three.orders(2, 1, 0)
    assert one is not None
    assert other is not None
    assert one.tolist() == other.tolist()
    assert (three.orders(2, 1, 1) != other).any()


def test_a_given_order_is_for_one_block() -> None:
    with pytest.raises(ValueError, match="a given order is for data in one block"):
        Batches(Blocks(Dataset(X, Y), (10,)), 4, shuffle=np.arange(N))


class Course:
    """A network that one engine trains over batches, some steps a call."""

    def __init__(self, engine: str) -> None:
        layers = [dr.Dense(6, "tanh"), dr.Dropout(0.3), dr.Dense(2)]
        self.net = dr.Network(layers, inputs=5, seed=1, dtype="float64")
        self.plan = compile_network(
            self.net, loss="squared_error", optimizer="adam", penalty=dr.L2(1e-2)
        )
        self.executor = select_engine(engine, self.plan).executor(self.plan, self.net)
        self.outputs: list[tuple[np.ndarray, np.ndarray]] = []

    def saw(self, data: Dataset, rows: np.ndarray | None, outputs: np.ndarray) -> None:
        self.outputs.append((data.y.copy() if rows is None else data.y[rows], outputs.copy()))

    def train(self, batches: Batches, calls: list[int]) -> Record:
        """Do the steps of two epochs in such calls; return the record of both epochs."""
        assert self.plan.optimizer is not None
        per_epoch = batches.steps_per_epoch
        assert sum(calls) == 2 * per_epoch
        record = Record.empty(2, len(self.plan.parameters), 0)
        done, trained = 0, len(self.plan.parameters)
        counts = UpdateCounts(np.zeros(trained, np.int64), np.ones(trained, bool))
        for steps in calls:
            epoch, batch = divmod(done, per_epoch)
            rates = np.full(steps, 1e-2)
            run = Run(batches, epoch, batch, steps, done, rates, counts, Interrupt(), self)
            own = Record.empty(run.epochs_touched, len(self.plan.parameters), steps)
            own.go_on_from(record.row(epoch))
            self.executor.run(run, own)
            assert own.steps_done == steps
            for mine, theirs in zip(record.sums, own.sums, strict=True):
                mine[epoch : epoch + len(theirs)] = theirs
            done += steps
        return record

    def bits(self, batches: Batches, calls: list[int]) -> bytes:
        record = self.train(batches, calls)
        arrays = (self.net.vector, self.executor.optimizer_state, *record.sums)
        return b"".join(a.tobytes() for a in arrays)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["unweighted", "weighted"])
@pytest.mark.parametrize("cuts", CUTS.values(), ids=CUTS)
def test_training_over_blocks_is_training_over_one_array(
    cuts: tuple[int, ...], weights: np.ndarray | None, engine: str
) -> None:
    data = Dataset(X, Y, weights)
    expected = Course(engine).bits(Batches(InMemory(data), 5), [16])
    assert Course(engine).bits(Batches(Blocks(data, cuts), 5), [16]) == expected


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("cuts", [(), *CUTS.values()], ids=["one block", *CUTS])
def test_how_steps_are_shared_out_among_calls_changes_nothing(
    cuts: tuple[int, ...], engine: str
) -> None:
    """So an epoch that ends early keeps its sums: the next call goes on with them."""
    batches = Batches(Blocks(Dataset(X, Y), cuts), 5, shuffle=True, seed=4)
    expected = Course(engine).bits(batches, [16])
    for calls in ([1] * 16, [3, 5, 7, 1], [8, 8], [13, 3]):
        assert Course(engine).bits(batches, calls) == expected


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("cuts", [(), (18,), (1, 2, 4, 9, 11)], ids=str)
def test_an_observer_sees_the_outputs_of_all_rows_once(
    cuts: tuple[int, ...], drop_last: bool, engine: str
) -> None:
    batches = Batches(Blocks(Dataset(X, Y), cuts), 5, drop_last=drop_last, shuffle=True, seed=4)
    whole, cut = Course(engine), Course(engine)
    per_epoch = batches.steps_per_epoch
    whole.train(batches, [per_epoch, per_epoch])
    cut.train(batches, [3, per_epoch - 3, per_epoch - 2, 2])
    seen = []
    for course in (whole, cut):
        rows = [
            (*y, *outputs)
            for targets, array in course.outputs
            for y, outputs in zip(targets.tolist(), array.tolist(), strict=True)
        ]
        assert len(rows) == 2 * (35 if drop_last else N)
        seen.append(sorted(rows))
    assert seen[0] == seen[1]


@pytest.mark.parametrize("engine", ENGINES)
def test_memory_mapped_data_train_as_they_would_in_memory(engine: str, tmp_path) -> None:
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "y.npy", Y)
    mapped = Dataset(
        np.load(tmp_path / "x.npy", mmap_mode="r"), np.load(tmp_path / "y.npy", mmap_mode="r")
    )
    expected = Course(engine).bits(Batches(InMemory(Dataset(X, Y)), 5, shuffle=True), [16])
    assert Course(engine).bits(Batches(InMemory(mapped), 5, shuffle=True), [16]) == expected
    settings = {"loss": "squared_error", "epochs": 2, "engine": engine, "progress": False}
    nets = [dr.Network([dr.Dense(4, "relu"), dr.Dense(2)], inputs=5) for _ in range(2)]
    dr.train(nets[0], X, Y, **settings)
    dr.train(nets[1], mapped.X, mapped.y, **settings)
    assert nets[0].vector.tobytes() == nets[1].vector.tobytes()


METRICS = {
    "labels": ["accuracy", "balanced_accuracy", "precision", "recall", "f1", "roc_auc", "log_loss"],
    "numbers": ["mse", "rmse", "mae", "mape", "r2"],
}


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["unweighted", "weighted"])
@pytest.mark.parametrize("kind", METRICS)
def test_metrics_accumulate_over_parts(kind: str, weights: np.ndarray | None) -> None:
    a = RNG.dirichlet(np.ones(3), N) if kind == "labels" else RNG.normal(size=(N, 3))
    y = RNG.integers(0, 3, N) if kind == "labels" else RNG.normal(size=(N, 3))
    for name in METRICS[kind]:
        metric = dr.metrics.Metric.resolve(name)
        expected = metric(y, a, weights)
        for cuts in ((), (20,), (1, 2, 30)):
            places = [0, *cuts, N]
            parts = [
                metric.tally(y[i:j], a[i:j], None if weights is None else weights[i:j])
                for i, j in pairwise(places)
            ]
            tally = parts[0]
            for part in parts[1:]:
                tally = metric.merge(tally, part)
            # A sum of N terms in another order: N eps of the sum of their sizes.
            assert metric.finish(tally) == pytest.approx(expected, rel=4 * N * 2.2e-16)
    assert METRICS.keys() == {"labels", "numbers"}


def test_every_metric_is_tested_in_parts() -> None:
    known = {n for n, kind in members("metric").items() if kind.__module__ == METRIC_HOME}
    assert known == {name for names in METRICS.values() for name in names}


@pytest.mark.parametrize("engine", ENGINES)
def test_metrics_of_a_large_epoch_need_its_outputs_in_parts(
    engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from deltarule.training import columns, pace

    monkeypatch.setattr(pace, "ROWS_PER_CALL", 10)
    largest = []
    saw = columns.Seen.saw
    monkeypatch.setattr(
        columns.Seen,
        "saw",
        lambda seen, data, rows, a: (largest.append(len(a)), saw(seen, data, rows, a))[1],
    )
    histories = []
    for rows in (10, 1 << 16):
        monkeypatch.setattr(pace, "ROWS_PER_CALL", rows)
        net = dr.Network([dr.Dense(4, "relu"), dr.Dense(2)], inputs=5, dtype="float64")
        largest.clear()
        histories.append(
            dr.train(
                net, X, Y, loss="squared_error", epochs=2, batch_size=5, metrics=["mae", "r2"],
                engine=engine, progress=False,
            )
        )  # fmt: skip
        assert max(largest) == min(rows, N)
    for name in histories[0]:
        np.testing.assert_allclose(histories[0][name], histories[1][name], rtol=4 * N * 2.2e-16)
    assert histories[0]["loss"] == histories[1]["loss"]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_run_that_ends_within_an_epoch_reports_its_losses(engine: str) -> None:
    bad = Y.copy()
    bad[-1] = 1e200
    net = dr.Network([dr.Dense(2)], inputs=5, dtype="float64")
    trainer = dr.Trainer(net, "squared_error", dr.SGD(0.01), engine=engine)
    with pytest.raises(dr.DivergenceError) as caught:
        trainer.run(X, bad, batch_size=6, shuffle=False, progress=False)
    history = caught.value.history
    twin = dr.Network([dr.Dense(2)], inputs=5, dtype="float64")
    other = dr.Trainer(twin, "squared_error", dr.SGD(0.01), engine=engine)
    expected = other.run(X[:36], Y[:36], batch_size=6, shuffle=False, progress=False)
    assert history.epochs == 0
    assert history.unfinished == {"loss": expected["loss"][0]}
    assert expected.unfinished == {}


def test_the_order_of_an_epoch_is_drawn_once_for_calls_of_single_steps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    drawn: list[int] = []

    def counted(*arguments: Any, **settings: Any) -> Any:
        drawn.append(settings["first_step"])
        return permutations(*arguments, **settings)

    monkeypatch.setattr(source, "permutations", counted)
    data = Dataset(np.zeros((20, 1)), np.zeros((20, 1)))
    batches = Batches(InMemory(data), 4, shuffle=True, seed=3)
    rows = [
        rows
        for epoch in range(3)
        for batch in range(5)
        for stretch in batches.stretches(epoch, batch, 1)
        for _, rows in stretch.batches()
    ]
    assert drawn == [0, 1, 2]
    together = [rows for part in batches.stretches(0, 0, 15) for _, rows in part.batches()]
    assert np.array_equal(rows, together)
