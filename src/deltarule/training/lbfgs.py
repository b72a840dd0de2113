"""L-BFGS by SciPy, some iterations at a time."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from queue import SimpleQueue
from typing import Any, ClassVar, NamedTuple

import numpy as np

from deltarule.base.errors import InvalidValueError, missing_extra
from deltarule.base.interrupt import Interrupt
from deltarule.base.types import Array
from deltarule.data.arrays import Dataset
from deltarule.data.source import Batches, InMemory
from deltarule.engines import Engine, Record, Run
from deltarule.formulas.full_batch import LBFGS
from deltarule.formulas.optimizers import Optimizer
from deltarule.network.network import Network
from deltarule.plan import Plan
from deltarule.training.full_batch import CARRIER, Evaluation, LossAndGradient
from deltarule.training.full_batch_executor import FullBatchExecutor, report

NUMBERS_PER_TURN = 1 << 22
"""Of the gradients that a turn of several iterations keeps: 32 MiB."""
_UNLIMITED = 1 << 30  # iterations and evaluations: epochs are what limits a run


class LBFGSExecutor(FullBatchExecutor):
    """Does the steps of :class:`LBFGS`; its memory lasts for one run, on one network and data."""

    carrier: ClassVar[Optimizer | None] = CARRIER

    def __init__(self, plan: Plan, network: Network, engine: Engine, threads: int | None) -> None:
        assert isinstance(plan.optimizer, LBFGS)
        _check_smooth(plan)
        _scipy()
        super().__init__(plan, network, engine, threads)
        self._rule = plan.optimizer
        self._at = LossAndGradient(self.plan, self.twin, self._inside)
        self._search: Search | None = None
        self._data: Dataset | None = None  # what the search is about
        self._here: Evaluation | None = None  # where it stands

    @property
    def optimizer_state(self) -> Array:
        """Nothing: what it remembers ends with the run."""
        return np.zeros((0, len(self.twin.vector)))

    @optimizer_state.setter
    def optimizer_state(self, state: Array) -> None:
        pass

    def _read(self) -> bool:
        changed = super()._read()
        if changed:
            self._search = None
        return changed

    def _steps(self, data: Dataset, run: Run, record: Record, most: int) -> bool:
        if self._search is None or self._data is not data or not self._search.alive:
            self._search = Search(self.twin.vector, self._rule)
            self._data, self._here = data, None
        search, self._search = self._search, None  # an exception ends it
        start = self.twin.vector.copy()
        most = min(most, max(1, NUMBERS_PER_TURN // len(start)))
        stop = Interrupt(run.interrupt)
        batches = Batches(InMemory(data), len(data))  # in no order: the sum is over all
        turn = Turn(partial(self._at, batches=batches, interrupt=stop), most, self._here)
        search.take(turn, stop)
        for iteration in turn.done:
            record.columns["evaluations"][record.steps_done] = iteration.evaluations
            before = iteration.before
            report(self.plan, record, before.losses, before.gradient[self.trained])
        here = self._here = turn.here
        self.twin.vector = start if here is None else here.vector
        if here is not None and here.diverged_at is None:
            self._write()
        elif here is not None:
            record.diverged_at = here.diverged_at
            return False
        record.stopped = turn.ended
        if not turn.over:
            self._search = search
        return True


class Iteration(NamedTuple):
    """One iteration: where it began, and how often it evaluated the loss."""

    before: Evaluation
    evaluations: int


@dataclass
class Turn:
    """What SciPy does while the training loop waits: up to ``most`` iterations.

    Attributes
    ----------
    at : function
        Evaluates parameters; None after an interrupt.
    here : Evaluation or None
        The point that was reached; None before the first evaluation of a search.
    done : list of Iteration
    ended : str
        Why SciPy does no more; that is an iteration too, which has moved nothing.
    over : bool
        Whether the search has ended, for that reason, by an interrupt or by an error.
    """

    at: Callable[[Array], Evaluation | None]
    most: int
    here: Evaluation | None
    done: list[Iteration] = field(default_factory=list)
    ended: str = ""
    over: bool = False
    error: BaseException | None = None
    _evaluated: list[Evaluation] = field(default_factory=list)

    def function(self, x: Array) -> tuple[float, Array]:
        """Return loss and gradient, as SciPy asks for them."""
        with np.errstate(all="ignore"):
            found = self.at(x.copy())
        if found is None:
            raise _Over
        if self.here is None:
            self.here = found
            if found.diverged_at is not None:
                raise _Over
        self._evaluated.append(found)
        return found.losses.sum, found.gradient

    def iterated(self, x: Array) -> bool:
        """Take the point that an iteration has found; return whether the turn is over."""
        after = next((e for e in self._evaluated[::-1] if np.array_equal(e.vector, x)), None)
        if after is None or after.diverged_at is not None:
            self.end(NO_STEP)
            raise _Over
        self._note()
        self.here = after
        return len(self.done) == self.most

    def end(self, reason: str) -> None:
        """Take the reason why there are no more iterations."""
        self.ended = reason
        self._note()

    def _note(self) -> None:
        assert self.here is not None
        self.done.append(Iteration(self.here, len(self._evaluated)))
        self._evaluated = []


class _Over(Exception):  # noqa: N818 - no error, but the way out of SciPy
    """Nothing more is asked of SciPy."""


class Search:
    """SciPy's minimiser in a thread of its own.

    It cannot be paused, and a run is paused where something in Python is due after an epoch. So
    the training loop and the thread take turns: at any time one of them waits for the other. The
    thread ends with the search, or where its owner forgets it.
    """

    def __init__(self, start: Array, rule: LBFGS) -> None:
        self._turns: SimpleQueue[Turn | None] = SimpleQueue()
        self._taken: SimpleQueue[Turn] = SimpleQueue()
        minimise = partial(_minimise, start.copy(), rule, self._turns, self._taken)
        self._thread = threading.Thread(target=minimise, name="deltarule-lbfgs", daemon=True)
        self._thread.start()
        weakref.finalize(self, self._turns.put, None).atexit = False

    @property
    def alive(self) -> bool:
        """Whether its thread is: a fork leaves it behind."""
        return self._thread.is_alive()

    def take(self, turn: Turn, stop: Interrupt) -> None:
        """Let SciPy take its turn; raise what was raised in it. ``stop`` ends it early."""
        self._turns.put(turn)
        try:
            self._taken.get()
        except BaseException:
            stop.request()
            self._taken.get()
            raise
        if turn.error is not None:
            raise turn.error


def _minimise(
    start: Array, rule: LBFGS, turns: SimpleQueue[Turn | None], taken: SimpleQueue[Turn]
) -> None:
    """Minimise in turns, until there is none any more."""
    turn = turns.get()

    def function(x: Array) -> tuple[float, Array]:
        assert turn is not None
        return turn.function(x)

    def iterated(x: Array) -> None:
        nonlocal turn
        assert turn is not None
        if turn.iterated(x):
            taken.put(turn)
            turn = turns.get()
            if turn is None:
                raise _Over

    if turn is None:
        return
    try:
        found = _scipy().minimize(
            function,
            start,
            method="L-BFGS-B",
            jac=True,
            callback=iterated,
            options={
                "maxcor": rule.memory,
                "ftol": rule.loss_tolerance,
                "gtol": rule.gradient_tolerance,
                "maxls": rule.line_search_steps,
                "maxiter": _UNLIMITED,
                "maxfun": _UNLIMITED,
            },
        )
        turn.end(_reason(found))
    except _Over:
        pass
    except BaseException as error:
        if turn is not None:
            turn.error = error
    if turn is not None:
        turn.over = True
        taken.put(turn)


NO_STEP = "no step lowers the loss"


def _reason(found: Any) -> str:
    """Return in our words why SciPy has ended."""
    if found.status != 0:
        return NO_STEP
    if "GRADIENT" in str(found.message).upper():
        return "converged: the gradient is 0 within gradient_tolerance"
    return "converged: the loss falls no further than by loss_tolerance"


def _scipy() -> Any:
    try:
        import scipy.optimize
    except ImportError:
        raise missing_extra("LBFGS", "scipy") from None
    return scipy.optimize


def _check_smooth(plan: Plan) -> None:
    for parameter in plan.parameters:
        if parameter.penalty is not None and parameter.penalty.has_kink:
            raise InvalidValueError(
                f"LBFGS minimises smooth functions, and the penalty {parameter.penalty!r} has a "
                "kink at 0: use L2, or another optimizer"
            )
