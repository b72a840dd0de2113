"""The loop over epochs: steps, what is reported of them, callbacks."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

import numpy as np

from deltarule.base.errors import InvalidValueError, TrainingInterrupted
from deltarule.base.interrupt import Interrupt, Until, deferred_interrupt
from deltarule.base.log import warn
from deltarule.base.settings import check_integer
from deltarule.base.types import Array
from deltarule.data.source import Batches
from deltarule.engines import Engine, Executor, Record
from deltarule.formulas.losses import Loss
from deltarule.network.model_file import describing
from deltarule.network.network import Network
from deltarule.training.averaging import Averaging
from deltarule.training.callbacks import Callback
from deltarule.training.columns import Columns, Seen
from deltarule.training.history import History, Restored
from deltarule.training.pace import Pace
from deltarule.training.progress import Quiet
from deltarule.training.state import State, check_rate_factor
from deltarule.training.statistics import renewed_statistics

MOST_RESTORED = 8
"""So often a run that diverges goes back: then its rate is 1/256 of what it was to be."""
INTERRUPTED, TERMINATED = "interrupted", "terminated"


class Steps(Protocol):
    """What makes the steps of a run, and counts them: a :class:`deltarule.Trainer`."""

    _executor: Executor
    _epochs: int
    _steps: int
    _rate_factor: float
    _engine_name: str
    _threads: int | None

    def _kept(self) -> dict[str, Any]: ...
    def _go_back_to(self, saved: Mapping[str, Any]) -> None: ...
    @property
    def network(self) -> Network: ...
    @property
    def engine(self) -> Engine: ...
    @property
    def loss(self) -> Loss: ...
    def _follow_factors(self) -> None: ...
    def _rates(self, batch: int, steps: int, per_epoch: int, left: int) -> Array: ...
    def _run(
        self,
        batches: Batches,
        batch: int,
        steps: int,
        rates: Array,
        interrupt: Interrupt,
        seen: Seen | None = None,
        unfinished: tuple[Array, ...] | None = None,
    ) -> Record: ...
    def _raise_if_diverged(self, record: Record, history: History | None) -> None: ...


class Loop:
    """One run of a trainer, from its first step to its last."""

    def __init__(
        self,
        trainer: Steps,
        batches: Batches,
        columns: Columns,
        epochs: int,
        hooks: Sequence[Callback],
        display: Quiet,
        *,
        arguments: Mapping[str, Any],
        restores: bool = False,
        resumed: Mapping[str, Any] | None = None,
    ) -> None:
        self._trainer, self._batches, self._columns = trainer, batches, columns
        self._epochs, self._display, self._arguments = epochs, display, arguments
        self._hooks = in_order(hooks)
        self._every = [
            check_integer(f"{type(hook).__name__}.every_steps", hook.every_steps, at_least=0)
            for hook in self._hooks
        ]
        self.history = History(trainer.engine.describe())
        self._state = State(
            trainer.network,
            self.history,
            columns.names,
            epochs,
            self._score,
            resumed=resumed is not None,
            place=self._place,
            content=self._content,
            renewed=self._renewed,
        )
        averages = [hook for hook in self._hooks if isinstance(hook, Averaging)]
        if len(averages) > 1:
            raise InvalidValueError(f"a run has one average of the weights, got {averages}")
        self._average = averages[0] if averages else None
        self._pace = Pace(
            batches,
            each_epoch=bool(hooks) or columns.each_epoch or restores,
            together=not columns.each_epoch and not restores,
            outputs=columns.seen is not None,
        )
        self._batch = 0  # of the epoch in progress
        self._unfinished: tuple[Array, ...] | None = None  # the sums of an epoch in progress
        self._start = 0.0
        self._checkpoints = any(hook._after_others for hook in hooks)
        self._whole = True  # whether all callbacks have seen the same
        self._resumed = resumed
        self._restores = restores
        # What there was where the epoch with the lowest loss began, and where this one began.
        self._good: dict[str, Any] | None = None
        self._begun: dict[str, Any] | None = None
        self._lowest = math.inf
        self._fingerprints: dict[str, str | None] | None = None
        if resumed is not None:
            self._go_back_to(resumed)

    def _go_back_to(self, saved: Mapping[str, Any]) -> None:
        """Be where a checkpoint was made."""
        run, history, state = saved["run"], self.history, self._state
        if run["batch"] >= self._batches.steps_per_epoch:
            raise InvalidValueError(
                "the checkpoint lies within an epoch and belongs to the rows of its run; go on "
                "with other data from the end of an epoch"
            )
        self._batch, history._steps, history._seconds = run["batch"], run["steps"], run["seconds"]
        if run["unfinished"] is not None:
            self._unfinished = tuple(run["unfinished"])
        if self._columns.seen is not None:
            with describing("the checkpoint", "the metrics of an epoch in progress"):
                self._columns.seen.set_state(run["metrics"], self._columns.training)
        state.rate_factor, state.stop = run["rate_factor"], run["stop"]
        state._took(run["step_losses"], self._batch)
        self._good, self._begun = run["good"], run["begun"]
        self._lowest = min(saved["history"].get("loss", ()), default=math.inf)
        history._restored = [Restored(*found) for found in run["restored"]]
        if saved["history"] and saved["history"].keys() != set(self._columns.names):
            raise InvalidValueError("the history of the run has other columns than it will have")
        if saved["history"]:
            epochs = len(next(iter(saved["history"].values())))
            history._extend(epochs, saved["history"])

    def _place(self) -> tuple[int, int] | None:
        """Return finished epochs and steps of the next; None where callbacks do not agree."""
        return (self.history.epochs, self._batch) if self._whole else None

    def fingerprints(self) -> dict[str, str | None]:
        """Return the fingerprints of the data."""
        from deltarule.data.fingerprint import fingerprint_of_order  # which only checkpoints need

        if self._fingerprints is None:
            order = self._batches.shuffle
            self._fingerprints = self._columns.fingerprints() | {
                "order": fingerprint_of_order(order) if isinstance(order, np.ndarray) else None
            }
        return self._fingerprints

    def _content(self) -> bytes:
        """Return the content of a checkpoint of the run as it is now."""
        from deltarule.training.checkpoint_file import content, described_callback

        history, state, seen = self.history, self._state, self._columns.seen
        run = {
            **self._arguments,
            "epochs": self._epochs,
            "batch": self._batch,
            "steps": history.steps,
            "seconds": history.seconds,
            "rate_factor": float(state.rate_factor),
            "stop": str(state.stop),
            "restored": [list(found) for found in history.restored],
            "unfinished": None if self._unfinished is None else list(self._unfinished),
            "step_losses": state._losses_so_far(),
            "good": self._good,
            "begun": self._begun if self._batch else None,
            "metrics": None if seen is None else seen.get_state(),
        }
        saved = {
            "engine": history.engine,
            **self._trainer._kept(),
            "run": run,
            "history": {name: history._numbers(name) for name in history},
            "callbacks": [described_callback(hook) for hook in self._hooks],
            "data": self.fingerprints(),
        }
        return content(self._trainer.network, saved)

    def _score(self, column: str) -> float:
        with self._averaged():
            return self._columns.score(column, self._trainer._executor, self._trainer.network)

    def _averaged(self) -> AbstractContextManager[None]:
        """Let the network have the average of its weights meanwhile, where there is one."""
        return nullcontext() if self._average is None else self._average._in_place(self._state)

    def _renewed(self, network: Network) -> Array:
        """Return the running statistics of a network on the training data."""
        trainer = self._trainer
        return renewed_statistics(
            network, trainer.loss, self._batches, trainer._engine_name, trainer._threads
        )

    def run(self, *, raises: bool) -> History:
        """Train and return the history. ``raises``: whether Ctrl-C does."""
        history, state, columns = self.history, self._state, self._columns
        self._start = time.perf_counter() - history.seconds
        started: list[Callback] = []
        error: BaseException | None = None
        with deferred_interrupt(terminates=self._checkpoints) as interrupt:
            try:
                for hook in self._hooks:
                    hook.on_start(state)
                    started.append(hook)
                if self._resumed is not None:
                    for hook, kept in zip(self._hooks, self._resumed["callbacks"], strict=True):
                        if type(hook).__module__.startswith("deltarule."):
                            with describing("the checkpoint", f"a {type(hook).__name__}"):
                                hook.set_state(kept["state"])
                        else:
                            hook.set_state(kept["state"])
                self._follow_state()
                while history.epochs < self._epochs and not state.stop and not interrupt.requested:
                    until = Until(interrupt, state._deadline)
                    self._go_on(until if state._deadline < math.inf else interrupt)
                    if time.monotonic() >= state._deadline:
                        state.stop = state.stop or state._at_deadline
            except BaseException as caught:
                error = caught
            reason = _reason(interrupt) if interrupt.requested else str(state.stop)
            history._stopped = history.stopped or reason
            history._unfinished = columns.of_unfinished(self._unfinished)
            within = self._batch > 0 and error is None
            if interrupt.requested or within or isinstance(error, (KeyboardInterrupt, SystemExit)):
                error = _call("on_interrupt", started, state, error)
            error = _call("on_end", started, state, error)
            self._took_time()
            self._display.show(history, final=True)
        if interrupt.requested and error is None:  # at the very end, too
            history._stopped = _reason(interrupt)
        try:
            if interrupt.terminated and raises:
                warn(
                    f"{interrupted_after(history)} (SIGTERM); dr.resume goes on from its checkpoint"
                )
                raise SystemExit(128 + signal.SIGTERM) from error
            if interrupt.requested and raises:
                raise TrainingInterrupted(
                    f"{interrupted_after(history)}; .history of this exception is what was "
                    "reported",
                    history=history,
                ) from error
            if error is not None:
                raise error
        finally:
            del error  # its traceback refers to here
        return history

    def _go_on(self, interrupt: Interrupt) -> None:
        """Do some steps, report them, call back."""
        trainer, history = self._trainer, self.history
        self._whole = False
        per_epoch = self._batches.steps_per_epoch
        trainer._follow_factors()
        if self._restores and self._batch == 0:
            network = trainer.network
            self._begun = {
                "vector": network.vector.copy(),
                "running": network.state_vector.copy(),
                "trainer": trainer._kept()["trainer"],
            }
        left = (self._epochs - history.epochs) * per_epoch - self._batch
        steps = min(self._steps_at_once(), left)
        rates = trainer._rates(self._batch, steps, per_epoch, left)
        called = time.perf_counter()
        record = trainer._run(
            self._batches,
            self._batch,
            steps,
            rates,
            interrupt,
            self._columns.seen,
            self._unfinished,
        )
        self._pace.took(time.perf_counter() - called)
        done, now = divmod(self._batch + record.steps_done, per_epoch)
        trainer._epochs += done
        history._steps += record.steps_done
        if self._average is not None and record.steps_done:
            self._average._took(
                self._state, history.steps, history.epochs + done, ends=done > 0 and now == 0
            )
        if record.raised is not None:
            if not done:
                self._noted(record, done, now)
                self._whole = True
            raise record.raised
        if done:
            last = rates[per_epoch - 1 - self._batch :: per_epoch][:done]
            with self._averaged():
                found = self._columns.of_epochs(record, last, trainer._executor, trainer.network)
            history._extend(done, found)
        self._noted(record, done, now)
        self._took_time()
        if record.diverged_at is not None and self._goes_back():
            return
        if done and self._restores and history.latest("loss") < self._lowest:
            self._lowest, self._good = history.latest("loss"), self._begun
        trainer._raise_if_diverged(record, history)
        self._state.stop = self._state.stop or record.stopped
        self._call_back(done, record.steps_done)
        if done:
            self._display.show(history)

    def _noted(self, record: Record, done: int, now: int) -> None:
        """Note how far an epoch in progress is, after so many that are done."""
        self._unfinished, self._batch = record.row(done) if now else None, now
        if self._hooks:
            self._state._took(record.step_losses[: record.steps_done], now)

    def _goes_back(self) -> bool:
        """Do the epoch anew from good parameters, at half the rate; False after the last try.

        The last ones before a divergence are seldom good: losses have grown for some epochs. Good
        are those from which the epoch with the lowest loss began.
        """
        history, state, trainer = self.history, self._state, self._trainer
        good, step = self._good or self._begun, trainer._steps + 1
        if good is None or len(history._restored) >= MOST_RESTORED:
            return False
        trainer.network.vector, trainer.network.state_vector = good["vector"], good["running"]
        here = {"epochs": trainer._epochs, "steps": trainer._steps - self._batch}
        trainer._go_back_to({"trainer": good["trainer"] | here})
        history._steps -= self._batch
        self._batch, self._unfinished = 0, None
        state._forget()
        if self._average is not None:
            self._average._forget()
        if self._columns.seen is not None:
            self._columns.seen.finish()
        state.rate_factor /= 2
        self._follow_state()
        history._restored.append(Restored(step, history.epochs, state.rate_factor))
        warn(
            f"training diverged at step {step}: it does epoch {history.epochs + 1} anew, from the "
            f"best parameters so far and at {state.rate_factor:g} of the learning rate"
        )
        self._whole = True
        return True

    def _steps_at_once(self) -> int:
        """Return how many steps the next call of the engine does."""
        epochs = min((hook.epochs_at_once(self._state) for hook in self._hooks), default=1)
        steps = self._pace.steps(self._batch, epochs)
        for every in filter(None, self._every):
            steps = min(steps, every - self.history.steps % every)
        return steps

    def _call_back(self, epochs: int, steps: int) -> None:
        """Call the hooks that are due after so many epochs and steps; checkpoints come last."""
        hooks = list(zip(self._hooks, self._every, strict=True))
        for last in (False, True):
            with self._averaged() if epochs and not last else nullcontext():
                for hook, _ in hooks:
                    if epochs and hook._after_others is last:
                        hook.on_epoch(self._state)
            for hook, every in hooks:
                due = steps and every and self.history.steps % every == 0
                if due and hook._after_others is last:
                    hook.on_steps(self._state)
            self._follow_state()
            self._whole = True

    def _follow_state(self) -> None:
        """Let the trainer know what callbacks have changed."""
        self._trainer._rate_factor = check_rate_factor(self._state)

    def _took_time(self) -> None:
        self.history._seconds = time.perf_counter() - self._start


def in_order(callbacks: Sequence[Callback]) -> list[Callback]:
    """Return callbacks in the order in which they are called: averages, as given, checkpoints."""
    return sorted(callbacks, key=lambda hook: hook._after_others - hook._before_others)


def _reason(interrupt: Interrupt) -> str:
    return TERMINATED if interrupt.terminated else INTERRUPTED


def interrupted_after(history: History) -> str:
    """Return what is said of a run that Ctrl-C has ended."""
    return f"training interrupted after {history.steps} steps; the network keeps what it has learnt"


def _call(
    hook: str, callbacks: Sequence[Callback], state: State, error: BaseException | None
) -> BaseException | None:
    """Call a hook of every callback; return the first error, and log those that come after it."""
    for callback in callbacks:
        try:
            getattr(callback, hook)(state)
        except BaseException as failure:
            if error is None:
                error = failure
            else:
                name = f"{type(callback).__name__}.{hook}"
                warn("%s failed too: %s", name, failure, error=failure)
    return error
