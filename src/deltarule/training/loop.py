"""The loop over epochs: steps, what is reported of them, callbacks."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Protocol

from deltarule.base.errors import TrainingInterrupted
from deltarule.base.interrupt import Interrupt, deferred_interrupt
from deltarule.base.log import warn
from deltarule.base.settings import check_integer
from deltarule.base.types import Array
from deltarule.data.source import Batches
from deltarule.engines import Engine, Executor, Record
from deltarule.network.network import Network
from deltarule.training.callbacks import Callback
from deltarule.training.columns import Columns, Seen
from deltarule.training.history import History
from deltarule.training.pace import Pace
from deltarule.training.progress import Quiet
from deltarule.training.state import State, check_rate_factor

INTERRUPTED = "interrupted"


class Steps(Protocol):
    """What makes the steps of a run, and counts them: a :class:`deltarule.Trainer`."""

    _executor: Executor
    _epochs: int
    _rate_factor: float

    @property
    def network(self) -> Network: ...
    @property
    def engine(self) -> Engine: ...
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
    ) -> None:
        self._trainer, self._batches, self._columns = trainer, batches, columns
        self._epochs, self._display = epochs, display
        # (sorted is stable: the others keep their order)
        self._hooks = sorted(hooks, key=lambda hook: hook._after_others)
        self._every = [
            check_integer(f"{type(hook).__name__}.every_steps", hook.every_steps, at_least=0)
            for hook in self._hooks
        ]
        self.history = History(trainer.engine.describe())
        self._state = State(trainer.network, self.history, columns.names, epochs, self._score)
        self._pace = Pace(
            batches,
            each_epoch=bool(hooks) or columns.each_epoch,
            together=not columns.each_epoch,
            outputs=columns.seen is not None,
        )
        self._batch = 0  # of the epoch in progress
        self._unfinished: tuple[Array, ...] | None = None  # the sums of an epoch in progress
        self._start = 0.0

    def _score(self, column: str) -> float:
        return self._columns.score(column, self._trainer._executor, self._trainer.network)

    def run(self, *, raises: bool) -> History:
        """Train and return the history. ``raises``: whether Ctrl-C does."""
        history, state, columns = self.history, self._state, self._columns
        self._start = time.perf_counter()
        started: list[Callback] = []
        error: BaseException | None = None
        with deferred_interrupt() as interrupt:
            try:
                for hook in self._hooks:
                    hook.on_start(state)
                    started.append(hook)
                self._follow_state()
                while history.epochs < self._epochs and not state.stop and not interrupt.requested:
                    self._go_on(interrupt)
            except BaseException as caught:
                error = caught
            reason = INTERRUPTED if interrupt.requested else str(state.stop)
            history._stopped = history.stopped or reason
            history._unfinished = columns.of_unfinished(self._unfinished)
            if interrupt.requested or isinstance(error, (KeyboardInterrupt, SystemExit)):
                error = _call("on_interrupt", started, state, error)
            error = _call("on_end", started, state, error)
            self._took_time()
            self._display.show(history, final=True)
        if interrupt.requested and error is None:  # at the very end, too
            history._stopped = INTERRUPTED
        try:
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
        trainer, history, state = self._trainer, self.history, self._state
        per_epoch = self._batches.steps_per_epoch
        trainer._follow_factors()
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
        if record.raised is not None:
            raise record.raised
        if done:
            last = rates[per_epoch - 1 - self._batch :: per_epoch][:done]
            history._extend(
                done, self._columns.of_epochs(record, last, trainer._executor, trainer.network)
            )
        self._unfinished, self._batch = record.row(done) if now else None, now
        if self._hooks:
            state._took(record.step_losses[: record.steps_done], now)
        self._took_time()
        trainer._raise_if_diverged(record, history)
        state.stop = state.stop or record.stopped
        self._call_back(done, record.steps_done)
        if done:
            self._display.show(history)

    def _steps_at_once(self) -> int:
        """Return how many steps the next call of the engine does."""
        epochs = min((hook.epochs_at_once(self._state) for hook in self._hooks), default=1)
        steps = self._pace.steps(self._batch, epochs)
        for every in filter(None, self._every):
            steps = min(steps, every - self.history.steps % every)
        return steps

    def _call_back(self, epochs: int, steps: int) -> None:
        """Call the hooks that are due after so many epochs and steps."""
        if epochs:
            for hook in self._hooks:
                hook.on_epoch(self._state)
        if steps:
            for hook, every in zip(self._hooks, self._every, strict=True):
                if every and self.history.steps % every == 0:
                    hook.on_steps(self._state)
        self._follow_state()

    def _follow_state(self) -> None:
        """Let the trainer know what callbacks have changed."""
        self._trainer._rate_factor = check_rate_factor(self._state)

    def _took_time(self) -> None:
        self.history._seconds = time.perf_counter() - self._start


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
