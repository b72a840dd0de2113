"""What passes between the training loop and an engine."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np

from deltarule.base.interrupt import Interrupt
from deltarule.base.types import Array
from deltarule.data.arrays import Dataset
from deltarule.data.source import Batches, Stretch
from deltarule.formulas.optimizers import Optimizer
from deltarule.network.network import Network
from deltarule.plan import Plan


class Run(NamedTuple):
    """What one call of an executor does: some steps from a position in a source's epochs.

    Attributes
    ----------
    batches : Batches
        The source and how it is cut into steps.
    epoch, batch : int
        The position: number of the epoch over the life of the trainer, and of the batch in it.
    steps : int
        How many steps are done; they may reach over the ends of epochs.
    first_step : int
        Number of steps before this call, over the life of the trainer.
    rates : array (steps,)
        The learning rate of each step.
    counts : UpdateCounts
        How often each parameter has been updated.
    interrupt : Interrupt
        To be looked at between steps, at least ten times a second.
    observer : Observer or None
        Sees the outputs of all rows, where metrics want them.
    """

    batches: Batches
    epoch: int
    batch: int
    steps: int
    first_step: int
    rates: Array
    counts: UpdateCounts
    interrupt: Interrupt
    observer: Observer | None = None

    @property
    def epochs_touched(self) -> int:
        """Number of epochs that the steps lie in."""
        return -(-(self.batch + self.steps) // self.batches.steps_per_epoch)


_LARGE_RATE = 1e200
"""Below it no optimizer's scalars overflow."""


class UpdateCounts:
    """How often each parameter has been updated: the ``t`` of its bias corrections.

    A batch of weight 0 updates nothing, and a frozen parameter misses the updates of the others. So
    ``t`` belongs to the parameter, and is part of the optimizer's state. Parameters whose count is
    the same form a group; in an ordinary run there is one.

    Attributes
    ----------
    group : array (parameters,) of int64
        The group of each parameter; 0 where it is frozen.
    groups : int
    since : int
        Updates since this object was made, the same for all parameters that are trained. An
        executor adds those that it makes.
    """

    def __init__(self, counts: Array, trained: Array) -> None:
        self._counts, self._trained, self.since = counts, trained, 0
        self.group = np.zeros(len(counts), dtype=np.int64)
        own = counts[trained]
        self._first: list[int] = own[:1].tolist() or [0]
        if (own != self._first[0]).any():
            first, self.group[trained] = np.unique(own, return_inverse=True)
            self._first = first.tolist()
        self.groups = len(self._first)

    @property
    def of_parameters(self) -> Array:
        """The counts as they are now, int64 (parameters,)."""
        return self._counts + self.since * self._trained

    def scalars(self, optimizer: Optimizer, rates: Array, weighted: Array | None) -> Array:
        """Return the optimizer's scalars of the next steps, (steps, groups * scalars).

        ``weighted``: which of the steps have weight, (steps,); None: all.
        """
        count, next_t = len(rates), self.since + 1.0
        t = [np.arange(next_t + own, next_t + own + count) for own in self._first]
        if weighted is not None:
            before = np.cumsum(weighted) - weighted
            t = [own[before] for own in t]
        if count == 1 and rates[0] < _LARGE_RATE:
            tables = [optimizer.scalars(own, rates) for own in t]
        else:
            with np.errstate(over="ignore"):  # such a step will not be finite
                tables = [optimizer.scalars(own, rates) for own in t]
        return tables[0] if self.groups == 1 else np.hstack(tables)


class Observer(Protocol):
    """Sees outputs as training makes them."""

    def saw(self, data: Dataset, rows: Array | None, outputs: Array) -> None:
        """Take the outputs (rows, outputs) of some examples; None: of all, as they are."""
        ...


