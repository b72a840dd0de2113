"""The machine: its name, the number of threads of each library, what is installed."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

import deltarule as dr
from deltarule.bench.peers.base import Absent, import_peer

_DISTRIBUTIONS = {
    "deltarule": ("deltarule",),
    "PyTorch": ("torch",),
    "JAX": ("jax", "jaxlib", "optax"),
    "scikit-learn": ("scikit-learn",),
}

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NPROC")
_used: set[int] = set()


def describe_machine(threads: int) -> dict[str, Any]:
    """Return CPU, cores, system, versions and engines."""
    versions = {"python": platform.python_version()}
    for name in ("deltarule", "numpy", "torch", "jax", "jaxlib", "optax", "scikit-learn"):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "absent"
    return {
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "threads": threads,
        "load_at_start": list(os.getloadavg()) if hasattr(os, "getloadavg") else None,
        "system": f"{platform.system()} {platform.machine()}",
        "engines": dr.engines(),
        "target": vector_target(),
        "versions": versions,
    }


class OtherProcesses:
    """The share of the cores' time taken by other processes since it was made; Linux only."""

    def __init__(self) -> None:
        self._start = self._read()

    def share(self) -> float | None:
        """Return their share since the start; None if the system does not say."""
        now = self._read()
        if self._start is None or now is None:
            return None
        busy, own, total = (b - a for a, b in zip(self._start, now, strict=True))
        return max(0.0, busy - own) / total if total > 0 else 0.0

    def _read(self) -> tuple[float, float, float] | None:
        """Return busy seconds of all cores, those of this process and its children, all seconds."""
        try:
            fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
        except OSError:
            return None
        seconds = [int(value) / os.sysconf("SC_CLK_TCK") for value in fields]
        idle = seconds[3] + seconds[4]
        return sum(seconds) - idle, sum(os.times()[:4]), sum(seconds)


def cpu_model() -> str:
    """Return the processor's name as the system reports it."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        found = re.search(r"^model name\s*:\s*(.+)$", info.read_text(), re.MULTILINE)
        if found:
            return found[1].strip()
    return platform.processor() or platform.machine()


def vector_target() -> str | None:
    """Return the native engine's vector target; None without that engine."""
    try:
        from deltarule import _native
    except ImportError:
        return None
    return _native.target()


@contextmanager
def confined(threads: int) -> Iterator[bool]:
    """Give every library the same number of threads; yield whether NumPy's BLAS obeys too.

    Libraries that start later read environment variables. BLAS libraries that already run are
    limited by threadpoolctl, if it is installed. On Linux this thread and those it starts may use
    only as many cores, physical ones if there are enough. Thread pools keep the number of threads
    and the cores with which they started, see :func:`mixed_threads`.
    """
    _used.add(threads)
    before = {name: os.environ.get(name) for name in _THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(_THREAD_VARIABLES, str(threads)))
    allowed: set[int] | None = None
    if hasattr(os, "sched_setaffinity"):
        allowed = os.sched_getaffinity(0)
        os.sched_setaffinity(0, _cores(allowed, threads))
    try:
        try:
            control = import_peer("threadpoolctl")
        except Absent:
            yield (os.cpu_count() or 1) <= threads
        else:
            with control.threadpool_limits(threads):
                yield True
    finally:
        if allowed is not None:
            os.sched_setaffinity(0, allowed)
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def mixed_threads() -> bool:
    """Return whether this process has measured with different numbers of threads."""
    return len(_used) > 1


def _cores(allowed: set[int], threads: int) -> set[int]:
    """Return that many of the allowed processors, those of different cores first."""
    first: list[int] = []
    others: list[int] = []
    seen: set[str] = set()
    for cpu in sorted(allowed):
        path = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
        core = path.read_text().strip() if path.exists() else str(cpu)
        (others if core in seen else first).append(cpu)
        seen.add(core)
    return set((first + others)[:threads])


def installed_megabytes() -> dict[str, dict[str, float]]:
    """Return for each installed library its own size and its size with all requirements."""
    sizes: dict[str, dict[str, float]] = {}
    for title, names in _DISTRIBUTIONS.items():
        try:
            own = sum(_size(name) for name in names)
        except metadata.PackageNotFoundError:
            continue
        sizes[title] = {"own": own, "with requirements": sum(map(_size, _closure(names)))}
    return sizes


def _size(name: str) -> float:
    files = metadata.distribution(name).files or []
    paths = (Path(str(file.locate())) for file in files)
    return sum(path.stat().st_size for path in paths if path.is_file()) / 1e6


def _closure(names: tuple[str, ...]) -> set[str]:
    """Return the distributions with their installed requirements, extras left out."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name in found:
            continue
        try:
            requirements = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue  # of another platform
        found.add(name)
        for requirement in requirements:
            match = re.match(r"[A-Za-z0-9._-]+", requirement)
            if match and not re.search(r";.*\bextra\b", requirement):
                waiting.append(match[0])
    return found
