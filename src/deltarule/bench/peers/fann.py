"""FANN, the C library of small networks, through ctypes."""

from __future__ import annotations

import ctypes
import ctypes.util
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from deltarule.base.types import Array
from deltarule.bench.peers.base import Absent, Session
from deltarule.bench.workloads import Data, Workload, initial_parameters

# fann_data.h
_INCREMENTAL, _RPROP = 0, 2
_LINEAR, _SIGMOID, _TANH = 0, 3, 5
_LINEAR_ERROR = 0
_Row = ctypes.POINTER(ctypes.c_float)


class _Rows(ctypes.Structure):
    """Examples, as fann_data.h declares them."""

    _fields_ = (
        ("errno_f", ctypes.c_int),
        ("error_log", ctypes.c_void_p),
        ("errstr", ctypes.c_char_p),
        ("num_data", ctypes.c_uint),
        ("num_input", ctypes.c_uint),
        ("num_output", ctypes.c_uint),
        ("input", ctypes.POINTER(_Row)),
        ("output", ctypes.POINTER(_Row)),
    )


class _Connection(ctypes.Structure):
    _fields_ = (
        ("from_neuron", ctypes.c_uint),
        ("to_neuron", ctypes.c_uint),
        ("weight", ctypes.c_float),
    )


class Fann:
    """FANN, which knows no Adam and no batches of its own."""

    key = "fann"
    title = "FANN"
    note = (
        "float32, one thread; it has no Adam: where the others use Adam, one epoch of its default "
        "RPROP on the rows of each batch, which are not the same steps; SGD is its incremental "
        "training, the same steps; a call by ctypes for each batch, for each epoch with SGD"
    )

    def suits(self, workload: Workload) -> bool:
        """Return whether it suits: regression without shuffling, RPROP on several rows alone."""
        return workload.narrow and (workload.optimizer == "sgd") == (workload.batch_size == 1)

    def prepare(self, workload: Workload, data: Data, threads: int) -> Session:
        """Return a session."""
        return _Session(_library(), workload, data)


@cache
def _library() -> Any:
    name = ctypes.util.find_library("floatfann")
    if name is None:
        raise Absent("libfloatfann is not installed (Debian: libfann2)")
    library = ctypes.CDLL(name)
    library.fann_create_standard_array.restype = ctypes.c_void_p
    library.fann_train_epoch.restype = ctypes.c_float
    library.fann_train_epoch.argtypes = (ctypes.c_void_p, ctypes.c_void_p)
    return library


class _Session:
    def __init__(self, library: Any, workload: Workload, data: Data) -> None:
        self._library, self._workload = library, workload
        self._X, self._y = data.X, data.y.reshape(workload.rows, -1)
        self._network: Any = None
        # Incremental training updates after each row of an epoch.
        batch = workload.rows if workload.optimizer == "sgd" else workload.batch_size
        self._batches = [
            self._examples(i, min(i + batch, workload.rows)) for i in range(0, workload.rows, batch)
        ]
        self.reset()

    def _examples(self, first: int, last: int) -> _Rows:
        X, y = (
            (_Row * (last - first))(*(row.ctypes.data_as(_Row) for row in array[first:last]))
            for array in (self._X, self._y)
        )
        return _Rows(0, None, None, last - first, self._X.shape[1], self._y.shape[1], X, y)

    def reset(self) -> None:
        library, widths = self._library, self._workload.widths
        self.close()
        sizes = (ctypes.c_uint * len(widths))(*widths)
        self._network = network = ctypes.c_void_p(
            library.fann_create_standard_array(len(widths), sizes)
        )
        hidden = _SIGMOID if self._workload.hidden == "sigmoid" else _TANH
        library.fann_set_activation_function_hidden(network, hidden)
        library.fann_set_activation_function_output(network, _LINEAR)
        library.fann_set_activation_steepness_hidden(network, ctypes.c_float(1))
        library.fann_set_activation_steepness_output(network, ctypes.c_float(1))
        library.fann_set_train_error_function(network, _LINEAR_ERROR)
        incremental = self._workload.optimizer == "sgd"
        library.fann_set_training_algorithm(network, _INCREMENTAL if incremental else _RPROP)
        rate = ctypes.c_float(self._workload.learning_rate)
        library.fann_set_learning_rate(network, rate)
        connections, start = [], 0
        for W, b in initial_parameters(self._workload):
            after = start + len(W) + 1  # the last neuron of a layer is its constant one
            for (i, j), weight in np.ndenumerate(np.vstack([W, b])):
                connections.append(_Connection(start + i, after + j, weight))
            start = after
        weights = (_Connection * len(connections))(*connections)
        library.fann_set_weight_array(network, weights, len(weights))

    def close(self) -> None:
        if self._network:
            self._library.fann_destroy(self._network)
            self._network = None

    __del__ = close

    def run_epochs(self, epochs: int) -> float:
        train, network = self._library.fann_train_epoch, self._network
        batches = [ctypes.byref(rows) for rows in self._batches]
        losses: list[float] = []
        for _ in range(epochs):
            losses = [train(network, rows) for rows in batches]
        # Its error is a mean over outputs too, and lacks the factor 1/2.
        return 0.5 * self._workload.widths[-1] * sum(losses) / len(losses)

    def predictor(self, X: Array) -> Callable[[], Any]:
        raise NotImplementedError  # of narrow networks only the training is measured