@dataclass
class Record:
    """What an executor reports of a run; all sums in float64, one row for each epoch touched.

    An executor adds to the sums, so that those of an epoch that earlier calls have begun go on.

    Attributes
    ----------
    loss_sum, weight_sum : array (epochs,)
        Sums of ``w_i l_i`` and of ``w_i``.
    penalty_sum : array (epochs,)
        Penalties summed over steps.
    gradient_squares : array (epochs, parameters)
        Squared norms of each parameter's gradient (data plus penalty, before clipping), summed
        over steps.
    updates : array (epochs,)
        Steps that updated the parameters (all but those of total weight 0).
    step_losses : array (steps, 2)
        The data loss and the penalty of each step; 0 where a step had no weight.
    steps_done : int
        Less than asked for after an interrupt or a divergence.
    interrupted : bool
        Whether Ctrl-C ended the run; parameters are those after the last whole step.
    diverged_at : str or None
        Where a value was first not finite: a layer's path, or "" where only the loss is. The
        parameters are those before that step.
    raised : BaseException or None
        What a signal handler or another thread raised while steps were done; to be raised when
        these have been noted.
    stopped : str
        Why more steps would gain nothing; "" where they may.
    columns : dict of str to array (epochs,)
        What the optimizer reports of each epoch in the place of a learning rate.
    """

    loss_sum: Array
    weight_sum: Array
    penalty_sum: Array
    gradient_squares: Array
    updates: Array
    step_losses: Array
    steps_done: int = 0
    interrupted: bool = False
    diverged_at: str | None = field(default=None)
    raised: BaseException | None = None
    stopped: str = ""
    columns: dict[str, Array] = field(default_factory=dict)

    @classmethod
    def empty(cls, epochs: int, parameters: int, steps: int) -> Record:
        """Return a record of zeros."""
        return cls(
            np.zeros(epochs),
            np.zeros(epochs),
            np.zeros(epochs),
            np.zeros((epochs, parameters)),
            np.zeros(epochs, dtype=np.int64),
            np.zeros((steps, 2)),
        )

    @property
    def sums(self) -> tuple[Array, ...]:
        """All sums, one row for each epoch."""
        return (
            self.loss_sum,
            self.weight_sum,
            self.penalty_sum,
            self.gradient_squares,
            self.updates,
        )

    def row(self, epoch: int) -> tuple[Array, ...]:
        """Return the sums of one epoch."""
        return tuple(sums[epoch] for sums in self.sums)

    def go_on_from(self, row: tuple[Array, ...]) -> None:
        """Begin the first epoch with the sums of what earlier calls did of it."""
        for mine, value in zip(self.sums, row, strict=True):
            mine[0] = value


class Outputs:
    """The outputs of one stretch on their way to an observer.

    Attributes
    ----------
    by_row : bool
        Whether they are stored by their row in the examples, as an epoch over all of them is; else
        by their place in the stretch, so that part of an epoch needs memory for that part.
    array : array (rows, outputs)
    """

    def __init__(self, stretch: Stretch, plan: Plan) -> None:
        self._stretch = stretch
        self._rows = [rows for _, rows in stretch.batches()]
        self.by_row = stretch.steps == stretch.steps_per_epoch
        count = len(stretch.data) if self.by_row else sum(map(_count, self._rows))
        self.array = np.empty((count, plan.outputs), dtype=plan.dtype)

    def show(self, observer: Observer, steps_done: int) -> None:
        """Show the outputs of the steps that were done."""
        data, done = self._stretch.data, self._rows[:steps_done]
        count = sum(map(_count, done))
        if count == len(data) and self.by_row:
            observer.saw(data, None, self.array)
        elif count:
            numbers = np.arange(len(data))
            rows = np.concatenate([numbers[rows] for rows in done])
            observer.saw(data, rows, self.array[rows] if self.by_row else self.array[:count])


def _count(rows: slice | Array) -> int:
    return rows.stop - rows.start if isinstance(rows, slice) else len(rows)


class Executor(Protocol):
    """A plan bound to a network's arrays, with whatever buffers the engine keeps."""

    @property
    def checks_batches(self) -> bool:
        """Whether there are batches that :meth:`step` takes as the user has them."""
        ...

    @property
    def optimizer_state(self) -> Array:
        """The optimizer's state, (state arrays, parameters), in the network's dtype.

        To be read, or set as a whole; an engine may hand out a copy.
        """
        ...

    @optimizer_state.setter
    def optimizer_state(self, state: Array) -> None: ...

    def run(self, run: Run, record: Record) -> None:
        """Train; the network's vector and state are current whenever this returns."""
        ...

    def step(
        self,
        X: Any,
        y: Any,
        scalars: Array,
        row: int,
        step: int,
        seed: int,
        interrupt: Interrupt,
        done: Array,
    ) -> float | None:
        """Do one step on a batch as the user has it; return its loss before the step.

        None, and nothing has changed, where more is to be said: what is given is not plainly in
        order, a value is not finite, or Ctrl-C was pressed. Checks of the data and :meth:`run` say
        what it is.

        Parameters
        ----------
        scalars : array (steps, scalars)
            The optimizer's, of several steps, shared by all parameters; ``row`` is this step's.
        step, seed : int
            Number of steps before this one; seed of the random words.
        done : array (1,) of int64
            Set to the number of steps done, 1 or 0, whatever is raised meanwhile.
        """
        ...

    def predict(self, X: Array, batch_size: int | None) -> Array:
        """Return the outputs (n, outputs) for checked features."""
        ...

    def evaluate(self, data: Dataset, outputs: Array | None = None) -> tuple[float, float]:
        """Return the sums of ``w_i l_i`` and of ``w_i``, without dropout and batch statistics.

        Outputs (n, outputs) are stored where an array is given.
        """
        ...


class Engine(Protocol):
    """A way to execute plans."""

    name: str

    def describe(self) -> str:
        """Return the engine's name, with its vector target where it has one."""
        ...

    def why_not(self, plan: Plan) -> str | None:
        """Return why this engine cannot run a plan, or None where it can."""
        ...

    def executor(self, plan: Plan, network: Network, *, threads: int | None = None) -> Executor:
        """Return a new executor for a plan and a network."""
        ...
