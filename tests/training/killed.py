"""Runs that are killed and resumed: python killed.py MOMENTS [SEED]

The package is imported once. Each run is a fork that trains with a checkpoint after every few
steps; it is killed at a call of the system that writes a checkpoint (each of them in turn) or at a
random moment (MOMENTS times), and resumed until it ends. A line is printed where it does not end in
the bits of the run that nobody has killed, or where no checkpoint is whole.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import deltarule as dr
from faults import at_call

Checkpoint = partial(dr.Checkpoint, share=1)  # each that is due
RNG = np.random.default_rng(3)
X, Y = RNG.standard_normal((160, 5)), RNG.standard_normal(160)
LABELS = RNG.integers(0, 3, 160)

COMMON = {"progress": False, "threads": 2}
SETTINGS: dict[str, dict[str, Any]] = {
    "regression": {
        "y": Y, "loss": "squared_error", "optimizer": dr.Adam(dr.OneCycle(0.05)),
        "metrics": ["r2"], "validation": 0.2, "epochs": 12, "batch_size": 16,
    },
    "classes": {
        "y": LABELS, "loss": "cross_entropy", "optimizer": dr.SGD(dr.Cosine(0.1), 0.9),
        "metrics": ["accuracy"], "class_weight": "balanced", "validation": 0.25, "epochs": 9,
        "batch_size": 9, "engine": "reference", "clip": dr.ClipNorm(1.0),
    },
}  # fmt: skip


def say(what: str) -> None:
    sys.stdout.write(what + "\n")
    sys.stdout.flush()


def network(kind: str) -> dr.Network:
    last = dr.Dense(1) if kind == "regression" else dr.Dense(3, "softmax")
    layers = [dr.Dense(8, "tanh"), dr.Dropout(0.3), dr.BatchNorm(), last]
    return dr.Network(layers, inputs=5, seed=4)


def callbacks(folder: Path) -> list[dr.Callback]:
    return [
        dr.EarlyStopping("val_loss", patience=6),
        dr.ReduceOnPlateau("val_loss", patience=2, factor=0.5),
        Checkpoint(folder, unit="step", every=3, monitor="val_loss"),
    ]


def train_or_go_on(kind: str, folder: Path) -> tuple[dr.Network, dr.History]:
    """Do what a script does that a batch system starts again and again."""
    if folder.exists() and any(folder.glob("epoch-*.safetensors")):
        return dr.resume(folder, X, SETTINGS[kind]["y"], **COMMON)
    net = network(kind)
    history = dr.train(
        net, X, callbacks=callbacks(folder), **{"engine": "auto"} | SETTINGS[kind] | COMMON
    )
    return net, history


def outcome(net: dr.Network, history: dr.History) -> bytes:
    numbers = b"".join(np.array(column).tobytes() for column in history.values())
    return net.vector.tobytes() + net.state_vector.tobytes() + numbers + history.stopped.encode()


def forked(kind: str, folder: Path, kill_at: int | None, result: Path) -> int:
    """Start a run; return its process number."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        if kill_at is None:
            found = train_or_go_on(kind, folder)
        else:
            with at_call(kill_at, lambda name: os.kill(os.getpid(), signal.SIGKILL)):
                found = train_or_go_on(kind, folder)
        result.write_bytes(outcome(*found))
        code = 0
    except BaseException as error:
        say(f"{kind}, killed at {kill_at}: {type(error).__name__}: {error}")
    os._exit(code)


def main(moments: int, seed: int) -> None:
    random.seed(seed)
    base = Path(tempfile.mkdtemp())
    for kind in SETTINGS:
        plain = base / "plain"
        start = time.perf_counter()
        expected = outcome(*train_or_go_on(kind, plain))
        lasts = time.perf_counter() - start
        with at_call(-1, lambda name: None) as made:
            shutil.rmtree(plain)
            train_or_go_on(kind, plain)
        shutil.rmtree(plain)
        calls = len(made)
        # At each of the first calls and of some later ones (of all, for many moments).
        more = 1 if moments > 100 else 1 + calls // 6
        ends: list[int | None] = [*range(12), *range(12, calls, more)]
        for number, end in enumerate([*ends, *[None] * moments]):
            folder, result = base / "run", base / "result"
            result.unlink(missing_ok=True)
            shutil.rmtree(folder, ignore_errors=True)
            killed = 0
            while not result.exists():
                child = forked(kind, folder, end if killed < 2 else None, result)
                if end is None and killed < 3:
                    time.sleep(random.uniform(0, lasts))
                    os.kill(child, signal.SIGKILL)
                code = os.waitpid(child, 0)[1]
                if os.WIFEXITED(code) and os.WEXITSTATUS(code):
                    break
                killed += 1
            if not result.exists() or result.read_bytes() != expected:
                say(f"{kind}, {number}: another outcome after {killed} starts")
            if list(folder.glob(".*.part")):
                say(f"{kind}, {number}: temporary files are left")
    shutil.rmtree(base)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0)
