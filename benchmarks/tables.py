"""How fast a table of 1,000,000 x 30 is read and prepared: python benchmarks/tables.py [ROUNDS]

`read_table` beside the readers of pyarrow and polars alone, in turns, as ratios; what finding the
columns and making numbers of them adds; and `deltarule predict` of the same file, with the peak of
its resident memory.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars
import pyarrow
import pyarrow.csv

from deltarule.bench.machine import OtherProcesses, cpu_model
from deltarule.tables.reading import read_table
from deltarule.tables.table import prepare

ROWS, NUMBERS = 1_000_000, 28
TRAINED_ON = 20_000


def write(path: Path, rows: int) -> None:
    """Write numbers with four decimals, a category, and a target of two classes."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(rows, NUMBERS)).round(4)
    columns: dict[str, Any] = {f"x{i}": X[:, i] for i in range(NUMBERS)}
    columns["colour"] = np.array(["red", "blue", "green", "white"])[rng.integers(0, 4, rows)]
    noise = rng.normal(0, 1, rows)
    columns["y"] = np.array(["no", "yes"])[(X[:, :5].sum(axis=1) + noise > 0).astype(int)]
    pyarrow.csv.write_csv(pyarrow.table(columns), path)


def seconds(run: Callable[[], Any]) -> float:
    """Return how long a call takes."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def reading(path: Path, rounds: int) -> None:
    """Print the times of three readers in turns, and of what follows the reading."""
    readers: dict[str, Callable[[Path], Any]] = {
        "deltarule": read_table,
        "pyarrow": pyarrow.csv.read_csv,
        "polars": polars.read_csv,
    }
    turns = []
    for i in range(rounds):
        order = list(readers) if i % 2 else list(readers)[::-1]
        turns.append({name: seconds(lambda name=name: readers[name](path)) for name in order})
    print("| reader | median | the reader's time over ours, median |\n|---|---|---|")
    for name in readers:
        own = statistics.median(turn[name] for turn in turns)
        ratio = statistics.median(turn[name] / turn["deltarule"] for turn in turns)
        print(f"| {name} | {own:.2f} s | {ratio:.2f} |")
    table = read_table(path)
    found: list[Any] = []
    finding = seconds(lambda: found.append(prepare(table, "y", task=None, kinds={})))
    numbers = seconds(lambda: found[0].columns.transform(found[0].frame))
    print(f"\nfinding what the columns are {finding:.2f} s, making numbers {numbers:.2f} s")


def predicting(path: Path, folder: Path) -> None:
    """Print how long `deltarule predict` takes, and its peak of memory."""
    part = folder / "part.csv"
    write(part, TRAINED_ON)
    command = [sys.executable, "-m", "deltarule"]
    model = folder / "model"
    subprocess.run(
        [*command, "train", str(part), "--target", "y", "--out", str(model), "--no-report"],
        check=True,
        capture_output=True,
    )
    script = (  # a process of its own: a child counts what its parent held when it forked
        "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True); "
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    arguments = [
        "predict",
        str(model / "model.safetensors"),
        str(path),
        "--out",
        str(folder / "p.csv"),
    ]
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", script, *command, *arguments],
        check=True,
        capture_output=True,
        text=True,
    )
    took = time.perf_counter() - start
    peak = int(done.stdout.split()[-1]) / 1024
    print(f"predict: {took:.1f} s, peak {peak:.0f} MB")


def main(rounds: int) -> None:
    """Measure and print."""
    others = OtherProcesses()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        path = folder / "table.csv"
        write(path, ROWS)
        print(f"{ROWS:,} x {NUMBERS + 2}, {path.stat().st_size / 1e6:.0f} MB\n")
        reading(path, rounds)
        predicting(path, folder)
    share = others.share()
    busy = "" if share is None else f"; other processes took {share:.0%} of the cores"
    print(f"\n{cpu_model()}{busy}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) == 2 else 7)
