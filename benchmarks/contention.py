"""What several threads are worth where other processes want the cores too.

    python benchmarks/contention.py [ROUNDS] [-n THREADS] [-t TASK ...]

One process trains and predicts, with one thread and with THREADS (2) in turns of some 10 to 100 ms,
beside 0, 1, 2 and 4 processes that count without end. The table shows medians over the rounds: the
time of one thread, and the part of it that THREADS threads take.

Then two processes at once do the same task, each with one thread and each with THREADS; and joblib
does eight trainings with n_jobs=2, each with threads=1 and with the default.
"""

import argparse
import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

BUSY = (0, 1, 2, 4)

CHILD = r"""
import json, sys, time
import numpy as np
import deltarule as dr

threads = int(sys.argv[1])
rng = np.random.default_rng(0)
tasks = {}

def network(*widths, hidden="relu", end="softmax"):
    layers = [dr.Dense(n, hidden) for n in widths[1:-1]] + [dr.Dense(widths[-1], end)]
    return dr.Network(layers, inputs=widths[0])

def data(n, inputs, classes):
    X = rng.normal(size=(n, inputs)).astype("float32")
    return X, rng.integers(0, classes, n) if classes else rng.normal(size=(n, 1)).astype("float32")

def training(key, widths, batch, optimizer, rows, epochs, classes=10, **ends):
    X, y = data(rows, widths[0], classes)
    loss = "cross_entropy" if classes else "squared_error"
    for n in (1, threads):
        trainer = dr.Trainer(network(*widths, **ends), loss, optimizer, threads=n)
        tasks[key, n] = lambda trainer=trainer: trainer.run(
            X, y, epochs=epochs, batch_size=batch, progress=False)

training("W1", (2, 3, 1), 4, dr.SGD(0.1), 4, 20_000, 0, hidden="sigmoid", end="identity")
training("W2", (784, 128, 10), 1, dr.SGD(0.01), 1000, 2)
training("W3", (64, 100, 10), 200, "adam", 1797, 60)
training("W3, one epoch a call", (64, 100, 10), 200, "adam", 1797, 1)
training("W4", (784, 256, 128, 10), 128, "adam", 3200, 2)
training("W5", (100, 256, 256, 256, 1), 256, "adam", 5120, 2, 0, end="identity")
training("W6", (1024, 2048, 2048, 10), 512, "adam", 512, 1)

def repeat(n, f):
    def run():
        for _ in range(n):
            f()
    return run

net, (X, y) = network(64, 100, 10), data(20_000, 64, 10)
for n in (1, threads):
    tasks["W3, one epoch a call", n] = repeat(20, tasks["W3, one epoch a call", n])
    tasks["predict 1,797 rows of W3", n] = repeat(30, lambda n=n: net.predict(X[:1797], threads=n))
    tasks["predict 20,000 rows of W3", n] = repeat(4, lambda n=n: net.predict(X, threads=n))
    tasks["8 restarts of W3", n] = lambda n=n: dr.restart(
        net, X[:1797], y[:1797], restarts=8, loss="cross_entropy", epochs=10, batch_size=200,
        threads=n, progress=False)

print(json.dumps(list(tasks)), flush=True)
for line in sys.stdin:
    task = tasks[tuple(json.loads(line))]
    begin = time.perf_counter()
    task()
    print(time.perf_counter() - begin, flush=True)
"""

JOBLIB = r"""
import json, sys, time
import numpy as np
import joblib
import deltarule as dr

rng = np.random.default_rng(0)
X, y = rng.normal(size=(1797, 64)).astype("float32"), rng.integers(0, 10, 1797)

def fit(threads):
    net = dr.Network([dr.Dense(100, "relu"), dr.Dense(10, "softmax")], inputs=64)
    dr.train(
        net, X, y, loss="cross_entropy", epochs=60, batch_size=200, threads=threads, progress=False)

with joblib.Parallel(n_jobs=2) as pool:
    pool(joblib.delayed(fit)(1) for _ in range(8))  # the workers start and import
    print(json.dumps([]), flush=True)
    for line in sys.stdin:
        threads = json.loads(line)
        begin = time.perf_counter()
        pool(joblib.delayed(fit)(threads) for _ in range(8))
        print(time.perf_counter() - begin, flush=True)
"""


