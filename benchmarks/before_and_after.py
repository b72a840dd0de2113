"""Whether HEAD is slower than another commit, measured side by side in one run.

    python benchmarks/before_and_after.py COMMIT [ROUNDS]

installs COMMIT and HEAD in build/trajectories/ and lets processes of each take turns. A turn
takes some milliseconds. The table shows the best turn of each, and the median over rounds of
after / before: what both versions suffer in the same round does not count. Import time is that of
fresh processes.
"""

import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "trajectories"))

CHILD = r"""
import json, sys, time
import numpy as np
import deltarule as dr

rng = np.random.default_rng(0)
def network(*widths, hidden="relu", end="softmax"):
    layers = [dr.Dense(n, hidden) for n in widths[1:-1]] + [dr.Dense(widths[-1], end)]
    return dr.Network(layers, inputs=widths[0])

def data(n, inputs, classes):
    X = rng.normal(size=(n, inputs)).astype("float32")
    if classes:
        return X, rng.integers(0, classes, n)
    return X, rng.normal(size=(n, 1)).astype("float32")

tasks = {}
def training(key, widths, batch, optimizer, rows, epochs, classes=10, **ends):
    net, (X, y) = network(*widths, **ends), data(rows, widths[0], classes)
    loss = "cross_entropy" if classes else "squared_error"
    trainer = dr.Trainer(net, loss, optimizer, threads=2)
    tasks[key] = lambda: trainer.run(X, y, epochs=epochs, batch_size=batch, progress=False)

xor = {"hidden": "sigmoid", "end": "identity", "classes": 0}
training("W1, 2,000 epochs", (2, 3, 1), 4, dr.SGD(0.1), 4, 2000, **xor)
training("W2, 1 epoch", (784, 128, 10), 1, dr.SGD(0.01), 1000, 1)
training("W3, 20 epochs", (64, 100, 10), 200, "adam", 1797, 20)
training("W4, 1 epoch", (784, 256, 128, 10), 128, "adam", 3200, 1)
training("W5, 1 epoch", (100, 256, 256, 256, 1), 256, "adam", 5120, 1, 0, end="identity")
training("W6, 1 step", (1024, 2048, 2048, 10), 512, "adam", 512, 1)

net, (X, y) = network(784, 128, 10), data(32, 784, 10)
trainer = dr.Trainer(net, "cross_entropy", threads=2)
small, (Xs, ys) = network(2, 3, 1, hidden="sigmoid", end="identity"), data(4, 2, 0)
stepper = dr.Trainer(small, "squared_error")
one, some = X[:1], X
def repeat(n, f, *arguments):
    def run():
        for _ in range(n):
            f(*arguments)
    return run
tasks["50 times step, 784-128-10, 32 rows"] = repeat(50, trainer.step, X, y)
tasks["300 times step, 2-3-1, 4 rows"] = repeat(300, stepper.step, Xs, ys)
tasks["1,000 times predict, 784-128-10, 1 row"] = repeat(1000, net.predict, one)
tasks["100 times predict, 784-128-10, 32 rows"] = repeat(100, net.predict, some)
tasks["2,000 times predict, 2-3-1, 4 rows"] = repeat(2000, small.predict, Xs)
for task in tasks.values():
    task()
print(json.dumps(list(tasks)), flush=True)
for line in sys.stdin:
    begin = time.perf_counter()
    tasks[json.loads(line)]()
    print(time.perf_counter() - begin, flush=True)
"""
ROUNDS_OF_A_PROCESS = 20  # where its arrays happen to lie makes a process a few per cent faster
IMPORT = (
    "import numpy, time; t = time.perf_counter(); import deltarule; print(time.perf_counter() - t)"
)


class Version:
    """A process of one version that does what it is told, and says how long it took."""

    def __init__(self, python: Path | str) -> None:
        self.python = python
        self.process = subprocess.Popen(
            [python, "-c", CHILD],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=tempfile.gettempdir(),
        )
        self.tasks = json.loads(self.answer())

    def answer(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline()

    def seconds(self, task: str) -> float:
        assert self.process.stdin
        self.process.stdin.write(json.dumps(task) + "\n")
        self.process.stdin.flush()
        return float(self.answer())

    def seconds_of_import(self) -> float:
        run = [self.python, "-c", IMPORT]
        return float(subprocess.check_output(run, text=True, cwd=tempfile.gettempdir()))


def main(commit: str, rounds: int) -> None:
    from compare import installation

    pythons = installation(commit), installation("HEAD")
    rows: dict[str, list[tuple[float, float]]] = {}
    before, after = Version(pythons[0]), Version(pythons[1])
    for i in range(rounds):
        if i % ROUNDS_OF_A_PROCESS == 0:
            for version in (before, after):
                version.process.kill()
            before, after = Version(pythons[0]), Version(pythons[1])
        for task in [*before.tasks, "import deltarule, NumPy being there"]:
            turn = []
            for version in (before, after) if i % 2 else (after, before):
                fresh = task.startswith("import")
                turn.append(version.seconds_of_import() if fresh else version.seconds(task))
            rows.setdefault(task, []).append((turn[0], turn[1]) if i % 2 else (turn[1], turn[0]))
    print(f"{rounds} rounds; milliseconds of the best turn, {commit} and now; after / before\n")
    print(f"{'':42} {'before':>9} {'now':>9} {'best':>7} {'median':>7}")
    for task, times in rows.items():
        old, new = min(t[0] for t in times), min(t[1] for t in times)
        middle = statistics.median(b / a for a, b in times)
        print(f"{task:42} {1e3 * old:9.3f} {1e3 * new:9.3f} {new / old:7.3f} {middle:7.3f}")
    for version in (before, after):
        version.process.kill()


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        raise SystemExit(__doc__)
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) == 3 else 100)
