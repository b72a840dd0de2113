"""The two benchmarks: the short one for a terminal, the full one for the record."""

from __future__ import annotations

import datetime
import logging
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any

from deltarule.bench.floor import Peak, floor_of, measure_bandwidth, measure_peak
from deltarule.bench.machine import (
    OtherProcesses,
    confined,
    describe_machine,
    installed_megabytes,
    mixed_threads,
)
from deltarule.bench.measuring import Budget, Clock, Task, interleave
from deltarule.bench.peers import (
    OURS,
    PEERS,
    SHORT,
    Absent,
    Peer,
    RestartingSession,
    Session,
    select_peers,
)
from deltarule.bench.peers.ours import Deltarule
from deltarule.bench.processes import SCRIPTS, cold_starts, peak_memory
from deltarule.bench.result import Comparison, Entry, Result
from deltarule.bench.workloads import (
    WORKLOADS,
    Data,
    Workload,
    make_data,
    select_workloads,
    with_rows,
)

_log = logging.getLogger("deltarule.bench")

RESTARTS = 16
RESTART_EPOCHS = 20
COLD_EPOCHS = 20
_WARM_EPOCHS = 2


@dataclass(frozen=True)
class Form:
    """How much is measured, and for how long.

    Attributes
    ----------
    workload, narrow, restarts, predict, cold : Budget or None
        None leaves that part out. ``narrow`` is for the training of N1 to N5.
    peak_seconds : float
    rows : dict of str to int
        The number of rows of the workloads that get fewer.
    memory : bool
        Whether peak memory is measured.
    limit : float
        Seconds for each workload; what one leaves over is shared by those after it. When it is
        spent, peers that have not begun are left out, which the result says, and rounds are few.
    """

    name: str
    workload: Budget | None
    narrow: Budget | None
    restarts: Budget | None
    predict: Budget | None
    cold: Budget | None
    peak_seconds: float
    rows: dict[str, int]
    memory: bool
    limit: float

    def training(self, workload: Workload) -> Budget | None:
        """Return the budget for training a workload."""
        return self.narrow if workload.narrow else self.workload


SHORT_FORM = Form(
    "short",
    Budget(turn=0.08, total=2.5, rounds=7),
    Budget(turn=0.03, total=2.5, rounds=5),
    None,
    Budget(turn=0.02, total=0.6, rounds=7),
    None,
    1.0,
    {"W2": 200, "W4": 1280, "W5": 2560, "W6": 512},
    False,
    10,
)
FULL_FORM = Form(
    "full",
    Budget(turn=0.3, total=30, rounds=11),
    Budget(turn=0.1, total=20, rounds=11),
    Budget(turn=0.5, total=30, rounds=7),
    Budget(turn=0.05, total=6, rounds=11),
    Budget(turn=0, total=60, rounds=7),
    6.0,
    {},
    True,
    100,
)


def short_form(
    peers: Iterable[str] | None = None,
    *,
    workloads: Iterable[str] | None = None,
    threads: int = 2,
    say: Callable[[str], object] = _log.info,
) -> Result:
    """Measure training and single-row prediction, in about a minute.

    Parameters
    ----------
    peers : names, optional
        Keys of ``PEERS``; by default whatever is installed, without torch.compile.
    workloads : names, optional
        "W1" to "W6", "N1" to "N5" at every batch size or "N4-32" at one, or "W" or "N" for all of
        these; by default "W".
    threads : int
        Threads of every library.
    say : function, optional
        Called with a text that says what is being measured.

    Raises
    ------
    ValueError
        A workload or a peer is unknown.
    """
    chosen = ["W"] if workloads is None else workloads
    return run_form(SHORT_FORM, select_peers(peers, SHORT), chosen, threads, say)


