"""Ctrl-C raises TrainingInterrupted after the step in progress; nothing hangs."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from typing import Any

import numpy as np
import pytest

import deltarule as dr
from ctrl_c import press
from deltarule.base.interrupt import deferred_interrupt

RNG = np.random.default_rng(0)
X = RNG.standard_normal((23, 3))
TARGETS = X @ np.array([1.0, -2.0, 0.5]) + 0.1 * RNG.standard_normal(23)


def network() -> dr.Network:
    return dr.Network([dr.Dense(4, "tanh"), dr.Dense(1)], inputs=3, seed=1, dtype="float64")


def train(net: dr.Network, **settings: Any) -> dr.History:
    return dr.train(net, X, TARGETS, loss="squared_error", **({"epochs": 5} | settings))


class Press(dr.Callback):
    """Ctrl-C at a moment of the run, so many times."""

    def __init__(self, when: str, times: int = 1) -> None:
        self.when, self.times = when, times

    def on_start(self, state: dr.State) -> None:
        self._at("start")

    def on_epoch(self, state: dr.State) -> None:
        self._at(f"epoch {state.epoch}")

    def on_end(self, state: dr.State) -> None:
        self._at("end")

    def _at(self, moment: str) -> None:
        if moment == self.when:
            for _ in range(self.times):
                signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize(("when", "epochs"), [("start", 0), ("epoch 2", 2), ("end", 5)])
def test_it_is_a_keyboard_interrupt_that_has_the_history(when: str, epochs: int) -> None:
    net, twin = network(), network()
    with pytest.raises(KeyboardInterrupt) as caught:
        train(net, callbacks=[Press(when)])
    error = caught.value
    assert type(error) is dr.TrainingInterrupted
    assert not isinstance(error, Exception)  # which a loop may catch and go on
    assert error.history.stopped == "interrupted"
    assert error.history.epochs == len(error.history.get("loss", ())) == epochs
    if epochs:
        train(twin, epochs=epochs)
    np.testing.assert_array_equal(net.vector, twin.vector)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_loop_over_trainings_ends() -> None:
    trained = []
    with pytest.raises(dr.TrainingInterrupted):  # noqa: PT012
        for i in range(5):
            try:
                trained.append(i)
                train(network(), callbacks=[Press("epoch 1")] if i == 2 else None)
            except Exception:
                pytest.fail("it must not be an Exception")
    assert trained == [0, 1, 2]


@pytest.mark.parametrize("call", ["train", "run", "restart"])
def test_on_request_the_call_returns(call: str) -> None:
    net, settings = network(), {"callbacks": [Press("epoch 2")], "on_interrupt": "return"}
    if call == "train":
        assert train(net, **settings).stopped == "interrupted"
    elif call == "run":
        history = dr.Trainer(net, "squared_error").run(X, TARGETS, epochs=5, **settings)
        assert (history.stopped, history.epochs) == ("interrupted", 2)
    else:
        settings["callbacks"] = [PressFrom(2)]
        found = dr.restart(
            net, X, TARGETS, loss="squared_error", epochs=10**8, restarts=2, threads=1, **settings
        )
        assert found.stopped == "interrupted"


class PressFrom(dr.Callback):
    """Ctrl-C from whatever thread this runs in."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def on_epoch(self, state: dr.State) -> None:
        if state.epoch == self.epoch:
            press()


def test_of_restarts_it_has_the_best_so_far_and_travels() -> None:
    net = network()
    with pytest.raises(
        dr.TrainingInterrupted, match=r"restart 0, the best so far.*\.restarts"
    ) as c:
        dr.restart(
            net, X, TARGETS, loss="squared_error", epochs=10**8, restarts=3, threads=1,
            callbacks=[PressFrom(2)],
        )  # fmt: skip
    found = c.value.restarts
    assert (found.best, found.stopped) == (0, "interrupted")
    assert c.value.history is found.history
    score = dr.evaluate(net, X, TARGETS, "squared_error")["loss"]
    assert found.scores[0] == pytest.approx(score, rel=23 * 2**-52)


@pytest.mark.parametrize("value", ["stop", None, True])
def test_other_wishes_are_refused(value: Any) -> None:
    with pytest.raises(dr.DeltaruleError, match="on_interrupt must be 'raise' or 'return'"):
        train(network(), on_interrupt=value)


