"""The number of threads changes no bit; threads survive forks and live beside other libraries."""

import multiprocessing
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import deltarule as dr
from course import small_course, train_in_another_process
from native_cases import ACTIVATIONS, LOSSES, OPTIMIZERS, STACKS
from oracles import oracle
from problems import bits, examples, trained

D = dr.Dense


def wide(layers):
    """The same stack behind a layer wide enough for five threads."""
    return [D(150, "tanh"), *layers]


@pytest.mark.parametrize("name", STACKS)
def test_layers(name, target):
    X, y = examples("squared_error", 3, n=300, inputs=60, dtype=np.float32)
    runs = [
        bits(wide(STACKS[name]), X, y, threads, dtype="float32", batch_size=250, epochs=2)
        for threads in (1, 2, 3, 5)
    ]
    assert all(run == runs[0] for run in runs)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations(activation, target):
    X, y = examples("squared_error", 3, n=300, inputs=60, dtype=np.float32)
    layers = wide([D(20, activation), dr.Activation(activation), D(3)])
    if activation == "exp":  # exp of exp is soon beyond any range
        layers = wide([D(20, "exp"), dr.Activation("tanh"), D(3)])
    settings = {"dtype": "float32", "batch_size": 250, "optimizer": dr.SGD(1e-3)}
    runs = [bits(layers, X, y, threads, **settings) for threads in (1, 2, 5)]
    assert all(run == runs[0] for run in runs)


@pytest.mark.parametrize(("loss", "output"), LOSSES)
def test_losses(loss, output, target):
    X, y = examples(loss, 11, n=300, inputs=60)
    weight = np.random.default_rng(0).uniform(0, 2, 300)
    settings = {"loss": loss, "batch_size": 250, "optimizer": dr.SGD(1e-4), "sample_weight": weight}
    runs = [bits(wide([D(11, output)]), X, y, threads, **settings) for threads in (1, 2, 5)]
    assert all(run == runs[0] for run in runs)


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda o: repr(o)[:40])
def test_optimizers(optimizer, target):
    X, y = examples("cross_entropy", 11, n=300, inputs=60)
    runs = [
        bits(
            wide([D(40, "relu"), D(11, "softmax")]), X, y, threads, batch_size=250, epochs=2,
            loss="cross_entropy", optimizer=optimizer, penalty=dr.L2(1e-3), clip=clip,
        )
        for clip in (None, dr.ClipNorm(0.1))
        for threads in (1, 2, 5)
    ]  # fmt: skip
    assert all(run == runs[0] for run in runs[:3])
    assert all(run == runs[3] for run in runs[3:])


def test_several_threads_are_used():
    X, y = examples("squared_error", 3, n=300, inputs=60)
    _, trainer, _ = trained("native", wide([D(3)]), X, y, threads=3, batch_size=300)
    assert trainer._executor.threads_used == 3
    _, trainer, _ = trained("native", [D(3)], X, y, threads=3, batch_size=10)
    assert trainer._executor.threads_used == 1  # too small to gain


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs Linux's /proc")
def test_importing_starts_no_thread():
    count = "len(os.listdir('/proc/self/task'))"
    script = f"import os, numpy; n = {count}; import deltarule; assert {count} == n, (n, {count})"
    subprocess.run([sys.executable, "-c", script], check=True)


def watched(process):
    """Wait for a process, not for ever."""
    process.join(WATCHDOG)
    if process.exitcode is None:
        process.kill()
        process.join()
        pytest.fail("training in another process hangs")
    return process.exitcode


WATCHDOG = 200  # seconds; a course takes a tenth of one


@pytest.mark.parametrize("start", multiprocessing.get_all_start_methods())
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_train_start_a_process_train(start, target):
    """The parent's threads are parked when the child begins: a forked child has none of them."""
    expected = small_course(target)
    context = multiprocessing.get_context(start)
    for _ in range(2):
        child = context.Process(target=train_in_another_process, args=(target, expected))
        child.start()
        assert watched(child) == 0
        assert small_course(target) == expected


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_fork_while_another_thread_trains(target):
    """The pool's lock may be held at that moment, by a thread that the child has not."""
    expected = small_course(target)
    context, done = multiprocessing.get_context("fork"), threading.Event()

    def keep_training():
        while not done.is_set():
            small_course(target)

    thread = threading.Thread(target=keep_training)
    thread.start()
    try:
        for _ in range(3):
            child = context.Process(target=train_in_another_process, args=(target, expected))
            child.start()
            assert watched(child) == 0
    finally:
        done.set()
        thread.join()
    assert small_course(target) == expected


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_train_in_loky_workers(target):
    joblib = oracle("joblib")
    expected = small_course(target)
    found = joblib.Parallel(n_jobs=2, backend="loky", timeout=WATCHDOG)(
        joblib.delayed(small_course)(target) for _ in range(4)
    )
    assert found == [expected] * 4
    assert small_course(target) == expected


def test_several_python_threads_train_at_once():
    X, y = examples("squared_error", 3, n=300, inputs=60)
    settings = {"batch_size": 300, "epochs": 5}
    expected = bits(wide([D(3)]), X, y, 1, **settings)
    found = []
    workers = [
        threading.Thread(target=lambda: found.append(bits(wide([D(3)]), X, y, 2, **settings)))
        for _ in range(4)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert found == [expected] * 4


def product_by_torch():
    torch = oracle("torch")
    a = torch.ones(300, 300)
    return float((a @ a)[0, 0])


def product_by_blas():
    threadpoolctl = oracle("threadpoolctl")
    a = np.ones((300, 300), dtype=np.float32)
    with threadpoolctl.threadpool_limits(2, user_api="blas"):
        return float((a @ a)[0, 0])


def leaves_by_lightgbm():
    lightgbm = oracle("lightgbm")
    X = np.arange(300.0)[:, None]
    model = lightgbm.LGBMRegressor(n_estimators=1, learning_rate=1.0, n_jobs=2, verbose=-1)
    return float(model.fit(X, X[:, 0] >= 150).predict(X)[-1])


@pytest.mark.parametrize(
    ("neighbour", "result"),
    [(product_by_torch, 300), (product_by_blas, 300), (leaves_by_lightgbm, 1)],
)
def test_beside_other_thread_pools(neighbour, result):
    X, y = examples("squared_error", 3, n=300, inputs=60)
    expected = bits(wide([D(3)]), X, y, 2, batch_size=300)
    assert neighbour() == pytest.approx(result)
    assert bits(wide([D(3)]), X, y, 2, batch_size=300) == expected
    assert neighbour() == pytest.approx(result)
