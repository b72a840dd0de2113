"""Whole processes: from the start of the interpreter to its exit, and their peak memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from deltarule.bench.measuring import Budget, Task, interleave
from deltarule.bench.peers import OURS, Absent
from deltarule.bench.workloads import Workload, make_data

SCRIPTS = {
    OURS: "whole_deltarule.py",
    "torch": "whole_torch.py",
    "jax": "whole_jax.py",
    "sklearn": "whole_sklearn.py",
}
_FOLDER = Path(__file__).parent / "scripts"


class Job:
    """A workload's training as one process per library, with the data in .npy files."""

    def __init__(self, workload: Workload, epochs: int, threads: int, folder: str) -> None:
        data = make_data(workload)
        paths = {"X": f"{folder}/X.npy", "y": f"{folder}/y.npy"}
        np.save(paths["X"], data.X)
        np.save(paths["y"], data.y)
        self._job = json.dumps(
            {
                **paths,
                "widths": workload.widths,
                "batch_size": workload.batch_size,
                "epochs": epochs,
                "threads": threads,
            }
        )
        self._environment = os.environ | {"JAX_PLATFORMS": "cpu"}
        # Compiled modules are kept, as users do.
        self._environment.pop("PYTHONDONTWRITEBYTECODE", None)

    def run(self, peer: str) -> dict[str, Any]:
        """Run one library's script and return what it printed."""
        script = _FOLDER / SCRIPTS[peer]
        # -P keeps the scripts' folder out of the search path of the timed imports.
        command = [sys.executable, "-P", str(script), str(_FOLDER), self._job]
        done = subprocess.run(
            command, capture_output=True, text=True, env=self._environment, check=False
        )
        if done.returncode:
            lines = done.stderr.strip().splitlines()
            raise Absent(lines[-1] if lines else f"exit status {done.returncode}")
        report: dict[str, Any] = json.loads(done.stdout)
        return report


def cold_starts(
    workload: Workload, epochs: int, threads: int, peers: Iterable[str], budget: Budget
) -> tuple[dict[str, list[float]], dict[str, dict[str, Any]], dict[str, str]]:
    """Return milliseconds of whole processes, the last reports, and why peers are absent."""
    reports: dict[str, dict[str, Any]] = {}
    absent: dict[str, str] = {}
    tasks: dict[str, Task] = {}
    with tempfile.TemporaryDirectory() as folder:
        job = Job(workload, epochs, threads, folder)
        for peer in peers:
            try:
                reports[peer] = job.run(peer)  # this fills the file cache too
            except Absent as reason:
                absent[peer] = str(reason)
                continue
            tasks[peer] = Task(lambda _, peer=peer: job.run(peer), units=1000)  # type: ignore[misc]
        samples = interleave(tasks, budget) if tasks else {}
    return samples, reports, absent


def peak_memory(
    workload: Workload, epochs: int, threads: int, peers: Iterable[str]
) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """Return each library's report of one process, and why peers are absent."""
    reports: dict[str, dict[str, Any]] = {}
    absent: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        job = Job(workload, epochs, threads, folder)
        for peer in peers:
            try:
                reports[peer] = job.run(peer)
            except Absent as reason:
                absent[peer] = str(reason)
    return reports, absent