def test_it_travels_between_processes() -> None:
    with pytest.raises(dr.TrainingInterrupted) as caught:
        train(network(), callbacks=[Press("epoch 2")])
    twin = pickle.loads(pickle.dumps(caught.value))
    assert str(twin) == str(caught.value)
    assert dict(twin.history) == dict(caught.value.history)
    assert twin.history.stopped == "interrupted"


def test_the_best_weights_are_put_back() -> None:
    net, stopping = network(), dr.EarlyStopping("loss")
    with pytest.raises(dr.TrainingInterrupted):
        train(net, callbacks=[stopping, Press("epoch 4")], optimizer=dr.Adam(0.9), epochs=9)
    score = dr.evaluate(net, X, TARGETS, "squared_error")["loss"]
    assert stopping.best == pytest.approx(score, rel=23 * 2**-52)


def test_a_second_one_acts_at_once_and_has_the_history_too() -> None:
    net, seen = network(), []

    class After(dr.Callback):
        def on_epoch(self, state: dr.State) -> None:
            seen.append(state.epoch)

    with pytest.raises(dr.TrainingInterrupted) as caught:
        train(net, callbacks=[Press("epoch 2", times=2), After()])
    assert seen == [1]  # the second one left the callback where it was
    assert caught.value.history.epochs == 2
    with pytest.raises(KeyboardInterrupt):
        train(net, callbacks=[Press("epoch 2", times=2)], on_interrupt="return")


def test_it_is_not_lost_where_a_callback_fails_too() -> None:
    class Fail(dr.Callback):
        def on_epoch(self, state: dr.State) -> None:
            raise ZeroDivisionError

    with pytest.raises(dr.TrainingInterrupted) as caught:
        train(network(), callbacks=[Press("epoch 1"), Fail()])
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_a_run_within_a_run_ends_both() -> None:
    inner: list[BaseException] = []

    class Inner(dr.Callback):
        def on_epoch(self, state: dr.State) -> None:
            try:
                train(network(), callbacks=[Press("epoch 1")])
            except dr.TrainingInterrupted as error:
                inner.append(error)

    with pytest.raises(dr.TrainingInterrupted) as caught:
        train(network(), callbacks=[Inner()])
    assert inner[0].history.epochs == caught.value.history.epochs == 1  # type: ignore[attr-defined]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


# ------------------------------------------------------------------------- handlers of other people


def test_a_handler_of_ones_own_is_called_and_decides() -> None:
    seen: list[int] = []
    signal.signal(signal.SIGINT, lambda number, frame: seen.append(number))
    assert train(network(), callbacks=[Press("epoch 2", times=3)]).epochs == 5
    assert seen == [signal.SIGINT] * 3

    def stop(number: int, frame: object) -> None:
        raise KeyboardInterrupt("as IPython's does")

    signal.signal(signal.SIGINT, stop)
    with pytest.raises(dr.TrainingInterrupted) as caught:
        train(network(), callbacks=[Press("epoch 2")])
    assert caught.value.history.epochs == 2
    assert signal.getsignal(signal.SIGINT) is stop

    class Mine(Exception):  # noqa: N818
        pass

    def fail(number: int, frame: object) -> None:
        raise Mine

    signal.signal(signal.SIGINT, fail)
    with pytest.raises(Mine):
        train(network(), callbacks=[Press("epoch 2")])


def test_a_handler_that_a_callback_installs_stays() -> None:
    def mine(number: int, frame: object) -> None: ...

    class Install(dr.Callback):
        def on_start(self, state: dr.State) -> None:
            signal.signal(signal.SIGINT, mine)

    train(network(), callbacks=[Install()])
    assert signal.getsignal(signal.SIGINT) is mine


@pytest.mark.parametrize("handler", [signal.SIG_IGN, signal.SIG_DFL])
def test_where_python_does_not_handle_it_nothing_is_changed(handler: Any) -> None:
    class Look(dr.Callback):
        def on_epoch(self, state: dr.State) -> None:
            assert signal.getsignal(signal.SIGINT) is handler

    signal.signal(signal.SIGINT, handler)
    callbacks = [Look()] + [Press("epoch 2")] * (handler is signal.SIG_IGN)
    assert train(network(), callbacks=callbacks).epochs == 5


