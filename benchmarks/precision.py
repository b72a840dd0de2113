"""float32 beside bfloat16 products: python benchmarks/precision.py [ROUNDS] [THREADS]

The larger workloads of the benchmark, in deltarule and in PyTorch (eager, fused optimizer; with
`torch.autocast` for bfloat16), in turns. Microseconds a step: the best turn, and in brackets how
many times as long as deltarule's float32 the median turn takes.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

import numpy as np
import torch

import deltarule as dr
from deltarule.bench.machine import OtherProcesses, cpu_model
from deltarule.bench.workloads import WORKLOADS, Workload


def data(workload: Workload, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Return random examples for so many batches."""
    rng = np.random.default_rng(0)
    rows = steps * workload.batch_size
    X = rng.normal(size=(rows, workload.widths[0])).astype(np.float32)
    return X, rng.normal(size=(rows, workload.widths[-1])).astype(np.float32)


def ours(workload: Workload, X: np.ndarray, y: np.ndarray, precision: str | None, threads: int):
    """Return a function that trains one epoch."""
    sizes = workload.widths
    layers = [*(dr.Dense(n, "relu") for n in sizes[1:-1]), dr.Dense(sizes[-1])]
    net = dr.Network(layers, inputs=sizes[0], dtype="float32", seed=0)
    trainer = dr.Trainer(
        net, "mean_squared_error", dr.Adam(1e-4), precision=precision, threads=threads
    )
    return lambda: trainer.run(X, y, batch_size=workload.batch_size, progress=False)


def theirs(workload: Workload, X: np.ndarray, y: np.ndarray, precision: str | None):
    """Return a function that trains one epoch in PyTorch."""
    parts: list[torch.nn.Module] = []
    for n_in, n_out in zip(workload.widths, workload.widths[1:], strict=False):
        parts += [torch.nn.Linear(n_in, n_out), torch.nn.ReLU()]
    net = torch.nn.Sequential(*parts[:-1])
    optimizer = torch.optim.Adam(net.parameters(), 1e-4, fused=True)
    features, targets = torch.from_numpy(X), torch.from_numpy(y)

    def epoch() -> None:
        for rows in torch.randperm(len(X)).split(workload.batch_size):
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
                outputs = net(features[rows])
            torch.nn.functional.mse_loss(outputs.float(), targets[rows]).backward()
            optimizer.step()

    return epoch


def compare(name: str, steps: int, rounds: int, threads: int) -> None:
    """Print a row of the table."""
    workload = WORKLOADS[name]
    X, y = data(workload, steps)
    works: dict[str, Callable[[], object]] = {}
    for precision in (None, "bfloat16"):
        works[f"deltarule {precision}"] = ours(workload, X, y, precision, threads)
        works[f"torch {precision}"] = theirs(workload, X, y, precision)
    times: dict[str, list[float]] = {key: [] for key in works}
    for i in range(rounds + 1):
        for key in sorted(works, reverse=bool(i % 2)):
            start = time.perf_counter()
            works[key]()
            if i:  # the first round warms up
                times[key].append((time.perf_counter() - start) / steps)
            time.sleep(0.05)  # threads of BLAS spin for a while
    first = times["deltarule None"]
    cells = (
        f"{min(taken) * 1e6:,.0f} "
        f"({statistics.median(t / f for t, f in zip(taken, first, strict=True)):.2f}x)"
        for taken in times.values()
    )
    print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    chosen = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 2
    torch.set_num_threads(count)
    others = OtherProcesses()
    print(f"{cpu_model()}, {dr.engines()['native']}, {count} threads, PyTorch {torch.__version__}")
    print("| | deltarule | PyTorch | deltarule, bfloat16 | PyTorch, autocast |")
    print("|---|---|---|---|---|")
    for key, per_turn in {"W3": 30, "W4": 10, "W5": 10, "W6": 1}.items():
        compare(key, per_turn, chosen, count)
    share = others.share()
    print("other processes:", "unknown" if share is None else f"{share:.0%} of the cores")
