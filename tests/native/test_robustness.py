"""NaN, infinities, denormals, divergence, Ctrl-C, and sizes past 2^31."""

import ctypes
import platform
import sys
import time

import numpy as np
import pytest

import deltarule as dr
from ctrl_c import interrupted, pressed_in
from deltarule.base.interrupt import Interrupt
from deltarule.data import Dataset
from deltarule.data.source import Batches, InMemory
from deltarule.engines import Record, Run
from native_cases import ACTIVATIONS, LOSSES
from pairwise import pairwise
from problems import TARGETS, examples, trained

D = dr.Dense


ENGINES = ["reference", "native"]


@pairwise(activation=ACTIVATIONS, engine=ENGINES, target=TARGETS)
def test_nan_reaches_the_output_of_its_row_only(activation, engine, target):
    net = dr.Network([D(20, activation), D(17, activation), D(3)], inputs=5)
    X = np.ones((9, 5), dtype=np.float32)
    X[4, 2] = np.nan
    found = net.predict(X, engine=engine)
    assert np.isnan(found[4]).all()
    assert np.isfinite(np.delete(found, 4, axis=0)).all()


@pairwise(
    activation=ACTIVATIONS,
    layer=["fused", "apart"],
    where=["data", "weight", "bias"],
    engine=ENGINES,
    target=TARGETS,
)
def test_nan_reaches_the_loss(activation, layer, where, engine, target):
    """Below the checks of data, as where a fused ReLU might turn it into 0."""
    X, y = examples("squared_error", 2)
    first = [D(20, activation)] if layer == "fused" else [D(20), dr.Activation(activation)]
    net = dr.Network([*first, D(2)], inputs=7, dtype="float64", seed=1)
    if where == "data":
        X[30, 4] = np.nan
    else:
        net.parameters[f"0.{where}"][..., 4] = np.nan
    before = net.vector.copy()
    trainer = dr.Trainer(net, loss="squared_error", engine=engine)
    executor, data = trainer._executor, Dataset(X, y)
    assert np.isnan(executor.evaluate(data)[0])
    batches = Batches(InMemory(data), 10)
    record = trainer._run(batches, 0, 4, trainer._rates(0, 4, 4, 4), Interrupt())
    assert record.diverged_at == "0" if where != "data" else record.diverged_at is not None
    assert record.steps_done == (3 if where == "data" else 0)
    if where != "data":
        np.testing.assert_array_equal(net.vector, before)


@pairwise(loss__output=LOSSES, engine=ENGINES, target=TARGETS)
def test_nan_passes_every_loss(loss, output, engine, target):
    X, y = examples(loss, 5)
    net = dr.Network([D(9, "relu"), D(5, output)], inputs=7, seed=1)
    net.parameters["0.weight"][3, 4] = np.nan
    before = net.vector.copy()
    with pytest.raises(dr.DivergenceError) as caught:
        dr.train(net, X, y, loss=loss, engine=engine, progress=False)
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


@pytest.mark.parametrize("engine", ENGINES)
def test_a_gradient_that_overflows_moves_nothing(engine, target):
    """Loss finite, gradient not: the step is undone although tiles were updated as they came."""
    X = np.full((4, 2), 1e30, dtype=np.float32)
    net = dr.Network([D(40, "identity"), D(1)], inputs=2, seed=1)
    net.parameters["0.weight"][:] = 1e-20
    net.parameters["1.weight"][:] = 1e-2
    before = net.vector.copy()
    with pytest.raises(dr.DivergenceError) as caught:
        dr.train(
            net, X, np.full(4, -1e10), loss=dr.SquaredError(reduction="sum"),
            optimizer=dr.SGD(1e-30), epochs=1, engine=engine, progress=False,
        )  # fmt: skip
    assert caught.value.layer == "0.weight"
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
    """The best of turns of processor time, by turns; denormals not flushed cost tenfold.

    A neighbour makes a turn slower, never faster: as many are taken as it needs, within reason.
    """
    layers = [D(256, "relu"), D(256, "relu"), D(1)]
    X, y = examples("squared_error", 1, n=512, inputs=256, dtype=np.float32)
    trainers, best = {}, {1e-38: np.inf, 1.0: np.inf}
    for scale in best:
        net = dr.Network(layers, inputs=256)
        net.vector *= scale
        trainers[scale] = dr.Trainer(
            net, loss="squared_error", optimizer=dr.SGD(1e-30), engine="native"
        )
    for turn in range(100):
        for scale, trainer in trainers.items():
            start = time.process_time()
            trainer.run(X, y, epochs=2, batch_size=128, progress=False)
            best[scale] = min(best[scale], time.process_time() - start)
        if turn >= 5 and best[1e-38] < 1.5 * best[1.0]:
            break
    assert best[1e-38] < 1.5 * best[1.0]
    assert np.float32(1e-40) * np.float32(0.5) > 0


@pytest.mark.parametrize("threads", [1, 2])
def test_denormals_are_flushed_on_every_thread(threads, target):
    """Processors differ in what a denormal number costs; whether it is flushed shows in values."""
    net = dr.Network([D(128), D(128), D(1)], inputs=128)
    for name, p in net.parameters.items():
        p[...] = 1e-39 if name == "0.weight" else 1e30 if name.endswith("weight") else 0
    X = np.ones((416, 128), dtype=np.float32)  # two tiles: one for each thread
    trainer = dr.Trainer(net, loss="squared_error", engine="native", threads=threads)
    assert not trainer._executor.predict(X, None).any()
    assert trainer._executor.threads_used == threads
    y = np.zeros((416, 1))
    assert trainer._executor.evaluate(Dataset(X, y)) == (0.0, 416.0)
    assert trainer.step(X, y) == 0.0
    assert trainer._executor.threads_used == threads
    assert np.float32(1e-39) * np.float32(1e30) > 0  # the caller's arithmetic keeps them


