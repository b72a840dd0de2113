"""deltarule itself, through the interface its users have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import deltarule as dr
from deltarule.bench.peers.base import Absent, Session
from deltarule.bench.workloads import Data, Workload, initial_parameters
from deltarule.types import Array


class Deltarule:
    """deltarule in one of its engines."""

    def __init__(self, key: str, title: str, engine: str) -> None:
        self.key = key
        self.title = title
        self.note = (
            f"Trainer.run(engine={engine!r}), all epochs of a turn in one call; it records loss, "
            "learning rate and every parameter's gradient norm for each epoch"
        )
        self._engine = engine

    def suits(self, workload: Workload) -> bool:
        """Every workload."""
        return True

    def prepare(self, workload: Workload, data: Data, threads: int) -> Session:
        """Return a session."""
        if self._engine == "native" and not dr.engines()["native"].startswith("available"):
            raise Absent(dr.engines()["native"])
        return _Session(workload, data, threads, self._engine)


class _Session:
    def __init__(self, workload: Workload, data: Data, threads: int, engine: str) -> None:
        self._workload, self._data = workload, data
        self._threads, self._engine = threads, engine
        *hidden, last = workload.widths[1:]
        self._network = dr.Network(
            [
                *(dr.Dense(units, workload.hidden) for units in hidden),
                dr.Dense(last, "softmax" if workload.classifies else "identity"),
            ],
            inputs=workload.widths[0],
        )
        self.reset()

    def reset(self) -> None:
        workload = self._workload
        for i, (W, b) in enumerate(initial_parameters(workload)):
            self._network.parameters[f"{i}.weight"] = W
            self._network.parameters[f"{i}.bias"] = b
        optimizer = dr.SGD if workload.optimizer == "sgd" else dr.Adam
        self._trainer = dr.Trainer(
            self._network,
            loss="cross_entropy" if workload.classifies else "squared_error",
            optimizer=optimizer(workload.learning_rate),
            threads=self._threads,
            engine=self._engine,
        )

    def run_epochs(self, epochs: int) -> float:
        history = self._trainer.run(
            self._data.X,
            self._data.y,
            epochs=epochs,
            batch_size=self._workload.batch_size,
            progress=False,
        )
        return history["loss"][-1]

    def predictor(self, X: Array) -> Callable[[], Any]:
        predict, engine, threads = self._network.predict, self._engine, self._threads
        return lambda: predict(X, engine=engine, threads=threads)
