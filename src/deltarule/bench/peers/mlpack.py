"""mlpack, a C++ library of headers: compiled here, as its users do."""

from __future__ import annotations

import ctypes
import os
import subprocess
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from deltarule.base.types import Array
from deltarule.bench.peers.base import Absent, Session
from deltarule.bench.workloads import Data, Workload, initial_parameters

_SOURCE = Path(__file__).parents[1] / "scripts" / "mlpack_peer.cpp"
_OPTIONS = ["-std=c++17", "-O3", "-march=native", "-DNDEBUG", "-fopenmp", "-shared", "-fPIC"]


class Mlpack:
    """mlpack's FFN with ensmallen's optimizers."""

    key = "mlpack"
    title = "mlpack"
    note = (
        "FFN in float32, ensmallen's Adam or StandardSGD, all epochs of a turn in one call; built "
        f"with {' '.join(_OPTIONS[:4])}; matrix products by OpenBLAS with the same threads"
    )

    def suits(self, workload: Workload) -> bool:
        """Return whether it suits: the narrow ones."""
        return workload.narrow

    def prepare(self, workload: Workload, data: Data, threads: int) -> Session:
        """Return a session; OpenBLAS reads the number of threads when it is loaded."""
        return _Session(_library(), workload, data)


@cache
def _library() -> Any:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mlpack_peer.so"
        command = [os.environ.get("CXX", "c++"), *_OPTIONS, str(_SOURCE), "-o", str(path)]
        try:
            subprocess.run([*command, "-lopenblas"], check=True, capture_output=True)
        except FileNotFoundError:
            raise Absent(f"it must be compiled, and there is no {command[0]}") from None
        except subprocess.CalledProcessError as error:
            lines = error.stderr.decode(errors="replace").splitlines()
            reason = next((line for line in lines if "error" in line), "")
            raise Absent(f"it cannot be compiled here ({reason})") from None
        library = ctypes.CDLL(str(path))
    library.mlpack_create.restype = ctypes.c_void_p
    library.mlpack_train.restype = ctypes.c_double
    return library


class _Session:
    def __init__(self, library: Any, workload: Workload, data: Data) -> None:
        self._library = library
        widths = np.array(workload.widths, np.int64)
        # A layer's weights (n_out, n_in) stored by columns are ours, (n_in, n_out) stored by rows.
        start = np.concatenate(
            [part.ravel() for pair in initial_parameters(workload) for part in pair]
        )
        # Its loss is a mean over the outputs too, and lacks the factor 1/2: the step of SGD is the
        # same at another rate; Adam's steps do not depend on a factor.
        adam = workload.optimizer == "adam"
        half = 0.5 * workload.widths[-1]
        rate = workload.learning_rate * (1 if adam else half)
        self._scale = half * workload.batch_size
        self._session = ctypes.c_void_p(
            library.mlpack_create(
                len(widths),
                widths.ctypes.data_as(ctypes.c_void_p),
                ctypes.c_long(workload.rows),
                data.X.ctypes.data_as(ctypes.c_void_p),
                data.y.ctypes.data_as(ctypes.c_void_p),
                start.ctypes.data_as(ctypes.c_void_p),
                ctypes.c_long(start.size),
                int(adam),
                ctypes.c_double(rate),
                ctypes.c_long(workload.batch_size),
            )
        )
        self.reset()

    def __del__(self) -> None:
        self._library.mlpack_destroy(self._session)

    def reset(self) -> None:
        self._library.mlpack_reset(self._session)

    def run_epochs(self, epochs: int) -> float:
        loss = self._library.mlpack_train(self._session, ctypes.c_long(epochs))
        return self._scale * float(loss)

    def predictor(self, X: Array) -> Callable[[], Any]:
        raise NotImplementedError  # of narrow networks only the training is measured
