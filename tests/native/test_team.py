"""Teams do every item of every part once, and lose no wake-up.

A program of threads, compiled without any spinning so that nearly every wait is a sleep; and a
model of their protocol, of which every interleaving is tried.
"""

import os

import pytest
from compiled_programs import compiled, output
from team_model import FAULTS, BrokenError, Model

SOAK = os.environ.get("DELTARULE_SOAK") == "1"
JOBS = 20_000 if SOAK else 200
PARTS = 100

TWO = (
    [[(2, 2), (1, 2)]],
    [[(2, 2), (2, 1), (2, 2)]],
    [[(2, 1), (1, 2)]],
    [[(2, 2)], [(2, 2)]],  # a thread may still be late from the job before
)
"""Jobs of two threads: the items of each part, and how many threads may take part in it."""

THREE = ([[(1, 2)]], [[(2, 3)]], [[(2, 3), (1, 2)]], [[(1, 3)], [(1, 2)]])
"""Jobs of three threads, of which all interleavings take minutes and a gigabyte."""


@pytest.mark.parametrize("threads", [1, 2, 3, 4, 8, 64])
def test_every_item_of_every_part_is_done_once(threads):
    program = compiled(
        "team", "tests/team_harness.cpp", "src/pool.cpp", flags=["-DDELTARULE_SPINS=0"]
    )
    items = sum(
        sum(1 + (job + part * 5 - 5 * (part > 0)) % 13 for part in range(PARTS))
        for job in range(JOBS)
    )
    printed = output(program, threads, JOBS, PARTS)
    assert printed == f"{threads} threads: {JOBS} jobs, {items} items, 0 wrong\n"


@pytest.mark.parametrize(
    ("threads", "jobs"),
    [*((2, jobs) for jobs in TWO), *((3, jobs) for jobs in THREE if SOAK)],
)
def test_jobs_are_done_in_every_interleaving(threads, jobs):
    assert Model(threads, jobs).explore() > 1000


@pytest.mark.parametrize("fault", FAULTS)
def test_the_model_notices_what_would_be_wrong(fault):
    with pytest.raises(BrokenError):
        Model(2, [[(2, 2), (2, 1), (2, 2)]], fault).explore()
