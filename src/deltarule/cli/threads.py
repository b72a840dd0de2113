"""The threads of NumPy's BLAS while a command trains."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from importlib import import_module
from typing import Any


def one_thread_blas() -> AbstractContextManager[Any]:
    """Keep NumPy's BLAS to one thread: products this small gain nothing from more.

    When other programs use the cores too, waiting threads make training ten times slower.
    """
    if any(os.environ.get(name) for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS")):
        return nullcontext()
    try:
        threadpoolctl: Any = import_module("threadpoolctl")
    except ImportError:
        return nullcontext()
    limits: AbstractContextManager[Any] = threadpoolctl.threadpool_limits(1, user_api="blas")
    return limits