def test_where_no_handler_can_be_installed_it_trains_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A subinterpreter, or a host whose main thread is another one."""

    def refuse(number: int, handler: object) -> None:
        raise ValueError("signal only works in main thread of the main interpreter")

    monkeypatch.setattr(signal, "signal", refuse)
    assert train(network()).epochs == 5
    assert dr.Trainer(network(), "squared_error").step(X, TARGETS) > 0
    found = dr.restart(network(), X, TARGETS, loss="squared_error", restarts=2)
    assert found.stopped == ""
    monkeypatch.undo()


def test_a_thread_that_trains_is_left_alone_and_the_main_one_hears_it() -> None:
    histories: list[dr.History] = []
    begun, ended = threading.Event(), threading.Event()

    class Slow(dr.Callback):
        def on_epoch(self, state: dr.State) -> None:
            begun.set()
            time.sleep(0.01)

    def work() -> None:
        histories.append(train(network(), callbacks=[Slow()], epochs=10))
        ended.set()

    thread = threading.Thread(target=work)
    thread.start()
    begun.wait()
    with pytest.raises(KeyboardInterrupt):  # noqa: PT012
        press()
        ended.wait()  # an interrupted join() takes the thread for ended
    thread.join()
    assert histories[0].epochs == 10


def test_blocks_within_each_other_share_their_flag() -> None:
    with deferred_interrupt() as outer:
        with deferred_interrupt() as inner:
            signal.raise_signal(signal.SIGINT)
        assert inner is outer
        assert outer.requested
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


# ---------------------------------------------------------------------------------- whole processes

PATIENCE = 250  # seconds that no sound process takes, however busy the machine

# Python throws an exception away that arrives in the callback of a weak reference: then again.
LOOP = """
import os, signal, sys, threading, time
import numpy as np, deltarule as dr
X = np.ones((64, 8)); y = np.ones(64)
net = dr.Network([dr.Dense(32, "relu"), dr.Dense(1)], inputs=8)
trainer = dr.Trainer(net, "squared_error")
due = [True]
def thrown_away(what):
    due.append(True) if what.exc_type is KeyboardInterrupt else sys.__unraisablehook__(what)
sys.unraisablehook = thrown_away
def press():
    while True:
        time.sleep(0.2)
        if due:
            due.clear()
            os.kill(os.getpid(), signal.SIGINT)
try:
    threading.Thread(target=press, daemon=True).start()
    while True:
        {call}
except KeyboardInterrupt as error:
    assert np.isfinite(net.vector).all()
    sys.exit(40 + isinstance(error, dr.TrainingInterrupted))
"""
CALLS = {
    "train": 'dr.train(net, X, y, loss="squared_error", epochs=3)',
    "run": "trainer.run(X, y, epochs=1000)",
    "step": "trainer.step(X, y)",
    "restart": 'dr.restart(net, X, y, loss="squared_error", restarts=4)',
    "evaluate": 'dr.evaluate(net, X, y, "squared_error")',
    "predict": "net.predict(X)",
    "backpropagate": 'dr.backpropagate(net, X, y, "squared_error")',
}


@pytest.mark.parametrize("call", CALLS)
def test_an_endless_loop_over_it_ends_with_ctrl_c(call: str) -> None:
    script = LOOP.format(call=CALLS[call])
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=PATIENCE
    )
    assert done.returncode in (40, 41), done.stderr
    assert done.stderr == ""


def test_in_the_background_of_a_shell_it_trains_to_its_end() -> None:
    script = """
import os, signal, deltarule as dr
assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
net = dr.Network([dr.Dense(1)], inputs=1)
class Press(dr.Callback):
    def on_epoch(self, state): os.kill(os.getpid(), signal.SIGINT)
h = dr.train(net, [[1.0]], [1.0], loss="mse", epochs=4, callbacks=[Press()])
print(h.epochs, h.stopped)
"""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        done = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, timeout=PATIENCE
        )
    finally:
        signal.signal(signal.SIGINT, before)
    assert (done.returncode, done.stdout.strip()) == (0, "4")


def test_the_end_of_a_process_that_is_told_to_ends_it() -> None:
    """SIGTERM is nobody's business but Python's."""
    script = LOOP.replace("SIGINT", "SIGTERM").format(call=CALLS["run"])
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=PATIENCE)
    assert done.returncode == -signal.SIGTERM
    assert os.name == "posix"
