"""NaN, infinities, denormals, divergence, Ctrl-C, and sizes past 2^31."""

import os
import signal
import threading
import time

import numpy as np
import pytest

import deltarule as dr
from conftest import examples, trained
from deltarule.data import Dataset
from deltarule.engines import Run
from deltarule.interrupt import Interrupt

D = dr.Dense


@pytest.mark.parametrize(
    "activation",
    ["relu", "sigmoid", "tanh", "leaky_relu", "elu", "gelu", "silu", "mish", "softmax"],
)
def test_nan_reaches_the_output_of_its_row_only(activation, target):
    net = dr.Network([D(20, activation), D(17, activation), D(3)], inputs=5)
    X = np.ones((9, 5), dtype=np.float32)
    X[4, 2] = np.nan
    found = net.predict(X, engine="native")
    assert np.isnan(found[4]).all()
    assert np.isfinite(np.delete(found, 4, axis=0)).all()


def test_nan_in_a_weight_reaches_the_loss(target):
    X, y = examples("squared_error", 2)
    net = dr.Network([D(20, "relu"), D(2)], inputs=7, dtype="float64")
    net.parameters["0.weight"][3, 4] = np.nan
    before = net.vector.copy()
    with pytest.raises(dr.DivergenceError) as caught:
        dr.train(net, X, y, loss="squared_error", engine="native", progress=False)
    assert caught.value.layer == "0"
    np.testing.assert_array_equal(net.vector, before)


@pytest.mark.parametrize("threads", [1, 2])
def test_divergence_leaves_the_parameters_of_the_last_good_step(threads, target):
    X, y = examples("squared_error", 3, n=300, inputs=60)
    layers = [D(150, "relu"), D(60, "relu"), D(3)]
    states = []
    for engine in ("reference", "native"):
        net = dr.Network(layers, inputs=60, seed=1)
        with pytest.raises(dr.DivergenceError) as caught:
            dr.train(
                net, X, y, loss="squared_error", optimizer=dr.SGD(10.0), batch_size=250, epochs=500,
                engine=engine, threads=threads, progress=False,
            )  # fmt: skip
        assert np.isfinite(net.vector).all()
        states.append((caught.value.step, caught.value.layer))
    assert states[0] == states[1]


def test_a_gradient_that_overflows_moves_nothing(target):
    """Loss finite, gradient not: the step is undone although tiles were updated as they came."""
    X = np.full((4, 2), 1e30, dtype=np.float32)
    net = dr.Network([D(40, "identity"), D(1)], inputs=2, seed=1)
    net.parameters["0.weight"][:] = 1e-20
    net.parameters["1.weight"][:] = 1e-2
    before = net.vector.copy()
    with pytest.raises(dr.DivergenceError):
        dr.train(
            net, X, np.full(4, -1e10), loss=dr.SquaredError(reduction="sum"),
            optimizer=dr.SGD(1e-30), epochs=1, engine="native", progress=False,
        )  # fmt: skip
    np.testing.assert_array_equal(net.vector, before)


def test_weight_zero_changes_nothing(target):
    X, y = examples("squared_error", 2, n=20)
    weights = np.ones(20)
    weights[:10] = 0
    net, trainer, _ = trained("native", [D(5, "tanh"), D(2)], X, y, sample_weight=weights)
    twin, _, _ = trained("reference", [D(5, "tanh"), D(2)], X, y, sample_weight=weights)
    np.testing.assert_allclose(net.vector, twin.vector, rtol=1e-10)
    assert trainer.steps == 2


