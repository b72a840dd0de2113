"""Threads meet without losing a wake-up: a program of its own, compiled without any spinning."""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = [ROOT / "native/tests/barrier_harness.cpp", ROOT / "native/src/pool.cpp"]
ROUNDS = 20_000_000 if os.environ.get("DELTARULE_SOAK") == "1" else 100_000
SANITIZERS = os.environ.get("DELTARULE_SANITIZE", "")


@pytest.fixture(scope="module")
def harness():
    """The compiled program; it stays in ``build/harness`` until its sources change."""
    compiler = shutil.which("c++") or shutil.which("g++")
    flags = ["-std=c++20", "-O2", "-pthread", "-Wall", "-Wextra", "-Werror", "-DDELTARULE_SPINS=0"]
    if SANITIZERS:
        flags += [f"-fsanitize={SANITIZERS}", "-g1"]
    text = b"".join(p.read_bytes() for p in [*SOURCES, ROOT / "native/src/pool.hpp"])
    key = hashlib.sha256(text + repr(flags).encode()).hexdigest()[:16]
    program = ROOT / "build" / "harness" / f"barrier-{key}"
    if not program.exists():
        program.parent.mkdir(parents=True, exist_ok=True)
        own = program.with_suffix(f".{os.getpid()}")
        # Without what a sanitized Python preloads, which the compiler does not go with.
        bare = {k: v for k, v in os.environ.items() if k != "LD_PRELOAD"}
        subprocess.run([compiler, *flags, *SOURCES, "-o", own], check=True, env=bare)
        own.replace(program)
    return program


@pytest.mark.parametrize("threads", [1, 2, 3, 4, 8])
def test_no_wake_up_is_lost_and_no_round_begins_early(harness, threads):
    bare = {k: v for k, v in os.environ.items() if k != "LD_PRELOAD"}
    rounds = ROUNDS // threads**2
    done = subprocess.run(
        [harness, str(threads), str(rounds)],
        capture_output=True,
        text=True,
        timeout=4000,
        env=bare,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{threads} threads met {rounds} times, 0 wrong\n"