def full_form(
    peers: Iterable[str] | None = None,
    *,
    workloads: Iterable[str] | None = None,
    threads: int = 2,
    limit: float | None = None,
    training_only: bool = False,
    say: Callable[[str], object] = _log.info,
) -> Result:
    """Measure everything, in about half an hour; parameters as in :func:`short_form`.

    By default all workloads are measured, for at most 100 s each: ``limit`` says otherwise.
    ``training_only`` leaves out restarts, prediction and whole processes.
    """
    form = FULL_FORM if limit is None else replace(FULL_FORM, limit=limit)
    if training_only:
        form = replace(form, name="training", restarts=None, predict=None, cold=None, memory=False)
    return run_form(form, select_peers(peers), workloads, threads, say)


def print_short_form(
    peers: Iterable[str] | None = None,
    *,
    workloads: Iterable[str] | None = None,
    threads: int = 2,
) -> Result:
    """Run the short form and print its table, by rich where installed; returns the result."""

    def say(text: str) -> None:
        sys.stderr.write(f"measuring {text}\n")

    result = short_form(peers, workloads=workloads, threads=threads, say=say)
    show(result)
    return result


def show(result: Result) -> None:
    """Print a result to standard output, by rich where installed, else as Markdown."""
    try:
        from rich.box import SIMPLE_HEAD
        from rich.console import Console
        from rich.table import Table
    except ImportError:
        sys.stdout.write(result.to_markdown())
        return
    console = Console()
    for line in result.header():
        console.print(line, highlight=False)
    for headings, rows in result.tables(values=False):
        table = Table(
            title="deltarule's time per unit; how many times as long the others take",
            box=SIMPLE_HEAD,
            padding=(0, 1, 0, 0),
        )
        for i, heading in enumerate(headings):
            left = i < 2
            table.add_column(heading, justify="left" if left else "right", no_wrap=not left)
        for row in rows:
            table.add_row(*row)
        console.print(table)
    for name in result.peers:
        note = f"{PEERS[name].title}: {PEERS[name].note}"
        console.print(note, style="dim", highlight=False, markup=False)
    for line in result.absences():
        console.print(line, highlight=False, markup=False)


def run_form(
    form: Form,
    peers: list[Peer],
    workloads: Iterable[str] | None,
    threads: int,
    say: Callable[[str], object],
) -> Result:
    """Measure what a form asks for."""
    chosen = select_workloads(workloads)
    start = time.perf_counter()
    now = datetime.datetime.now().astimezone()
    result = Result(form.name, now.isoformat(timespec="minutes"), describe_machine(threads))
    others, clock = OtherProcesses(), Clock(form.limit * len(chosen))
    with confined(threads) as blas_limited:
        result.machine |= {
            "blas_threads_limited": blas_limited,
            "mixed_threads": mixed_threads(),
        }
        if form.cold is not None:
            # First, while this process holds no thread pools that could disturb the others.
            _measure_processes(form, peers, threads, result, say)
        say("the best matrix product")
        peak = measure_peak(threads, form.peak_seconds)
        measured = [with_rows(w, form.rows.get(w.key, w.rows)) for w in chosen]
        for i, workload in enumerate(measured):
            share = Clock(clock.left / (len(measured) - i))
            _measure_workload(form, workload, peers, threads, result, say, share)
        # The best of before and after: other processes must not make the floor easier.
        peak = max(peak, measure_peak(threads, form.peak_seconds), key=lambda p: p.gflops)
    result.machine["busy_with_others"] = others.share()
    result.peak = asdict(peak)
    for workload in measured:
        if form.training(workload) is not None:
            _add_floor(result[workload.key], workload, peak)
    result.installed_megabytes = installed_megabytes() if form.memory else {}
    # Cold starts were measured first and belong last.
    result.comparisons.sort(key=lambda c: c.unit in ("ms", "MB"))
    result.seconds = time.perf_counter() - start
    return result