def control_word():
    """Return the floating-point state of this thread but the flags that operations raise."""
    state = (ctypes.c_uint32 * 16)()
    assert ctypes.CDLL(None).fegetenv(state) == 0
    if platform.machine() == "x86_64":
        return state[0] & 0xFFFF, state[7] & 0xFFC0  # x87's control word; MXCSR
    return state[0]  # aarch64: FPCR


@pytest.mark.skipif(platform.machine() not in ("x86_64", "aarch64"), reason="other registers")
@pytest.mark.skipif(sys.platform != "linux", reason="fenv_t of glibc")
@pytest.mark.parametrize("rounding", [0, 1, 2, 3])
@pytest.mark.parametrize("threads", [1, 2])
def test_the_callers_floating_point_state_is_restored(rounding, threads, target):
    X, y = examples("squared_error", 1, n=300, inputs=60)
    libm, step = ctypes.CDLL(None), 0x400 if platform.machine() == "x86_64" else 0x400000
    before = libm.fegetround()
    try:
        assert libm.fesetround(rounding * step) == 0
        expected = control_word()
        net, _, _ = trained("native", [D(150, "tanh"), D(1)], X, y, threads=threads, batch_size=300)
        assert control_word() == expected
        net.predict(X, engine="native", threads=threads)
        dr.evaluate(net, X, y, loss="squared_error", engine="native")
        assert control_word() == expected
        # Also where training ends with an error.
        net.vector[:] = 1e300
        with pytest.raises(dr.DivergenceError):
            dr.train(net, X, y, loss="squared_error", engine="native", progress=False)
        assert control_word() == expected
    finally:
        libm.fesetround(before)
    assert np.float32(1e-40) * np.float32(0.5) > 0


@pytest.mark.parametrize("threads", [1, 2])
def test_ctrl_c_within_a_step_ends_it_and_drops_it(threads):
    """A step of 10^12 operations: seconds on any machine, so that Ctrl-C comes within it."""
    X = np.ones((400_000, 128), dtype=np.uint8)
    y = np.zeros((len(X), 1), dtype=np.float32)
    net = dr.Network([D(512, "relu"), D(512, "relu"), D(1)], inputs=128)
    before = net.vector.copy()
    trainer = dr.Trainer(net, loss="squared_error", engine="native", threads=threads)
    with pressed_in(trainer, 0.05), pytest.raises(dr.TrainingInterrupted) as caught:
        trainer.run(X, y, epochs=2, batch_size=None, progress=False)
    assert caught.value.history.stopped == "interrupted"
    assert trainer.steps == 0
    np.testing.assert_array_equal(net.vector, before)


def test_ctrl_c_ends_the_run_with_a_valid_network():
    X, y = examples("squared_error", 1, n=4096, inputs=256, dtype=np.float32)

    def start():
        net = dr.Network([D(512, "relu"), D(512, "relu"), D(1)], inputs=256)
        return dr.Trainer(net, loss="squared_error", engine="native")

    trainer, history = interrupted(
        start, lambda trainer: trainer.run(X, y, epochs=100_000, batch_size=64, progress=False)
    )
    assert history.stopped == "interrupted"
    assert 0 < trainer.steps < 64 * 100_000
    assert np.isfinite(trainer.network.vector).all()


def test_more_than_two_to_the_31_values():
    """All but the last rows are zeros that take no room: pages nobody has written to."""
    rows, columns = 70_000, 32_768
    assert rows * columns > 2**31
    X = np.zeros((rows, columns), dtype=np.uint8)
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
        rates = np.zeros(steps)
        rates[0] = 1e-6
        batches = Batches(InMemory(data), 8, shuffle=order)
        record = Record.empty(1, len(trainer.plan.parameters), steps)
        trainer._executor.run(Run(batches, 0, 0, steps, 0, rates, trainer._counts, stop), record)
        vectors.append(net.vector.copy())
    np.testing.assert_array_equal(*vectors)
    assert vectors[0].any()
    # Rows far apart, so that prediction and evaluation need not read all: the last is past 2^31.
    for count in (4, 8):  # few rows take a path of their own
        far = X[:: (rows - 1) // (count - 1)]
        assert len(far) == count
        assert (count - 1) * far.strides[0] > 2**31
        far[:] = np.random.default_rng(count).integers(0, 3, far.shape)
        near = np.array(far)
        np.testing.assert_array_equal(
            net.predict(far, engine="native"), net.predict(near, engine="native")
        )
        both = [
            dr.evaluate(net, x, y[:count], loss="squared_error", engine="native")
            for x in (far, near)
        ]
        assert both[0] == both[1]
        assert len(np.unique(net.predict(far))) == count


def test_more_rows_than_a_chunk(monkeypatch):
    """A batch that runs as several chunks learns what the reference engine does."""
    X, y = examples("squared_error", 2, n=9000, inputs=400, dtype=np.float32)
    layers = [D(600, "tanh"), D(600, "tanh"), D(2)]
    a, _, _ = trained("reference", layers, X, y, dtype="float32", batch_size=9000, epochs=2)
    for target in TARGETS:
        monkeypatch.setenv("DELTARULE_TARGET", target)
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
