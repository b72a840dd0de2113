"""Small C++ programs that tests run, compiled once."""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

NATIVE = Path(__file__).parents[2] / "native"
SANITIZERS = os.environ.get("DELTARULE_SANITIZE", "")
# Without what a sanitized Python preloads, which neither compiler nor program goes with.
BARE = {k: v for k, v in os.environ.items() if k != "LD_PRELOAD"}


def compiled(name, *sources, flags=()):
    """Return a program; it stays in ``build/harness`` until a source or header changes."""
    compiler = shutil.which("c++") or shutil.which("g++")
    flags = ["-std=c++20", "-O2", "-pthread", "-Wall", "-Wextra", "-Werror", *flags]
    if SANITIZERS:
        flags += [f"-fsanitize={SANITIZERS}", "-g1"]
    paths = [NATIVE / source for source in sources]
    headers = [NATIVE / f"src/{header}.hpp" for header in ("pool", "elastic", "floating")]
    text = b"".join(path.read_bytes() for path in [*paths, *headers])
    key = hashlib.sha256(text + repr(flags).encode()).hexdigest()[:16]
    program = NATIVE.parent / "build" / "harness" / f"{name}-{key}"
    if not program.exists():
        program.parent.mkdir(parents=True, exist_ok=True)
        own = program.with_suffix(f".{os.getpid()}")
        subprocess.run([compiler, *flags, *paths, "-o", own], check=True, env=BARE)
        own.replace(program)
    return program


def output(program, *arguments):
    """Run a program that has to succeed; return what it prints."""
    done = subprocess.run(
        [program, *map(str, arguments)], capture_output=True, text=True, timeout=4000, env=BARE
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
