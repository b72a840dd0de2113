"""The floor: the time of a step at the machine's best measured speed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from deltarule.bench.peers.base import Absent, import_peer
from deltarule.bench.workloads import Workload

_SIZES = (256, 384, 512, 768, 1024, 1536, 2048)
_PRIVATE = 1 << 20
"""Bytes per thread that a core's own cache is assumed to hold."""


@dataclass(frozen=True)
class Peak:
    """The best single-precision rate found in this run.

    Attributes
    ----------
    gflops : float
        Of all threads: that of the best matrix product, or of multiply-adds in registers of one
        core times the threads, whichever is higher.
    by : str
        The library and size of the product, or "registers".
    candidates : dict of str to float
        The best rate of each library and size, and of registers.
    core_gflops : float or None
        Multiply-adds in registers of one core; None without the native engine.
    """

    gflops: float
    by: str
    candidates: dict[str, float]
    core_gflops: float | None = None


@dataclass(frozen=True)
class Floor:
    """The larger of arithmetic time and memory time of an epoch's mean step."""

    microseconds: float
    bound: str
    flops: float
    bytes: float
    gb_per_second: float


def measure_peak(threads: int, seconds: float) -> Peak:
    """Return the best rate of square products, by NumPy and PyTorch, and of multiply-adds."""
    libraries: dict[str, Callable[[Any], Callable[[], object]]] = {"numpy": _numpy_product}
    try:
        torch = import_peer("torch")
    except Absent:
        pass
    else:
        torch.set_num_threads(threads)
        libraries["torch"] = lambda a: _torch_product(torch, a)
    candidates: dict[str, float] = {}
    share = seconds / (len(libraries) * len(_SIZES))
    random = np.random.default_rng(0)
    for n in _SIZES:
        a = random.standard_normal((n, n), dtype=np.float32)
        for name, make in libraries.items():
            candidates[f"{name} {n}"] = 2e-9 * n**3 / _best(make(a), share)
    core = _core_gflops()
    if core is not None:
        candidates["registers"] = threads * core
    by = max(candidates, key=lambda name: candidates[name])
    return Peak(candidates[by], by, candidates, core)


def _core_gflops() -> float | None:
    """Return what the core reaches without memory: the best of many turns of 0.1 to 1 ms."""
    try:
        from deltarule import _native
    except ImportError:
        return None
    return max(_native.peak_gflops(20_000) for _ in range(300))


def _numpy_product(a: Any) -> Callable[[], object]:
    out = np.empty_like(a)
    return lambda: np.matmul(a, a, out=out)


def _torch_product(torch: Any, a: Any) -> Callable[[], object]:
    x = torch.from_numpy(a)
    out = torch.empty_like(x)
    return lambda: torch.matmul(x, x, out=out)


def _best(work: Callable[[], object], seconds: float) -> float:
    """Return the shortest time of a call; at least two are made, more while there is time."""
    work()
    best, start = float("inf"), time.perf_counter()
    for done in range(10**6):
        called = time.perf_counter()
        if done >= 2 and called - start > seconds:
            break
        work()
        best = min(best, time.perf_counter() - called)
    return best


def measure_bandwidth(size: int, threads: int, seconds: float) -> float:
    """Return GB/s, reads and writes added, of a copy that touches ``size`` bytes in total.

    The size is that of a workload, so the copy uses the same caches. A part that fits into a core's
    own cache is measured on one core and multiplied; larger ones are copied by all threads at once.
    """
    part = max(size // (2 * threads), 4096)
    if 2 * part <= _PRIVATE:
        source, target = np.ones(part, np.uint8), np.empty(part, np.uint8)
        return 1e-9 * 2 * part * threads / _best(lambda: np.copyto(target, source), seconds)
    repeats = max(1, (1 << 26) // part)
    pairs = [(np.ones(part, np.uint8), np.ones(part, np.uint8)) for _ in range(threads)]

    def copy(source: Any, target: Any) -> None:
        for _ in range(repeats):
            np.copyto(target, source)

    def all_at_once() -> None:
        workers = [threading.Thread(target=copy, args=pair) for pair in pairs]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()

    return 1e-9 * 2 * part * threads * repeats / _best(all_at_once, seconds)


def floor_of(workload: Workload, peak: Peak, gb_per_second: float) -> Floor:
    """Return the floor of an epoch's mean step, ``max(flops / peak, bytes / bandwidth)``."""
    arithmetic = 1e-3 * workload.flops / peak.gflops
    memory = 1e-3 * workload.step_bytes / gb_per_second
    return Floor(
        max(arithmetic, memory),
        "arithmetic" if arithmetic >= memory else "memory",
        workload.flops,
        workload.step_bytes,
        gb_per_second,
    )