def _measure_workload(
    form: Form,
    workload: Workload,
    peers: list[Peer],
    threads: int,
    result: Result,
    say: Callable[[str], object],
    clock: Clock,
) -> None:
    data = make_data(workload)
    comparison = Comparison(workload.key, workload.title, "us/step")
    sessions = _prepare(workload, data, peers, threads, comparison, say, clock)
    budget = form.training(workload)
    if budget is not None:
        result.comparisons.append(comparison)
        comparison.details = {
            "network": workload.network,
            "batch_size": workload.batch_size,
            "optimizer": workload.optimizer,
            "rows": workload.rows,
            "steps_per_epoch": workload.steps_per_epoch,
            "data": data.source,
            "gb_per_second": measure_bandwidth(workload.working_set, threads, 0.1),
        }
        say(f"{workload.key}, {workload.title}: {', '.join(sessions)}")
        rest = replace(budget, total=min(budget.total, clock.left))
        _time_training(rest, workload, sessions, comparison)
    if form.restarts is not None and workload.key == "W3":
        say(f"{RESTARTS} restarts of W3")
        result.comparisons.append(_restarts(form.restarts, workload, sessions))
    if form.predict is not None and workload.key in ("W3", "W4"):
        say(f"prediction of {workload.key}")
        for rows, budget in ((1, form.predict), (workload.rows, form.predict)):
            result.comparisons.append(_prediction(budget, workload, data, sessions, rows))


def _prepare(
    workload: Workload,
    data: Data,
    peers: list[Peer],
    threads: int,
    comparison: Comparison,
    say: Callable[[str], object],
    clock: Clock,
) -> dict[str, Session]:
    """Return warm sessions of the libraries that run here."""
    sessions: dict[str, Session] = {}
    for peer in peers:
        if not peer.suits(workload):
            continue
        if clock.left < 0 and peer.key != OURS:
            comparison.add_absent({peer.key: "left out, because the time was spent"})
            continue
        say(f"{workload.key}: {peer.title} warms up")
        try:
            session = peer.prepare(workload, data, threads)
            loss = session.run_epochs(_WARM_EPOCHS)
        except Absent as reason:
            comparison.add_absent({peer.key: str(reason)})
            continue
        except Exception as error:
            if isinstance(peer, Deltarule):
                raise
            # If one library fails, the others are measured all the same.
            comparison.add_absent({peer.key: f"failed: {type(error).__name__}: {error}"})
            continue
        comparison.entries[peer.key] = Entry(loss=loss)
        sessions[peer.key] = session
    return sessions


def _time_training(
    budget: Budget, workload: Workload, sessions: dict[str, Session], comparison: Comparison
) -> None:
    tasks = {
        name: Task(session.run_epochs, workload.steps_per_epoch, session.reset)
        for name, session in sessions.items()
    }
    for name, task in tasks.items():
        task.calibrate(budget.turn)
        comparison.entries[name].details["epochs_per_turn"] = task.count
    comparison.add_samples(interleave(tasks, budget))


def _restarts(budget: Budget, workload: Workload, sessions: dict[str, Session]) -> Comparison:
    """Train several networks: at once if a library can, otherwise one after another."""
    comparison = Comparison(
        "restarts",
        f"{RESTARTS} networks of W3",
        "us/step",
        details={
            "networks": RESTARTS,
            "epochs": RESTART_EPOCHS,
            "how": "deltarule: dr.restart, as many networks at a time as there are threads (in its "
            "reference engine one, with BLAS on all threads), each from initial weights of its "
            "own, drawing them and choosing the best included. The others: one network after "
            "another, all from the same weights, which are given",
        },
    )

    def restart(session: Session) -> Callable[[int], None]:
        def at_once(count: int) -> None:
            assert isinstance(session, RestartingSession)
            for _ in range(count):
                session.run_restarts(RESTARTS, RESTART_EPOCHS)

        def one_after_another(count: int) -> None:
            for _ in range(count * RESTARTS):
                session.reset()
                session.run_epochs(RESTART_EPOCHS)

        return at_once if isinstance(session, RestartingSession) else one_after_another

    units = RESTARTS * RESTART_EPOCHS * workload.steps_per_epoch
    comparison.add_samples(
        interleave({name: Task(restart(s), units) for name, s in sessions.items()}, budget)
    )
    return comparison


