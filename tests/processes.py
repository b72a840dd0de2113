"""Processes that fork, end or are interrupted while threads of theirs are in native code.

Run as a script: ``processes.py ENDING COUNT``. The package is imported once; each of COUNT children
is a fork that is told nothing but its number, and then behaves as a program of its own. The script
writes a line for each child whose exit code or standard error is not what it should be.
"""

import faulthandler
import os
import random
import signal
import sys
import tempfile
import threading
import time
from contextlib import suppress

import numpy as np

import deltarule as dr
from deltarule.engines import native

LIMIT = 200
"""Seconds until a child counts as hanging, and says where its threads stand."""

X = np.random.default_rng(0).normal(size=(300, 6))
Y = X[:, :2].copy()


def network(normalised=True):
    norm = [dr.BatchNorm()] if normalised else []
    return dr.Network([dr.Dense(16, "tanh"), *norm, dr.Dense(2)], inputs=6, seed=0)


def predict(net):
    while True:
        net.predict(np.concatenate([X] * 20), threads=2)


def step(net):
    trainer = dr.Trainer(net, "squared_error", threads=2)
    while True:
        trainer.step(X, Y)


def train(net):
    dr.train(net, X, Y, loss="squared_error", epochs=10**9, threads=2, progress=False)


def one_by_one(net):
    settings = dict(loss="squared_error", batch_size=1, threads=2, progress=False)
    dr.train(network(normalised=False), X, Y, epochs=10**9, **settings)


def restart(net):
    dr.restart(net, X, Y, loss="squared_error", restarts=10**5, epochs=3, threads=2, progress=False)


def evaluate(net):
    while True:
        dr.evaluate(net, X, Y, loss="squared_error", metrics=["r2"], threads=2)


def reference(net):
    dr.train(net, X, Y, loss="squared_error", epochs=10**9, engine="reference", progress=False)


WORK = [predict, step, train, one_by_one, restart, evaluate, reference]


def in_threads(number, choice):
    """Start one to three daemon threads, each with work of its own, and let them get going."""
    threads = []
    for i in range(1 + number % 3):
        work = WORK[(number + i * (1 + number // 7)) % len(WORK)]
        threads.append(threading.Thread(target=work, args=[network()], daemon=True))
        threads[-1].start()
    time.sleep(choice.uniform(0, 0.03))
    return threads


def end(number, choice):
    """End in one of the ways that a program ends; return the exit code that this gives."""
    in_threads(number, choice)
    way = choice.randrange(4)
    if way == 0:
        return 0
    if way == 1:
        sys.exit(7)
    if way == 2:
        network().predict(X, threads=2)
        sys.exit(f"{number} ends with a message")
    raise LookupError(number)


def press(delay):
    """Press Ctrl-C, and again where Python throws the exception away.

    It does so in the callback of a weak reference.
    """

    def thrown_away(what):
        if what.exc_type is KeyboardInterrupt:
            due.append(True)
        else:
            sys.__unraisablehook__(what)

    due, sys.unraisablehook = [True], thrown_away
    while True:
        time.sleep(delay)
        if due:
            due.clear()
            os.kill(os.getpid(), signal.SIGINT)


def interrupted(number, choice):
    """Ctrl-C while the main thread waits, trains or predicts itself."""
    threads = in_threads(number, choice)
    try:
        threading.Thread(target=press, args=[choice.uniform(0.01, 0.05)], daemon=True).start()
        while True:
            if number % 2:
                threads[0].join(0.1)  # a signal just before a wait begins does not end it
            elif number % 4:
                predict(network())
            else:
                step(network())
    except KeyboardInterrupt:
        sys.exit(5)


def fork(number, choice):
    """Fork; parent and child both go on, with the network and the trainer of a thread too."""
    nets = [network() for _ in range(2)]
    trainer = dr.Trainer(nets[0], "squared_error", threads=2)

    def steps():
        while True:
            with suppress(dr.InUseError):  # the main thread was a moment earlier
                trainer.step(X, Y)

    for work in (steps, lambda: predict(nets[1])):
        threading.Thread(target=work, daemon=True).start()
    time.sleep(choice.uniform(0, 0.01))
    child = os.fork()
    for net in nets:
        assert np.isfinite(net.predict(X, threads=2)).all()
        assert np.isfinite(net.copy().predict(X, threads=2)).all()
    twin = nets[0] if child == 0 else nets[0].copy()
    history = dr.train(twin, X, Y, loss="squared_error", epochs=2, threads=2, progress=False)
    assert np.isfinite(history["loss"]).all()
    with suppress(dr.InUseError):  # the thread was in native code, where the child's trainer stays
        trainer.step(X, Y)
    if child == 0:
        sys.exit(3)
    _, status = os.waitpid(child, 0)
    sys.exit(os.waitstatus_to_exitcode(status))


ENDINGS = {"end": end, "interrupted": interrupted, "fork": fork}


def expected(ending, number):
    """Return the exit code and the part of standard error that a child should end with."""
    if ending != "end":
        return {"interrupted": 5, "fork": 3}[ending], ""
    way = random.Random(number)
    way.uniform(0, 0.03)
    return [(0, ""), (7, ""), (1, "ends with a message"), (1, "LookupError")][way.randrange(4)]


ALLOWED = ("Traceback", "  File", "    ", "LookupError", "ends with a message")


def main(ending, count):
    native.WORK_PER_THREAD = 1.0  # several threads in small networks too
    wrong = 0
    for number in range(count):
        with tempfile.TemporaryFile() as errors:
            child = os.fork()
            if child == 0:
                os.dup2(errors.fileno(), 2)
                faulthandler.register(signal.SIGALRM, file=errors.fileno(), chain=True)
                signal.alarm(LIMIT)
                ENDINGS[ending](number, random.Random(number))
                return 0
            _, status = os.waitpid(child, 0)
            errors.seek(0)
            said = errors.read().decode(errors="replace")
        code, words = expected(ending, number)
        got = os.waitstatus_to_exitcode(status)
        strange = [line for line in said.splitlines() if line and not line.startswith(ALLOWED)]
        strange = [line for line in strange if not words or words not in line]
        if got != code or words not in said or strange:
            wrong += 1
            words = f"{ending} {number}: exit code {got}, expected {code}"
            sys.stdout.write(f"{words}; standard error ended: {said[-600:]!r}\n")
    sys.stdout.write(f"{wrong} of {count} wrong\n")
    return min(wrong, 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2])))
