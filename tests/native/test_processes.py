"""Processes end, are interrupted or fork while threads of theirs are in native code."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import processes

COUNT = 200 if os.environ.get("DELTARULE_SOAK") == "1" else 50


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the processes are forks of one that imported")
@pytest.mark.parametrize("ending", processes.ENDINGS)
def test_each_process_has_the_exit_code_asked_for_and_says_nothing_of_its_own(ending):
    script = Path(processes.__file__)
    command = [sys.executable, "-W", "ignore", str(script), ending, str(COUNT)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1000)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert done.stdout == f"0 of {COUNT} wrong\n"
