"""What checkpoints cost: python benchmarks/checkpoints.py [ROUNDS] [WORKLOAD ...]

Trains with `Checkpoint(folder)` (every epoch, at most 1 % of the time), with each epoch written,
and without, in turns: seconds of the best turn, and the median ratio to the one without.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from typing import Any

import deltarule as dr
from deltarule.bench.machine import OtherProcesses, cpu_model, vector_target
from deltarule.bench.workloads import WORKLOADS, Workload, make_data

SECONDS = 15.0
FORMS: dict[str, dict[str, Any] | None] = {"none": None, "at most 1 %": {}, "each": {"share": 1}}


class EachEpoch(dr.Callback):
    """Does nothing, each epoch: what any callback costs."""


def train(workload: Workload, epochs: int, form: dict[str, Any] | None) -> float:
    """Return the seconds of a run."""
    data = make_data(workload)
    *hidden, outputs = workload.widths[1:]
    last = "softmax" if workload.classifies else "identity"
    layers = [*(dr.Dense(units, workload.hidden) for units in hidden), dr.Dense(outputs, last)]
    net = dr.Network(layers, inputs=workload.widths[0], seed=0)
    with tempfile.TemporaryDirectory() as folder:
        callback = EachEpoch() if form is None else dr.Checkpoint(folder, **form)
        start = time.perf_counter()
        dr.train(
            net,
            data.X,
            data.y,
            loss="cross_entropy" if workload.classifies else "squared_error",
            optimizer=dr.Adam(workload.learning_rate),
            epochs=epochs,
            batch_size=workload.batch_size,
            callbacks=[callback],
            progress=False,
        )
        return time.perf_counter() - start


def main(rounds: int, names: list[str]) -> None:
    """Measure and print a table."""
    others = OtherProcesses()
    print(f"{cpu_model()}, {vector_target()}")
    print("| | epoch | without | at most 1 % | each |\n|---|---|---|---|---|")
    for name in names:
        workload = WORKLOADS[name]
        train(workload, 2, None)
        epoch = train(workload, 4, None) / 4
        epochs = max(2, int(SECONDS / epoch))
        taken: dict[str, list[float]] = {form: [] for form in FORMS}
        for _ in range(rounds):
            for form, settings in FORMS.items():
                taken[form].append(train(workload, epochs, settings))
        cells = []
        for seconds in taken.values():
            ratio = statistics.median(s / n for s, n in zip(seconds, taken["none"], strict=True))
            cells.append(f"{min(seconds):.2f} s ({ratio:.3f})")
        print(f"| {name} | {epoch * 1e3:.2f} ms | {' | '.join(cells)} |", flush=True)
    share = others.share()
    print(f"Other processes: {'unknown' if share is None else f'{share:.0%} of the cores'}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5, sys.argv[2:] or ["W3", "W4", "W5", "W6"])
