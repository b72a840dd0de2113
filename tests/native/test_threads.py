"""The number of threads changes no bit; threads survive forks and live beside other libraries."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from test_against_reference import OPTIMIZERS, STACKS

import deltarule as dr
from conftest import examples, trained

D = dr.Dense


def bits(layers, X, y, threads, **settings):
    net, trainer, history = trained("native", layers, X, y, threads=threads, **settings)
    return (
        net.vector.tobytes(), net.state_vector.tobytes(), trainer._executor.moments.tobytes(),
        np.array(history["loss"]).tobytes(), net.predict(X, threads=threads).tobytes(),
    )  # fmt: skip


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


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_train_fork_train():
    X, y = examples("squared_error", 3, n=300, inputs=60)
    settings = {"threads": 2, "batch_size": 300, "epochs": 3}
    expected = bits(wide([D(3)]), X, y, **settings)
    child = os.fork()
    if child == 0:
        try:
            os._exit(0 if bits(wide([D(3)]), X, y, **settings) == expected else 1)
        finally:
            os._exit(2)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            assert os.waitstatus_to_exitcode(status) == 0
            break
        time.sleep(0.01)
    else:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        pytest.fail("training in a forked child hangs")
    assert bits(wide([D(3)]), X, y, **settings) == expected


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
        worker.join(60)
    assert found == [expected] * 4


def test_beside_torch():
    torch = pytest.importorskip("torch")
    X, y = examples("squared_error", 3, n=300, inputs=60)
    expected = bits(wide([D(3)]), X, y, 2, batch_size=300)
    a = torch.ones(300, 300)
    assert float((a @ a)[0, 0]) == 300
    assert bits(wide([D(3)]), X, y, 2, batch_size=300) == expected
    assert float((a @ a)[0, 0]) == 300
