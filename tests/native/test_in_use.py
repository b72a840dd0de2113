"""What may run at once, and what is refused: threads, callbacks, signal handlers, exceptions.

Every test is watched: what hangs fails.
"""

import collections
import copy
import ctypes
import pickle
import signal
import sys
import threading
import time
from contextlib import contextmanager

import numpy as np
import pytest

import deltarule as dr
from deltarule.engines import native

WATCHDOG = 200  # seconds that no sound test waits, however busy the machine
ENGINES = ["native", "reference"]


@pytest.fixture(autouse=True)
def _threads_for_small_work(monkeypatch):
    monkeypatch.setattr(native, "WORK_PER_THREAD", 1.0)


def network(seed=0):
    return dr.Network([dr.Dense(32, "tanh"), dr.Dense(2)], inputs=5, seed=seed)


def trainer(net=None, engine="native", **settings):
    return dr.Trainer(net or network(), "squared_error", threads=2, engine=engine, **settings)


def data(rows):
    X = np.random.default_rng(rows).normal(size=(rows, 5))
    return X, X[:, :2]


def joined(threads):
    for thread in threads:
        thread.join(WATCHDOG)
        assert not thread.is_alive(), "a thread hangs"


@contextmanager
def training_in_a_thread(made, rows=500):
    """Let another thread train until the block ends."""

    class Until(dr.Callback):
        def on_epoch(self, state):
            started.set()
            if done.is_set():
                state.stop = "enough"

    started, done = threading.Event(), threading.Event()
    settings = dict(epochs=10**9, callbacks=[Until()], progress=False)
    thread = threading.Thread(target=made.run, args=data(rows), kwargs=settings)
    thread.start()
    assert started.wait(WATCHDOG)
    try:
        yield
    finally:
        done.set()
        joined([thread])


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("count", [2, 5])
def test_threads_that_share_a_trainer_step_or_are_refused(engine, count):
    made, wrong, steps = trainer(engine=engine), [], [0] * count

    def work(i):
        for k in range(100):
            try:
                made.step(*data(1 + (37 * i + k) % 300))
                steps[i] += 1
            except dr.InUseError:
                pass
            except BaseException as error:
                wrong.append(error)

    threads = [threading.Thread(target=work, args=[i]) for i in range(count)]
    for thread in threads:
        thread.start()
    joined(threads)
    assert wrong == []
    assert made.steps == sum(steps) > 0
    assert np.isfinite(made.network.vector).all()
    made.step(*data(7))


@pytest.mark.parametrize("engine", ENGINES)
def test_what_is_refused_while_a_network_is_trained(engine):
    made = trainer(engine=engine)
    with training_in_a_thread(made):
        for attempt in (
            lambda: made.step(*data(3)),
            lambda: made.run(*data(3), progress=False),
            lambda: trainer(made.network).step(*data(3)),
            lambda: dr.train(made.network, *data(3), loss="squared_error", progress=False),
        ):
            with pytest.raises(dr.InUseError, match=r"train net\.copy\(\)"):
                attempt()
    made.step(*data(3))


@pytest.mark.parametrize("engine", ENGINES)
def test_what_is_allowed_while_a_network_is_trained(engine):
    made = trainer(engine=engine)
    net = made.network
    with training_in_a_thread(made):
        for rows in (1, 3, 400):
            assert np.isfinite(net.predict(data(rows)[0], engine=engine, threads=2)).all()
            dr.evaluate(net, *data(rows), loss="squared_error", engine=engine)


@pytest.mark.parametrize("engine", ENGINES)
def test_numpy_reads_a_network_while_it_is_trained(engine):
    made = trainer(engine=engine)
    net = made.network
    with training_in_a_thread(made):
        dr.backpropagate(net, *data(2), "squared_error")
        trainer(net.copy(), engine).run(*data(50), progress=False)
        assert np.isfinite(copy.deepcopy(net).vector).all()
        pickle.loads(pickle.dumps(net)).predict(data(3)[0])


def test_numpy_reads_a_trainer_that_trains_or_is_refused():
    made = trainer()
    with training_in_a_thread(made):
        for _ in range(50):
            try:
                twin = copy.deepcopy(made)
            except dr.InUseError:
                continue
            twin.step(*data(3))


@pytest.mark.parametrize("engine", ENGINES)
def test_a_callback_that_trains_the_same_network_is_refused(engine):
    class Nested(dr.Callback):
        def on_epoch(self, state):
            made.step(*data(3))

    made = trainer(engine=engine)
    with pytest.raises(dr.InUseError):
        made.run(*data(20), callbacks=[Nested()], progress=False)
    made.step(*data(3))


def is_within(frame, function):
    """Whether a frame was called by a function, or by what that has called."""
    while frame is not None and frame.f_code is not function.__code__:
        frame = frame.f_back
    return frame is not None