class Process:
    """A process that does what it is told, and says how long it took."""

    def __init__(self, script: str, *arguments: object) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", script, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=tempfile.gettempdir(),
        )
        self.tasks = json.loads(self.answer())

    def begin(self, task: object) -> None:
        assert self.process.stdin
        self.process.stdin.write(json.dumps(task) + "\n")
        self.process.stdin.flush()

    def answer(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline()

    def end(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait()

    def seconds(self, task: object) -> float:
        self.begin(task)
        return float(self.answer())


@contextlib.contextmanager
def busy_processes(count: int) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Processes that count without end, stopped at first."""
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    time.sleep(0.2)
    for process in busy:
        process.send_signal(signal.SIGSTOP)
    try:
        yield busy
    finally:
        for process in busy:
            process.kill()
            process.wait()


def in_turns(i: int, few: object, many: object, measure) -> tuple[float, float]:
    """Measure both, in round i this one first, in the next the other."""
    if i % 2:
        first = measure(few)
        return first, measure(many)
    last = measure(many)
    return measure(few), last


def table(title: str, rows: dict[str, dict[str, list[tuple[float, float]]]]) -> None:
    columns = list(next(iter(rows.values())))
    print(f"\n| {title} | " + " | ".join(columns) + " |")
    print("|---|" + "---|" * len(columns))
    for row, cells in rows.items():
        shown = []
        for turns in cells.values():
            one = statistics.median(a for a, _ in turns)
            ratio = statistics.median(b / a for a, b in turns)
            shown.append(f"{1e3 * one:.1f} ms, {ratio:.2f}")
        print(f"| {row} | " + " | ".join(shown) + " |", flush=True)


def main(rounds: int, threads: int, wanted: list[str]) -> None:
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores; medians of {rounds} rounds:")
    print(f"the time of one thread, and the part of it that {threads} threads take")
    own = Process(CHILD, threads)
    names = [name for name, n in own.tasks if n == 1 and (not wanted or name in wanted)]
    rows: dict[str, dict[str, list[tuple[float, float]]]] = {
        name: {f"{n} busy": [] for n in BUSY} for name in names
    }
    for name in names:  # once for nothing
        for n in (1, threads):
            own.seconds((name, n))
    with busy_processes(max(BUSY)) as busy:
        for n in BUSY:
            for process in busy[:n]:
                process.send_signal(signal.SIGCONT)
            for i in range(rounds):
                for name in names:
                    turn = in_turns(i, (name, 1), (name, threads), own.seconds)
                    rows[name][f"{n} busy"].append(turn)
            for process in busy[:n]:
                process.send_signal(signal.SIGSTOP)
    table("beside busy processes", rows)

    other = Process(CHILD, threads)

    def both(task: object) -> float:
        begin = time.perf_counter()
        own.begin(task)
        other.begin(task)
        own.answer()
        other.answer()
        return time.perf_counter() - begin

    pairs = {name: {"both": []} for name in names}
    for i in range(rounds):
        for name in names:
            pairs[name]["both"].append(in_turns(i, (name, 1), (name, threads), both))
    table("two processes at once", pairs)
    if not wanted:
        jobs = Process(JOBLIB)
        turns = [in_turns(i, 1, None, jobs.seconds) for i in range(rounds)]
        table("joblib", {"8 trainings of W3": {"n_jobs=2": turns}})
        jobs.end()
    own.end()
    other.end()
    print(f"\nload {os.getloadavg()[0]:.1f} after")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("rounds", nargs="?", type=int, default=15)
    parser.add_argument("-n", "--threads", type=int, default=2)
    parser.add_argument("-t", "--tasks", nargs="*", default=[])
    asked = parser.parse_args()
    main(asked.rounds, asked.threads, asked.tasks)
