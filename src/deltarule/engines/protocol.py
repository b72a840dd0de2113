"""What passes between the training loop and an engine."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from deltarule.base.interrupt import Interrupt
from deltarule.base.random import Purpose, permutation
from deltarule.base.types import Array
from deltarule.data import Dataset
from deltarule.network.network import Network
from deltarule.plan import Plan


@dataclass(frozen=True)
class Run:
    """What one call of an executor does: some whole epochs over one data set.

    Attributes
    ----------
    data : Dataset
    batch_size : int
        At most the number of rows.
    drop_last : bool
        Whether a last, smaller batch is left out.
    shuffle : bool or array (n,)
        Whether each epoch has a random order of its own, or a given order of the rows.
    seed : int
    first_epoch : int
        Number of epochs before this call, over the life of the trainer.
    first_step : int
        Number of steps before this call.
    rows : array (epochs * steps per epoch, scalars)
        The optimizer's scalars of each step.
    interrupt : Interrupt
        To be looked at between steps, at least ten times a second.
    outputs : array (n, outputs) or None
        Where each row's output in training is stored, if it is wanted.
    """

    data: Dataset
    batch_size: int
    drop_last: bool
    shuffle: bool | Array
    seed: int
    first_epoch: int
    first_step: int
    epochs: int
    rows: Array
    interrupt: Interrupt
    outputs: Array | None = None

    def order(self, epoch: int) -> Array | None:
        """Return the order of the rows in an epoch (0 is this call's first); None: as they are.

        With a single batch an order would change nothing but the order of sums.
        """
        n = len(self.data)
        if isinstance(self.shuffle, np.ndarray):
            return self.shuffle
        if not self.shuffle or self.batch_size >= n:
            return None
        return permutation(self.seed, Purpose.SHUFFLE, n, step=self.first_epoch + epoch)


def steps_per_epoch(n: int, batch_size: int, drop_last: bool) -> int:
    """Return the number of batches that ``n`` rows make."""
    return n // batch_size if drop_last else -(-n // batch_size)


@dataclass
class Record:
    """What an executor reports of a run; all sums in float64.

    Attributes
    ----------
    loss_sum, weight_sum : array (epochs,)
        Sums of ``w_i l_i`` and of ``w_i``.
    penalty_sum : array (epochs,)
        Penalties summed over steps.
    gradient_squares : array (epochs, parameters)
        Squared norms of each parameter's gradient (data plus penalty, before clipping), summed
        over steps.
    epoch_steps : array (epochs,)
        Steps that updated the parameters (all but those of total weight 0).
    epochs_done, steps_done : int
        Less than asked for after an interrupt or a divergence.
    interrupted : bool
        Whether Ctrl-C ended the run; parameters are those after the last whole step.
    diverged_at : str or None
        Where a value was first not finite: a layer's path, or "" where only the loss is. The
        parameters are those before that step.
    """

    loss_sum: Array
    weight_sum: Array
    penalty_sum: Array
    gradient_squares: Array
    epoch_steps: Array
    epochs_done: int = 0
    steps_done: int = 0
    interrupted: bool = False
    diverged_at: str | None = field(default=None)

    @classmethod
    def empty(cls, epochs: int, parameters: int) -> Record:
        """Return a record of zeros."""
        return cls(
            np.zeros(epochs),
            np.zeros(epochs),
            np.zeros(epochs),
            np.zeros((epochs, parameters)),
            np.zeros(epochs, dtype=np.int64),
        )


class Executor(Protocol):
    """A plan bound to a network's arrays, with whatever buffers the engine keeps."""

    @property
    def moments(self) -> Array:
        """The optimizer's state, (state arrays, parameters), in the network's dtype.

        To be read, or set as a whole; an engine may hand out a copy.
        """
        ...

    @moments.setter
    def moments(self, moments: Array) -> None: ...

    def run(self, run: Run) -> Record:
        """Train; the network's vector and state are current whenever this returns."""
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
