"""Progress is shown by tqdm, and nothing about it can end a run."""

from __future__ import annotations

import io
import logging
import os
import subprocess
import sys
import threading
from typing import Any

import numpy as np
import pytest

import deltarule as dr
from deltarule.training.progress import Progress, SharedProgress

X = np.random.default_rng(0).standard_normal((23, 3))
TARGETS = X @ np.array([1.0, -2.0, 0.5])


def trained(**settings: Any) -> dr.History:
    net = dr.Network([dr.Dense(2, "tanh"), dr.Dense(1)], inputs=3, seed=0)
    return dr.train(net, X, TARGETS, loss="squared_error", **({"epochs": 3} | settings))


class Stream(io.StringIO):
    """A terminal, or a file."""

    encoding = "utf-8"

    def __init__(self, terminal: bool) -> None:
        super().__init__()
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal


@pytest.fixture
def stderr(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Put something in the place of standard error."""
    return lambda stream: (monkeypatch.setattr(sys, "stderr", stream), stream)[1]


def advance(progress: Any, history: dr.History, clock: Any, epochs: int, seconds: float) -> None:
    for _ in range(epochs):
        clock.now += seconds
        history._extend(1, {"loss": np.array([0.25])})
        progress.show(history)


# ------------------------------------------------------------------------------------- what is seen


@pytest.mark.parametrize("mode", [True, False, "auto"])
def test_it_is_plain_lines_where_there_is_no_terminal(
    mode: bool | str, clock: object, capfd: pytest.CaptureFixture[str]
) -> None:
    trained(progress=mode)
    dr.restart(
        dr.Network([dr.Dense(1)], inputs=3), X, TARGETS, loss="mse", restarts=3, progress=mode
    )
    printed = capfd.readouterr()
    assert printed.out == ""
    lines = printed.err.splitlines()
    if mode is True:
        assert lines[0].startswith("epochs: 1/3 [")
        assert lines[1].startswith("epochs: 3/3 [00:00<")
        assert lines[-1].startswith("3 of 3 restarts: 30/30 [00:00<")
        assert "\r" not in printed.err
    else:  # no time has passed
        assert lines == []


def test_a_terminal_has_one_bar_redrawn_ten_times_a_second(clock: Any, stderr: Any) -> None:
    history, terminal = dr.History("reference"), stderr(Stream(True))
    progress = Progress(True, 200)
    advance(progress, history, clock, 100, 1 / 32)  # exact in binary
    assert terminal.getvalue().count("\r") == 25
    assert "epochs:  48%" in terminal.getvalue().split("\r")[-1]
    assert "97/200" in terminal.getvalue().split("\r")[-1]
    history._extend(100, {"loss": np.full(100, 0.25)})
    progress.show(history, final=True)
    assert terminal.getvalue().count("\n") == 1
    assert "epochs: 100%" in terminal.getvalue().split("\r")[-1]
    assert "200/200" in terminal.getvalue().split("\r")[-1]
    assert "loss 0.25" in terminal.getvalue().split("\r")[-1]


def test_plain_lines_are_about_twenty_and_at_most_one_a_second(clock: Any, stderr: Any) -> None:
    for seconds, expected in ((0.5, 20), (0.01, 3)):  # an epoch of so many seconds
        history, file = dr.History("reference"), stderr(Stream(False))
        progress = Progress(True, 300)
        advance(progress, history, clock, 300, seconds)
        progress.show(history, final=True)
        lines = file.getvalue().splitlines()
        assert abs(len(lines) - expected) <= 1
        assert lines[-1].startswith("epochs: 300/300 [")
        assert lines[-1].endswith("loss 0.25]")


@pytest.mark.parametrize("terminal", [True, False])
def test_by_default_what_ends_within_a_second_shows_nothing(
    terminal: bool, clock: Any, stderr: Any
) -> None:
    for seconds, shown in ((0.9, False), (1.1, True)):
        history, stream = dr.History("reference"), stderr(Stream(terminal))
        progress = Progress("auto", 2)
        advance(progress, history, clock, 1, seconds)
        clock.now += 0.05
        progress.show(history, final=True)
        assert (stream.getvalue() != "") == shown


def test_restarts_share_one_line_and_those_that_ended_early_count_as_done(
    clock: Any, stderr: Any
) -> None:
    terminal, history = stderr(Stream(True)), dr.History("reference")
    progress = SharedProgress(True, 4, 10)
    history._extend(5, {"loss": np.ones(5)})
    progress.parts[0].show(history)
    progress.parts[1].show(history, final=True)
    progress.best = "loss 0.25"
    progress.show()
    line = terminal.getvalue().split("\r")[-1]
    assert all(part in line for part in ("1 of 4 restarts:", "15/40", "best loss 0.25"))
    for part in progress.parts:
        part.show(history, final=True)
    progress.show(final=True)
    assert "4 of 4 restarts: 100%" in terminal.getvalue().split("\r")[-1]
    assert terminal.getvalue().count("\n") == 1


def test_the_bar_has_the_width_that_the_terminal_has_then() -> None:
    fcntl, termios = pytest.importorskip("fcntl"), pytest.importorskip("termios")
    import struct

    master, slave = os.openpty()
    try:
        widths = []
        with open(slave, "w", encoding="utf-8", closefd=False) as terminal:
            before, sys.stderr = sys.stderr, terminal
            try:
                history = dr.History("reference")
                progress = Progress(True, 10**6)
                for columns in (120, 40, 90):
                    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("4H", 24, columns, 0, 0))
                    history._extend(1, {"loss": np.array([0.25])})
                    progress.show(history)
                    terminal.flush()
                    widths.append(len(os.read(master, 4096).decode().strip()))
                    assert progress._output is not None
                    progress._output._last_drawn = -1.0
            finally:
                sys.stderr = before
        assert widths[0] > 90 >= widths[2] > 40 >= widths[1]
    finally:
        os.close(master)
        os.close(slave)


# ---------------------------------------------------------------------------- what cannot end a run


class Raising(io.StringIO):
    """A stream of which one thing fails."""

    def __init__(self, what: str, error: BaseException, terminal: bool) -> None:
        super().__init__()
        self._what, self._error, self._terminal = what, error, terminal

    def isatty(self) -> bool:
        return self._fail("isatty") or self._terminal

    def write(self, text: str) -> int:
        self._fail("write")
        return len(text)

    def flush(self) -> None:
        self._fail("flush")

    def fileno(self) -> int:
        self._fail("fileno")
        raise io.UnsupportedOperation("fileno")

    def _fail(self, what: str) -> bool:
        if what == self._what:
            raise self._error
        return False


class NoStream:
    """Has nothing that a stream has."""


def closed() -> io.StringIO:
    stream = io.StringIO()
    stream.close()
    return stream


def ascii_terminal() -> io.TextIOWrapper:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="strict")
    stream.isatty = lambda: True  # type: ignore[method-assign]
    return stream


ERRORS = [
    BrokenPipeError(32, "Broken pipe"), OSError(28, "No space left on device"),
    OSError(5, "Input/output error"), ValueError("I/O operation on closed file"),
    UnicodeEncodeError("ascii", "x", 0, 1, "ordinal not in range"), RuntimeError("mine"),
]  # fmt: skip
STREAMS = [
    *(Raising(what, error, terminal)
      for what in ("isatty", "write", "flush", "fileno")
      for error in ERRORS for terminal in (True, False)),
    None, NoStream(), closed(), ascii_terminal(), 7,
]  # fmt: skip


@pytest.mark.parametrize("mode", [True, "auto", False])
def test_no_stream_ends_a_run(
    mode: bool | str, stderr: Any, caplog: pytest.LogCaptureFixture, monkeypatch: Any
) -> None:
    monkeypatch.setattr("deltarule.training.progress._WAIT", 0.0)
    said = []
    for stream in STREAMS:
        stderr(stream)
        caplog.clear()
        assert trained(progress=mode).epochs == 3
        assert len(caplog.records) <= 1
        said.append(len(caplog.records))
        assert all("no longer shown" in record.getMessage() for record in caplog.records)
    assert (max(said) == 1) == (mode is not False)


def test_without_progress_no_stream_is_touched(stderr: Any) -> None:
    class Touched:
        def __getattribute__(self, name: str) -> Any:
            raise AssertionError(f"{name} was looked up")

    stderr(Touched())
    assert trained(progress=False).epochs == 3
    assert trained(progress="auto", epochs=1).epochs == 1  # nor where it ends within a second
    net = dr.Network([dr.Dense(1)], inputs=3)
    dr.restart(net, X, TARGETS, loss="mse", restarts=2, progress=False)


@pytest.mark.parametrize("raise_exceptions", [True, False])
def test_a_logging_handler_that_fails_ends_no_run(
    raise_exceptions: bool, stderr: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Handler(logging.Handler):
        seen = 0

        def emit(self, record: logging.LogRecord) -> None:
            type(self).seen += 1
            raise RuntimeError("a handler of my own")

    handler = Handler()
    monkeypatch.setattr(logging, "raiseExceptions", raise_exceptions)
    logging.getLogger("deltarule").addHandler(handler)
    try:
        stderr(closed())
        assert trained(progress=True).epochs == 3
        assert handler.seen == 1
    finally:
        logging.getLogger("deltarule").removeHandler(handler)


def test_a_display_of_ones_own_that_fails_is_logged_once_and_left_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Mine:
        calls = 0

        def show(self, history: dr.History, *, final: bool = False) -> None:
            self.calls += 1
            raise KeyError("a fault of mine")

    net, mine = dr.Network([dr.Dense(1)], inputs=3), Mine()
    trainer = dr.Trainer(net, "squared_error")
    callbacks = [dr.Callback()]
    history = trainer.run(X, TARGETS, epochs=3, callbacks=callbacks, progress=mine)
    assert (history.epochs, mine.calls) == (3, 1)
    assert "a fault of mine" in caplog.text
    assert "Traceback" in caplog.text


@pytest.mark.parametrize("where", ["__init__", "display", "close"])
def test_tqdm_that_fails_ends_no_run(
    where: str, stderr: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from deltarule.training import progress

    bar, _ = progress._tqdm()

    def fail(*arguments: object, **keywords: object) -> None:
        raise ZeroDivisionError("within tqdm")

    monkeypatch.setattr(bar, where, fail)
    stderr(Stream(True))
    assert trained(progress=True).epochs == 3
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_numbers_of_names_that_a_stream_cannot_write_are_shown_without_them(stderr: Any) -> None:
    def größe(y: np.ndarray, a: np.ndarray, w: np.ndarray | None) -> float:
        return 1.0

    file = stderr(io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    trained(progress=True, metrics=[größe])
    file.flush()
    assert b"gr??e 1]" in file.buffer.getvalue()


def test_it_leaves_no_thread_and_loads_tqdm_only_where_something_is_shown() -> None:
    script = """
import sys, threading, deltarule as dr
net = dr.Network([dr.Dense(1)], inputs=1)
run = lambda progress: dr.train(net, [[1.0]], [1.0], loss="mse", progress=progress)
run(False), run("auto")
assert "tqdm" not in sys.modules
run(True)
assert "tqdm" in sys.modules
assert threading.enumerate() == [threading.main_thread()]
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")
    assert "epochs: 10/10" in done.stderr


def test_where_nobody_reads_the_errors_the_run_goes_on_and_so_does_the_process() -> None:
    script = """
import sys, deltarule as dr
net = dr.Network([dr.Dense(1)], inputs=1)
h = dr.train(net, [[1.0]], [1.0], loss="mse", epochs=5, progress=True, callbacks=[dr.Callback()])
print(h.epochs)
"""
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=write)
    os.close(write)
    assert done.stdout == b"5\n"


def test_many_runs_in_threads_show_what_they_can(stderr: Any) -> None:
    stderr(Stream(True))
    histories: list[dr.History] = []
    threads = [
        threading.Thread(target=lambda: histories.append(trained(progress=True))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [history.epochs for history in histories] == [3] * 8


def test_threads_that_show_it_for_the_first_time_at_once_leave_the_warnings_as_they_are() -> None:
    script = """
import threading, warnings, deltarule as dr
from deltarule.training.progress import _tqdm
before, together = list(warnings.filters), threading.Barrier(8)
threads = [threading.Thread(target=lambda: (together.wait(), _tqdm())) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
assert warnings.filters == before, warnings.filters
"""
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.parametrize("mode", ["yes", None, 1, np.array([1, 2])])
def test_other_modes_are_refused(mode: Any) -> None:
    with pytest.raises(dr.InvalidValueError, match="progress must be True, False or 'auto'"):
        trained(progress=mode)