def _prediction(
    budget: Budget, workload: Workload, data: Data, sessions: dict[str, Session], rows: int
) -> Comparison:
    one = rows == 1
    comparison = Comparison(
        f"predict {workload.key}" if one else f"predict {workload.key} bulk",
        "one row" if one else f"{rows} rows",
        "us/call" if one else "us/row",
        details={
            "how": "input and output in the library's own arrays (NumPy for deltarule and "
            "scikit-learn); probabilities; ready when the call returns"
        },
    )
    tasks = {}
    for name, session in sessions.items():
        if name in ("one-thread", "jax-epochs", "torch-fused", "torch-compile"):
            # They differ in training only.
            continue
        predict = session.predictor(data.X[:rows])
        task = Task(_repeat(predict), rows)
        task.calibrate(budget.turn)
        tasks[name] = task
    if tasks:
        comparison.add_samples(interleave(tasks, budget))
    return comparison


def _repeat(function: Callable[[], Any]) -> Callable[[int], None]:
    def work(count: int) -> None:
        for _ in range(count):
            function()

    return work


def _measure_processes(
    form: Form, peers: list[Peer], threads: int, result: Result, say: Callable[[str], object]
) -> None:
    assert form.cold is not None
    names = [peer.key for peer in peers if peer.key in SCRIPTS]
    say(f"cold starts: {', '.join(names)}")
    digits = WORKLOADS["W3"]
    cold = Comparison("cold start", f"digits, {COLD_EPOCHS} epochs", "ms")
    samples, reports, absent = cold_starts(digits, COLD_EPOCHS, threads, names, form.cold)
    cold.add_samples(samples)
    cold.add_absent(absent)
    for name, report in reports.items():
        cold.entries[name].loss = report["loss"]
    result.comparisons.append(cold)
    if not form.memory:
        return
    for workload in (digits, WORKLOADS["W4"], WORKLOADS["W6"]):
        say(f"peak memory of {workload.key}")
        reports, absent = peak_memory(workload, 2, threads, names)
        data = make_data(workload)
        memory = Comparison(
            f"memory {workload.key}",
            "peak above the imported interpreter",
            "MB",
            details={
                "data_mb": (data.X.nbytes + data.y.nbytes) / 1e6,
                "parameters_mb": 4e-6 * workload.parameters,
                # What training should need at most, before the activations of two chunks.
                "data_parameters_state_and_16_mb": 16
                + (data.X.nbytes + data.y.nbytes) / 1e6
                + 4e-6 * workload.parameters * (2 + workload.state_arrays),
            },
        )
        memory.add_absent(absent)
        memory.add_samples({name: [report["above_mb"]] for name, report in reports.items()})
        for name, report in reports.items():
            memory.entries[name].loss = report["loss"]
            memory.entries[name].details["imported_mb"] = report["imported_mb"]
        result.comparisons.append(memory)


def _add_floor(comparison: Comparison, workload: Workload, peak: Peak) -> None:
    """Add each library's share of a core's peak, and of the floor of a workload's mean step."""
    for entry in comparison.entries.values():
        if entry.value and entry.best and peak.core_gflops:
            step = 1e-3 * workload.flops / peak.core_gflops
            entry.details["share_of_core"] = step / entry.value
            entry.details["best_share_of_core"] = step / entry.best
    if workload.key == "W1" or workload.narrow:  # their floor means nothing
        return
    floor = floor_of(workload, peak, comparison.details["gb_per_second"])
    comparison.details["floor"] = asdict(floor)
    for entry in comparison.entries.values():
        if entry.value:
            entry.details["share_of_floor"] = floor.microseconds / entry.value
    ours = comparison.entries.get(OURS)
    if ours is not None and ours.value:
        comparison.details["share_of_floor"] = floor.microseconds / ours.value
