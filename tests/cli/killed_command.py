"""`deltarule train` that is killed and resumed: python killed_command.py KILLS [SEED]

The package is imported once; each command is a fork. It is killed at a call of the system that
writes a file: so many of them, drawn at random, and some of those that write the model. Then it is
resumed, and may be killed again. A line is printed where the model is not that of a command that
nobody has killed, or where something is left that should not be there.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
import tempfile
from pathlib import Path

import numpy as np

import deltarule.cli.findings  # what the command imports late: once, and not in each fork
import deltarule.tables.reading
import deltarule.tables.table  # noqa: F401
from deltarule.cli import app
from faults import at_call

AT_THE_END = 12
"""The calls that write the model, and a few before them."""


def command(*arguments: object) -> None:
    """Do a command; leave with its exit status."""
    app([str(argument) for argument in arguments], prog_name="deltarule")


def forked(arguments: list[object], kill_at: int, calls: Path | None = None) -> int:
    """Do a command in a process of its own; return how it ended, negative for a signal."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    code = 1
    with at_call(kill_at, lambda name: os.kill(os.getpid(), signal.SIGKILL)) as made:
        try:
            command(*arguments)
        except SystemExit as leave:
            code = int(leave.code or 0)
        except BaseException as error:
            os.write(1, f"{type(error).__name__}: {error}\n".encode())
    if calls is not None:
        calls.write_text(str(len(made)))
    os._exit(code)


def outcome(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def main(kills: int, seed: int) -> None:
    random.seed(seed)
    base = Path(tempfile.mkdtemp())
    x = np.random.default_rng(0).normal(size=(24, 2)).round(3)
    lines = [f"{a},{b},{'YN'[int(a + b > 0)]}" for a, b in x]
    (base / "table.csv").write_text("\n".join(["a,b,kind", *lines]) + "\n")
    out, folder, counted = base / "out", base / "run", base / "calls"
    arguments = ["train", base / "table.csv", "--target", "kind", "--holdout", 0.3, "--out", out]
    arguments += ["--quiet", "--no-report"]
    shown, printed = os.dup(1), os.open(base / "printed", os.O_WRONLY | os.O_CREAT)
    for stream in (1, 2):  # what the commands print
        os.dup2(printed, stream)

    def say(what: str) -> None:
        os.write(shown, f"{what}\n".encode())

    assert forked(arguments, -1) == 0
    expected = outcome(out)
    shutil.rmtree(out)
    assert forked([*arguments, "--checkpoint", folder], -1, counted) == 0
    count = int(counted.read_text())
    early, late = range(count - AT_THE_END), range(count - AT_THE_END, count)
    drawn = random.sample(early, min(kills, len(early)))
    for first in [*drawn, *(late if kills > len(early) else late[::5])]:
        shutil.rmtree(out, ignore_errors=True)
        shutil.rmtree(folder, ignore_errors=True)
        code = forked([*arguments, "--checkpoint", folder], first)
        if code != -signal.SIGKILL:
            say(f"{first}: it ended with {code} and was not killed")
        for kill_at in (random.choice([-1, first // 2]), -1):
            # Killed before there is anything to go on with, it begins anew.
            begun = (folder / "training.json").exists()
            again = ["resume", folder, "--quiet"] if begun else [*arguments, "--checkpoint", folder]
            code = forked(again, kill_at)
            if code != -signal.SIGKILL:
                break
        if code or outcome(out) != expected:
            found = outcome(out) if out.exists() else {}
            other = [
                name for name in {**found, **expected} if found.get(name) != expected.get(name)
            ]
            say(f"killed at {first}: another {', '.join(other)} (status {code})")
        if list(folder.rglob(".epoch*.part")):
            say(f"killed at {first}: temporary files are left")
    shutil.rmtree(base)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0)
