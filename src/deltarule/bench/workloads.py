"""The workloads: networks, batches, optimizers and data, the same for every library."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from deltarule.base.errors import unknown_name
from deltarule.base.types import Array

_SEED = 20240229
_SMALL = 10_000
"""Weights."""


@dataclass(frozen=True)
class Workload:
    """A network and how it is trained, in float32.

    Attributes
    ----------
    key, title : str
    widths : tuple of int
        Inputs, hidden units, outputs.
    batch_size : int
        Equal to ``rows`` in full-batch descent, where nothing is shuffled or gathered.
    optimizer : "sgd" or "adam"
    learning_rate : float
    rows : int
        Training examples.
    hidden : "relu", "sigmoid" or "tanh"
    classifies : bool
        Softmax with cross-entropy; otherwise identity with squared error, 1/2 (y - a)^2 summed over
        the outputs.
    shuffles : bool
        Whether an epoch's order is random; otherwise it is that of the rows, so that every library
        takes the same steps.
    """

    key: str
    title: str
    widths: tuple[int, ...]
    batch_size: int
    optimizer: str
    learning_rate: float
    rows: int
    hidden: str = "relu"
    classifies: bool = True
    shuffles: bool = True

    @property
    def network(self) -> str:
        """The widths as text: "64-100-10"."""
        return "-".join(map(str, self.widths))

    @property
    def narrow(self) -> bool:
        """Whether it is one of N1 to N5."""
        return self.key.startswith("N")

    @property
    def small(self) -> bool:
        """Whether calls and threads cost so much beside its steps that they are measured too."""
        return self.weights < _SMALL

    @property
    def steps_per_epoch(self) -> int:
        """Number of batches; the last one may be smaller."""
        return -(-self.rows // self.batch_size)

    @property
    def full_batch(self) -> bool:
        """Whether an epoch is one step on all rows."""
        return self.batch_size >= self.rows

    @property
    def mean_batch(self) -> float:
        """Rows of an epoch's mean step, whose last one may be smaller."""
        return self.rows / self.steps_per_epoch

    @property
    def weights(self) -> int:
        """Number of weights without the biases."""
        return sum(m * n for m, n in zip(self.widths, self.widths[1:], strict=False))

    @property
    def parameters(self) -> int:
        """Number of weights and biases."""
        return self.weights + sum(self.widths[1:])

    @property
    def state_arrays(self) -> int:
        """Arrays of optimizer state, each as long as the parameters."""
        return 2 if self.optimizer == "adam" else 0

    @property
    def flops(self) -> float:
        """Floating-point operations of the matrix products of a mean step.

        Forward, delta and weight gradient take 2 per weight and row each; the first layer needs no
        delta for its inputs.
        """
        return self.mean_batch * (6 * self.weights - 2 * self.widths[0] * self.widths[1])

    @property
    def step_bytes(self) -> float:
        """Bytes a mean step must move: parameters and state read and written, the batch read."""
        return 4 * (
            2 * self.parameters * (1 + self.state_arrays) + self.mean_batch * self._row_values
        )

    @property
    def working_set(self) -> int:
        """Bytes of parameters, optimizer state and one batch."""
        return 4 * (self.parameters * (1 + self.state_arrays) + self.batch_size * self._row_values)

    @property
    def _row_values(self) -> int:
        """Features and targets of a row."""
        return self.widths[0] + (1 if self.classifies else self.widths[-1])


class Data(NamedTuple):
    """Training examples: float32 features; int64 labels or float32 targets; a source.

    Labels are (n,), as is a single target; several are (n, outputs).
    """

    X: Array
    y: Array
    source: str


_NARROW = {
    "N1": (2, 8, 1),
    "N2": (10, 10, 10, 1),
    "N3": (24, 8, 2),
    "N4": (4, 32, 16, 4),
    "N5": (30, 64, 32, 1),
}
_NARROW_BATCHES = {
    "sgd": (1, 200, "batch 1, SGD"),
    "1": (1, 200, "batch 1"),
    "32": (32, 3200, "batch 32"),
    "200": (200, 10_000, "batch 200"),
    "all": (10_000, 10_000, "all 10,000 rows"),
}
"""Batch size and rows: the fewer, the fewer steps an epoch has, which the slowest must finish."""


