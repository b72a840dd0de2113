"""How many cores this process may use."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from functools import cache


def cores() -> int:
    """Return how many threads run at once at most: the number for ``threads=None``.

    It is the least of what the processor has, what the process is bound to (``taskset``), what the
    container may use (a quota of cgroups, rounded up) and what the user asks for in
    ``OMP_NUM_THREADS``, as PyTorch, scikit-learn and BLAS libraries take it. joblib sets that
    variable in its worker processes, so that all workers together use every core once.
    """
    if hasattr(os, "sched_getaffinity"):
        allowed = len(os.sched_getaffinity(0))
    else:
        allowed = os.cpu_count() or 1
    return max(1, min(allowed, asked_for(os.environ), _of_this_container()))


def asked_for(environment: os._Environ[str] | dict[str, str]) -> int:
    """Return the number in OMP_NUM_THREADS, the first of a list; many where there is none."""
    first = environment.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return int(first) if first.isdecimal() and int(first) > 0 else 1 << 12


@cache
def _of_this_container() -> int:
    return of_container("/proc/self/cgroup", "/sys/fs/cgroup")


def of_container(membership: str, mount: str) -> int:
    """Return how many cores the groups of a process may use; many where nothing limits them.

    Parameters
    ----------
    membership : str
        The file that names the groups of the process, one line for each hierarchy.
    mount : str
        Where the hierarchies are mounted.
    """
    return min((math.ceil(share) for share in _shares(membership, mount)), default=1 << 12)


def _shares(membership: str, mount: str) -> Iterator[float]:
    """Yield the quota of each group that the process is in, and of those around it, in cores."""
    for line in _read(membership).splitlines():
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        if controllers == "":
            roots = ["", "unified"]
        elif "cpu" in controllers.split(","):
            roots = [controllers, "cpu"]
        else:
            continue
        # Inside a container, the path may be that of the host, and the mount the group itself.
        steps = [step for step in path.split("/") if step]
        for root in roots:
            for depth in range(0 if ".." in steps else len(steps), -1, -1):
                yield from _share("/".join([mount, root, *steps[:depth]]))


def _share(group: str) -> Iterator[float]:
    """Yield the quota of a group, where it has one: in one file, or of version 1 in two."""
    words = _read(f"{group}/cpu.max").split() or [
        *_read(f"{group}/cpu.cfs_quota_us").split(),
        *_read(f"{group}/cpu.cfs_period_us").split(),
    ]
    if len(words) == 2 and all(word.isdecimal() and int(word) > 0 for word in words):
        yield int(words[0]) / int(words[1])  # "max" and -1: no limit


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:  # noqa: PTH123 - without importing pathlib
            return file.read()
    except (OSError, UnicodeDecodeError):
        return ""