@contextmanager
def alarm(handler, function):
    """Call a handler of SIGALRM again and again, wherever it finds a function at work.

    And nowhere else: on a busy machine an alarm may come late.
    """

    def within(number, frame):
        if is_within(frame, function):
            handler()

    before = signal.signal(signal.SIGALRM, within)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


needs_alarm = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no interval timers here")


@needs_alarm
@pytest.mark.parametrize("engine", ENGINES)
def test_a_signal_handler_may_predict_while_training_has_all_threads(engine):
    def handler():
        if busy or len(seen) == 3:  # it may take longer than the timer
            return
        busy.append(True)
        seen.append(np.isfinite(net.predict(X, threads=2, engine=engine)).all())
        with pytest.raises(dr.InUseError):
            made.step(*data(3))
        busy.clear()

    seen, busy, made, X = [], [], trainer(engine=engine), data(5000)[0]
    net = made.network
    start = time.monotonic()
    with alarm(handler, type(made._executor).run):
        while len(seen) < 3:
            made.run(*data(3000), epochs=20, progress=False)
            assert time.monotonic() - start < WATCHDOG
    assert all(seen)


class FromAfarError(Exception):
    pass


@pytest.fixture
def thrown_away(monkeypatch):
    """What Python throws away, by the place where it was raised, is thrown away.

    Python does so with an exception that arrives in the callback of a weak reference. pytest's
    hook is Python code, in which the next one would arrive; this one is not.
    """
    monkeypatch.setattr(sys, "unraisablehook", collections.deque(maxlen=0).append)


@needs_alarm
@pytest.mark.usefixtures("thrown_away")
@pytest.mark.parametrize("rows", [3000, 40])
@pytest.mark.parametrize("call", ["run", "step", "predict"])
def test_a_signal_handler_that_raises_ends_the_call_and_nothing_hangs(call, rows):
    def handler():
        raise FromAfarError

    made, (X, y) = trainer(), data(rows)
    net = made.network
    start = time.monotonic()

    def until_it_raises():
        while time.monotonic() - start < WATCHDOG:
            if call == "run":
                made.run(X, y, epochs=10**7, progress=False)
            elif call == "step":
                made.step(X, y)
            else:
                net.predict(np.concatenate([X] * 200), threads=2)

    for _ in range(5):
        with pytest.raises(FromAfarError), alarm(handler, until_it_raises):
            until_it_raises()
        assert np.isfinite(net.vector).all()
    made.run(X, y, progress=False)
    net.predict(X, threads=2)


def send(thread, kind):
    """Raise an exception in another thread, as debuggers and time limits do.

    Not while it starts threads: CPython may raise it in a thread that has not begun, and whoever
    starts that one waits for ever.
    """
    team = [t for t in threading.enumerate() if t.name.startswith("deltarule-") and t.is_alive()]
    if thread.name == "restart" and len(team) < 2:
        return
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(kind))


@pytest.mark.parametrize("call", ["run", "step", "predict", "restart"])
@pytest.mark.usefixtures("thrown_away")
def test_an_exception_from_another_thread_ends_the_call_and_nothing_hangs(call):
    (X, y), made, gate = data(500), trainer(), threading.Lock()

    def endless():
        while True:
            if call == "run":
                made.run(X, y, epochs=10**9, progress=False)
            elif call == "step":
                made.step(X, y)
            elif call == "predict":
                made.network.predict(X, threads=2)
            else:
                settings = dict(loss="squared_error", threads=2, progress=False)
                dr.restart(network(), X, y, restarts=10**4, **settings)

    def work(left=5):
        """Each call of it takes one exception in, as one that was sent late meets the next."""
        try:
            if left:
                work(left - 1)
            else:
                endless()
            with gate:  # from here on no other is sent
                pass
            for _ in range(10):  # and here the last arrives at the latest
                pass
        except FromAfarError as error:
            ended.append(error)

    for _ in range(5):
        ended = []
        thread = threading.Thread(target=work, name=call)
        thread.start()
        time.sleep(0.02)
        deadline = time.monotonic() + WATCHDOG
        while thread.is_alive() and time.monotonic() < deadline:
            with gate:
                if not ended:
                    send(thread, FromAfarError)
            thread.join(0.05)
        joined([thread])
        assert ended
        assert np.isfinite(made.network.vector).all()
        made.step(X, y)
        made.run(X, y, progress=False)


def test_the_steps_that_were_done_before_an_exception_count():
    """The network has moved by them; a trainer that forgot them would repeat random words."""
    X, y = data(64)
    made, calls = trainer(), []
    run = type(made._executor).run

    def raising(self, todo, record):
        run(self, todo, record)
        calls.append(record.steps_done)
        raise FromAfarError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(made._executor), "run", raising)
        with pytest.raises(FromAfarError):
            made.run(X, y, epochs=3, progress=False)
        with pytest.raises(FromAfarError):
            made.step(X.tolist(), y.tolist())
    assert made.steps == sum(calls) > 1
    assert made.epochs == calls[0] // 2 > 0