def _narrow() -> Iterator[Workload]:
    """Yield the narrow networks at each batch size: N1-sgd, N1-1, N1-32, N1-200, N1-all, ..."""
    for network, widths in _NARROW.items():
        for size, (batch, rows, text) in _NARROW_BATCHES.items():
            optimizer = "sgd" if size == "sgd" else "adam"
            key, title = f"{network}-{size}", f"{'-'.join(map(str, widths))}, {text}"
            yield Workload(key, title, widths, batch, optimizer, 1e-3, rows, "tanh", False, False)


WORKLOADS: dict[str, Workload] = {
    workload.key: workload
    for workload in (
        Workload("W1", "XOR, full batch", (2, 3, 1), 4, "sgd", 0.1, 4, "sigmoid", False),
        Workload("W2", "per-example SGD", (784, 128, 10), 1, "sgd", 0.01, 1000),
        Workload("W3", "digits", (64, 100, 10), 200, "adam", 1e-3, 1797),
        Workload("W4", "MNIST-sized", (784, 256, 128, 10), 128, "adam", 1e-3, 6400),
        Workload("W5", "tabular", (100, 256, 256, 256, 1), 256, "adam", 1e-3, 12800, "relu", False),
        Workload("W6", "wide", (1024, 2048, 2048, 10), 512, "adam", 1e-3, 2048),
        *_narrow(),
    )
}


GROUPS = {
    "W": "all of these",
    "N": "narrow networks",
    **{key: "-".join(map(str, widths)) for key, widths in _NARROW.items()},
}
"""What stands for several workloads: those whose keys begin with it."""


def choices() -> dict[str, str]:
    """Return what to call for, and what it is: groups, and the workloads that are not narrow."""
    wide = {key: workload.title for key, workload in WORKLOADS.items() if not workload.narrow}
    return wide | GROUPS


def select_workloads(names: Iterable[str] | None) -> list[Workload]:
    """Return workloads by key or group, all for None.

    Raises
    ------
    ValueError
        A key is unknown.
    """
    chosen: dict[str, Workload] = {}
    for name in WORKLOADS if names is None else names:
        if name not in WORKLOADS and name not in GROUPS:
            raise unknown_name("workload", name, choices())
        members = [key for key in WORKLOADS if key.startswith(name)] if name in GROUPS else [name]
        chosen |= {key: WORKLOADS[key] for key in members}
    return list(chosen.values())


def with_rows(workload: Workload, rows: int) -> Workload:
    """Return the workload on fewer rows; its batches are never larger than that."""
    rows = min(rows, workload.rows)
    return replace(workload, rows=rows, batch_size=min(workload.batch_size, rows))


def make_data(workload: Workload) -> Data:
    """Return the training examples, always the same ones.

    W1 is the truth table of XOR. W3 is scikit-learn's digits if it is installed. The others are
    synthetic: normal features, targets of a random linear function with noise.
    """
    if workload.key == "W1":
        X = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], dtype=np.float32)
        return Data(X, np.array([0, 1, 1, 0], dtype=np.float32), "truth table")
    if workload.key == "W3" and importlib.util.find_spec("sklearn") is not None:
        from sklearn.datasets import load_digits

        X, y = load_digits(return_X_y=True)
        X = np.ascontiguousarray(X[: workload.rows] / 16, dtype=np.float32)
        return Data(X, y[: workload.rows].astype(np.int64), "scikit-learn digits")
    random = np.random.default_rng(_SEED)
    inputs, outputs = workload.widths[0], workload.widths[-1]
    X = random.standard_normal((workload.rows, inputs), dtype=np.float32)
    teacher = random.standard_normal((inputs, outputs), dtype=np.float32) / np.sqrt(inputs)
    scores = X @ teacher + random.standard_normal((workload.rows, outputs), dtype=np.float32)
    if workload.classifies:
        return Data(X, scores.argmax(axis=1), "synthetic")
    targets = scores[:, 0] if outputs == 1 else scores
    return Data(X, np.ascontiguousarray(targets, dtype=np.float32), "synthetic")


def initial_parameters(workload: Workload) -> list[tuple[Array, Array]]:
    """Return the weights (n_in, n_out) and biases (n_out,) from which every library starts.

    Uniform within sqrt(6 / (n_in + n_out)); biases uniform within 0.1.
    """
    random = np.random.default_rng(_SEED + 1)
    drawn = []
    for n_in, n_out in zip(workload.widths, workload.widths[1:], strict=False):
        limit = float(np.sqrt(6 / (n_in + n_out)))
        W = random.uniform(-limit, limit, (n_in, n_out)).astype(np.float32)
        drawn.append((W, random.uniform(-0.1, 0.1, n_out).astype(np.float32)))
    return drawn
