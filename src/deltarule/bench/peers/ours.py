"""deltarule itself, through its public interface."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import deltarule as dr
from deltarule.base.types import Array
from deltarule.bench.peers.base import Absent, Session
from deltarule.bench.workloads import Data, Workload, initial_parameters


class Deltarule:
    """deltarule in one of its engines, or on one thread where the others have several."""

    def __init__(self, key: str, title: str, engine: str, *, one_thread: bool = False) -> None:
        self.key = key
        self.title = title
        self.note = (
            f"Trainer.run(engine={engine!r}), all epochs of a turn in one call; it records loss, "
            "learning rate and every parameter's gradient norm for each epoch"
        )
        self._engine, self._one_thread = engine, one_thread
        if one_thread:
            self.note += "; one thread"

    def suits(self, workload: Workload) -> bool:
        """Return whether it suits: all do, but one thread only those that are small."""
        return not self._one_thread or workload.small

    def prepare(self, workload: Workload, data: Data, threads: int) -> Session:
        """Return a session."""
        if self._engine == "native" and not dr.engines()["native"].startswith("available"):
            raise Absent(dr.engines()["native"])
        return _Session(workload, data, 1 if self._one_thread else threads, self._engine)


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
        optimizer = dr.SGD if workload.optimizer == "sgd" else dr.Adam
        self._settings: dict[str, Any] = {
            "loss": "cross_entropy" if workload.classifies else "squared_error",
            "optimizer": optimizer(workload.learning_rate),
            "threads": threads,
            "engine": engine,
        }
        self.reset()

    def reset(self) -> None:
        for i, (W, b) in enumerate(initial_parameters(self._workload)):
            self._network.parameters[f"{i}.weight"] = W
            self._network.parameters[f"{i}.bias"] = b
        self._trainer = dr.Trainer(self._network, **self._settings)

    def run_epochs(self, epochs: int) -> float:
        history = self._trainer.run(
            self._data.X,
            self._data.y,
            epochs=epochs,
            batch_size=self._workload.batch_size,
            shuffle=self._workload.shuffles,
            progress=False,
        )
        return history["loss"][-1]

    def run_restarts(self, restarts: int, epochs: int) -> float:
        self.reset()
        found = dr.restart(
            self._network,
            self._data.X,
            self._data.y,
            restarts=restarts,
            epochs=epochs,
            batch_size=self._workload.batch_size,
            progress=False,
            # NumPy's BLAS has the threads of the reference engine.
            **self._settings | ({"threads": 1} if self._engine == "reference" else {}),
        )
        return found.scores[found.best]

    def predictor(self, X: Array) -> Callable[[], Any]:
        predict, engine, threads = self._network.predict, self._engine, self._threads
        return lambda: predict(X, engine=engine, threads=threads)