def test_denormals_cost_nothing_and_the_callers_arithmetic_keeps_them():
    layers = [D(256, "relu"), D(256, "relu"), D(1)]
    X, y = examples("squared_error", 1, n=512, inputs=256, dtype=np.float32)

    def seconds(scale):
        net = dr.Network(layers, inputs=256)
        net.vector *= scale
        trainer = dr.Trainer(net, loss="squared_error", optimizer=dr.SGD(1e-30), engine="native")
        fastest = np.inf
        for _ in range(7):
            start = time.process_time()
            trainer.run(X, y, epochs=4, batch_size=128, progress=False)
            fastest = min(fastest, time.process_time() - start)
        return fastest

    assert seconds(1e-38) < 1.5 * seconds(1.0)
    assert np.float32(1e-40) * np.float32(0.5) > 0


def test_ctrl_c_ends_the_run_with_a_valid_network():
    X, y = examples("squared_error", 1, n=4096, inputs=256, dtype=np.float32)
    net = dr.Network([D(512, "relu"), D(512, "relu"), D(1)], inputs=256)
    pressed = []

    def press():
        pressed.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    timer = threading.Timer(0.5, press)
    timer.start()
    history = dr.train(
        net,
        X,
        y,
        loss="squared_error",
        epochs=100_000,
        batch_size=64,
        engine="native",
        progress=False,
    )
    seconds = time.monotonic() - pressed[0]
    assert history.stopped == "interrupted"
    assert np.isfinite(net.vector).all()
    assert seconds < 1  # 0.1 s where nothing else runs


def test_more_than_two_to_the_31_values(tmp_path):
    """Sparse on disk: only the rows that are read take room."""
    rows, columns = 70_000, 32_768
    assert rows * columns > 2**31
    X = np.lib.format.open_memmap(
        tmp_path / "x.npy", mode="w+", dtype=np.uint8, shape=(rows, columns)
    )
    X[-8:] = np.random.default_rng(0).integers(0, 3, (8, columns))
    y = np.zeros((rows, 1))
    y[-8:] = 5
    vectors = []
    for data, order in (
        (Dataset(X, y), np.r_[np.arange(rows - 8, rows), np.arange(rows - 8)]),
        (Dataset(np.array(X[-8:]), y[-8:]), np.arange(8)),
    ):
        net = dr.Network([D(1)], inputs=columns)
        trainer = dr.Trainer(net, loss="squared_error", optimizer=dr.SGD(1e-6), engine="native")
        stop = Interrupt()
        steps = -(-len(data) // 8)
        rates = np.zeros((steps, 2))
        rates[0, 0] = 1e-6
        trainer._executor.run(Run(data, 8, False, order, 0, 0, 0, 1, rates, stop))
        vectors.append(net.vector.copy())
    np.testing.assert_array_equal(*vectors)
    assert vectors[0].any()


def test_more_rows_than_a_chunk(target):
    """A batch that runs as several chunks gives the bits of one."""
    X, y = examples("squared_error", 2, n=9000, inputs=400, dtype=np.float32)
    layers = [D(600, "tanh"), D(600, "tanh"), D(2)]
    a, _, _ = trained("reference", layers, X, y, dtype="float32", batch_size=9000, epochs=2)
    b, _, _ = trained("native", layers, X, y, dtype="float32", batch_size=9000, epochs=2)
    np.testing.assert_allclose(a.vector, b.vector, rtol=0, atol=9000 * 2 * 2.0**-23)


def test_a_target_that_is_missing_is_said(monkeypatch):
    monkeypatch.setenv("DELTARULE_TARGET", "vax")
    assert "absent" in dr.engines()["native"]
    net = dr.Network([D(1)], inputs=1)
    with pytest.raises(ValueError, match="DELTARULE_TARGET"):
        dr.Trainer(net, loss="squared_error", engine="native")
    assert dr.Trainer(net, loss="squared_error").engine.name == "reference"


def test_a_kept_executor_does_not_outlive_the_choice_of_a_target(monkeypatch):
    net = dr.Network([D(1)], inputs=1)
    net.predict([[1.0]], engine="native")
    monkeypatch.setenv("DELTARULE_TARGET", "vax")
    with pytest.raises(ValueError, match="DELTARULE_TARGET"):
        net.predict([[1.0]], engine="native")
