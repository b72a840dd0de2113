"""What a callback sees of a run, and may change."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import ClassVar

import numpy as np

from deltarule.base.errors import InvalidTypeError, describe_value
from deltarule.base.guards import Guarded
from deltarule.base.settings import check_number
from deltarule.base.types import Array
from deltarule.base.words import helpful
from deltarule.network.network import Network
from deltarule.training.history import History


@helpful
class State(Guarded):
    """What a callback sees and may change.

    Attributes
    ----------
    network : Network
    history : History
        All finished epochs of this run; ``history["val_loss"][-1]`` is the last value.
    columns : tuple of str
        The columns that the history will have.
    epochs, epoch : int
        The number of epochs of this run, and how many of them are finished.
    steps : int
        How many steps of this run are done.
    step_losses : array (steps, 2)
        Data loss and penalty of each step of the epoch, before the step.
    resumed : bool
        Whether the run goes on from a checkpoint.
    rate_factor : float
        A factor on the scheduled learning rate; what :class:`ReduceOnPlateau` changes.
    stop : str
        Set it to a reason to end the run.
    """

    rate_factor: float
    stop: str
    _instead: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("lr", "learning_rate"), "set state.rate_factor, a factor on the scheduled rate"
    ) | dict.fromkeys(
        ("stop_training", "stopped", "should_stop"), "set state.stop to a reason to end the run"
    )

    def __init__(
        self,
        network: Network,
        history: History,
        columns: tuple[str, ...],
        epochs: int,
        score: Callable[[str], float],
        *,
        resumed: bool = False,
        place: Callable[[], tuple[int, int] | None] = lambda: None,
        content: Callable[[], bytes] = bytes,
        renewed: Callable[[Network], Array] = lambda network: network.state_vector,
    ) -> None:
        self._network, self._history = network, history
        self._columns, self._epochs, self._score = columns, epochs, score
        self._resumed, self._place, self._content = resumed, place, content
        self._renewed = renewed
        self.rate_factor, self.stop = 1.0, ""
        self._deadline, self._at_deadline = math.inf, ""
        self._losses = [np.empty((0, 2))]
        self._made, self._batch = 0, 0  # steps whose losses there are; of the epoch in progress

    @property
    def network(self) -> Network:
        """The network that is trained; its values may be changed."""
        return self._network

    @property
    def history(self) -> History:
        """All finished epochs of this run."""
        return self._history

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that the history will have."""
        return self._columns

    @property
    def step_losses(self) -> Array:
        """Data loss and penalty, (steps, 2), of the epoch's steps, before each step.

        In :meth:`Callback.on_epoch` those of the epoch that was just finished, or of several that
        were done at once; within an epoch (:meth:`Callback.on_steps`) those so far. 0 where all
        weights of a batch were 0.
        """
        finished = self._made - self._batch
        return self._all_losses()[: finished or None]

    def _all_losses(self) -> Array:
        if len(self._losses) > 1:
            self._losses = [np.concatenate(self._losses)]
        return self._losses[0]

    def _took(self, losses: Array, batch: int) -> None:
        """Take the losses of steps, of which the last ``batch`` belong to an epoch in progress."""
        finished = self._made - self._batch
        if finished:
            self._losses = [self._all_losses()[finished:]]
        self._losses.append(losses)
        self._made, self._batch = self._made - finished + len(losses), batch

    def _forget(self) -> None:
        """Forget the losses of the epoch in progress."""
        self._losses, self._made, self._batch = [np.empty((0, 2))], 0, 0

    def _losses_so_far(self) -> Array:
        """Return the losses of the epoch in progress."""
        return self._all_losses()[self._made - self._batch :]

    @property
    def resumed(self) -> bool:
        """Whether the run goes on from a checkpoint, see :func:`deltarule.resume`."""
        return self._resumed

    @property
    def steps(self) -> int:
        """How many steps of this run are done."""
        return self._history.steps

    @property
    def epochs(self) -> int:
        """The number of epochs of this run."""
        return self._epochs

    @property
    def epoch(self) -> int:
        """How many epochs are finished."""
        return self._history.epochs

    def end_at(self, moment: float, reason: str) -> None:
        """Let the run end at a moment of ``time.monotonic()``, after the step in progress.

        ``reason`` is then :attr:`stop`. The earliest of several moments counts.
        """
        moment = check_number("moment", moment)
        if not isinstance(reason, str) or not reason:
            raise InvalidTypeError(f"reason must be a text, got {describe_value(reason)}")
        if moment < self._deadline:
            self._deadline, self._at_deadline = moment, reason

    def score(self, column: str) -> float:
        """Return a loss or metric of the network as it is now, by its column's name.

        The history's training columns are measured during an epoch, each batch before its step:
        they belong to no network that is left. Whoever keeps a network by a number calls this. For
        "loss" or a metric it evaluates the network on the training data, with their sample and
        class weights, as :func:`deltarule.evaluate` does: without dropout, with BatchNorm's running
        statistics. For "val_..." it returns the history's number, unless a callback has changed the
        network since; then it evaluates it on the validation data.
        """
        return self._score(column)


def check_rate_factor(state: State) -> float:
    """Return the factor on the learning rate that the callbacks have set, or raise."""
    return check_number("state.rate_factor", state.rate_factor, at_least=0)
