"""Whatever is assigned, deleted and called, in any order, nothing breaks."""

import os
import subprocess
import sys

import pytest

import fuzz

OPERATIONS = 10_000_000 if os.environ.get("DELTARULE_SOAK") == "1" else 200_000
"""Over all cases together."""

CASES = [
    (engine, threads, seed)
    for engine in ("native", "reference")
    for threads in (1, 4)
    for seed in (1, 2)
]


@pytest.mark.parametrize(("engine", "threads", "seed"), CASES)
def test_nothing_breaks(engine, threads, seed):
    count = OPERATIONS // len(CASES)
    command = [sys.executable, fuzz.__file__, engine, str(threads), str(seed), str(count)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=6000)
    said = f"{done.stdout}{done.stderr}"
    assert done.returncode >= 0, f"ended by signal {-done.returncode}; {said}"
    assert (done.returncode, said) == (0, ""), said


def test_a_fault_is_found():
    """Numbers that change silently, errors from inside, predictions of another network."""
    import random

    import deltarule as dr

    def silent(world):
        world.net._vector[0] += 1
        return False

    def bare(world):
        raise KeyError("from inside")

    def another(world):
        world.net.predict(fuzz.X, engine=world.engine)
        world.net._layers = (dr.Dense(4, "sigmoid"), *world.net.layers[1:])
        return False

    for fault, words in ((silent, "changed numbers"), (bare, "KeyError"), (another, "predicts")):
        problems = []
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(fuzz, "OPERATIONS", {fault: 1})
            world = fuzz.World("native", random.Random(3))
            fuzz.fuzz(world, 100, problems)
        assert any(words in problem for problem in problems), (fault, problems)
